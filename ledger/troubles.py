"""When the source refuses us or is away: how long already, and asking again once that is over."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from ledger.tables import UNFINISHED_ACTIONS, UNFINISHED_LOOKUPS, actions, lookups, sign_ins
from schemas.reasons import Reason
from schemas.states import ActionState, LookupState


@dataclass(frozen=True, slots=True)
class Trouble:
    """Records that cannot be read for one reason: how many, since when, and the last error."""

    reason: Reason
    count: int
    since: datetime
    next_at: datetime
    last_error: str | None


def source_troubles(connection: Connection) -> list[Trouble]:
    """Return what keeps records from being read now, by reason."""
    rows = connection.execute(
        select(
            lookups.c.reason,
            func.count().label("number"),
            func.min(lookups.c.asked_at).label("since"),
            func.min(lookups.c.due_at).label("next_at"),
            func.max(lookups.c.last_error).label("last_error"),
        )
        .where(
            UNFINISHED_LOOKUPS,
            lookups.c.state == LookupState.WAITING,
            lookups.c.reason.is_not(None),
        )
        .group_by(lookups.c.reason)
        .order_by(lookups.c.reason)
    )
    return [
        Trouble(Reason(row.reason), row.number, row.since, row.next_at, row.last_error)
        for row in rows
    ]


def ask_unanswered_again(connection: Connection, now: datetime) -> int:
    """Make due now what waits because the source did not answer; return how many look-ups.

    Called when one that had waited got through: the outage is over for all of them.
    """
    return _make_due(connection, Reason.NEXUDUS_DOWN, now)


def ask_refused_again(connection: Connection, now: datetime) -> int:
    """Make due now what waits because the source refused us; return how many look-ups.

    Called when a worker starts: whoever mended a password or a right starts it anew.
    """
    connection.execute(update(sign_ins).values(refused_until=None))
    return _make_due(connection, Reason.NEXUDUS_REFUSED, now)


def _make_due(connection: Connection, reason: Reason, now: datetime) -> int:
    # Past whoever is at one of them, so that two transactions never wait in a circle; what somebody
    # is at has its own due time from them.
    waiting_actions = (
        select(actions.c.id)
        .where(
            UNFINISHED_ACTIONS,
            actions.c.state == ActionState.WAITING,
            actions.c.reason == reason,
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting_actions)).values(due_at=now))
    waiting_lookups = (
        select(lookups.c.id)
        .where(
            UNFINISHED_LOOKUPS,
            lookups.c.state == LookupState.WAITING,
            lookups.c.reason == reason,
            lookups.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    again = connection.execute(
        update(lookups).where(lookups.c.id.in_(waiting_lookups)).values(due_at=now)
    )
    return again.rowcount
