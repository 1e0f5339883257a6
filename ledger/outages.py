"""Outages: why actions of a kind cannot be delivered or records cannot be read, and retries.

An outage of a kind of action is one row that every worker sees. Until its time, no action of that
kind is claimed; then one is tried. If it is delivered or answered at all, the outage ends for all.
For the source, outages are the lookups waiting for one reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from ledger.engine import insert_into
from ledger.tables import (
    WAITING_ACTIONS,
    WAITING_LOOKUPS,
    actions,
    lookups,
    outages,
    sign_ins,
)
from schemas.reasons import Reason

# An action with one of these reasons waits for the end of an outage, not for its own time.
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
    """Why no action of a kind is delivered, since when, and when the next one is tried.

    `tries` counts the failures in a row; `answer` is the server's, without addresses.
    """

    kind: str
    reason: Reason
    since: datetime
    until: datetime
    tries: int
    answer: str


def outages_now(connection: Connection) -> dict[str, Outage]:
    """Return the current outages, by kind of action."""
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
    """Store that an action failed for a reason that affects all actions of its kind.

    `wait_s` gives the seconds to wait after so many failures in a row. Failures of actions that
    started before the outage count once.

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
    """End the outage of a kind and make the actions waiting for it due; False if there was none."""
    ended = connection.execute(delete(outages).where(outages.c.kind == kind))
    if ended.rowcount == 0:
        return False
    # Skips rows that another worker has locked, so that two transactions never deadlock.
    waiting = (
        select(actions.c.id)
        .where(
            actions.c.kind == kind,
            WAITING_ACTIONS,
            actions.c.reason.in_(OUTAGE_REASONS),
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting)).values(due_at=now))
    return True


def retry_outages_now(connection: Connection, now: datetime) -> None:
    """Let workers retry at once, since settings or the mail server may have been fixed."""
    connection.execute(update(outages).where(outages.c.until > now).values(until=now))
    waiting = (
        select(actions.c.id)
        .where(
            WAITING_ACTIONS,
            actions.c.reason.in_(OUTAGE_REASONS),
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting)).values(due_at=now))


@dataclass(frozen=True, slots=True)
class SourceOutage:
    """How many records cannot be read for one reason, since when, and the last error."""

    reason: Reason
    count: int
    since: datetime
    next_at: datetime
    last_error: str | None


def source_outages(connection: Connection) -> list[SourceOutage]:
    """Return why records cannot be read now, one entry a reason."""
    rows = connection.execute(
        select(
            lookups.c.reason,
            func.count().label("number"),
            func.min(lookups.c.asked_at).label("since"),
            func.min(lookups.c.due_at).label("next_at"),
            func.max(lookups.c.last_error).label("last_error"),
        )
        .where(
            WAITING_LOOKUPS,
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
    """Make everything that waits because the source did not answer due; return how many lookups.

    Called when one of them succeeds: the outage is over for all.
    """
    return _make_due(connection, Reason.NEXUDUS_DOWN, now)


def retry_refused(connection: Connection, now: datetime) -> int:
    """Make everything that waits because the source refused us due; return how many lookups.

    Called when a worker starts, as it is restarted after a password or a right was corrected.
    """
    connection.execute(update(sign_ins).values(refused_until=None))
    return _make_due(connection, Reason.NEXUDUS_REFUSED, now)


def _make_due(connection: Connection, reason: Reason, now: datetime) -> int:
    # Skips rows that another worker has locked, so that two transactions never deadlock; that
    # worker sets their due time.
    waiting_actions = (
        select(actions.c.id)
        .where(
            WAITING_ACTIONS,
            actions.c.reason == reason,
            actions.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    connection.execute(update(actions).where(actions.c.id.in_(waiting_actions)).values(due_at=now))
    waiting_lookups = (
        select(lookups.c.id)
        .where(
            WAITING_LOOKUPS,
            lookups.c.reason == reason,
            lookups.c.due_at > now,
        )
        .with_for_update(skip_locked=True)
    )
    again = connection.execute(
        update(lookups).where(lookups.c.id.in_(waiting_lookups)).values(due_at=now)
    )
    return again.rowcount
