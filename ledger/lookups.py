"""Lookups: claims due ones under a lease, and settles them while the lease is still ours.

A lookup ends as done, waiting, returned or failed.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    null,
    select,
    union_all,
    update,
)

from ledger.engine import chunks
from ledger.skew import is_lease_over
from ledger.tables import (
    DUE_LOOKUPS,
    LEASED_LOOKUPS,
    WAITING_LOOKUPS,
    Instant,
    lookups,
    records,
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


def _is_lost(now: datetime, lease_s: float) -> ColumnElement[bool]:
    return and_(LEASED_LOOKUPS, is_lease_over(lookups.c.lease_until, now, lease_s))


def _due(now: datetime, lease_s: float, most: int) -> Select[tuple[int]]:
    """Return the ids of due lookups and of those whose lease was lost, the longest overdue first.

    Each state is a range of its own index: an OR of them would read every row that waits.
    """
    states = (
        (DUE_LOOKUPS, lookups.c.due_at <= now),
        (WAITING_LOOKUPS, lookups.c.due_at <= now),
        (_is_lost(now, lease_s),),
    )
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
    return select(found.c.id).order_by(found.c.due_at).limit(most)


def claim_lookups(
    connection: Connection, now: datetime, token: str, *, lease_s: float, most: int
) -> list[Claim]:
    """Claim up to `most` due lookups for `lease_s` seconds, the longest overdue first.

    `token` is new and identifies the lease holder.
    """
    rows = connection.execute(
        update(lookups)
        .where(lookups.c.id.in_(_due(now, lease_s, most)))
        .values(
            state=LookupState.LEASED,
            lease_until=now + timedelta(seconds=lease_s),
            lease_token=token,
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
    ).all()
    return [_claim(row, token) for row in sorted(rows, key=lambda row: row.id)]


def _claim(row: Row[Any], token: str) -> Claim:
    entity = Entity(row.entity)
    lost = row.lost_leases
    reason = None if row.reason is None else Reason(row.reason)
    return Claim(row.id, entity, row.record_id, row.attempts, row.asked_at, lost, token, reason)


_BEGIN = _SET.values(lost_leases=lookups.c.lost_leases + 1)


def begin_lookup(connection: Connection, claim: Claim, now: datetime, *, lease_s: float) -> bool:
    """Mark this lookup as started and extend its lease. Returns False if it is no longer ours.

    Until it is settled, it counts as one more lost worker.
    """
    return _renewed(connection, _BEGIN, claim, now, lease_s)


def renew_lookup(connection: Connection, claim: Claim, now: datetime, *, lease_s: float) -> bool:
    """Extend the lease. Returns False if it was lost: another worker may have the lookup."""
    return _renewed(connection, _SET, claim, now, lease_s)


def states_among(
    connection: Connection, records: Iterable[tuple[Entity, int]]
) -> dict[LookupState, int]:
    """Count the lookups of these records by state."""
    by_entity: dict[Entity, list[int]] = {}
    for entity, record_id in records:
        by_entity.setdefault(entity, []).append(record_id)
    found: Counter[LookupState] = Counter()
    for entity, record_ids in by_entity.items():
        for some in chunks(record_ids):
            rows = connection.execute(
                select(lookups.c.state, func.count().label("number"))
                .where(lookups.c.entity == entity, lookups.c.record_id.in_(some))
                .group_by(lookups.c.state)
            )
            found.update({LookupState(row.state): row.number for row in rows})
    return dict(found)


@dataclass(frozen=True, slots=True)
class OpenLookup:
    """A lookup of an enrolment or of one of its lessons that is not done.

    `reason` is why it last had to wait or failed. `lesson_id` is set if the record is a completion
    that a list lacked: only reading it by its Id shows whether it is gone.
    """

    entity: Entity
    record_id: int
    state: LookupState
    due_at: datetime
    reason: Reason | None
    lesson_id: int | None


def open_lookups(connection: Connection, course_member_id: int) -> list[OpenLookup]:
    """Return the lookups of an enrolment and of its lessons that are unfinished or failed."""
    lesson = Entity.COMPLETED_LESSON
    columns = (
        *(lookups.c.entity, lookups.c.record_id, lookups.c.state, lookups.c.due_at),
        lookups.c.reason,
    )
    is_open = lookups.c.state != LookupState.DONE
    missing = case((records.c.gone_at.is_not(None), records.c.lesson_id))
    of_enrolment = select(*columns, null().label("lesson_id")).where(
        lookups.c.entity == Entity.COURSE_MEMBER,
        lookups.c.record_id == course_member_id,
        is_open,
    )
    of_lessons = (
        select(*columns, missing.label("lesson_id"))
        .join(
            records,
            and_(records.c.entity == lookups.c.entity, records.c.record_id == lookups.c.record_id),
        )
        .where(
            records.c.entity == lesson,
            records.c.course_member_id == course_member_id,
            lookups.c.entity == lesson,
            is_open,
        )
    )
    return [
        OpenLookup(
            Entity(row.entity),
            row.record_id,
            LookupState(row.state),
            row.due_at,
            None if row.reason is None else Reason(row.reason),
            row.lesson_id,
        )
        for statement in (of_enrolment, of_lessons)
        # Not ordered by the database: SQLite would read all lookups of the kind in that order.
        for row in sorted(connection.execute(statement), key=lambda row: row.record_id)
    ]


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


def _renewed(
    connection: Connection, statement: Update, claim: Claim, now: datetime, lease_s: float
) -> bool:
    values = {"lease_until": now + timedelta(seconds=lease_s)}
    return connection.execute(statement, _ours(claim) | values).rowcount == 1


def next_lookup_at(connection: Connection, now: datetime, *, lease_s: float) -> datetime | None:
    """Return when the next lookup is due (a past time: now); None if there is none.

    `lease_s` is how long workers claim lookups.
    """
    moments = [
        connection.scalar(select(func.min(column)).where(state))
        for column, state in (
            (lookups.c.due_at, DUE_LOOKUPS),
            (lookups.c.due_at, WAITING_LOOKUPS),
            (lookups.c.lease_until, _is_lost(now, lease_s)),
        )
    ]
    if moments[2] is not None:
        moments[2] = min(moments[2], now)
    return min((moment for moment in moments if moment is not None), default=None)


# A notification of the record arrived while it was being read.
_NOTIFIED_MEANWHILE = lookups.c.asked > lookups.c.leased_asked


_FINISH = _SET.values(
    state=case((_NOTIFIED_MEANWHILE, LookupState.DUE), else_=LookupState.DONE),
    asked_at=case((_NOTIFIED_MEANWHILE, bindparam("now", type_=Instant)), else_=lookups.c.asked_at),
)
_FAIL = _SET.values(
    state=case((_NOTIFIED_MEANWHILE, LookupState.DUE), else_=LookupState.FAILED),
    attempts=case((_NOTIFIED_MEANWHILE, 0), else_=lookups.c.attempts),
)


def finish_lookup(
    connection: Connection, claim: Claim, now: datetime, reason: Reason | None = None
) -> bool:
    """End a lookup as done, or as due again if a notification arrived meanwhile.

    `reason` is why nothing was found: the record is gone.

    Returns False if the lease was lost: then nothing of this work may be committed.
    """
    return _settle(
        connection,
        claim,
        _FINISH,
        now=now,
        due_at=now,
        attempts=0,
        reason=reason,
        last_error=None,
    )


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
