"""The service's own state: what operators set, who holds which right, and what is counted."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text, text

from ledger.tables.columns import Instant, id_column, metadata, partial_index, word

# Conditions of partial indexes. Queries must repeat them verbatim, so that engines use the index.
OPEN_PAUSES = text("ended_at IS NULL")

# Settings that operators changed, and state of the service; by whom and when.
controls = Table(
    "controls",
    metadata,
    word("name", primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("changed_at", Instant, nullable=False),
    word("changed_by", nullable=False),
)

# A decision by a person or an automatic one: append-only, never deleted.
control_log = Table(
    "control_log",
    metadata,
    id_column(),
    Column("at", Instant, nullable=False),
    word("who", nullable=False),
    word("what", nullable=False),  # mode, pause, release, skip, resend, restore, preferences
    Column("detail", JSON),  # without names and addresses
)

# A time during which emails are held: all, or those of a rule, about a course or to a person.
pauses = Table(
    "pauses",
    metadata,
    id_column(),
    word("scope", nullable=False),  # all, rule, course, person
    Column("target", String(64)),  # a rule's name or an Id; None: all
    Column("until", Instant),  # None: until it is ended
    Column("note", Text),
    Column("made_at", Instant, nullable=False),
    word("made_by", nullable=False),
    Column("ended_at", Instant),
    word("ended_by"),
    partial_index("pauses_open", "id", where=OPEN_PAUSES),
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
    Column("refused_until", Instant),  # no sign-in before that, so that the user is not locked
)

# Which process holds the right to exclusive work.
leases = Table(
    "leases",
    metadata,
    word("name", primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("until", Instant, nullable=False),
)

# Why no action of a kind can be delivered, and when one is tried next.
outages = Table(
    "outages",
    metadata,
    word("kind", primary_key=True),
    word("reason", nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("answer", Text, nullable=False),  # the server's, without addresses
)

# When each process was last alive.
heartbeats = Table(
    "heartbeats",
    metadata,
    word("kind", primary_key=True),
    Column("process", String(120), primary_key=True),
    Column("beat_at", Instant, nullable=False),
)

# Each migration that ran, and the oldest revision whose code may use the tables after it.
revisions = Table(
    "revisions",
    metadata,
    word("revision", primary_key=True),
    word("oldest_code", nullable=False),
    Column("applied_at", Instant, nullable=False),
)

# A period the ledger knows nothing about, because it was restored from an older copy.
gaps = Table(
    "gaps",
    metadata,
    id_column(),
    Column("began_at", Instant),  # when the copy was made; None: unknown
    Column("ended_at", Instant, nullable=False),  # when the copy was put in place
    word("cause", nullable=False),  # restore, declared, or noticed
)

# How many deliveries were refused in one hour for one reason.
refusals = Table(
    "refusals",
    metadata,
    Column("hour", Instant, primary_key=True),  # its beginning
    word("reason", primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", Instant, nullable=False),
)

# How many rows tables have, by state and reason: kept by triggers, see `ledger.tallies`.
tallies = Table(
    "tallies",
    metadata,
    id_column(),
    word("name", nullable=False),  # of the table
    word("state", nullable=False),
    word("reason", nullable=False),  # "": none
    Column("number", BigInteger, nullable=False),
    Index("tallies_of", "name", "state", "reason"),
)
