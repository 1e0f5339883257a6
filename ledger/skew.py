"""Finds and corrects times that a clock left in the future.

Once a clock that was ahead is corrected, the ledger has times in the future. Nothing waits for
them: a lease longer than any taken now is expired, a heartbeat from the future is
ignored, and a wait longer than the longest possible one ends.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    SQLColumnExpression,
    Table,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)

from ledger.engine import chunks
from ledger.tables import (
    DUE_LOOKUPS,
    UNFINISHED_REPORTS,
    WAITING_ACTIONS,
    WAITING_LOOKUPS,
    actions,
    lookups,
    outages,
    reports,
)
from schemas.actions import OPEN_ACTIONS, ActionState
from schemas.events import TOLERANCE
from schemas.reasons import Reason


def is_lease_over(
    until: SQLColumnExpression[Any], now: datetime, lease_s: float
) -> ColumnElement[bool]:
    """Return the condition that a lease of `lease_s` seconds ended, or a clock ahead took it."""
    return or_(until <= now, until > latest_lease(now, lease_s))


def is_lease_over_now(until: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """Return the same for a query that is built once and executed with `lease_values`."""
    return or_(until <= bindparam("now"), until > bindparam("latest"))


def lease_values(now: datetime, lease_s: float) -> dict[str, datetime]:
    """Return the values of such a query, and `until` when a lease taken now lasts."""
    until = now + timedelta(seconds=lease_s)
    return {"now": now, "latest": latest_lease(now, lease_s), "until": until}


def latest_lease(now: datetime, lease_s: float) -> datetime:
    """Return the latest time until which a lease taken by `now` can last, whatever the clock."""
    return now + timedelta(seconds=lease_s) + TOLERANCE


def clock_ahead(connection: Connection, now: datetime) -> timedelta | None:
    """Return how far `now` is ahead of the database server's clock; None for SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    server: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now - server


def end_far_waits(
    connection: Connection,
    now: datetime,
    longest: Mapping[Reason, timedelta],
    of_reports: Mapping[Reason, timedelta],
) -> int:
    """Make rows due that wait longer than any wait starting now would; return how many.

    `longest` has the longest wait for each reason, and `of_reports` that of reports. Other waits
    are not changed: people or records set their end.
    """
    latest = now + TOLERANCE
    is_far = (
        and_(outages.c.reason == reason, outages.c.until > latest + length)
        for reason, length in longest.items()
    )
    changed = connection.execute(update(outages).where(or_(*is_far)).values(until=now))
    number = changed.rowcount
    for table, where in (*_far_rows(latest, longest), *_far_reports(latest, of_reports)):
        # Skips rows that another worker has locked, so that two transactions never deadlock. Read
        # first: in one statement PostgreSQL may read a whole table to find these.
        far = select(table.c.id).where(where).with_for_update(skip_locked=True)
        for some in chunks(list(connection.scalars(far))):
            is_far_row = table.c.id.in_(some)
            number += connection.execute(
                update(table).where(is_far_row).values(due_at=now)
            ).rowcount
    return number


def skip_reports_ahead(connection: Connection, name: str, audience: str, now: datetime) -> int:
    """Skip reports about a time that is not over, which a clock that was ahead planned.

    Without an audience those of all are skipped. Returns how many.
    """
    is_its_reader = (reports.c.audience == audience,) if audience else ()
    changed = connection.execute(
        update(reports)
        .where(
            UNFINISHED_REPORTS,
            reports.c.state.in_(OPEN_ACTIONS),
            reports.c.name == name,
            reports.c.period_to > now,
            *is_its_reader,
        )
        .values(
            state=ActionState.SKIPPED,
            reason=Reason.NOTHING_HAPPENED,
            finished_at=now,
            lease_until=None,
            lease_token=None,
        )
    )
    return changed.rowcount


def _far_rows(
    latest: datetime, longest: Mapping[Reason, timedelta]
) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield a condition for each range of an index that should be empty, with its table."""
    # A due lookup has no wait of its own, and a person released an action without a reason.
    yield lookups, and_(DUE_LOOKUPS, lookups.c.due_at > latest)
    yield actions, and_(WAITING_ACTIONS, actions.c.reason.is_(None), actions.c.due_at > latest)
    for length, reasons in _by_length(longest).items():
        for table, waits in ((lookups, WAITING_LOOKUPS), (actions, WAITING_ACTIONS)):
            is_far = table.c.due_at > latest + length
            yield table, and_(waits, table.c.reason.in_(reasons), is_far)


def _far_reports(
    latest: datetime, longest: Mapping[Reason, timedelta]
) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield the same for reports. One about a time that is not over yet waits for its end."""
    is_over = or_(reports.c.period_to.is_(None), reports.c.period_to <= latest)
    for length, reasons in _by_length(longest).items():
        is_far = reports.c.due_at > latest + length
        yield reports, and_(UNFINISHED_REPORTS, reports.c.reason.in_(reasons), is_far, is_over)
    # An alert is planned for the morning at the latest.
    is_far = reports.c.due_at > latest + longest[Reason.QUIET_HOURS]
    is_alert = and_(reports.c.period_to.is_(None), reports.c.state == ActionState.PLANNED)
    yield reports, and_(UNFINISHED_REPORTS, is_alert, is_far)


def _by_length(longest: Mapping[Reason, timedelta]) -> dict[timedelta, list[Reason]]:
    by_length: dict[timedelta, list[Reason]] = {}
    for reason, length in longest.items():
        by_length.setdefault(length, []).append(reason)
    return by_length
