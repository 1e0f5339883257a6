"""How each of our own checks went."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, Table, Text, text

from ledger.tables.base import Instant, id_column, metadata, word

# One run of a check, baseline, reconcile, backfill or webhook check.
checks = Table(
    "checks",
    metadata,
    id_column(),
    word("kind", nullable=False),
    word("entity"),  # None: a run over more than one kind
    Column("begun_at", Instant, nullable=False),
    Column("ended_at", Instant),  # None: under way, or interrupted
    Column("since", Instant),  # from when on it looked
    Column("reached", Instant),  # all up to there was looked at; an interrupted run goes on there
    Column("pages", Integer, nullable=False, server_default=text("0")),
    Column("rows", Integer, nullable=False, server_default=text("0")),
    Column("news", Integer, nullable=False, server_default=text("0")),  # of these, not known before
    Column("total", BigInteger),  # how many rows there are in all, as the source said at first
    word("reason"),  # why it failed
    Column("error", Text),
    Column("report", JSON),  # what it found, without names and addresses
    Index("checks_of_kind", "kind", "entity", "begun_at"),
)
