"""Heartbeats of processes, leases between them, and the gaps a restore leaves.

A gap is a period the ledger knows nothing about, because it was restored from an older copy. Emails
may have been sent in it. Every action that may have been is held for `restored`, for a person:

- An action in the copy is held when the gap opens, if it may have been performed by then.
- An action planned later about something that happened before the gap ended is held when it is
  due (`workers.decide.send_check`), because the lost ledger may have found the same event.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, not_, or_, select

from ledger.controls import (
    BACKED_UP_AT,
    REMEMBERED_SINCE,
    SECRET_KEY,
    client_id_of,
    delete_values,
    set_value,
    value_of,
)
from ledger.engine import insert_into, lock_decisions
from ledger.interventions import AUTOMATIC, hold_actions, log_decision
from ledger.skew import is_lease_over
from ledger.tables import actions, gaps, heartbeats, leases
from schemas.actions import OPEN_ACTIONS, ActionState
from schemas.events import TOLERANCE
from schemas.reasons import Reason

NO_BROKER = "no-broker"  # the kind of a process that runs workers and scheduler
SILENT_AFTER_S = 60.0  # without a heartbeat for this long, a kind of process counts as dead
_FORGOTTEN_AFTER = timedelta(days=1)  # a process silent for so long was removed on purpose


def record_heartbeat(connection: Connection, kind: str, process: str, now: datetime) -> None:
    """Store that this process is alive, and delete heartbeats of processes long gone."""
    statement = insert_into(connection, heartbeats).values(
        kind=kind, process=process[:120], beat_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[heartbeats.c.kind, heartbeats.c.process], set_={"beat_at": now}
        )
    )
    connection.execute(delete(heartbeats).where(heartbeats.c.beat_at < now - _FORGOTTEN_AFTER))


@dataclass(frozen=True, slots=True)
class LastHeartbeat:
    """When one process was last alive, by its own clock. `process` is its host and PID."""

    kind: str
    process: str
    at: datetime


def last_heartbeats(connection: Connection, now: datetime) -> dict[str, datetime]:
    """Return when each kind of process was last alive, ignoring heartbeats from the future."""
    rows = connection.execute(
        select(heartbeats.c.kind, func.max(heartbeats.c.beat_at).label("at"))
        .where(heartbeats.c.beat_at <= now + TOLERANCE)
        .group_by(heartbeats.c.kind)
    )
    return {row.kind: row.at for row in rows}


def heartbeats_ahead(connection: Connection, now: datetime) -> list[LastHeartbeat]:
    """Return the heartbeats from the future, the latest of each process.

    The clock of that process is ahead, or it was and the process has ended.
    """
    rows = connection.execute(
        select(heartbeats)
        .where(heartbeats.c.beat_at > now + TOLERANCE)
        .order_by(heartbeats.c.kind, heartbeats.c.process)
    )
    return [LastHeartbeat(row.kind, row.process, row.beat_at) for row in rows]


def take_lease(
    connection: Connection, name: str, holder: str, now: datetime, *, lease_s: float
) -> bool:
    """Take or renew a lease; False while another process holds it.

    Every process must pass the same `lease_s`: a longer lease counts as left over from a clock that
    was ahead.
    """
    until = now + timedelta(seconds=lease_s)
    statement = insert_into(connection, leases).values(name=name, holder=holder, until=until)
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"holder": holder, "until": until},
            where=or_(leases.c.holder == holder, is_lease_over(leases.c.until, now, lease_s)),
        ).returning(leases.c.name)
    ).first()
    return taken is not None


def is_leased(connection: Connection, name: str, now: datetime, *, lease_s: float) -> bool:
    """Return whether any process holds a lease of this length."""
    return lease_holder(connection, name, now, lease_s=lease_s) is not None


def lease_holder(connection: Connection, name: str, now: datetime, *, lease_s: float) -> str | None:
    """Return which process holds a lease of this length; None if no process does."""
    held = select(leases.c.holder).where(
        leases.c.name == name, not_(is_lease_over(leases.c.until, now, lease_s))
    )
    holder: str | None = connection.scalar(held)
    return holder


def release_lease(connection: Connection, name: str, holder: str) -> None:
    """Release a lease, if it is still ours."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


