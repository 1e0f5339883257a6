"""What we need of people, and what they chose."""

from sqlalchemy import BigInteger, Boolean, Column, String, Table, Text

from ledger.tables.base import Instant, metadata, word

# What we need of a coworker, never the raw record.
people = Table(
    "people",
    metadata,
    Column("coworker_id", BigInteger, primary_key=True, autoincrement=False),
    Column("full_name", Text, nullable=False),
    Column("first_name", Text),
    word("kind"),
    Column("email", Text),
    Column("email_key", Text, index=True),  # the folded address, to find a person by it
    Column("active", Boolean, nullable=False),
    word("zone"),  # IANA's name of where they are; None: not known
    Column("fetched_at", Instant, nullable=False),
    Column("gone_at", Instant),
)

# What a person chose. Survives an erase, which is why it knows people only by a keyed hash.
choices = Table(
    "choices",
    metadata,
    Column("address_hash", String(64), primary_key=True),
    word("stream", primary_key=True),  # a stream, or "all"
    word("choice", nullable=False),  # "no" or "yes"
    Column("chosen_at", Instant, nullable=False),
)
