"""What happened, and what is done about it: events, and the actions that rules plan on them."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    false,
    text,
)

from ledger.tables.columns import Id, Instant, id_column, metadata, partial_index, word

# Conditions of partial indexes. Queries must repeat them verbatim, so that engines use the index.
UNFINISHED_ACTIONS = text("state IN ('planned', 'waiting', 'performing')")
PENDING_ACTIONS = text("state IN ('planned', 'waiting')")
WAITING_ACTIONS = text("state = 'waiting'")
PERFORMING_ACTIONS = text("state = 'performing'")
UNDECIDED_ACTIONS = text("state IN ('held', 'unknown', 'failed')")  # may need a person
RARER_EVENTS = text("kind != 'lesson_completed'")
REPEATING_ACTIONS = text("resend_of IS NOT NULL")
WAITING_TIMERS = text("state = 'waiting'")

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
    partial_index("events_of_kind", "kind", "id", where=RARER_EVENTS),
    Index("events_found_on_course", "course_id", "kind", "found_at"),
    Index("events_found", "found_at"),
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
    # Without those that repeat none: SQLite would search for them by it, which are nearly all.
    Index("actions_resend_of", "resend_of", unique=True, sqlite_where=REPEATING_ACTIONS),
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
