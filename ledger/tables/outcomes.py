"""What happened, and what came of it: from an event to a copy of its email."""

from sqlalchemy import (
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

from ledger.tables.base import Id, Instant, id_column, metadata, word

# See `ledger.tables.news` on partial indexes.
UNFINISHED_ACTIONS = text("state IN ('planned', 'waiting', 'performing')")
UNDECIDED_ACTIONS = text("state IN ('held', 'unknown', 'failed')")  # a person may have to look

# Something that happened.
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
    Column("course_member_id", BigInteger, nullable=False),
    Column("happened_at", Instant, nullable=False),  # of its first event
    Column("planned_at", Instant, nullable=False),
    # A person asked for it, so that it is neither too old nor from before the start.
    Column("asked", Boolean, nullable=False, server_default=false()),
    Column("released_at", Instant),  # when a person last released it after it was held
    Column("resend_of", BigInteger),  # the action that this one repeats, as a person asked
    word("state", nullable=False),
    word("reason"),
    Column("due_at", Instant, nullable=False),
    Column("lease_until", Instant),
    Column("lease_token", String(32)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # When the step began after which nobody can tell whether it was done. Before it, repeating is
    # safe; only `performing` rows have it.
    Column("committed_at", Instant),
    Column("finished_at", Instant),
    Column("receipt", Text),
    Index(
        "actions_due",
        "due_at",
        sqlite_where=UNFINISHED_ACTIONS,
        postgresql_where=UNFINISHED_ACTIONS,
    ),
    Index(
        "actions_undecided",
        "state",
        "reason",
        sqlite_where=UNDECIDED_ACTIONS,
        postgresql_where=UNDECIDED_ACTIONS,
    ),
    Index("actions_of_coworker", "coworker_id", "state"),
    Index("actions_finished", "finished_at"),
    Index("actions_planned", "planned_at"),
    Index("actions_resend_of", "resend_of", unique=True),
)

# Which events one action is about; an event is never used twice by the same rule, except for what a
# person has sent again: there `rule` is `resend:` and the action's id.
action_events = Table(
    "action_events",
    metadata,
    Column("event_id", Id, ForeignKey("events.id"), primary_key=True),
    word("rule", primary_key=True),
    Column("action_id", Id, ForeignKey("actions.id"), nullable=False, index=True),
)

# One try to perform an action.
attempts = Table(
    "attempts",
    metadata,
    id_column(),
    Column("action_id", Id, ForeignKey("actions.id"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    word("outcome", nullable=False),  # the state it led to
    word("reason"),
    Column("detail", Text),  # receipt or the other side's answer, without addresses
)

# The action as it was prepared, kept 90 days: what was sent, or would have been.
copies = Table(
    "copies",
    metadata,
    Column("action_id", Id, ForeignKey("actions.id"), primary_key=True),
    Column("written_at", Instant, nullable=False),
    word("version", nullable=False),
    Column("recipient", Text),
    Column("title", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    word("media_type", nullable=False),
)
