"""Reconcile: requests lookups of what differs from the source, for an operator or every night.

A comparison changes nothing by itself: each record that differs is read by its Id, and only that
counts, so a list that is too short cannot delete anything.

A nightly run that was stopped starts again after a growing delay. Rows are kept in memory, so one
run compares at most what can be listed within one task, and reports if that is not everything.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from enum import StrEnum
from typing import TypeVar
from zoneinfo import ZoneInfo

import structlog

from ledger.checks import CheckKind, begin_check, end_check, fail_check, last_run, note_page, runs
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.heartbeats import release_lease, take_lease
from ledger.intake import Origin
from ledger.record_queries import update_names, with_changed_names
from ledger.records import SeenVersion, note_seen
from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceError, SourceThrottled
from schemas.events import is_ahead
from schemas.reasons import Reason
from workers.leases import Lease, LeaseLost
from workers.source.limits import Patience, Urgency
from workers.sync.compare import Comparison, DifferenceKind, Scope, compare
from workers.sync.listed_rows import ListRow
from workers.sync.poll import reason_of
from workers.sync.rows import SyncContext, note_changes, request_lookups

NIGHT = time_of_day(3, 30)  # local time, after the usual jobs at midnight
_LEASE = "reconcile"
_LEASE_S = 120.0
_FIRST_WAIT = timedelta(minutes=15)
_MOST_DOUBLINGS = 4  # up to four hours
_REQUESTING_S = 30.0  # for requests after the lists were read; Celery ends the task a little later
MOST_GONE = 1_000  # of a kind in one run, even with --accept-gone
_AT_ONCE = 500  # in one transaction, to keep write transactions short
_NOT_ASKED = "not asked about yet"  # instead of a version, and equal to none

_One = TypeVar("_One")

_log = structlog.get_logger("reconcile")


class ReconcileMode(StrEnum):
    """What to do about the differences."""

    NOTHING = "nothing"
    IMPORT = "import"  # look up, without emails about what happened until now
    SEND = "send"  # look up, with emails as after a notification
    CHECK = "check"  # look up like a poll: age and number decide about emails


_ORIGINS: Mapping[ReconcileMode, tuple[Origin, Reason | None]] = {
    ReconcileMode.IMPORT: (Origin.BACKFILL, Reason.IMPORTED),
    ReconcileMode.SEND: (Origin.PERSON, None),
    ReconcileMode.CHECK: (Origin.CHECK, None),
}


def _continue() -> None:
    pass


def request_differences(
    sync: SyncContext,
    comparison: Comparison,
    how: ReconcileMode,
    keep: Callable[[], None] = _continue,
) -> int:
    """Request lookups of what differs; return how many records.

    `keep` is called before each portion; its exceptions pass through, and what was requested
    before stays.

    Raises:
        LedgerUnavailable: what was requested before stays.
    """
    if how is ReconcileMode.NOTHING:
        return 0
    origin, suppressed = _ORIGINS[how]
    if suppressed is not None:
        _suppress(sync, comparison, suppressed, keep)
    requested = 0
    for entity in FOLLOWED:  # enrolments first: finished lessons refer to them
        for some in _portions(_listed(comparison, entity)):
            keep()
            with writing(sync.engine) as connection:
                lock_decisions(connection)  # the same lock order as lookups
                note_changes(connection, sync, entity, some, origin)
            requested += len(some)
        gone = [one.row for one in comparison.of(DifferenceKind.GONE) if one.row.entity is entity]
        for rows in _portions(gone[:MOST_GONE]):
            keep()
            with writing(sync.engine) as connection:
                lock_decisions(connection)
                ids = [row.record_id for row in rows]
                request_lookups(connection, sync, entity, ids, Origin.CHECK)
            requested += len(rows)
    return requested


def _suppress(
    sync: SyncContext, comparison: Comparison, suppressed: Reason, keep: Callable[[], None]
) -> None:
    """Suppress emails about all of these records before any lookup is requested.

    The lookup of one finished lesson decides about its whole enrolment, including records of later
    portions. No version is stored yet, so that records an interrupted import never requested are
    found again.
    """
    for entity in FOLLOWED:
        for some in _portions(_listed(comparison, entity)):
            keep()
            unasked = [replace(one, digest=_NOT_ASKED) for one in some]
            with writing(sync.engine) as connection:
                lock_decisions(connection)
                note_seen(connection, entity, unasked, sync.clock.now(), suppressed)


def _listed(comparison: Comparison, entity: Entity) -> list[SeenVersion]:
    rows = [
        one.row
        for way in (DifferenceKind.MISSING, DifferenceKind.DIFFERENT)
        for one in comparison.of(way)
    ]
    return [row.seen for row in rows if row.entity is entity and row.seen is not None]


def _portions(every: Sequence[_One]) -> Iterator[Sequence[_One]]:
    return (every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE))


def is_nightly_due(connection: Connection, now: datetime, zone: ZoneInfo) -> bool:
    """Return whether tonight's comparison is due; a night begins at 03:30 in that zone.

    Never before the baseline, when every record would look missing; after a stopped run, later.
    """
    baselines = [last_run(connection, [CheckKind.BASELINE], entity) for entity in FOLLOWED]
    if None in baselines:
        return False
    tonight = [
        run
        for run in runs(connection, [CheckKind.RECONCILE], _night_of(now, zone))
        if not is_ahead(run.begun_at, now)
    ]
    if not tonight:
        return True
    if any(run.ended_at is not None for run in tonight):
        return False
    doublings = min(len(tonight) - 1, _MOST_DOUBLINGS)
    return now - tonight[0].begun_at >= _FIRST_WAIT * (1 << doublings)


def _night_of(now: datetime, zone: ZoneInfo) -> datetime:
    today = now.astimezone(zone).date()
    begins = datetime.combine(today, NIGHT, zone).astimezone(UTC)
    if begins <= now:
        return begins
    return datetime.combine(today - timedelta(days=1), NIGHT, zone).astimezone(UTC)


def nightly(sync: SyncContext, until: float) -> bool:
    """Compare everything with the source, and request lookups of what is missing or differs.

    The lists should be read by `until` (monotonic); a later call starts again. Requests of lookups
    may take half a minute more; the next comparison finds the rest. The run is recorded in the
    ledger with its counts, or with why it stopped.

    Returns False when another worker is doing it.

    Raises:
        LedgerUnavailable: the run stays open.
    """
    holder = sync.clock.new_id()

    def renewed() -> bool:
        with writing(sync.engine) as connection:
            now = sync.clock.now()
            return take_lease(connection, _LEASE, holder, now, lease_s=_LEASE_S)

    lease = Lease(renewed, sync.clock, _LEASE_S)
    try:
        lease.keep()
        _run(sync, until, lease.keep)
    except LeaseLost:
        _log.info("reconcile.overtaken")
        return False
    finally:
        with writing(sync.engine) as connection:
            release_lease(connection, _LEASE, holder)
    return True


def _run(sync: SyncContext, until: float, keep_lease: Callable[[], None]) -> None:
    with writing(sync.engine) as connection:
        run = begin_check(connection, CheckKind.RECONCILE, None, sync.clock.now())
    read = 0

    def keep() -> None:
        keep_lease()
        if sync.clock.monotonic() > until:
            raise SourceThrottled(
                f"the comparison ran out of time after {read:,} rows, and there may be more; "
                "`coursebell reconcile` has an hour"
            )

    def keep_requesting() -> None:
        keep_lease()
        if sync.clock.monotonic() > until + _REQUESTING_S:
            raise SourceThrottled(
                "there are so many differences that the rest is left to the next comparison"
            )

    def noted(entity: Entity, rows: Sequence[ListRow], differing: int) -> None:
        nonlocal read
        read += len(rows)
        with writing(sync.engine) as connection:
            note_page(connection, run.check_id, rows=len(rows), news=differing, reached=None)
        _keep_names(sync, entity, [row.seen for row in rows if row.seen is not None])

    try:
        patience = Patience(Urgency.WORK, until, keep)
        comparison = compare(sync, Scope(), patience, noted)
        keep_requesting()
        requested = request_differences(sync, comparison, ReconcileMode.CHECK, keep_requesting)
    except SourceError as error:
        with writing(sync.engine) as connection:
            fail_check(connection, run.check_id, reason_of(error), str(error))
        _log.warning("reconcile.stopped", error=str(error))
        return
    with writing(sync.engine) as connection:
        end_check(connection, run.check_id, sync.clock.now(), comparison.report())
    _log.info("reconcile.ended", brought=requested, doubt=comparison.doubt)


def _keep_names(sync: SyncContext, entity: Entity, seen: Sequence[SeenVersion]) -> None:
    """Store new and changed names of members: to a poll a new name is no change.

    It writes nothing on most nights.
    """
    with reading(sync.engine) as connection:
        named = with_changed_names(connection, entity, seen)
    if named:
        with writing(sync.engine) as connection:
            lock_decisions(connection)  # the same lock order as lookups
            update_names(connection, entity, named)
