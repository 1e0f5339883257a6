"""What is going on: events as they are found, and steps of actions as they are made."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from ledger.tables import actions, attempts, events
from ledger.tables import people as people_table


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of what is going on: an event that was found, or a step of an action.

    `action_id` is None for an event.
    """

    at: datetime
    what: str
    name: str | None
    rule: str | None
    outcome: str | None
    reason: str | None
    action_id: int | None = None


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
        .add_columns(people_table.c.full_name, actions.c.rule, attempts.c.action_id)
        .join(actions, actions.c.id == attempts.c.action_id)
        .outerjoin(people_table, people_table.c.coworker_id == actions.c.coworker_id)
        .where(attempts.c.id > mark.attempt_id)
        .order_by(attempts.c.id)
    ).all()
    lines = [
        Happening(row.found_at, row.kind, row.full_name, None, None, row.reason) for row in found
    ] + [
        Happening(
            row.at,
            "action",
            row.full_name,
            row.rule,
            row.outcome,
            row.reason,
            row.action_id,
        )
        for row in tried
    ]
    return sorted(lines, key=lambda line: line.at), Bookmark(
        found[-1].id if found else mark.event_id, tried[-1].id if tried else mark.attempt_id
    )
