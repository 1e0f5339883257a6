"""The comparison of every night, for the clock: one run, by one worker at a time.

A run that was stopped is begun anew, later each time: it reads lists only, and they are cheap, but
a source that cannot answer tonight should not be asked all day. What was met on a list is kept in
memory, so one run compares no more than can be listed in one call; it says so if that is too few.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from zoneinfo import ZoneInfo

import structlog

from ledger.beats import give_lease_back, take_lease
from ledger.checks import (
    CheckKind,
    begin_check,
    end_check,
    fail_check,
    last_run,
    note_page,
    runs,
)
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.intake import Origin
from ledger.record_queries import differently_named, keep_names
from ledger.records import SeenVersion
from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceError, SourceThrottled
from schemas.skew import is_ahead
from workers.check.check import reason_of
from workers.check.reconcile.bringing import bring_in_from
from workers.check.reconcile.compare import compare
from workers.check.reconcile.values import Scope
from workers.check.tools import Checking
from workers.lease import Lease, Overtaken
from workers.source.limits import Patience, Urgency

NIGHT = time_of_day(3, 30)  # after midnight's jobs of others, before anybody learns
_LEASE = "reconcile"
_LEASE_S = 120.0
_FIRST_WAIT = timedelta(minutes=15)
_MOST_DOUBLINGS = 4  # up to four hours
_BRINGING_S = 30.0  # beyond the reading; a task is ended a little later

_log = structlog.get_logger("reconcile")


def is_nightly_due(connection: Connection, now: datetime, zone: ZoneInfo) -> bool:
    """Say whether tonight's comparison is to be begun. A night begins at half past three there.

    Never before a baseline: all would look missing. After a run that was stopped, some time later.
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


def nightly(checking: Checking, until: float) -> bool:
    """Compare everything with the source, and make news of what is missing or differs.

    `until` is a `clock.monotonic()` by which the lists should be read; else a later call begins
    anew. What was found has half a minute more to be asked about, and the rest is found again. The
    run, with its counts or why it was stopped, is in the ledger.

    Returns False when somebody else is at it.

    Raises:
        LedgerUnavailable: the run stays open.
    """
    holder = checking.clock.new_id()

    def renewed() -> bool:
        with writing(checking.engine) as connection:
            now = checking.clock.now()
            return take_lease(connection, _LEASE, holder, now, lease_s=_LEASE_S)

    lease = Lease(renewed, checking.clock, _LEASE_S)
    try:
        lease.keep()
        _run(checking, until, lease.keep)
    except Overtaken:
        _log.info("reconcile.overtaken")
        return False
    finally:
        with writing(checking.engine) as connection:
            give_lease_back(connection, _LEASE, holder)
    return True


def _run(checking: Checking, until: float, keep_lease: Callable[[], None]) -> None:
    with writing(checking.engine) as connection:
        run = begin_check(connection, CheckKind.RECONCILE, None, checking.clock.now())
    read = 0

    def keep() -> None:
        keep_lease()
        if checking.clock.monotonic() > until:
            raise SourceThrottled(
                f"the time of one comparison was enough for {read:,} rows, and there may be more; "
                "`coursebell reconcile` has an hour for them"
            )

    def keep_bringing() -> None:
        keep_lease()
        if checking.clock.monotonic() > until + _BRINGING_S:
            raise SourceThrottled("so much differs that the rest is left to the next comparison")

    def told(rows: int, differing: int) -> None:
        nonlocal read
        read += rows
        with writing(checking.engine) as connection:
            note_page(connection, run.check_id, rows=rows, news=differing, reached=None)

    def named(entity: Entity, seen: Sequence[SeenVersion]) -> None:
        _keep_names(checking, entity, seen)

    try:
        patience = Patience(Urgency.WORK, until, keep)
        comparison = compare(checking, Scope(), patience, told, named)
        keep_bringing()
        # Without a reason to be quiet: its age and its amount decide whether it is written about.
        brought = bring_in_from(checking, comparison, Origin.CHECK, keep=keep_bringing)
    except SourceError as error:
        with writing(checking.engine) as connection:
            fail_check(connection, run.check_id, reason_of(error), str(error))
        _log.warning("reconcile.stopped", error=str(error))
        return
    with writing(checking.engine) as connection:
        end_check(connection, run.check_id, checking.clock.now(), comparison.report())
    _log.info("reconcile.ended", brought=brought, doubt=comparison.doubt)


def _keep_names(checking: Checking, entity: Entity, seen: Sequence[SeenVersion]) -> None:
    """Keep the names of members that are new or changed; rows that are the same have them too.

    It writes nothing on most nights: a name that changed is no news, so no check kept it.
    """
    with reading(checking.engine) as connection:
        named = differently_named(connection, entity, seen)
    if named:
        with writing(checking.engine) as connection:
            lock_decisions(connection)  # in one order with those who decide
            keep_names(connection, entity, named)
