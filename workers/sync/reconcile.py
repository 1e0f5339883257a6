"""Reconcile: has what differs from the source read, as an operator chose or every night.

Nothing that a comparison found is believed: each record is read by its Id, and only that decides
what is true, so no list, however short, can wipe anything.

A nightly run that was stopped begins again, later each time: it reads lists only, and they are
cheap, but a source that cannot answer tonight should not be asked all day. What a list showed is
kept in memory, so one run compares no more than can be listed in one task; it says so if that is
too few.
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
from workers.sync.listing import ListRow
from workers.sync.poll import reason_of
from workers.sync.rows import SyncContext, note_changes, request_lookups

NIGHT = time_of_day(3, 30)  # local time, after midnight's jobs of others
_LEASE = "reconcile"
_LEASE_S = 120.0
_FIRST_WAIT = timedelta(minutes=15)
_MOST_DOUBLINGS = 4  # up to four hours
_BRINGING_S = 30.0  # beyond the reading; a task is ended a little later
MOST_GONE = 1_000  # of a kind at once, whoever accepted it
_AT_ONCE = 500  # in one transaction, so that nobody waits long for the ledger
_NOT_ASKED = "not asked about yet"  # in place of a version, and like none

_One = TypeVar("_One")

_log = structlog.get_logger("reconcile")


class ReconcileMode(StrEnum):
    """What is to be done about what differs."""

    NOTHING = "nothing"
    IMPORT = "import"  # read it, and send no email about what happened until now
    SEND = "send"  # read it, and send emails as if a notification had just come
    CHECK = "check"  # read it as a poll would: age and amount decide whether emails are sent


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
    """Have what differs read and decided on; return how many records.

    `keep` is called before each portion; what it raises passes, and what came before stays.

    Raises:
        LedgerUnavailable: what was asked for until then stays so.
    """
    if how is ReconcileMode.NOTHING:
        return 0
    origin, suppressed = _ORIGINS[how]
    if suppressed is not None:
        _suppress(sync, comparison, suppressed, keep)
    brought = 0
    for entity in FOLLOWED:  # enrolments first: finished lessons are about them
        for some in _portions(_listed(comparison, entity)):
            keep()
            with writing(sync.engine) as connection:
                lock_decisions(connection)  # in one order with those who decide
                note_changes(connection, sync, entity, some, origin)
            brought += len(some)
        gone = [one.row for one in comparison.of(DifferenceKind.GONE) if one.row.entity is entity]
        for rows in _portions(gone[:MOST_GONE]):
            keep()
            with writing(sync.engine) as connection:
                lock_decisions(connection)
                ids = [row.record_id for row in rows]
                request_lookups(connection, sync, entity, ids, Origin.CHECK)
            brought += len(rows)
    return brought


def _suppress(
    sync: SyncContext, comparison: Comparison, suppressed: Reason, keep: Callable[[], None]
) -> None:
    """Suppress emails about all of this, before any of it is asked about.

    Reading one finished lesson decides about all of its enrolment, also what comes in later
    portions. No version is kept yet: what an interrupted import never asked about must be found
    again.
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
    """Say whether tonight's comparison is due. A night begins at half past three in that zone.

    Never before the baseline: all would look missing. After a stopped run, some time later.
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
    """Compare everything with the source, and have what is missing or differs read.

    `until` is a time of `clock.monotonic` by which the lists should be read; a later call begins
    again. What was found has half a minute more to be asked about, and the rest is found again.
    The run, with its counts or why it was stopped, is kept in the ledger.

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
                f"the time of one comparison was enough for {read:,} rows, and there may be more; "
                "`coursebell reconcile` has an hour for them"
            )

    def keep_bringing() -> None:
        keep_lease()
        if sync.clock.monotonic() > until + _BRINGING_S:
            raise SourceThrottled("so much differs that the rest is left to the next comparison")

    def noted(entity: Entity, rows: Sequence[ListRow], differing: int) -> None:
        nonlocal read
        read += len(rows)
        with writing(sync.engine) as connection:
            note_page(connection, run.check_id, rows=len(rows), news=differing, reached=None)
        _keep_names(sync, entity, [row.seen for row in rows if row.seen is not None])

    try:
        patience = Patience(Urgency.WORK, until, keep)
        comparison = compare(sync, Scope(), patience, noted)
        keep_bringing()
        brought = request_differences(sync, comparison, ReconcileMode.CHECK, keep_bringing)
    except SourceError as error:
        with writing(sync.engine) as connection:
            fail_check(connection, run.check_id, reason_of(error), str(error))
        _log.warning("reconcile.stopped", error=str(error))
        return
    with writing(sync.engine) as connection:
        end_check(connection, run.check_id, sync.clock.now(), comparison.report())
    _log.info("reconcile.ended", brought=brought, doubt=comparison.doubt)


def _keep_names(sync: SyncContext, entity: Entity, seen: Sequence[SeenVersion]) -> None:
    """Keep the names of members that are new or changed: no poll does, since a name is no change.

    It writes nothing on most nights.
    """
    with reading(sync.engine) as connection:
        named = with_changed_names(connection, entity, seen)
    if named:
        with writing(sync.engine) as connection:
            lock_decisions(connection)  # in one order with those who decide
            update_names(connection, entity, named)
