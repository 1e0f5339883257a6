"""The tables of the ledger.

In order: deliveries to records, events to copies, people, checks, and the service's own state
(controls, sign-ins, leases, heartbeats, revisions).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
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
    TextClause,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An aware UTC time on both engines; naive times are refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; without the zone for SQLite, which stores none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger accepts only aware times")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002 - SQLAlchemy's own signature
        """Return a function that restores the zone; one call for each of many values."""
        return _from_text if dialect.name == "sqlite" else _in_utc


def _from_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


def _in_utc(value: datetime | None) -> datetime | None:
    return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


# SQLite numbers rows only in a column of type INTEGER, which is 64-bit there.
Id = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()


def id_column() -> Column[int]:
    """Return an autoincrementing primary key."""
    return Column("id", Id, primary_key=True, autoincrement=True)


def word(name: str, **options: Any) -> Column[Any]:  # noqa: ANN401 - Column's own options
    """Return a column for a short code."""
    return Column(name, String(64), **options)


# Conditions of partial indexes. Queries must repeat them verbatim, so that engines use the index.
DUE_LOOKUPS = text("state = 'due'")
WAITING_LOOKUPS = text("state = 'waiting'")
LEASED_LOOKUPS = text("state = 'leased'")
FAILED_LOOKUPS = text("state = 'failed'")
UNREADABLE_DELIVERIES = text("error IS NOT NULL")
OPEN_CHECKS = text("ended_at IS NULL")
RELAYED_DELIVERIES = text("signature_form = 'bearer'")
NAMED_RECORDS = text("full_name IS NOT NULL")


def partial_index(name: str, *columns: str, where: TextClause) -> Index:
    """Return an index of the rows that meet a condition, on both engines."""
    # On PostgreSQL it has the same condition. To state it here would import that dialect in every
    # process, and no statement depends on it: migrations create the indexes.
    return Index(name, *columns, sqlite_where=where)


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
        *("records_named", "entity", "coworker_id", "full_name", "gone_at"), where=NAMED_RECORDS
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


UNFINISHED_ACTIONS = text("state IN ('planned', 'waiting', 'performing')")
PENDING_ACTIONS = text("state IN ('planned', 'waiting')")
WAITING_ACTIONS = text("state = 'waiting'")
PERFORMING_ACTIONS = text("state = 'performing'")
UNDECIDED_ACTIONS = text("state IN ('held', 'unknown', 'failed')")  # may need a person

# An event.
events = Table(
    "events",
    metadata,
    id_column(),
    Column("key", String(160), nullable=False, unique=True),
    word("kind", nullable=False),
    Column("happened_at", Instant, nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("course_id", BigInteger, nullable=False),
    Column("coworker_id", BigInteger, nullable=False),
    Column("course_member_id", BigInteger, nullable=False),
    Column("lesson_id", BigInteger),
    word("reason"),  # why it led to no action; None when it led to one
    Index("events_of_coworker", "coworker_id", "happened_at"),
    Index("events_happened", "happened_at"),
)

# Which rules were tried on an event, and what their conditions saw; kept 90 days.
decisions = Table(
    "decisions",
    metadata,
    Column("event_id", Id, ForeignKey("events.id"), primary_key=True, autoincrement=False),
    Column("decided_at", Instant, nullable=False, index=True),
    word("rules_version", nullable=False),
    Column("tried", JSON, nullable=False),  # see `schemas.trace`
)

WAITING_TIMERS = text("state = 'waiting'")

# An event to come, which no change at the source will show.
timers = Table(
    "timers",
    metadata,
    id_column(),
    Column("key", String(160), nullable=False, unique=True),  # of the event
    word("kind", nullable=False),
    Column("step_s", BigInteger),  # the length of an absence
    Column("course_id", BigInteger, nullable=False),
    Column("coworker_id", BigInteger, nullable=False),
    Column("course_member_id", BigInteger, nullable=False, index=True),
    Column("lesson_id", BigInteger),
    Column("due_at", Instant, nullable=False),
    word("state", nullable=False),  # waiting, fired, cancelled
    word("reason"),  # why it was cancelled
    Column("made_at", Instant, nullable=False),
    Column("asked_at", Instant),  # when its enrolment was last asked for because it was due
    Column("ended_at", Instant),
    partial_index("timers_due", "due_at", where=WAITING_TIMERS),
)

# One planned effect: the outbox.
actions = Table(
    "actions",
    metadata,
    id_column(),
    Column("key", String(240), nullable=False, unique=True),
    word("kind", nullable=False),
    word("rule", nullable=False),
    word("rules_version", nullable=False),
    word("event_kind", nullable=False),
    word("template"),
    word("stream", nullable=False),
    Column("course_id", BigInteger, nullable=False),
    Column("coworker_id", BigInteger, nullable=False),
    word("audience"),  # whom it is to, see `schemas.actions.audience_of`; None: the member
    Column("course_member_id", BigInteger, nullable=False),
    Column("happened_at", Instant, nullable=False),  # of its first event
    Column("planned_at", Instant, nullable=False),
    # A person requested it, so it counts neither as too old nor as from before the start.
    Column("asked", Boolean, nullable=False, server_default=false()),
    Column("released_at", Instant),  # when a person last released it after it was held
    Column("resend_of", BigInteger),  # the action that this one repeats, on request
    word("state", nullable=False),
    word("reason"),
    Column("due_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # When the hand-over reached the step after which a cut leaves its outcome unknown. Before it,
    # repeating is safe. Set only while `performing`.
    Column("committed_at", Instant),
    Column("finished_at", Instant),
    Column("receipt", Text),
    # When a person closed it although it failed or is unknown, so that it needs no one any more.
    Column("closed_at", Instant),
    partial_index("actions_due", "due_at", where=UNFINISHED_ACTIONS),
    partial_index("actions_due_of_kind", "kind", "due_at", where=PENDING_ACTIONS),
    partial_index("actions_waiting", "reason", "due_at", where=WAITING_ACTIONS),
    partial_index("actions_performing", "lease_until", where=PERFORMING_ACTIONS),
    partial_index("actions_undecided", "state", "reason", where=UNDECIDED_ACTIONS),
    Index("actions_of_coworker", "coworker_id", "state"),
    Index("actions_happened", "happened_at"),
    Index("actions_finished", "finished_at"),
    Index("actions_planned", "planned_at"),
    Index("actions_resend_of", "resend_of", unique=True),
)

# Which events an action is about. A rule uses an event only once; for a resend, `rule` is `resend:`
# and the action's id.
action_events = Table(
    "action_events",
    metadata,
    Column("event_id", Id, ForeignKey("events.id"), primary_key=True),
    word("rule", primary_key=True),
    Column("action_id", Id, ForeignKey("actions.id"), nullable=False, index=True),
)

# One try to perform an action, or all tries in a row after which it waits for one reason.
attempts = Table(
    "attempts",
    metadata,
    id_column(),
    Column("action_id", Id, ForeignKey("actions.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    word("outcome", nullable=False),  # the state it led to
    word("reason"),
    Column("detail", Text),  # receipt or the server's answer, without addresses
    # How many tries this row stands for, the first at `at`; 0: it waits without a try.
    Column("tries", Integer, nullable=False, server_default=text("1")),
)

# The action as prepared, kept 90 days: what was or would have been sent.
copies = Table(
    "copies",
    metadata,
    Column("action_id", Id, ForeignKey("actions.id"), primary_key=True),
    Column("written_at", Instant, nullable=False, index=True),
    word("version", nullable=False),
    Column("recipient", Text),
    Column("title", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    word("media_type", nullable=False),
)


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
    word("stream", primary_key=True),  # a stream, "all" or "snooze"
    word("choice", nullable=False),  # "no" or "yes"
    Column("chosen_at", Instant, nullable=False),
    Column("until", Instant),  # when a snooze ends
    word("origin"),  # page, one-click, operator
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
