"""Runs of polls, backfills and comparisons: progress, result, and why they failed.

An interrupted run stays open, and the next process resumes it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    TextClause,
    func,
    insert,
    select,
    union_all,
    update,
)

from ledger.tables import OPEN_CHECKS, checks
from schemas.entity import FOLLOWED, Entity
from schemas.reasons import Reason


class CheckKind(StrEnum):
    """What a run was for."""

    CHECK = "check"  # a poll: what changed since the last one
    BASELINE = "baseline"  # the first poll: everything, as already seen
    RECONCILE = "reconcile"  # everything at the source against the ledger
    BACKFILL = "backfill"  # a window or a person, on request
    WEBHOOKS = "guard"  # the health of webhooks, under an earlier name


_OWN_CHECKS = (CheckKind.CHECK, CheckKind.BASELINE)
_MAY_PASS = (None, Reason.NEXUDUS_DOWN, Reason.NEXUDUS_BUSY)
_Condition = ColumnElement[bool] | TextClause
_ENDED = checks.c.ended_at.is_not(None)
_ABOUT: Mapping[Entity | None, ColumnElement[bool]] = {
    None: checks.c.entity.is_(None),
    **{entity: checks.c.entity == entity for entity in Entity},
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `ended_at` None: under way or interrupted; `reached` is how far it got.

    `news` counts new or changed rows; `total` is the source's count of rows. `reason` is why the
    latest attempt failed; None if it did not.
    """

    check_id: int
    kind: CheckKind
    entity: Entity | None
    begun_at: datetime
    ended_at: datetime | None
    since: datetime | None
    reached: datetime | None
    pages: int
    rows: int
    news: int
    total: int | None
    reason: Reason | None
    error: str | None
    report: dict[str, Any] | None


def begin_check(
    connection: Connection,
    kind: CheckKind,
    entity: Entity | None,
    now: datetime,
    *,
    since: datetime | None = None,
) -> Run:
    """Start a run."""
    row = connection.execute(
        insert(checks).values(kind=kind, entity=entity, begun_at=now, since=since).returning(checks)
    ).one()
    return _run(row)


def note_page(  # noqa: PLR0913 - the facts of one page
    connection: Connection,
    check_id: int,
    *,
    rows: int,
    news: int,
    reached: datetime | None,
    total: int | None = None,
) -> None:
    """Store that one more page was processed, up to `reached` (None: unchanged).

    `total` is the count of all rows; the first one stated is kept.
    """
    values: dict[str, Any] = {
        "pages": checks.c.pages + 1,
        "rows": checks.c.rows + rows,
        "news": checks.c.news + news,
        "reason": None,
        "error": None,
    }
    if reached is not None:
        values["reached"] = reached
    if total is not None:
        values["total"] = func.coalesce(checks.c.total, total)
    connection.execute(update(checks).where(checks.c.id == check_id).values(values))


def fail_check(connection: Connection, check_id: int, reason: Reason, error: str) -> None:
    """Store why a run could not continue; it stays open. `error` holds no values of records."""
    connection.execute(
        update(checks).where(checks.c.id == check_id).values(reason=reason, error=error)
    )


def end_check(
    connection: Connection, check_id: int, now: datetime, report: dict[str, Any] | None = None
) -> None:
    """End a complete run."""
    values: dict[str, Any] = {"ended_at": now, "reason": None, "error": None}
    if report is not None:
        values["report"] = report
    connection.execute(update(checks).where(checks.c.id == check_id).values(values))


def open_run(
    connection: Connection, kinds: Collection[CheckKind], entity: Entity | None
) -> Run | None:
    """Return the newest run of these kinds that has not ended."""
    return _newest(connection, kinds, _ABOUT[entity], OPEN_CHECKS)


def last_run(
    connection: Connection, kinds: Collection[CheckKind], entity: Entity | None
) -> Run | None:
    """Return the run of these kinds that ended last."""
    return _newest(connection, kinds, _ABOUT[entity], _ENDED)


def is_baseline_due(connection: Connection) -> bool:
    """Return whether the baseline should be requested now.

    True until it ended for each kind of record, unless the source refuses us: repeating does not
    help then, and a worker requests it when it starts.
    """
    for entity in FOLLOWED:
        if last_run(connection, _OWN_CHECKS, entity) is None:
            under_way = open_run(connection, _OWN_CHECKS, entity)
            if under_way is None or under_way.reason in _MAY_PASS:
                return True
    return False


def runs(connection: Connection, kinds: Collection[CheckKind], since: datetime) -> list[Run]:
    """Return all runs of these kinds that began since then, the newest first."""
    rows = connection.execute(
        select(checks)
        .where(checks.c.kind.in_(list(kinds)), checks.c.begun_at >= since)
        .order_by(checks.c.begun_at.desc(), checks.c.id.desc())
    )
    return [_run(row) for row in rows]


def outdated_checks(before: datetime) -> ColumnElement[bool]:
    """Return the condition for runs from before then, except the last complete one of each kind.

    One that never ended has no use after so long: a new one covers the same time.
    """
    kept = select(func.max(checks.c.id)).where(checks.c.ended_at.is_not(None))
    kept = kept.group_by(checks.c.kind, checks.c.entity)
    return (checks.c.begun_at < before) & checks.c.id.not_in(kept)


def _newest(connection: Connection, kinds: Collection[CheckKind], *where: _Condition) -> Run | None:
    row = connection.execute(_newest_of(tuple(kinds), where)).first()
    return None if row is None else _run(row)


@cache
def _newest_of(kinds: tuple[CheckKind, ...], where: tuple[_Condition, ...]) -> Select[Any]:
    """Return a query for the newest run of these kinds.

    By id, since runs of a clock that was ahead would remain the newest by time. The run of each
    kind is found at the end of an index.
    """
    each = (
        select(checks.c.id)
        .where(checks.c.kind == kind, *where)
        .order_by(checks.c.id.desc())
        .limit(1)
        .subquery()
        for kind in kinds
    )
    ids = union_all(*map(select, each)).subquery()
    newest = select(func.max(ids.c.id)).scalar_subquery()
    return select(checks).where(checks.c.id == newest)


def _run(row: Row[Any]) -> Run:
    return Run(
        row.id,
        CheckKind(row.kind),
        None if row.entity is None else Entity(row.entity),
        row.begun_at,
        row.ended_at,
        row.since,
        row.reached,
        row.pages,
        row.rows,
        row.news,
        row.total,
        None if row.reason is None else Reason(row.reason),
        row.error,
        row.report,
    )
