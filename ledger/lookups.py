"""Lookups: claims due ones under a lease, and settles them while the lease is still ours.

A lookup ends as done, waiting, returned or failed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from ledger.skew import latest_lease
from ledger.tables import (
    DUE_LOOKUPS,
    LEASED_LOOKUPS,
    WAITING_LOOKUPS,
    Instant,
    lookups,
)
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.reasons import Reason


@dataclass(frozen=True, slots=True)
class Claim:
    """One lookup that is ours until its lease ends.

    `attempts` includes this one; `lost_leases` counts the workers that started it and vanished.
    `reason` is why it last had to wait, if it had.
    """

    lookup_id: int
    entity: Entity
    record_id: int
    attempts: int
    asked_at: datetime
    lost_leases: int
    token: str
    reason: Reason | None = None


_IS_OURS = and_(
    lookups.c.id == bindparam("this"),
    lookups.c.lease_token == bindparam("mine"),
    lookups.c.state == LookupState.LEASED,
)
_SET = update(lookups).where(_IS_OURS)  # takes its values when it is executed


def _ours(claim: Claim) -> dict[str, object]:
    return {"this": claim.lookup_id, "mine": claim.token}


# Statements of frequent operations are built once: building one costs more than running it.
_now = bindparam("now", type_=Instant)
_IS_LOST = and_(
    LEASED_LOOKUPS,
    or_(
        lookups.c.lease_until <= _now,
        lookups.c.lease_until > bindparam("latest", type_=Instant),
    ),
)


def _due() -> Select[tuple[int]]:
    """Return the ids of due lookups and of those whose lease was lost, the longest overdue first.

    Each state is a range of its own index: an OR of them would read every row that waits.
    """
    states = (
        (DUE_LOOKUPS, lookups.c.due_at <= _now),
        (WAITING_LOOKUPS, lookups.c.due_at <= _now),
        (_IS_LOST,),
    )
    most = bindparam("most", type_=Integer)
    each = (
        select(lookups.c.id, lookups.c.due_at)
        .where(*where)
        .order_by(lookups.c.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .subquery()
        for where in states
    )
    found = union_all(*map(select, each)).subquery()
    chosen = select(found.c.id).order_by(found.c.due_at).limit(most)
    # PostgreSQL may run a subquery once for each row, and would then claim more.
    return select(chosen.cte("chosen").prefix_with("MATERIALIZED", dialect="postgresql").c.id)


_CLAIM = (
    update(lookups)
    .where(lookups.c.id.in_(_due()))
    .values(
        state=LookupState.LEASED,
        lease_until=bindparam("until", type_=Instant),
        lease_token=bindparam("token"),
        leased_asked=lookups.c.asked,
        attempts=lookups.c.attempts + 1,
    )
    .returning(
        lookups.c.id,
        lookups.c.entity,
        lookups.c.record_id,
        lookups.c.attempts,
        lookups.c.asked_at,
        lookups.c.lost_leases,
        lookups.c.reason,
    )
)


def claim_lookups(
    connection: Connection, now: datetime, token: str, *, lease_s: float, most: int
) -> list[Claim]:
    """Claim up to `most` due lookups for `lease_s` seconds, the longest overdue first.

    `token` is new and identifies the lease holder.
    """
    values = {
        "now": now,
        "latest": latest_lease(now, lease_s),
        "most": most,
        "until": now + timedelta(seconds=lease_s),
        "token": token,
    }
    rows = connection.execute(_CLAIM, values).all()
    return [_claim(row, token) for row in sorted(rows, key=itemgetter(0))]


def _claim(row: Row[Any], token: str) -> Claim:
    # A batch has up to a hundred: reading columns by name would take longer than all else here.
    lookup_id, entity, record_id, attempts, asked_at, lost, written = tuple(row)
    reason = None if written is None else Reason(written)
    return Claim(lookup_id, Entity(entity), record_id, attempts, asked_at, lost, token, reason)


# Several lookups of one batch, which have one token. Rows are locked in the order in which all
# transactions write them, so that none deadlock.
_AMONG = (
    select(lookups.c.id)
    .where(
        lookups.c.id.in_(bindparam("these", expanding=True)),
        lookups.c.lease_token == bindparam("mine"),
        lookups.c.state == LookupState.LEASED,
    )
    .order_by(lookups.c.entity, lookups.c.record_id)
    .with_for_update()
)
_SET_AMONG = update(lookups).where(lookups.c.id.in_(_AMONG))
_BEGIN = _SET_AMONG.values(
    lost_leases=lookups.c.lost_leases + 1, lease_until=bindparam("until", type_=Instant)
).returning(lookups.c.id)


def begin_lookups(
    connection: Connection, claims: Iterable[Claim], now: datetime, *, lease_s: float
) -> set[int]:
    """Mark these lookups of one batch as started, extend their leases, and return their ids.

    Those that are no longer ours are omitted. Until a lookup is settled, it counts as one more lost
    worker.
    """
    return _among(connection, _BEGIN, claims, {"until": now + timedelta(seconds=lease_s)})


def _among(
    connection: Connection,
    statement: ReturningUpdate[int],
    claims: Iterable[Claim],
    values: Mapping[str, object],
) -> set[int]:
    by_id = {claim.lookup_id: claim for claim in claims}
    if not by_id:
        return set()
    whose = {"these": sorted(by_id), "mine": next(iter(by_id.values())).token}
    return set(connection.scalars(statement, whose | dict(values)))


def renew_lookup(connection: Connection, claim: Claim, now: datetime, *, lease_s: float) -> bool:
    """Extend the lease. Returns False if it was lost: another worker may have the lookup."""
    values = {"lease_until": now + timedelta(seconds=lease_s)}
    return connection.execute(_SET, _ours(claim) | values).rowcount == 1


def renew_batch(connection: Connection, token: str, now: datetime, *, lease_s: float) -> int:
    """Extend the leases of a whole batch; return how many of it are still ours."""
    # Sorted, and skipping rows another worker has locked, so that two transactions never deadlock.
    ours = (
        select(lookups.c.id)
        .where(lookups.c.lease_token == token, lookups.c.state == LookupState.LEASED)
        .order_by(lookups.c.entity, lookups.c.record_id)
        .with_for_update(skip_locked=True)
    )
    done = connection.execute(
        update(lookups)
        .where(lookups.c.id.in_(ours))
        .values(lease_until=now + timedelta(seconds=lease_s))
    )
    return done.rowcount


_NEXT = select(
    *(
        select(func.min(column)).where(state).scalar_subquery()
        for column, state in (
            (lookups.c.due_at, DUE_LOOKUPS),
            (lookups.c.due_at, WAITING_LOOKUPS),
            (lookups.c.lease_until, _IS_LOST),
        )
    )
)


def next_lookup_at(connection: Connection, now: datetime, *, lease_s: float) -> datetime | None:
    """Return when the next lookup is due (a past time: now); None if there is none.

    `lease_s` is how long workers claim lookups.
    """
    values = {"now": now, "latest": latest_lease(now, lease_s)}
    due_at, again_at, lost_at = connection.execute(_NEXT, values).one()
    if lost_at is not None:
        lost_at = min(lost_at, now)
    return min((moment for moment in (due_at, again_at, lost_at) if moment), default=None)


# A notification of the record arrived while it was being read.
_NOTIFIED_MEANWHILE = lookups.c.asked > lookups.c.leased_asked


_DONE: dict[str, Any] = {
    "state": case((_NOTIFIED_MEANWHILE, LookupState.DUE), else_=LookupState.DONE),
    "asked_at": case((_NOTIFIED_MEANWHILE, _now), else_=lookups.c.asked_at),
}
_FINISH_AMONG = _SET_AMONG.values(
    **_DONE,
    due_at=_now,
    reason=case((lookups.c.id.in_(bindparam("gone", expanding=True)), Reason.RECORD_GONE)),
    **dict.fromkeys(("attempts", "lost_leases"), 0),
    **dict.fromkeys(("last_error", "lease_until", "lease_token"), null()),
).returning(lookups.c.id)
_FAIL = _SET.values(
    state=case((_NOTIFIED_MEANWHILE, LookupState.DUE), else_=LookupState.FAILED),
    attempts=case((_NOTIFIED_MEANWHILE, 0), else_=lookups.c.attempts),
)


def finish_lookups(
    connection: Connection, claims: Iterable[Claim], now: datetime, gone: Iterable[int] = ()
) -> set[int]:
    """End lookups of one batch as done, or as due again if a notification arrived meanwhile.

    `gone` are the ids of those that found no record. Returns the ids of those that are still ours:
    nothing may be committed about the others, whose leases were lost.
    """
    return _among(connection, _FINISH_AMONG, claims, {"now": now, "gone": sorted(gone)})


def postpone_lookup(  # noqa: PLR0913 - what, until when, why, and whether it counts
    connection: Connection,
    claim: Claim,
    until: datetime,
    reason: Reason,
    error: str,
    *,
    counted: bool = True,
) -> bool:
    """Let a lookup wait until a time, because the source could not answer.

    Unless `counted`, this does not count as a failed attempt.
    """
    return _settle(
        connection,
        claim,
        state=LookupState.WAITING,
        attempts=claim.attempts - (not counted),
        due_at=until,
        reason=reason,
        last_error=error,
    )


def return_lookup(
    connection: Connection, claim: Claim, until: datetime, reason: Reason | None
) -> bool:
    """Return a lookup that was not performed, without counting an attempt or a lost worker.

    Without a reason to wait it is due.
    """
    return _settle(
        connection,
        claim,
        state=LookupState.DUE if reason is None else LookupState.WAITING,
        due_at=until,
        reason=reason,
        attempts=claim.attempts - 1,
        lost_leases=claim.lost_leases,
    )


def fail_lookup(connection: Connection, claim: Claim, reason: Reason, error: str) -> bool:
    """End a lookup that cannot succeed; a new notification makes it due again.

    So does one that arrived during the read, as the record may be repaired.
    """
    return _settle(connection, claim, _FAIL, reason=reason, last_error=error)


def _settle(
    connection: Connection, claim: Claim, statement: Update = _SET, **values: object
) -> bool:
    ended = {"lease_until": None, "lease_token": None, "lost_leases": 0}
    return connection.execute(statement, _ours(claim) | ended | values).rowcount == 1
