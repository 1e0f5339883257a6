"""Reads the ledger for people: one person's story, the whole in numbers, what is going on.

Changes nothing. Addresses leave here whole; whoever shows them shortens them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Select, Table, func, select

from ledger.tables import (
    action_events,
    actions,
    attempts,
    copies,
    deliveries,
    events,
    lookups,
    notifications,
)
from ledger.tables import people as people_table
from schemas.states import ActionState


@dataclass(frozen=True, slots=True)
class Try:
    """One line in the history of an action."""

    at: datetime
    outcome: str
    reason: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class ActionStory:
    """One action: where it stands, why, and how it got there. `subject` is of its copy."""

    action_id: int
    rule: str
    template: str | None
    state: str
    reason: str | None
    due_at: datetime
    finished_at: datetime | None
    receipt: str | None
    subject: str | None = field(repr=False)
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
        select(action_events.c.event_id, actions, copies.c.subject)
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
            row.subject,
            tuple(tries.get(row.id, ())),
        )
        told.setdefault(row.event_id, []).append(story)
    return told


@dataclass(frozen=True, slots=True)
class Tally:
    """The whole in numbers. Counts are by state, then by reason ("" for none)."""

    deliveries: int
    unreadable_deliveries: int
    notifications: int
    events: int
    lookups: dict[str, dict[str, int]]
    actions: dict[str, dict[str, int]]
    events_without_action: dict[str, int]
    oldest_due_at: datetime | None


def tally(connection: Connection, now: datetime) -> Tally:
    """Count everything."""
    oldest = connection.scalar(
        select(func.min(actions.c.due_at)).where(
            actions.c.state.in_([ActionState.PLANNED, ActionState.WAITING]),
            actions.c.due_at <= now,
        )
    )
    without = connection.execute(
        select(events.c.reason, func.count().label("number"))
        .where(events.c.reason.is_not(None))
        .group_by(events.c.reason)
    )
    return Tally(
        deliveries=_count(connection, select(func.count()).select_from(deliveries)),
        unreadable_deliveries=_count(
            connection,
            select(func.count()).select_from(deliveries).where(deliveries.c.error.is_not(None)),
        ),
        notifications=_count(connection, select(func.count()).select_from(notifications)),
        events=_count(connection, select(func.count()).select_from(events)),
        lookups=_by_state(connection, lookups),
        actions=_by_state(connection, actions),
        events_without_action={row.reason: row.number for row in without},
        oldest_due_at=oldest,
    )


def _count(connection: Connection, statement: Select[int]) -> int:
    return connection.scalar(statement) or 0


def _by_state(connection: Connection, table: Table) -> dict[str, dict[str, int]]:
    rows = connection.execute(
        select(table.c.state, table.c.reason, func.count().label("number")).group_by(
            table.c.state, table.c.reason
        )
    )
    counted: dict[str, dict[str, int]] = {}
    for row in rows:
        counted.setdefault(row.state, {})[row.reason or ""] = row.number
    return counted


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of what is going on: an event that was found, or a step of an action."""

    at: datetime
    what: str
    name: str | None
    rule: str | None
    outcome: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far somebody has read."""

    event_id: int
    attempt_id: int


def newest(connection: Connection, back: int) -> Bookmark:
    """Return a bookmark `back` lines before the end of each of the two."""
    event_id = connection.scalar(select(func.max(events.c.id))) or 0
    attempt_id = connection.scalar(select(func.max(attempts.c.id))) or 0
    return Bookmark(max(0, event_id - back), max(0, attempt_id - back))


def happenings(connection: Connection, mark: Bookmark) -> tuple[list[Happening], Bookmark]:
    """Return what happened since the bookmark, the earliest first, and the next bookmark."""
    found = connection.execute(
        select(events.c.id, events.c.found_at, events.c.kind, events.c.reason)
        .add_columns(people_table.c.full_name)
        .outerjoin(people_table, people_table.c.coworker_id == events.c.coworker_id)
        .where(events.c.id > mark.event_id)
        .order_by(events.c.id)
    ).all()
    tried = connection.execute(
        select(attempts.c.id, attempts.c.at, attempts.c.outcome, attempts.c.reason)
        .add_columns(people_table.c.full_name, actions.c.rule)
        .join(actions, actions.c.id == attempts.c.action_id)
        .outerjoin(people_table, people_table.c.coworker_id == actions.c.coworker_id)
        .where(attempts.c.id > mark.attempt_id)
        .order_by(attempts.c.id)
    ).all()
    lines = [
        Happening(row.found_at, row.kind, row.full_name, None, None, row.reason) for row in found
    ] + [
        Happening(row.at, "action", row.full_name, row.rule, row.outcome, row.reason)
        for row in tried
    ]
    return sorted(lines, key=lambda line: line.at), Bookmark(
        found[-1].id if found else mark.event_id, tried[-1].id if tried else mark.attempt_id
    )
