"""Runs of our own checks: how far each got, what it found, and why it failed.

A run that was interrupted stays open, and whoever comes next goes on where it had got to.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from ledger.tables import checks
from schemas.entity import FOLLOWED, Entity
from schemas.reasons import Reason


class CheckKind(StrEnum):
    """What a run was for."""

    CHECK = "check"  # what changed since the last one
    BASELINE = "baseline"  # the first one: all that is there, as already seen
    RECONCILE = "reconcile"  # all that is there against all that is here
    BACKFILL = "backfill"  # a window or a person, because somebody asked
    WEBHOOKS = "guard"  # the webhooks that call us; the stored name is the earlier one


_OWN_CHECKS = (CheckKind.CHECK, CheckKind.BASELINE)
_MAY_PASS = (None, Reason.NEXUDUS_DOWN, Reason.NEXUDUS_BUSY)


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `ended_at` None: under way or interrupted; `reached` is how far it got.

    `total` is how many rows the source said there are. `reason` is why it failed, or failed the
    last time it was tried; None when all went well.
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
    """Begin a run."""
    row = connection.execute(
        insert(checks).values(kind=kind, entity=entity, begun_at=now, since=since).returning(checks)
    ).one()
    return _run(row)


def note_page(  # noqa: PLR0913 - what one page tells
    connection: Connection,
    check_id: int,
    *,
    rows: int,
    news: int,
    reached: datetime | None,
    total: int | None = None,
) -> None:
    """Note that one more page was looked at, and all up to `reached` (None: as before).

    `total` is how many rows there are in all; the first that is said stands.
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
    """Note why a run could not go on; it stays open. `error` holds no value of a record."""
    connection.execute(
        update(checks).where(checks.c.id == check_id).values(reason=reason, error=error)
    )


def end_check(
    connection: Connection, check_id: int, now: datetime, report: dict[str, Any] | None = None
) -> None:
    """End a run that got through."""
    values: dict[str, Any] = {"ended_at": now, "reason": None, "error": None}
    if report is not None:
        values["report"] = report
    connection.execute(update(checks).where(checks.c.id == check_id).values(values))


def open_run(
    connection: Connection, kinds: Collection[CheckKind], entity: Entity | None
) -> Run | None:
    """Return the newest run of these kinds that has not ended."""
    return _newest(connection, _of(kinds, entity) & checks.c.ended_at.is_(None))


def last_run(
    connection: Connection, kinds: Collection[CheckKind], entity: Entity | None
) -> Run | None:
    """Return the run of these kinds that ended last."""
    return _newest(connection, _of(kinds, entity) & checks.c.ended_at.is_not(None))


def is_baseline_due(connection: Connection) -> bool:
    """Say whether the first look at the source should be asked for now.

    That is so until it ended for each kind of record, unless the source refuses us: asking again
    does not help then, and a worker that starts asks at once.
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
    """Return the condition for runs that began before then, but for the last of each kind to end.

    One that never ended is worth nothing after so long: another goes back as far.
    """
    kept = select(func.max(checks.c.id)).where(checks.c.ended_at.is_not(None))
    kept = kept.group_by(checks.c.kind, checks.c.entity)
    return (checks.c.begun_at < before) & checks.c.id.not_in(kept)


def _of(kinds: Collection[CheckKind], entity: Entity | None) -> ColumnElement[bool]:
    about = checks.c.entity.is_(None) if entity is None else checks.c.entity == entity
    return checks.c.kind.in_(list(kinds)) & about


def _newest(connection: Connection, where: ColumnElement[bool]) -> Run | None:
    # By number, since a clock that was ahead would keep its runs the newest for as long.
    row = connection.execute(
        select(checks).where(where).order_by(checks.c.id.desc()).limit(1)
    ).first()
    return None if row is None else _run(row)


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
