"""Events of a window and their outcomes: actions, attempts, and the links between them.

Links to missing rows are included: the certificate reports them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Table, func, select

from ledger.engine import MANY_AT_ONCE, among, chunks
from ledger.tables import action_events, actions, attempts, events
from schemas.events import EventKind


class LedgerEvent(NamedTuple):
    """One event. `reason`: why it led to no action."""

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
        """Whether the source dated it in the future, so that the time it was found counts."""
        return self.happened_at == self.found_at


class LedgerAction(NamedTuple):
    """One action. `audience` is whom it is to; None: the member. `tries`: each attempt's result."""

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
    audience: str | None = None
    tries: tuple[tuple[str, str | None], ...] = ()


# The columns in the order of the fields above.
_HAPPENED = ("id", *(name for name in LedgerEvent._fields if name != "event_id"))
_OTHERWISE = {"action_id": actions.c.id, "has_receipt": actions.c.receipt.is_not(None)}
_EFFECT = tuple(
    _OTHERWISE[name] if name in _OTHERWISE else actions.c[name]
    for name in LedgerAction._fields
    if name != "tries"
)


class Link(NamedTuple):
    """Which event an action is about; either may be missing."""

    event_id: int
    action_id: int


@dataclass(slots=True)
class Outcomes:
    """The outcomes of events: actions by id, and their links to events."""

    effects: dict[int, LedgerAction] = field(default_factory=dict)
    links: set[Link] = field(default_factory=set)


def events_between(
    connection: Connection, since: datetime, until: datetime
) -> dict[str, LedgerEvent]:
    """Return the events from `since` on and before `until`, by key."""
    return _happened(connection, _within(events, since, until))


def events_by_key(connection: Connection, keys: Collection[str]) -> dict[str, LedgerEvent]:
    """Return the events with these keys, by key."""
    found: dict[str, LedgerEvent] = {}
    for some in chunks(keys, MANY_AT_ONCE):
        found.update(_happened(connection, among(connection.dialect.name, events.c.key), some))
    return found


def _happened(
    connection: Connection, where: ColumnElement[bool], these: Sequence[str] = ()
) -> dict[str, LedgerEvent]:
    wanted = select(*(events.c[name] for name in _HAPPENED)).where(where)
    rows = connection.execute(wanted, {"these": these} if these else {}).all()
    return {row[1]: LedgerEvent._make(row) for row in rows}


def first_lessons(
    connection: Connection, coworker_ids: Collection[int]
) -> dict[tuple[int, int], datetime]:
    """Return when each of these people first completed a lesson, by course and person."""
    found: dict[tuple[int, int], datetime] = {}
    wanted = (
        select(events.c.course_id, events.c.coworker_id, func.min(events.c.happened_at))
        .where(
            events.c.kind == EventKind.LESSON_COMPLETED,
            among(connection.dialect.name, events.c.coworker_id),
        )
        .group_by(events.c.course_id, events.c.coworker_id)
    )
    for some in chunks(coworker_ids, MANY_AT_ONCE):
        rows = connection.execute(wanted, {"these": some})
        found.update({(row[0], row[1]): row[2] for row in rows})
    return found


def outcomes_of(
    connection: Connection, event_ids: Collection[int], since: datetime, until: datetime
) -> Outcomes:
    """Return the actions about these events, and all whose first event was in the window."""
    found = Outcomes()
    for some in chunks(event_ids, MANY_AT_ONCE):
        found.links |= _links(connection, action_events.c.event_id, some)
    wanted = {link.action_id for link in found.links}
    wanted |= set(connection.scalars(select(actions.c.id).where(_within(actions, since, until))))
    for some in chunks(wanted, MANY_AT_ONCE):
        found.links |= _links(connection, action_events.c.action_id, some)
        found.effects |= _effects(connection, some)
    return found


def existing_events(connection: Connection, event_ids: Collection[int]) -> set[int]:
    """Return which of these event ids exist."""
    found: set[int] = set()
    wanted = select(events.c.id).where(among(connection.dialect.name, events.c.id))
    for some in chunks(event_ids, MANY_AT_ONCE):
        found |= set(connection.scalars(wanted, {"these": some}))
    return found


def count_between(connection: Connection, since: datetime, until: datetime) -> tuple[int, int]:
    """Count the events of a window, and the actions about them, in the database."""
    counted = [
        connection.scalar(
            select(func.count()).select_from(table).where(_within(table, since, until))
        )
        for table in (events, actions)
    ]
    return counted[0] or 0, counted[1] or 0


def _within(table: Table, since: datetime, until: datetime) -> ColumnElement[bool]:
    return (table.c.happened_at >= since) & (table.c.happened_at < until)


def _links(connection: Connection, column: Column[Any], these: list[int]) -> set[Link]:
    wanted = select(action_events.c.event_id, action_events.c.action_id)
    rows = connection.execute(
        wanted.where(among(connection.dialect.name, column)), {"these": these}
    ).all()
    return set(map(Link._make, rows))


def _effects(connection: Connection, action_ids: list[int]) -> dict[int, LedgerAction]:
    tries: dict[int, tuple[tuple[str, str | None], ...]] = {}
    these = {"these": action_ids}
    tried = connection.execute(
        select(attempts.c.action_id, attempts.c.outcome, attempts.c.reason)
        .where(among(connection.dialect.name, attempts.c.action_id))
        .order_by(attempts.c.id),
        these,
    ).all()
    for action_id, outcome, reason in tried:
        tries[action_id] = (*tries.get(action_id, ()), (outcome, reason))
    wanted = select(*_EFFECT).where(among(connection.dialect.name, actions.c.id))
    rows = connection.execute(wanted, these).all()
    return {row[0]: LedgerAction._make((*row, tries.get(row[0], ()))) for row in rows}
