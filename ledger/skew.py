"""Finds and corrects times that a clock left in the future.

Once a clock that was ahead is corrected, the ledger has times in the future. Nothing waits for
them: a lease longer than any taken now is expired, a heartbeat from the future is
ignored, and a wait longer than the longest possible one ends.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    SQLColumnExpression,
    Table,
    and_,
    func,
    or_,
    select,
    update,
)

from ledger.tables import UNFINISHED_ACTIONS, UNFINISHED_LOOKUPS, actions, lookups, outages
from schemas.actions import ActionState, LookupState
from schemas.events import TOLERANCE
from schemas.reasons import Reason


def is_lease_over(
    until: SQLColumnExpression[Any], now: datetime, lease_s: float
) -> ColumnElement[bool]:
    """Return the condition that a lease of `lease_s` seconds ended, or a clock ahead took it."""
    latest = now + timedelta(seconds=lease_s) + TOLERANCE
    return or_(until <= now, until > latest)


def clock_ahead(connection: Connection, now: datetime) -> timedelta | None:
    """Return how far `now` is ahead of the database server's clock; None for SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    server: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now - server


def end_far_waits(
    connection: Connection, now: datetime, longest: Mapping[Reason, timedelta]
) -> int:
    """Make rows due that wait longer than any wait starting now would; return how many.

    `longest` has the longest wait for each reason. Other waits are not changed: people or records
    set their end.
    """
    latest = now + TOLERANCE
    is_far = (
        and_(outages.c.reason == reason, outages.c.until > latest + length)
        for reason, length in longest.items()
    )
    changed = connection.execute(update(outages).where(or_(*is_far)).values(until=now))
    number = changed.rowcount
    # Skips rows that another worker has locked, so that two transactions never deadlock.
    for table, where in (
        (lookups, _far_lookups(latest, longest)),
        (actions, _far_actions(latest, longest)),
    ):
        far = select(table.c.id).where(where).with_for_update(skip_locked=True)
        changed = connection.execute(update(table).where(table.c.id.in_(far)).values(due_at=now))
        number += changed.rowcount
    return number


def _far_lookups(latest: datetime, longest: Mapping[Reason, timedelta]) -> ColumnElement[bool]:
    waits = and_(lookups.c.state == LookupState.WAITING, _is_far(lookups, latest, longest))
    return and_(
        UNFINISHED_LOOKUPS,
        lookups.c.due_at > latest,
        or_(lookups.c.state == LookupState.DUE, waits),  # a due lookup has no wait of its own
    )


def _far_actions(latest: datetime, longest: Mapping[Reason, timedelta]) -> ColumnElement[bool]:
    return and_(
        UNFINISHED_ACTIONS,
        actions.c.due_at > latest,
        actions.c.state == ActionState.WAITING,
        # Without a reason, a person released it.
        or_(actions.c.reason.is_(None), _is_far(actions, latest, longest)),
    )


def _is_far(
    table: Table, latest: datetime, longest: Mapping[Reason, timedelta]
) -> ColumnElement[bool]:
    return or_(
        *(
            and_(table.c.reason == reason, table.c.due_at > latest + length)
            for reason, length in longest.items()
        )
    )
