"""The history of actions: one row for each attempt, and one for each reason an action waits.

While an action waits for the source, its row says since when and how often it was tried.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection, func, insert, select, update

from ledger.channels import goes_through
from ledger.tables import actions, attempts
from schemas.actions import ActionState, Outcome, channel_of
from schemas.reasons import Reason

# An action with one of these reasons waits because something cannot be read at the source.
SOURCE_REASONS = frozenset(
    {
        Reason.NEXUDUS_DOWN,
        Reason.NEXUDUS_BUSY,
        Reason.NEXUDUS_REFUSED,
        Reason.NOT_THERE_YET,
        Reason.RECORD_STUCK,
        Reason.UNREADABLE,
        Reason.INTERNAL_ERROR,
    }
)
_MOST_CHANGES = 50  # of the reason, while an action waits for the source
_SUSPICIOUS = 2  # this many lost workers before what they sent waits longer each time


def note_attempt(connection: Connection, action_id: int, outcome: Outcome, now: datetime) -> None:
    """Add one row to the history of an action."""
    _insert(connection, action_id, outcome, now, tries=1)


def note_wait(
    connection: Connection, action_id: int, outcome: Outcome, now: datetime, *, tried: bool
) -> None:
    """Note that an action waits: in its last row if that has the same reason, else in a new one.

    `tried` is whether this was an attempt; otherwise the action waits without one.
    """
    last = connection.execute(
        select(attempts.c.id, attempts.c.outcome, attempts.c.reason)
        .where(attempts.c.action_id == action_id)
        .order_by(attempts.c.id.desc())
        .limit(1)
    ).first()
    if last is None or (last.outcome, last.reason) != (outcome.state, outcome.reason):
        _insert(connection, action_id, outcome, now, tries=int(tried))
        return
    values = {"tries": attempts.c.tries + int(tried), "detail": outcome.detail}
    connection.execute(update(attempts).where(attempts.c.id == last.id).values(values))


def _insert(
    connection: Connection, action_id: int, outcome: Outcome, now: datetime, *, tries: int
) -> None:
    connection.execute(
        insert(attempts).values(
            action_id=action_id,
            at=now,
            outcome=outcome.state,
            reason=outcome.reason,
            detail=outcome.detail,
            tries=tries,
        )
    )


@dataclass(frozen=True, slots=True)
class SourceWait:
    """Since when an action has waited for the source, and how often it was tried for `reason`."""

    reason: Reason
    since: datetime
    tries: int


def source_wait(connection: Connection, action_id: int) -> SourceWait | None:
    """Return how long this action has waited for the source; None if it does not wait for it."""
    rows = connection.execute(
        select(attempts)
        .where(attempts.c.action_id == action_id)
        .order_by(attempts.c.id.desc())
        .limit(_MOST_CHANGES)
    ).all()
    waits = list(
        takewhile(
            lambda row: row.outcome == ActionState.WAITING and row.reason in SOURCE_REASONS, rows
        )
    )
    if not waits:
        return None
    return SourceWait(Reason(waits[0].reason), waits[-1].at, waits[0].tries)


def count_attempts(connection: Connection, action_id: int, reasons: Collection[Reason]) -> int:
    """Count the attempts at this action that ended with one of these reasons."""
    count = connection.scalar(
        select(func.count())
        .select_from(attempts)
        .where(attempts.c.action_id == action_id, attempts.c.reason.in_(reasons))
    )
    return count or 0


def wait_after_cuts(before: int) -> timedelta:
    """Return how long to wait for the next try after one was cut off, as `before` others were.

    That is not at all at first, and longer if what is sent may crash its workers.
    """
    return timedelta(seconds=min(2**before, 900) if before > _SUSPICIOUS else 0)


def fails_alone(
    connection: Connection, action_id: int, reasons: Collection[Reason], *, least: int
) -> bool:
    """Return whether `least` attempts ended with these reasons while others succeeded.

    The others are of its kind, and to the same endpoint if it is to one.

    Then the cause is this action, not the receiving server.
    """
    row = connection.execute(
        select(func.count(), func.min(attempts.c.at)).where(
            attempts.c.action_id == action_id, attempts.c.reason.in_(reasons)
        )
    ).one()
    number, since = row
    if number < least:
        return False
    own = connection.execute(
        select(actions.c.kind, actions.c.audience).where(actions.c.id == action_id)
    ).one()
    others = select(actions.c.id).where(
        goes_through({channel_of(own.kind, own.audience)}),
        actions.c.state == ActionState.DONE,
        actions.c.finished_at > since,
    )
    return connection.scalar(others.limit(1)) is not None
