"""What the service keeps for itself: controls, sign-in, leases, heartbeats, revisions."""

from sqlalchemy import BigInteger, Column, String, Table, Text

from ledger.tables.base import Instant, metadata, word

# What people decided about the service itself, and what it keeps for itself; who and when.
controls = Table(
    "controls",
    metadata,
    word("name", primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("changed_at", Instant, nullable=False),
    word("changed_by", nullable=False),
)

# The one sign-in at the source that all workers share.
sign_ins = Table(
    "sign_ins",
    metadata,
    word("name", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("access_token", Text),
    Column("refresh_token", Text),
    Column("signed_in_at", Instant),
    Column("use_until", Instant),
    Column("refused_until", Instant),  # nobody asks before that, so that no user is locked out
)

# Who may do alone what only one may do at a time.
leases = Table(
    "leases",
    metadata,
    word("name", primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("until", Instant, nullable=False),
)

# When each process was last alive.
heartbeats = Table(
    "heartbeats",
    metadata,
    word("kind", primary_key=True),
    Column("process", String(120), primary_key=True),
    Column("beat_at", Instant, nullable=False),
)

# Each migration that ran, and the oldest revision whose code may run on the tables since then.
revisions = Table(
    "revisions",
    metadata,
    word("revision", primary_key=True),
    word("oldest_code", nullable=False),
    Column("applied_at", Instant, nullable=False),
)
