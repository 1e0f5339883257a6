"""What keeps emails from leaving or records from being read, since when, and asking again.

What keeps all actions of one kind from leaving: one row that every worker sees.

While it stands, nothing of that kind is claimed until its time has come, and then one action is
tried. That it got through, or was answered at all, ends the outage for the others.

When the source refuses us or is away: how long already, and asking again once that is over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from ledger.engine import insert_into
from ledger.tables import (
    UNFINISHED_ACTIONS,
    UNFINISHED_LOOKUPS,
    actions,
    lookups,
    outages,
    sign_ins,
)
from schemas.actions import ActionState, LookupState
from schemas.reasons import Reason

# With these an action waits for the end of an outage, and not for a time of its own.
OUTAGE_REASONS = frozenset(
    {
        Reason.MAIL_NOT_SET,
        Reason.MAIL_UNREACHABLE,
        Reason.MAIL_BUSY,
        Reason.MAIL_REFUSES_US,
        Reason.MAIL_TLS,
        Reason.MAIL_STARTTLS,
        Reason.MAIL_CERTIFICATE,
        Reason.MAIL_LOGIN,
        Reason.MAIL_SENDER,
        Reason.MAIL_RELAY,
        Reason.MAIL_INTERRUPTED,
        Reason.DELIVERY_DOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Outage:
    """Why nothing of a kind leaves, since when, and until when nothing is tried.

    `tries` counts the failures in a row; `answer` is what the other side said, without addresses.
    """

    kind: str
    reason: Reason
    since: datetime
    until: datetime
    tries: int
    answer: str


def outages_now(connection: Connection) -> dict[str, Outage]:
    """Return the outages there are, by kind of action."""
    rows = connection.execute(select(outages))
    return {
        row.kind: Outage(row.kind, Reason(row.reason), row.since, row.until, row.tries, row.answer)
        for row in rows
    }


def note_outage(  # noqa: PLR0913, PLR0917 - each is a column of the row
    connection: Connection,
    kind: str,
    reason: Reason,
    answer: str,
    now: datetime,
    wait_s: Callable[[int], float],
) -> tuple[Outage, bool]:
    """Keep that an action of this kind could not leave, for a reason that goes for all of them.

    `wait_s` gives the seconds to wait after so many failures in a row. Failures of actions that
    were begun before the outage count once.

    Returns the outage, and whether it is a new one: it was not there, or had another reason.
    """
    known = outages_now(connection).get(kind)
    is_new = known is None or known.reason is not reason
    tries = 1 if known is None else known.tries + (known.until <= now)
    until = now + timedelta(seconds=wait_s(tries))
    if known is not None and known.until > now:
        until = known.until
    since = now if known is None else known.since
    values = {
        "reason": reason,
        "since": since,
        "until": until,
        "tries": tries,
        "answer": answer,
    }
    statement = insert_into(connection, outages).values(kind=kind, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[outages.c.kind], set_=values)
    )
    return Outage(kind, reason, since, until, tries, answer), is_new


def end_outage(connection: Connection, kind: str, now: datetime) -> bool:
    """Forget the outage of a kind, and make due what waited for its end; False: there was none."""
    ended = connection.execute(delete(outages).where(outages.c.kind == kind))
    if ended.rowcount == 0:
        return False
    # Past the rows that another worker is at, so that two transactions never wait in a circle.
    waiting = (
        select(actions.c.id)
        .where(
            actions.c.kind == kind,
            UNFINISHED_ACTIONS,
            actions.c.state == ActionState.WAITING,
            actions.c.reason.in_(OUTAGE_REASONS),
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting)).values(due_at=now))
    return True


def retry_outages_now(connection: Connection, now: datetime) -> None:
    """Let workers try again at once, since settings or the other side may have been fixed."""
    connection.execute(update(outages).where(outages.c.until > now).values(until=now))
    waiting = (
        select(actions.c.id)
        .where(
            UNFINISHED_ACTIONS,
            actions.c.state == ActionState.WAITING,
            actions.c.reason.in_(OUTAGE_REASONS),
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting)).values(due_at=now))


@dataclass(frozen=True, slots=True)
class SourceOutage:
    """Records that cannot be read for one reason: how many, since when, and the last error."""

    reason: Reason
    count: int
    since: datetime
    next_at: datetime
    last_error: str | None


def source_outages(connection: Connection) -> list[SourceOutage]:
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
        SourceOutage(Reason(row.reason), row.number, row.since, row.next_at, row.last_error)
        for row in rows
    ]


def retry_unanswered(connection: Connection, now: datetime) -> int:
    """Make due now what waits because the source did not answer; return how many look-ups.

    Called when one that had waited got through: the outage is over for all of them.
    """
    return _make_due(connection, Reason.NEXUDUS_DOWN, now)


def retry_refused(connection: Connection, now: datetime) -> int:
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
