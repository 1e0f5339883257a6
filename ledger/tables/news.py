"""What reached us, what must be read, and what the source has: from a delivery to a record."""

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

from ledger.tables.base import Id, Instant, id_column, metadata, word

# What a partial index covers. Queries repeat the words as they stand: an engine uses such an index
# only where it can see that the query asks for no more.
UNFINISHED_LOOKUPS = text("state IN ('due', 'waiting', 'leased')")
FAILED_LOOKUPS = text("state = 'failed'")

# One accepted POST.
deliveries = Table(
    "deliveries",
    metadata,
    id_column(),
    Column("received_at", Instant, nullable=False, index=True),
    word("route", nullable=False),
    word("signature_form", nullable=False),  # which text the signature was made of, or "bearer"
    Column("body", LargeBinary),  # only of records that we follow; emptied after 30 days
    Column("size", Integer),  # of the body, in bytes
    Column("digest", String(64)),  # of the body: HMAC-SHA256 under the sender's newest secret
    Column("error", Text),  # what could not be read: places and fields, never values
)

# One statement "this record changed".
notifications = Table(
    "notifications",
    metadata,
    id_column(),
    Column("delivery_id", Id, ForeignKey("deliveries.id"), index=True),
    Column("received_at", Instant, nullable=False),
    word("origin", nullable=False),  # hook, relay, check, backfill, person, review
    word("entity"),  # None: about a kind we do not follow
    Column("record_id", BigInteger, nullable=False),
    Index("notifications_of_record", "entity", "record_id"),
)

# The need to read one record; repeats merge here.
lookups = Table(
    "lookups",
    metadata,
    id_column(),
    word("entity", nullable=False),
    Column("record_id", BigInteger, nullable=False),
    word("state", nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("asked_at", Instant, nullable=False),  # the first notification not yet answered
    Column("asked", BigInteger, nullable=False),  # how many notifications so far
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("leased_asked", BigInteger),  # `asked` when the lease was taken
    Column("lost_leases", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    word("reason"),
    Column("last_error", Text),
    UniqueConstraint("entity", "record_id"),
    Index(
        "lookups_due",
        "due_at",
        sqlite_where=UNFINISHED_LOOKUPS,
        postgresql_where=UNFINISHED_LOOKUPS,
    ),
    Index(
        "lookups_failed",
        "reason",
        sqlite_where=FAILED_LOOKUPS,
        postgresql_where=FAILED_LOOKUPS,
    ),
)

# A record: the version last accepted, the version a list last showed, and the version decided on.
# Without `fetched_at` it was only listed; without `seen_at` neither listed nor decided on.
records = Table(
    "records",
    metadata,
    word("entity", primary_key=True),
    Column("record_id", BigInteger, primary_key=True, autoincrement=False),
    Column("gone_at", Instant),  # when the source first no longer had it
    # The last accepted version: allow-listed fields only.
    Column("record", JSON(none_as_null=True)),
    Column("updated_at", Instant),  # the source's own time of change
    Column("fetched_at", Instant),
    # The version that a list last showed, or that was decided on. Digests are of the fields that
    # decisions depend on.
    Column("seen_at", Instant),
    Column("changed_at", Instant),  # the source's time, by which lists are asked for
    Column("seen_digest", String(32)),
    Column("decided_digest", String(32)),
    Column("decided_upto", BigInteger),  # the newest notification when it was read and decided on
    Column("created_at", Instant),  # the source's time, or when it was first seen, if earlier
    Column("full_name", Text),  # of the member, to find them by; no part of the version
    # Why no email is written about what happened until then.
    word("suppressed_reason"),
    Column("suppressed_upto", Instant),
    Column("suppressed_after", BigInteger),  # the newest notification then; a later one lifts it
    # What it refers to: by the accepted version, else as far as lists say.
    Column("course_id", BigInteger),
    Column("coworker_id", BigInteger),
    Column("course_member_id", BigInteger),
    Column("lesson_id", BigInteger),
    Index("records_of_course", "entity", "course_id"),
    Index("records_of_course_member", "entity", "course_member_id"),
    Index("records_of_coworker", "entity", "coworker_id"),
    Index("records_created", "entity", "created_at"),
)

# A list we read as a whole, and when: the lessons of a course, the completions of an enrolment.
listings = Table(
    "listings",
    metadata,
    word("entity", primary_key=True),
    Column("parent_id", BigInteger, primary_key=True, autoincrement=False),
    Column("listed_at", Instant, nullable=False),
)
