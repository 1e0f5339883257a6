"""What happened in a window of time, and what came of it, with all that links the two.

Rows that point at others are returned also where these are missing: whoever asks wants to know.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from ledger.tables import action_events, actions, attempts, events
from ledger.upsert import portions
from schemas.events import EventKind


@dataclass(frozen=True, slots=True)
class Happened:
    """One event. `reason` is why it led to no action."""

    event_id: int
    key: str
    kind: str
    happened_at: datetime
    course_id: int
    coworker_id: int
    course_member_id: int
    lesson_id: int | None
    reason: str | None
    found_at: datetime

    @property
    def was_dated_ahead(self) -> bool:
        """Whether the source dated it later than when it was found, which then counts."""
        return self.happened_at == self.found_at


@dataclass(frozen=True, slots=True)
class Effect:
    """One action. `tries` are outcome and reason of each line of its history."""

    action_id: int
    key: str
    rule: str
    rules_version: str
    event_kind: str
    state: str
    reason: str | None
    happened_at: datetime
    course_id: int
    coworker_id: int
    course_member_id: int
    attempts: int
    has_receipt: bool
    planned_at: datetime
    tries: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """Which event an action is about; either may be missing."""

    event_id: int
    action_id: int


@dataclass(slots=True)
class Outcomes:
    """What came of events: actions by their id, and what links them."""

    effects: dict[int, Effect] = field(default_factory=dict)
    links: set[Link] = field(default_factory=set)


def happened_between(
    connection: Connection, since: datetime, until: datetime
) -> dict[str, Happened]:
    """Return the events from `since` on and before `until`, by their keys."""
    then = (events.c.happened_at >= since) & (events.c.happened_at < until)
    return _happened(connection, then)


def happened_by_key(connection: Connection, keys: Collection[str]) -> dict[str, Happened]:
    """Return the events with these keys."""
    found: dict[str, Happened] = {}
    for some in portions(keys):
        found.update(_happened(connection, events.c.key.in_(some)))
    return found


def _happened(connection: Connection, where: ColumnElement[bool]) -> dict[str, Happened]:
    return {row.key: _event(row) for row in connection.execute(select(events).where(where))}


def _event(row: Row[Any]) -> Happened:
    return Happened(
        row.id,
        row.key,
        row.kind,
        row.happened_at,
        row.course_id,
        row.coworker_id,
        row.course_member_id,
        row.lesson_id,
        row.reason,
        row.found_at,
    )


def first_lessons(
    connection: Connection, coworker_ids: Collection[int]
) -> dict[tuple[int, int], datetime]:
    """Return when each of these people first finished a lesson, by course and person."""
    found: dict[tuple[int, int], datetime] = {}
    for some in portions(coworker_ids):
        rows = connection.execute(
            select(events.c.course_id, events.c.coworker_id, func.min(events.c.happened_at))
            .where(events.c.kind == EventKind.LESSON_COMPLETED, events.c.coworker_id.in_(some))
            .group_by(events.c.course_id, events.c.coworker_id)
        )
        found.update({(row[0], row[1]): row[2] for row in rows})
    return found


def outcomes_of(
    connection: Connection, event_ids: Collection[int], since: datetime, until: datetime
) -> Outcomes:
    """Return the actions about these events, and all whose first event was in that time."""
    found = Outcomes()
    wanted: set[int] = set()
    for some in portions(event_ids):
        rows = connection.execute(select(action_events).where(action_events.c.event_id.in_(some)))
        found.links |= {Link(row.event_id, row.action_id) for row in rows}
    wanted |= {link.action_id for link in found.links}
    then = (actions.c.happened_at >= since) & (actions.c.happened_at < until)
    wanted |= set(connection.scalars(select(actions.c.id).where(then)))
    for some in portions(wanted):
        rows = connection.execute(select(action_events).where(action_events.c.action_id.in_(some)))
        found.links |= {Link(row.event_id, row.action_id) for row in rows}
        found.effects |= _effects(connection, some)
    return found


def ids_there(connection: Connection, event_ids: Collection[int]) -> set[int]:
    """Return those ids that are ids of events."""
    found: set[int] = set()
    for some in portions(event_ids):
        found |= set(connection.scalars(select(events.c.id).where(events.c.id.in_(some))))
    return found


def _effects(connection: Connection, action_ids: list[Any]) -> dict[int, Effect]:
    tries: dict[int, list[tuple[str, str | None]]] = {}
    for row in connection.execute(
        select(attempts.c.action_id, attempts.c.outcome, attempts.c.reason)
        .where(attempts.c.action_id.in_(action_ids))
        .order_by(attempts.c.id)
    ):
        tries.setdefault(row.action_id, []).append((row.outcome, row.reason))
    return {
        row.id: Effect(
            row.id,
            row.key,
            row.rule,
            row.rules_version,
            row.event_kind,
            row.state,
            row.reason,
            row.happened_at,
            row.course_id,
            row.coworker_id,
            row.course_member_id,
            row.attempts,
            row.receipt is not None,
            row.planned_at,
            tuple(tries.get(row.id, ())),
        )
        for row in connection.execute(select(actions).where(actions.c.id.in_(action_ids)))
    }
