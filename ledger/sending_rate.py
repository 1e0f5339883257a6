"""Limits how many actions of a kind are performed in a time, for all workers together.

An action beyond the rate waits for its turn: a time of its own, after the turns of all that waited
before it, so they keep the order in which they were due. Turns are an order and a forecast. What
decides is what was performed in the last while, which is counted again when a turn comes.

Reports are emails too, and take places. An alert gets the next that becomes free, before actions.
Of the places that digests and summaries share with actions, they get half while both wait: neither
keeps the other waiting, however many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    func,
    insert,
    not_,
    select,
    update,
)

from ledger.engine import lock_decisions
from ledger.skew import is_lease_over
from ledger.tables import (
    PENDING_ACTIONS,
    UNFINISHED_ACTIONS,
    UNFINISHED_REPORTS,
    WAITING_ACTIONS,
    actions,
    attempts,
    reports,
)
from schemas.actions import OPEN_ACTIONS, ActionState
from schemas.events import TOLERANCE
from schemas.reasons import Reason
from schemas.settings import SendingRate

_AT_ONCE = 1_000  # get their turns in one transaction; the rest is due and follows in the next
_PERFORMED = (ActionState.DONE, ActionState.UNKNOWN)


_TURN = and_(WAITING_ACTIONS, actions.c.reason == Reason.MAIL_RATE)
_ALERT = reports.c.period_to.is_(None)
_DIGEST = reports.c.period_to.is_not(None)  # or a summary
_OPEN_REPORTS = and_(UNFINISHED_REPORTS, reports.c.state.in_(OPEN_ACTIONS))
_REPORT_TURN = and_(
    UNFINISHED_REPORTS,
    reports.c.state == ActionState.WAITING,
    reports.c.reason == Reason.MAIL_RATE,
)


@dataclass(frozen=True, slots=True)
class _Due:
    action_id: int
    reason: str | None
    due_at: datetime


def may_begin(
    connection: Connection, kind: str, rate: SendingRate, now: datetime, *, lease_s: float
) -> bool:
    """Return whether the longest due action of this kind may be claimed now; the others wait.

    On PostgreSQL, claims wait for each other from here to the end of the transaction, so that two
    workers never take the same place. `lease_s` is how long workers claim actions.
    """
    is_ours = and_(PENDING_ACTIONS, actions.c.kind == kind)
    is_due = and_(is_ours, actions.c.due_at <= now, not_(_is_leased(actions, now, lease_s)))
    if not _is_any(connection, actions, is_due):
        return True
    lock_decisions(connection)
    due = _rows(connection, is_due)
    queue_ends_at, strays = _queue(connection, kind, rate, now)
    used = _used(connection, kind, rate, now, lease_s) + _reserved(connection, rate, now, lease_s)
    free = max(0, rate.emails - used)
    if free and queue_ends_at is None and not strays:
        return True
    new = [row for row in due if row.reason != Reason.MAIL_RATE]
    line = [row for row in due if row.reason == Reason.MAIL_RATE] + strays
    line, behind = (line + new, []) if queue_ends_at is None else (line, new)
    goes, waits = line[:free], line[free:]
    opens_at = _opens_at(connection, kind, rate, now, used + len(goes) - rate.emails)
    turns = [(row, now) for row in goes if row.due_at > now]
    turns += [(row, opens_at + at * rate.step) for at, row in enumerate(waits)]
    last = max([queue_ends_at or opens_at, *(at for _, at in turns)])
    turns += [(row, last + at * rate.step) for at, row in enumerate(behind, start=1)]
    _give(connection, turns, now)
    return bool(goes)


def may_report(
    connection: Connection, kind: str, rate: SendingRate, now: datetime, *, lease_s: float
) -> bool:
    """Return whether a due report may be claimed now, as an action of this kind; the others wait.

    Locks as `may_begin`.
    """
    _bring_forward(connection, rate, now)
    is_due = and_(_OPEN_REPORTS, reports.c.due_at <= now, not_(_is_leased(reports, now, lease_s)))
    if not _is_any(connection, reports, is_due):
        return True
    lock_decisions(connection)
    above = _used(connection, kind, rate, now, lease_s) - rate.emails
    if above >= 0:
        opens_at = _opens_at(connection, kind, rate, now, above)
        _let_wait(connection, is_due, opens_at, rate)
        return False
    # `ledger.reports.claim_report` claims alerts first.
    if _is_any(connection, reports, and_(is_due, _ALERT)):
        return True
    left = _left_for_digests(connection, rate, now, lease_s)
    if left > 0 or not _do_actions_wait(connection, kind, now, lease_s):
        return True
    _let_wait(connection, is_due, _shares_at(connection, rate, now, -left), rate)
    return False


def _let_wait(
    connection: Connection, is_due: ColumnElement[bool], begin: datetime, rate: SendingRate
) -> None:
    """Give due reports their turns from then on, alerts first."""
    ids = select(reports.c.id).where(is_due).order_by(_DIGEST, reports.c.due_at, reports.c.id)
    due = connection.scalars(ids.limit(_AT_ONCE).with_for_update(skip_locked=True)).all()
    for at, report_id in enumerate(due):
        wait = {"state": ActionState.WAITING, "reason": Reason.MAIL_RATE}
        is_it = and_(reports.c.id == report_id, _OPEN_REPORTS)
        turn = begin + at * rate.step
        connection.execute(update(reports).where(is_it).values(**wait, due_at=turn))


def _bring_forward(connection: Connection, rate: SendingRate, now: datetime) -> None:
    """Make reports due whose turns are too late for so many: see `_queue`."""
    is_queued = and_(_REPORT_TURN, reports.c.due_at > now)
    last, number = connection.execute(
        select(func.max(reports.c.due_at), func.count()).where(is_queued)
    ).one()
    if last is not None and last > now + rate.window + number * rate.step + TOLERANCE:
        connection.execute(update(reports).where(is_queued).values(due_at=now))


def end_turns(connection: Connection, now: datetime) -> None:
    """Let all that wait for their turns go now, since there is no rate any more."""
    waiting = select(actions.c.id).where(_TURN, actions.c.due_at > now)
    of_these = actions.c.id.in_(waiting.with_for_update(skip_locked=True))
    connection.execute(update(actions).where(of_these).values(due_at=now))
    connection.execute(update(reports).where(_REPORT_TURN).values(due_at=now))


def _rows(connection: Connection, where: ColumnElement[bool]) -> list[_Due]:
    # Skips rows that another worker has locked, so that two transactions never deadlock.
    rows = connection.execute(
        select(actions.c.id, actions.c.reason, actions.c.due_at)
        .where(where)
        .order_by(actions.c.due_at, actions.c.id)
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return [_Due(*row) for row in rows]


def _is_leased(table: Table, now: datetime, lease_s: float) -> ColumnElement[bool]:
    is_over = is_lease_over(table.c.lease_until, now, lease_s)
    return and_(table.c.lease_until.is_not(None), not_(is_over))


def _queue(
    connection: Connection, kind: str, rate: SendingRate, now: datetime
) -> tuple[datetime | None, list[_Due]]:
    """Return the last turn to come; if it is too late for so many, None and all that wait.

    It is too late after the rate was raised, and after a clock was ahead.
    """
    is_queued = and_(_TURN, actions.c.kind == kind, actions.c.due_at > now)
    last, number = connection.execute(
        select(func.max(actions.c.due_at), func.count()).where(is_queued)
    ).one()
    if last is None:
        return None, []
    latest: datetime = now + rate.window + number * rate.step + TOLERANCE
    return (last, []) if last <= latest else (None, _rows(connection, is_queued))


def _used(
    connection: Connection, kind: str, rate: SendingRate, now: datetime, lease_s: float
) -> int:
    """Count the places that are taken, by what was performed and by what workers have claimed.

    What is claimed takes its place before it begins.
    """
    is_ours = and_(UNFINISHED_ACTIONS, actions.c.kind == kind, actions.c.due_at <= now)
    claimed = and_(UNFINISHED_REPORTS, reports.c.due_at <= now)
    return (
        _count(connection, actions, and_(is_ours, _is_leased(actions, now, lease_s)))
        + _count(connection, reports, and_(claimed, _is_leased(reports, now, lease_s)))
        + _count(
            connection, actions, and_(_went(actions, rate.window, now), actions.c.kind == kind)
        )
        + _count(connection, reports, _went(reports, rate.window, now))
    )


def _reserved(connection: Connection, rate: SendingRate, now: datetime, lease_s: float) -> int:
    """Count the places that due reports get before actions, if it is not long since they were due.

    Later no one may be there who sends them.
    """
    came = and_(reports.c.due_at <= now, reports.c.due_at > now - rate.window)
    came = and_(came, not_(_is_leased(reports, now, lease_s)))
    digests = _count(connection, reports, and_(_REPORT_TURN, _DIGEST, came))
    left = max(0, _left_for_digests(connection, rate, now, lease_s)) if digests else 0
    return _count(connection, reports, and_(_OPEN_REPORTS, _ALERT, came)) + min(digests, left)


def _share(rate: SendingRate) -> tuple[int, timedelta]:
    """Return how many digests may go in which time while actions wait: every second email."""
    return (1, 2 * rate.window) if rate.emails == 1 else (rate.emails // 2, rate.window)


def _left_for_digests(
    connection: Connection, rate: SendingRate, now: datetime, lease_s: float
) -> int:
    """Count what is left of the share of digests; below zero if they took more."""
    most, window = _share(rate)
    claimed = and_(UNFINISHED_REPORTS, reports.c.due_at <= now, _is_leased(reports, now, lease_s))
    taken = _count(connection, reports, and_(claimed, _DIGEST))
    return most - taken - _count(connection, reports, and_(_went(reports, window, now), _DIGEST))


def _shares_at(connection: Connection, rate: SendingRate, now: datetime, above: int) -> datetime:
    """Return when digests get their next share, if they took as many as `above` more than it."""
    window = _share(rate)[1]
    ended = select(reports.c.finished_at).where(_went(reports, window, now), _DIGEST)
    return _end_of(connection, ended, above, now) + window


def _do_actions_wait(connection: Connection, kind: str, now: datetime, lease_s: float) -> bool:
    """Return whether actions of this kind are due, or wait for their turns."""
    is_due = and_(PENDING_ACTIONS, actions.c.kind == kind, actions.c.due_at <= now)
    return _is_any(connection, actions, and_(is_due, not_(_is_leased(actions, now, lease_s)))) or (
        _is_any(connection, actions, and_(_TURN, actions.c.kind == kind))
    )


def _is_any(connection: Connection, table: Table, where: ColumnElement[bool]) -> bool:
    return connection.scalar(select(table.c.id).where(where).limit(1)) is not None


def _count(connection: Connection, table: Table, where: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(where)) or 0


def _went(table: Table, window: timedelta, now: datetime) -> ColumnElement[bool]:
    # A later time is from a clock that was ahead, and takes no place.
    return and_(
        table.c.finished_at > now - window,
        table.c.finished_at <= now + TOLERANCE,
        table.c.state.in_(_PERFORMED),
    )


def _opens_at(
    connection: Connection, kind: str, rate: SendingRate, now: datetime, above: int
) -> datetime:
    """Return when a place becomes free, if as many as `above` more than the rate are taken."""
    if above < 0:
        return now
    window = rate.window
    of_actions = select(actions.c.finished_at).where(
        _went(actions, window, now), actions.c.kind == kind
    )
    both = of_actions.union_all(select(reports.c.finished_at).where(_went(reports, window, now)))
    ended = select(both.subquery().c.finished_at)
    return _end_of(connection, ended, above, now) + window


def _end_of(
    connection: Connection, ended: Select[datetime], number: int, now: datetime
) -> datetime:
    """Return the end of the one after so many; now, if so many did not end yet."""
    [column] = ended.selected_columns
    found: datetime | None = connection.scalar(ended.order_by(column).offset(number).limit(1))
    return found or now


def _give(connection: Connection, turns: Sequence[tuple[_Due, datetime]], now: datetime) -> None:
    """Let these wait until their turns; the history of each says so once."""
    if not turns:
        return
    wait = {"state": ActionState.WAITING, "reason": Reason.MAIL_RATE}
    connection.execute(
        update(actions)
        .where(actions.c.id == bindparam("one"), PENDING_ACTIONS)
        .values(**wait, due_at=bindparam("turn")),
        [{"one": row.action_id, "turn": at} for row, at in turns],
    )
    new = [row.action_id for row, _ in turns if row.reason != Reason.MAIL_RATE]
    if new:
        outcome = {"at": now, "outcome": wait["state"], "reason": wait["reason"], "tries": 0}
        connection.execute(insert(attempts), [{"action_id": one, **outcome} for one in new])
