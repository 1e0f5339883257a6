"""What Nexudus reported, and what was read there."""

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
    UniqueConstraint,
    text,
)

from ledger.tables.columns import Id, Instant, id_column, metadata, partial_index, word

# Conditions of partial indexes. Queries must repeat them verbatim, so that engines use the index.
DUE_LOOKUPS = text("state = 'due'")
WAITING_LOOKUPS = text("state = 'waiting'")
LEASED_LOOKUPS = text("state = 'leased'")
FAILED_LOOKUPS = text("state = 'failed'")
UNREADABLE_DELIVERIES = text("error IS NOT NULL")
RELAYED_DELIVERIES = text("signature_form = 'bearer'")
NAMED_RECORDS = text("full_name IS NOT NULL")
OPEN_CHECKS = text("ended_at IS NULL")

# One accepted POST.
deliveries = Table(
    "deliveries",
    metadata,
    id_column(),
    Column("received_at", Instant, nullable=False, index=True),
    word("route", nullable=False),
    word("signature_form", nullable=False),  # which form of the body was signed, or "bearer"
    Column("body", LargeBinary),  # only of records we follow; deleted after 30 days
    Column("size", Integer),  # of the body, in bytes
    Column("digest", String(64)),  # of the body: HMAC-SHA256 under the sender's newest secret
    Column("error", Text),  # unreadable parts: places and fields, never values
    partial_index("deliveries_unreadable", "received_at", where=UNREADABLE_DELIVERIES),
    partial_index("deliveries_by_relay", "received_at", where=RELAYED_DELIVERIES),
)

# One statement "this record changed".
notifications = Table(
    "notifications",
    metadata,
    id_column(),
    Column("delivery_id", Id, ForeignKey("deliveries.id"), index=True),
    Column("received_at", Instant, nullable=False, index=True),
    word("origin", nullable=False),  # hook, relay, check, backfill, person, review
    word("entity"),  # None: a kind we do not follow
    Column("record_id", BigInteger, nullable=False),
    Index("notifications_of_record", "entity", "record_id", "id", "origin"),
)

# The need to read one record; repeats merge into one row.
lookups = Table(
    "lookups",
    metadata,
    id_column(),
    word("entity", nullable=False),
    Column("record_id", BigInteger, nullable=False),
    word("state", nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("asked_at", Instant, nullable=False),  # the first notification not yet processed
    Column("asked", BigInteger, nullable=False),  # how many notifications so far
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("leased_asked", BigInteger),  # `asked` when the lease was taken
    Column("lost_leases", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    word("reason"),
    Column("last_error", Text),
    UniqueConstraint("entity", "record_id"),
    # One index for each state, so that no query reads past the rows of another state.
    partial_index("lookups_due", "due_at", where=DUE_LOOKUPS),
    partial_index("lookups_leased", "lease_until", where=LEASED_LOOKUPS),
    partial_index("lookups_waiting", "due_at", where=WAITING_LOOKUPS),
    partial_index("lookups_waiting_for", "reason", "due_at", where=WAITING_LOOKUPS),
    partial_index("lookups_waiting_since", "reason", "asked_at", where=WAITING_LOOKUPS),
    partial_index("lookups_failed", "reason", where=FAILED_LOOKUPS),
)

# A record: the version last read, the version last seen on a list, and the version decided on.
# Without `fetched_at` it was only listed; without `seen_at` neither listed nor decided on.
records = Table(
    "records",
    metadata,
    word("entity", primary_key=True),
    Column("record_id", BigInteger, primary_key=True, autoincrement=False),
    Column("gone_at", Instant),  # when it was first found missing at the source
    # The last accepted version: allow-listed fields only.
    Column("record", JSON(none_as_null=True)),
    Column("updated_at", Instant),  # the source's own time of change
    Column("fetched_at", Instant),
    # The version last seen on a list or decided on. Digests cover the fields that decisions depend
    # on.
    Column("seen_at", Instant),
    Column("changed_at", Instant),  # the source's time by which lists are filtered
    Column("seen_digest", String(32)),
    Column("decided_digest", String(32)),
    Column("decided_upto", BigInteger),  # the newest notification when it was read to decide
    Column("created_at", Instant),  # the source's time, or when it was first seen, if earlier
    Column("source_created_at", Instant),  # the source's time, of the version last read
    Column("full_name", Text),  # the member's, for search; not part of the version
    Column("name_key", Text),  # that name folded, at most 200 characters of it
    # Why no email is sent about what happened until then.
    word("suppressed_reason"),
    Column("suppressed_upto", Instant),
    Column("suppressed_after", BigInteger),  # the newest notification then; a later one lifts it
    # What it refers to: from the version read, else from lists.
    Column("course_id", BigInteger),
    Column("coworker_id", BigInteger),
    Column("course_member_id", BigInteger),
    Column("lesson_id", BigInteger),
    Index("records_of_course", "entity", "course_id"),
    Index("records_of_course_member", "entity", "course_member_id"),
    Index("records_of_coworker", "entity", "coworker_id"),
    Index("records_created", "entity", "created_at"),
    Index("records_source_created", "entity", "source_created_at"),
    # Has all that a search by name reads.
    partial_index(
        *("records_named", "entity", "coworker_id", "name_key", "full_name", "gone_at"),
        where=NAMED_RECORDS,
    ),
)

# When a list was last read in full: the lessons of a course, the completions of an enrolment. Also
# when a location was last requested, and (with parent 0) when portal accounts were last refused.
listings = Table(
    "listings",
    metadata,
    word("entity", primary_key=True),
    Column("parent_id", BigInteger, primary_key=True, autoincrement=False),
    Column("listed_at", Instant, nullable=False),
)

# One run of a check, baseline, reconcile, backfill or webhook check.
checks = Table(
    "checks",
    metadata,
    id_column(),
    word("kind", nullable=False),
    word("entity"),  # None: a run over more than one kind
    Column("begun_at", Instant, nullable=False),
    Column("ended_at", Instant),  # None: under way, or interrupted
    Column("since", Instant),  # start of the window
    Column("reached", Instant),  # processed up to here; an interrupted run resumes here
    Column("pages", Integer, nullable=False, server_default=text("0")),
    Column("rows", Integer, nullable=False, server_default=text("0")),
    Column("news", Integer, nullable=False, server_default=text("0")),  # of these, new or changed
    Column("total", BigInteger),  # rows in all, as first stated by the source
    word("reason"),  # why it failed
    Column("error", Text),
    Column("report", JSON),  # what it found, without names and addresses
    Index("checks_of_kind", "kind", "entity", "begun_at"),
    Index("checks_newest", "kind", "entity", "id"),
    partial_index("checks_open", "kind", "entity", where=OPEN_CHECKS),
)
