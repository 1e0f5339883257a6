"""The tables of the ledger. What a row is stands above each; how rows change, in the rooms beside.

The migrations in `ledger/migrations` make them; a test holds both together.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware UTC time on both engines; a naive one is refused before it can be stored."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring to UTC; SQLite keeps no zone, so it is taken off there."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware times only")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite numbers rows by itself only in a column of type INTEGER, which is 64-bit there anyway.
Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

# What a partial index covers. Queries repeat the words as they stand: an engine uses such an index
# only where it can see that the query asks for no more.
UNFINISHED_LOOKUPS = text("state IN ('due', 'waiting', 'leased')")
UNFINISHED_ACTIONS = text("state IN ('planned', 'waiting', 'performing')")


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _word(name: str, **options: Any) -> Column[Any]:  # noqa: ANN401 - Column's own options
    return Column(name, String(64), **options)


# One accepted POST, as bytes.
deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    Column("received_at", Instant, nullable=False, index=True),
    _word("route", nullable=False),
    _word("signature_form", nullable=False),  # which text the signature was made of, or "bearer"
    Column("body", LargeBinary),  # emptied after 30 days
    Column("error", Text),  # why it could not be read: places and fields, never values
)

# One statement "this record changed".
notifications = Table(
    "notifications",
    metadata,
    _id(),
    Column("delivery_id", Id, ForeignKey("deliveries.id"), index=True),
    Column("received_at", Instant, nullable=False),
    _word("origin", nullable=False),  # hook, relay, check, backfill, person
    _word("entity"),  # None: about a kind we do not follow
    Column("record_id", BigInteger, nullable=False),
    Index("notifications_of_record", "entity", "record_id"),
)

# The need to read one record; repeats merge here.
lookups = Table(
    "lookups",
    metadata,
    _id(),
    _word("entity", nullable=False),
    Column("record_id", BigInteger, nullable=False),
    _word("state", nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("asked_at", Instant, nullable=False),  # the first notification not yet answered
    Column("asked", BigInteger, nullable=False),  # how many notifications so far
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("leased_asked", BigInteger),  # `asked` when the lease was taken
    Column("lost_leases", Integer, nullable=False, server_default=text("0")),  # in a row
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _word("reason"),
    Column("last_error", Text),
    UniqueConstraint("entity", "record_id"),
    Index(
        "lookups_due",
        "due_at",
        sqlite_where=UNFINISHED_LOOKUPS,
        postgresql_where=UNFINISHED_LOOKUPS,
    ),
)

# The last accepted version of a record: allow-listed fields only.
snapshots = Table(
    "snapshots",
    metadata,
    _word("entity", primary_key=True),
    Column("record_id", BigInteger, primary_key=True, autoincrement=False),
    Column("record", JSON, nullable=False),
    Column("updated_at", Instant, nullable=False),  # the source's own time of change
    Column("fetched_at", Instant, nullable=False),
    Column("gone_at", Instant),
    Column("decided_upto", BigInteger),  # the newest notification when it was read and decided on
    Column("course_id", BigInteger),
    Column("coworker_id", BigInteger),
    Column("course_member_id", BigInteger),
    Column("lesson_id", BigInteger),
    Index("snapshots_of_course", "entity", "course_id"),
    Index("snapshots_of_course_member", "entity", "course_member_id"),
    Index("snapshots_of_coworker", "entity", "coworker_id"),
)

# A list we read as a whole, and when: the lessons of a course, the completions of an enrolment.
listings = Table(
    "listings",
    metadata,
    _word("entity", primary_key=True),
    Column("parent_id", BigInteger, primary_key=True, autoincrement=False),
    Column("listed_at", Instant, nullable=False),
)

# Something that happened.
events = Table(
    "events",
    metadata,
    _id(),
    Column("key", String(160), nullable=False, unique=True),
    _word("kind", nullable=False),
    Column("happened_at", Instant, nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("course_id", BigInteger, nullable=False),
    Column("coworker_id", BigInteger, nullable=False),
    Column("course_member_id", BigInteger, nullable=False),
    Column("lesson_id", BigInteger),
    _word("reason"),  # why it led to no action; None when it led to one
    Index("events_of_coworker", "coworker_id", "happened_at"),
)

# One planned effect: the outbox.
actions = Table(
    "actions",
    metadata,
    _id(),
    Column("key", String(240), nullable=False, unique=True),
    _word("kind", nullable=False),
    _word("rule", nullable=False),
    _word("rules_version", nullable=False),
    _word("event_kind", nullable=False),
    _word("template"),
    _word("stream", nullable=False),
    Column("course_id", BigInteger, nullable=False),
    Column("coworker_id", BigInteger, nullable=False),
    Column("course_member_id", BigInteger, nullable=False),
    Column("happened_at", Instant, nullable=False),  # of its first event
    Column("planned_at", Instant, nullable=False),
    _word("state", nullable=False),
    _word("reason"),
    Column("due_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("finished_at", Instant),
    Column("receipt", Text),
    Index(
        "actions_due",
        "due_at",
        sqlite_where=UNFINISHED_ACTIONS,
        postgresql_where=UNFINISHED_ACTIONS,
    ),
    Index("actions_of_coworker", "coworker_id", "state"),
    Index("actions_finished", "finished_at"),
    Index("actions_planned", "planned_at"),
)

# Which events one action is about; an event is never used twice by the same rule.
action_events = Table(
    "action_events",
    metadata,
    Column("event_id", Id, ForeignKey("events.id"), primary_key=True),
    _word("rule", primary_key=True),
    Column("action_id", Id, ForeignKey("actions.id"), nullable=False, index=True),
)

# One try to perform an action.
attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("action_id", Id, ForeignKey("actions.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    _word("outcome", nullable=False),  # the state it led to
    _word("reason"),
    Column("detail", Text),  # receipt or the other side's answer, without addresses
)

# The email as it was written, kept 90 days: what was sent, or would have been.
copies = Table(
    "copies",
    metadata,
    Column("action_id", Id, ForeignKey("actions.id"), primary_key=True),
    Column("written_at", Instant, nullable=False),
    _word("wording", nullable=False),
    Column("message_id", String(255), nullable=False),
    Column("recipient", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("html", Text, nullable=False),
)

# What we need of a coworker, never the raw record.
people = Table(
    "people",
    metadata,
    Column("coworker_id", BigInteger, primary_key=True, autoincrement=False),
    Column("full_name", Text, nullable=False),
    Column("first_name", Text),
    _word("kind"),
    Column("email", Text),
    Column("email_key", Text, index=True),  # the address in lower case, to find a person by it
    Column("active", Boolean, nullable=False),
    _word("zone"),  # IANA's name of where they are; None: not known
    Column("fetched_at", Instant, nullable=False),
    Column("gone_at", Instant),
)

# What a person chose. Survives an erase, which is why it knows people only by a keyed hash.
choices = Table(
    "choices",
    metadata,
    Column("address_hash", String(64), primary_key=True),
    _word("stream", primary_key=True),  # a stream, or "all"
    _word("choice", nullable=False),  # "no" or "yes"
    Column("chosen_at", Instant, nullable=False),
)

# What people decided about the service itself, and what it keeps for itself; who and when.
controls = Table(
    "controls",
    metadata,
    _word("name", primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("changed_at", Instant, nullable=False),
    _word("changed_by", nullable=False),
)

# The one sign-in at the source that all workers share.
sign_ins = Table(
    "sign_ins",
    metadata,
    _word("name", primary_key=True),
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
    _word("name", primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("until", Instant, nullable=False),
)

# When each process was last alive.
heartbeats = Table(
    "heartbeats",
    metadata,
    _word("kind", primary_key=True),
    Column("process", String(120), primary_key=True),
    Column("beat_at", Instant, nullable=False),
)
