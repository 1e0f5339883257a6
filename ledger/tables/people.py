"""What is kept of people: who they are, what they chose, and their certificates."""

from sqlalchemy import BigInteger, Boolean, Column, Date, String, Table, Text

from ledger.tables.columns import Instant, metadata, word

# What we need of a coworker, never the raw record.
people = Table(
    "people",
    metadata,
    Column("coworker_id", BigInteger, primary_key=True, autoincrement=False),
    Column("full_name", Text, nullable=False),
    Column("search_key", Text),  # name and address, folded, to find a person by a part of them
    Column("first_name", Text),
    word("kind"),
    Column("email", Text),
    Column("email_key", Text, index=True),  # the folded address, to find a person by it
    Column("active", Boolean, nullable=False),
    word("zone"),  # IANA name of their time zone; None: unknown
    Column("user_id", BigInteger),  # their portal account; None: they have none
    word("language"),  # tag of the language chosen there, such as pt-BR; None: unknown
    Column("language_at", Instant),  # when that was read; None: never
    Column("fetched_at", Instant, nullable=False),
    Column("gone_at", Instant),
)

# What a person chose. Survives an erase, so it identifies people only by keyed hashes.
choices = Table(
    "choices",
    metadata,
    Column("address_hash", String(64), primary_key=True),  # of an address, or of an Id
    word(
        "stream", primary_key=True
    ),  # see `schemas.choices`: a stream, "all", "snooze", "weekly" or "report/" and a name
    word("choice", nullable=False),  # "no" or "yes"
    Column("chosen_at", Instant, nullable=False),
    Column("until", Instant),  # when a snooze ends
    word("origin"),  # page, one-click, operator, complaint, provider
)

# A certificate of completion that was sent, as printed. The code is not stored, only its hash.
completion_certificates = Table(
    "completion_certificates",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("course_id", BigInteger, nullable=False),
    Column("coworker_id", BigInteger, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("course", Text, nullable=False),
    Column("space", Text),
    Column("finished_on", Date, nullable=False),  # where the person is
    word("language", nullable=False),
    Column("issued_at", Instant, nullable=False),
)
