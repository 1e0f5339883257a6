"""The check: lists what changed since the last one, and makes news of what nobody told us of.

The first one of each kind of record is the baseline: what is there already is kept as seen, nobody
is written to about it, and no record is read one by one. Each page is kept in a commit of its own,
with how far the run got, so that whoever comes after an interruption goes on there.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from ledger.beats import give_lease_back, take_lease
from ledger.checks import (
    CheckKind,
    Run,
    begin_check,
    end_check,
    fail_check,
    last_run,
    note_page,
    open_run,
)
from ledger.clock import Clock
from ledger.engine import lock_decisions, reading, writing
from ledger.intake import Origin
from ledger.record_queries import count_seen
from ledger.records import unknown_among
from schemas.entity import FOLLOWED, Entity
from schemas.errors import RecordUnreadable, SourceError, SourceRefused, SourceThrottled
from schemas.reasons import Reason
from schemas.skew import is_ahead
from workers.check.baseline import keep_as_seen
from workers.check.rows import versions_of
from workers.check.tools import Checking, make_news
from workers.check.turns import ListProgress
from workers.lease import Lease, Overtaken
from workers.source.limits import Patience, Urgency
from workers.source.reads import BurstReads
from workers.source.records import Changes

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # before that there was no source
OVERLAP = timedelta(minutes=15)  # a list may learn of a row somewhat late, and clocks differ
WIDE_OVERLAP = timedelta(hours=24)  # once an hour
LONGEST_S = 240.0  # for one call; a task is ended at 300
_KINDS = (CheckKind.CHECK, CheckKind.BASELINE)


_log = structlog.get_logger("check")


@dataclass(frozen=True, slots=True)
class Checked:
    """How one call went: how many records are news, and whether there is more to look at."""

    news: int = 0
    more: bool = False


@dataclass(slots=True)
class _Walk:
    """One call's way through a run. At `end`, of the steady clock, others should have a turn."""

    run: Run
    clock: Clock
    end: float
    progress: ListProgress
    moved: bool = False
    news: int = 0

    def note(self, page: Changes) -> datetime | None:
        """Return how far all was looked at after this page; None where that cannot be told."""
        self.progress.note(page)
        if not self.progress.is_ordered:
            return None
        self.moved = self.moved or self.progress.reached > self.progress.since
        return self.progress.reached

    @property
    def may_pause(self) -> bool:
        """Say whether it is time to let others work, and this can go on from where it got to."""
        return self.moved and self.progress.is_ordered and self.clock.monotonic() > self.end


def check_all(checking: Checking, *, for_s: float) -> Checked:
    """Check every kind of record that is due, for about `for_s` seconds.

    What goes wrong at the source is written down with the run, which is then gone on with later.
    Raises `LedgerUnavailable`: nothing more was kept.
    """
    last = checking.clock.monotonic() + LONGEST_S
    done = [check(checking, entity, for_s=for_s, last=last) for entity in FOLLOWED]
    return Checked(sum(one.news for one in done), any(one.more for one in done))


def check(checking: Checking, entity: Entity, *, for_s: float, last: float) -> Checked:
    """Check one kind of record, if that is due and nobody else is at it; until `last` at most."""
    name, holder = f"check {entity}", checking.clock.new_id()

    def held() -> bool:
        with writing(checking.engine) as connection:
            return take_lease(
                connection, name, holder, checking.clock.now(), lease_s=checking.lease_s
            )

    if not held():
        return Checked()
    try:
        run = _due_run(checking, entity)
        if run is None:
            return Checked()
        lease = Lease(held, checking.clock, checking.lease_s)
        patience = Patience(Urgency.WORK, last, lease.keep)
        return _go_on(checking, entity, run, patience, for_s=for_s)
    except Overtaken:
        return Checked()
    finally:
        with writing(checking.engine) as connection:
            give_lease_back(connection, name, holder)


def _due_run(checking: Checking, entity: Entity) -> Run | None:
    """Return the run to go on with, or a new one if it is time; None if it is not."""
    now = checking.clock.now()
    with writing(checking.engine) as connection:
        interrupted = open_run(connection, _KINDS, entity)
        if interrupted is not None:
            return interrupted
        last = last_run(connection, _KINDS, entity)
        if last is None:
            return begin_check(connection, CheckKind.BASELINE, entity, now, since=EARLIEST)
        # Two clocks may ring, and one that was started anew rings at once.
        if timedelta() <= now - last.begun_at < 0.9 * timedelta(seconds=checking.every_s):
            return None
        return begin_check(connection, CheckKind.CHECK, entity, now, since=_since(last, now))


def _since(last: Run, now: datetime) -> datetime:
    # All that the source had when the last one began is known, but for what it shows late.
    known_upto = min(last.begun_at, now)
    is_first_of_the_hour = _hour(last.begun_at) != _hour(now) or is_ahead(last.begun_at, now)
    return known_upto - (WIDE_OVERLAP if is_first_of_the_hour else OVERLAP)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _go_on(
    checking: Checking, entity: Entity, run: Run, patience: Patience, *, for_s: float
) -> Checked:
    progress = ListProgress(run.reached or run.since or EARLIEST)
    walk = _Walk(run, checking.clock, checking.clock.monotonic() + for_s, progress)
    try:
        with checking.source(patience) as source:
            for page in source.changed_since(entity, progress.reached):
                patience.keep()
                _keep_page(checking, entity, walk, page)
                if walk.may_pause:
                    return Checked(walk.news, more=True)
            if run.kind is CheckKind.BASELINE:
                _complete(checking, entity, walk, source)
        with writing(checking.engine) as connection:
            end_check(connection, run.check_id, checking.clock.now())
    except SourceError as error:
        _log.warning("check.stopped", entity=entity.value, error=str(error))
        with writing(checking.engine) as connection:
            fail_check(connection, run.check_id, reason_of(error), str(error))
        return Checked(walk.news, more=walk.moved and isinstance(error, SourceThrottled))
    _log.info("check.ended", entity=entity.value, kind=run.kind.value, news=walk.news)
    return Checked(walk.news)


def _complete(checking: Checking, entity: Entity, walk: _Walk, source: BurstReads) -> None:
    """Make sure that the first look saw all there is: the order asked for may not be kept."""
    for page in source.changed_since(entity, EARLIEST):
        with reading(checking.engine) as connection:
            seen = count_seen(connection, entity)
        if page.total is None or seen >= page.total:
            return
        _keep_page(checking, entity, walk, page)


def _keep_page(checking: Checking, entity: Entity, walk: _Walk, page: Changes) -> None:
    seen = versions_of(entity, page.rows)
    reached = walk.note(page)
    with writing(checking.engine) as connection:
        lock_decisions(connection)  # in one order with those who decide: nobody waits in a circle
        if walk.run.kind is CheckKind.BASELINE:
            seen = keep_as_seen(connection, checking, entity, page.rows, walk.run.begun_at)
        news = unknown_among(connection, entity, seen)
        make_news(connection, checking, entity, news, Origin.CHECK)
        note_page(
            connection,
            walk.run.check_id,
            rows=len(page.rows),
            news=len(news),
            reached=reached,
            total=page.total,
        )
    walk.news += len(news)


def reason_of(error: SourceError) -> Reason:
    """Return why a check could not go on, in one of our words."""
    match error:
        case RecordUnreadable():
            return Reason.UNREADABLE
        case SourceRefused():
            return Reason.NEXUDUS_REFUSED
        case SourceThrottled():
            return Reason.NEXUDUS_BUSY
        case _:
            return Reason.NEXUDUS_DOWN
