"""The whole in numbers."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, Table, TextClause, func, select

from ledger.tables import (
    FAILED_LOOKUPS,
    UNDECIDED_ACTIONS,
    actions,
    deliveries,
    events,
    lookups,
    notifications,
)
from schemas.states import ActionState, LookupState


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


@dataclass(frozen=True, slots=True)
class Undecided:
    """What a person may have to look at: held, unknown and failed actions, and failed look-ups.

    Actions are counted by state, then by reason ("" for none), look-ups by reason.
    """

    actions: dict[str, dict[str, int]]
    lookups: dict[str, int]


def undecided(connection: Connection) -> Undecided:
    """Count what a person may have to look at. Emails that were sent again count no longer."""
    again = actions.alias("again")
    is_sent_again = select(again.c.id).where(again.c.resend_of == actions.c.id).exists()
    ended = _by_state(connection, lookups, FAILED_LOOKUPS)
    return Undecided(
        _by_state(connection, actions, UNDECIDED_ACTIONS, ~is_sent_again),
        ended.get(LookupState.FAILED, {}),
    )


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


def _by_state(
    connection: Connection, table: Table, *where: ColumnElement[bool] | TextClause
) -> dict[str, dict[str, int]]:
    counting = select(table.c.state, table.c.reason, func.count().label("number")).where(*where)
    rows = connection.execute(counting.group_by(table.c.state, table.c.reason))
    counted: dict[str, dict[str, int]] = {}
    for row in rows:
        counted.setdefault(row.state, {})[row.reason or ""] = row.number
    return counted
