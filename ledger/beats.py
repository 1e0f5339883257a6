"""Who is alive, and who may do alone what only one may do at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, not_, or_, select

from ledger.skew import is_lease_over
from ledger.tables import heartbeats, leases
from ledger.upsert import insert_into
from schemas.skew import TOLERANCE

_FORGOTTEN_AFTER = timedelta(days=1)  # a process that is silent so long was taken away on purpose


def beat(connection: Connection, kind: str, process: str, now: datetime) -> None:
    """Note that this process is alive, and forget those long gone."""
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
class Beat:
    """When one process was last alive, by its own clock. `process` is its host and number."""

    kind: str
    process: str
    at: datetime


def last_beats(connection: Connection, now: datetime) -> dict[str, datetime]:
    """Return when each kind of process was last alive. A sign of life from the future is none."""
    rows = connection.execute(
        select(heartbeats.c.kind, func.max(heartbeats.c.beat_at).label("at"))
        .where(heartbeats.c.beat_at <= now + TOLERANCE)
        .group_by(heartbeats.c.kind)
    )
    return {row.kind: row.at for row in rows}


def beats_ahead(connection: Connection, now: datetime) -> list[Beat]:
    """Return the signs of life from the future, the latest of each process.

    Either the clock of that process is ahead, or it has ended and its clock was.
    """
    rows = connection.execute(
        select(heartbeats)
        .where(heartbeats.c.beat_at > now + TOLERANCE)
        .order_by(heartbeats.c.kind, heartbeats.c.process)
    )
    return [Beat(row.kind, row.process, row.beat_at) for row in rows]


def take_lease(
    connection: Connection, name: str, holder: str, now: datetime, *, lease_s: float
) -> bool:
    """Take or renew a lease; False while somebody else holds it.

    All who want the same lease give the same `lease_s`: one that lasts longer is taken for a
    leftover of a clock that was ahead.
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
    """Return whether somebody holds a lease of this length, so that taking it is pointless now."""
    held = select(leases.c.name).where(
        leases.c.name == name, not_(is_lease_over(leases.c.until, now, lease_s))
    )
    return connection.scalar(held) is not None


def give_lease_back(connection: Connection, name: str, holder: str) -> None:
    """End a lease early, if it is still ours."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))