# An action waiting for one of these may become due before its due time: once the source answers
# again, or a worker starts (`ledger.outages`).
_DUE_ANY_TIME = (Reason.NEXUDUS_DOWN, Reason.NEXUDUS_BUSY, Reason.NEXUDUS_REFUSED)


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap. `began_at` is None if it is unknown when the copy was made."""

    began_at: datetime | None
    ended_at: datetime
    cause: str


@dataclass(frozen=True, slots=True)
class LastAlive:
    """What a machine stores outside the ledger: which ledger it last used, and when."""

    ledger_id: str
    at: datetime


def open_gap(connection: Connection, gap: Gap, who: str) -> int:
    """Store a gap, and hold each action that may have been performed in it; return how many.

    A gap ends at the latest stored time if the clock is behind it, as anything until then may have
    been sent. Later actions get a planning time at its end or later (`ledger.actions`), whatever
    the clock says.

    Call it while holding `ledger.engine.lock_decisions`.
    """
    traces = (gap.ended_at, gap.began_at, known_until(connection))
    gap = replace(gap, ended_at=max(at for at in traces if at is not None))
    row = {"began_at": gap.began_at, "ended_at": gap.ended_at, "cause": gap.cause}
    connection.execute(insert(gaps).values(**row))
    # A pause may have ended in the gap, which nobody decides on for each email.
    waited = or_(
        actions.c.state.in_(OPEN_ACTIONS),
        and_(actions.c.state == ActionState.HELD, actions.c.reason == Reason.PAUSED),
    )
    is_due = or_(actions.c.due_at <= gap.ended_at, actions.c.reason.in_(_DUE_ANY_TIME))
    may_be_sent = and_(waited, is_due)
    held = len(hold_actions(connection, Reason.RESTORED, may_be_sent, gap.ended_at))
    began_at = None if gap.began_at is None else gap.began_at.isoformat()
    detail = {"cause": gap.cause, "began_at": began_at, "held": held}
    log_decision(connection, "restore", who, gap.ended_at, detail)
    return held


_GAP_ENDED_BY = select(func.max(gaps.c.ended_at)).where(gaps.c.ended_at <= bindparam("moment"))


def gap_ended_by(connection: Connection, moment: datetime) -> datetime | None:
    """Return when the last gap that ended by `moment` did so; None if there was none."""
    ended_at: datetime | None = connection.scalar(_GAP_ENDED_BY, {"moment": moment})
    return ended_at


_LAST_GAP_END = select(func.max(gaps.c.ended_at))


def last_gap_end(connection: Connection) -> datetime | None:
    """Return when the last gap ended, even if that is in the future; None without a gap."""
    ended_at: datetime | None = connection.scalar(_LAST_GAP_END)
    return ended_at


def last_gap(connection: Connection) -> Gap | None:
    """Return the latest gap."""
    row = connection.execute(select(gaps).order_by(gaps.c.ended_at.desc()).limit(1)).first()
    return None if row is None else Gap(row.began_at, row.ended_at, row.cause)


def known_until(connection: Connection) -> datetime | None:
    """Return the latest time stored in this ledger; None for one never used.

    Of actions only the one planned last counts: an earlier one may have a later time, if it was
    planned while the clock was ahead.
    """
    last_planned = select(actions.c.planned_at).order_by(actions.c.id.desc()).limit(1)
    moments = (
        connection.scalar(select(func.max(heartbeats.c.beat_at))),
        connection.scalar(select(func.max(gaps.c.ended_at))),
        connection.scalar(last_planned),
    )
    return max((moment for moment in moments if moment is not None), default=None)


def parse_stored_time(text: object) -> datetime | None:
    """Return the time in a control's text; None if it is not a date with a time zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return None if found.tzinfo is None else found


def detect_gap(
    connection: Connection, seen: LastAlive | None, now: datetime, *, is_local: bool
) -> Gap | None:
    """Open a gap if an older copy of this ledger was put in place by hand; return it.

    `seen` is what this machine stored. `is_local`: the ledger is a file on this machine, with that
    beside it, so a ledger without it was copied here.
    """
    lock_decisions(connection)
    known = known_until(connection)
    copied_at = value_of(connection, BACKED_UP_AT)
    is_ours = seen is not None and seen.ledger_id == client_id_of(connection)
    if copied_at is not None:
        known = parse_stored_time(copied_at)
        delete_values(connection, BACKED_UP_AT, SECRET_KEY)
    elif is_ours:
        if seen is None or (known is not None and known >= seen.at):
            return None
    elif not (is_local and value_of(connection, REMEMBERED_SINCE)):
        return None
    until = now if seen is None or not is_ours else max(now, seen.at)
    gap = Gap(known, until, "noticed")
    open_gap(connection, gap, AUTOMATIC)
    return gap


def remember_since(connection: Connection, now: datetime) -> None:
    """Store that from now on machines record when they last used this ledger."""
    if value_of(connection, REMEMBERED_SINCE) is None:
        set_value(connection, REMEMBERED_SINCE, now.isoformat(), AUTOMATIC, now)
