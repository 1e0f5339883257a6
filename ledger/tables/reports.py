"""Reports, which are emails to others than the member they are about, and their copies.

A report is planned, leased and settled as an action is, with a key and a history of its own.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from ledger.tables.columns import Id, Instant, id_column, metadata, partial_index, word

UNFINISHED_REPORTS = text("state IN ('planned', 'waiting', 'performing')")

# An alert, a summary, or a digest.
reports = Table(
    "reports",
    metadata,
    id_column(),
    Column("key", String(240), nullable=False, unique=True),
    word("name", nullable=False),  # attention, trouble, summary, or that of a digest
    word("audience", nullable=False),  # as in `actions`
    Column("coworker_id", BigInteger),  # who the host is; None: it is to an address
    Column("period_from", Instant),  # None: an alert
    Column("period_to", Instant),
    Column("about", JSON(none_as_null=True)),  # of an alert: its causes, and since when
    Column("planned_at", Instant, nullable=False),
    word("state", nullable=False),  # as of actions
    word("reason"),
    Column("due_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("tries", JSON(none_as_null=True)),  # how many attempts ended with each reason
    Column("committed_at", Instant),  # as of actions
    Column("finished_at", Instant),
    Column("receipt", Text),  # or why it failed
    partial_index("reports_due", "due_at", where=UNFINISHED_REPORTS),
    Index("reports_named", "name", "audience", "id"),
    Index("reports_finished", "finished_at"),
)

# A report as prepared, kept 90 days: what was sent, or would have been in observe mode.
report_copies = Table(
    "report_copies",
    metadata,
    Column("report_id", Id, ForeignKey("reports.id"), primary_key=True),
    Column("written_at", Instant, nullable=False, index=True),
    word("version", nullable=False),
    Column("recipient", Text),
    Column("title", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    word("media_type", nullable=False),
)
