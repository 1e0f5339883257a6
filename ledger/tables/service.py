"""What the service keeps for itself: controls, sign-in, leases, heartbeats, revisions."""

from sqlalchemy import JSON, BigInteger, Column, Integer, String, Table, Text

from ledger.tables.base import Instant, id_column, metadata, word

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

# What keeps all actions of one kind from leaving, and when one of them is tried next.
outages = Table(
    "outages",
    metadata,
    word("kind", primary_key=True),
    word("reason", nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("answer", Text, nullable=False),  # the other side's, without addresses
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

# A decision of a person, or of a process on its own: append-only, kept for as long as the ledger.
control_log = Table(
    "control_log",
    metadata,
    id_column(),
    Column("at", Instant, nullable=False),
    word("who", nullable=False),
    word("what", nullable=False),  # mode, release, skip, resend, restore
    Column("detail", JSON),  # without names and addresses
)

# A period of which this ledger knows nothing, because it was restored from an older copy.
gaps = Table(
    "gaps",
    metadata,
    id_column(),
    Column("began_at", Instant),  # when the copy was made; None: unknown
    Column("ended_at", Instant, nullable=False),  # when the copy was put in place
    word("cause", nullable=False),  # restore, declared, or noticed
)

# How many deliveries were refused in an hour, for one reason.
refusals = Table(
    "refusals",
    metadata,
    Column("hour", Instant, primary_key=True),  # its beginning
    word("reason", primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)
