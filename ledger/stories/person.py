"""One person's story: what happened to them, and what came of each thing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from ledger.tables import action_events, actions, attempts, copies, events


@dataclass(frozen=True, slots=True)
class Try:
    """One line in the history of an action."""

    at: datetime
    outcome: str
    reason: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class ActionStory:
    """One action: where it stands, why, and how it got there. `title` is of its copy."""

    action_id: int
    rule: str
    template: str | None
    state: str
    reason: str | None
    due_at: datetime
    finished_at: datetime | None
    receipt: str | None
    title: str | None = field(repr=False)
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True)
class EventStory:
    """One event and what came of it: actions, or the reason why there is none."""

    event_id: int
    kind: str
    happened_at: datetime
    found_at: datetime
    course_id: int
    course_member_id: int
    lesson_id: int | None
    reason: str | None
    actions: tuple[ActionStory, ...]


def story_of(connection: Connection, coworker_id: int) -> list[EventStory]:
    """Return everything that happened to one person, the earliest first."""
    rows = connection.execute(
        select(events)
        .where(events.c.coworker_id == coworker_id)
        .order_by(events.c.happened_at, events.c.id)
    ).all()
    told = _actions_by_event(connection, [row.id for row in rows])
    return [
        EventStory(
            row.id,
            row.kind,
            row.happened_at,
            row.found_at,
            row.course_id,
            row.course_member_id,
            row.lesson_id,
            row.reason,
            tuple(told.get(row.id, ())),
        )
        for row in rows
    ]


def _actions_by_event(
    connection: Connection, event_ids: Sequence[int]
) -> dict[int, list[ActionStory]]:
    rows = connection.execute(
        select(action_events.c.event_id, actions, copies.c.title)
        .join(actions, actions.c.id == action_events.c.action_id)
        .outerjoin(copies, copies.c.action_id == actions.c.id)
        .where(action_events.c.event_id.in_(event_ids))
        .order_by(actions.c.id)
    ).all()
    tries: dict[int, list[Try]] = {}
    for row in connection.execute(
        select(attempts)
        .where(attempts.c.action_id.in_({row.id for row in rows}))
        .order_by(attempts.c.id)
    ):
        tries.setdefault(row.action_id, []).append(Try(row.at, row.outcome, row.reason, row.detail))
    told: dict[int, list[ActionStory]] = {}
    for row in rows:
        story = ActionStory(
            row.id,
            row.rule,
            row.template,
            row.state,
            row.reason,
            row.due_at,
            row.finished_at,
            row.receipt,
            row.title,
            tuple(tries.get(row.id, ())),
        )
        told.setdefault(row.event_id, []).append(story)
    return told
