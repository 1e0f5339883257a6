"""The poll: lists what changed since the last one, and requests lookups of unreported changes.

The first poll of each kind of record is the baseline: existing records are stored as seen, without
an email and without reading each by its Id. Each page is one commit that also stores the position,
so a poll that was interrupted resumes there.

`refresh_catalogue` lists the courses, so that a rule with a name no course has can be reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from ledger.checks import (
    CheckKind,
    Run,
    begin_check,
    end_check,
    fail_check,
    is_baseline_due,
    last_run,
    note_page,
    open_run,
)
from ledger.clock import Clock
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.heartbeats import release_lease, take_lease
from ledger.intake import Origin
from ledger.record_queries import count_seen
from ledger.records import SeenVersion, accept_record, note_seen, present_among, unknown_among
from ledger.source_state import catalogue_of, store_catalogue
from schemas.entity import FOLLOWED, Entity
from schemas.errors import RecordUnreadable, SourceError, SourceRefused, SourceThrottled
from schemas.events import is_ahead
from schemas.reasons import Reason
from schemas.records import Record
from schemas.rules import Catalogue, Rules, names_in
from workers.leases import Lease, LeaseLost
from workers.source.client import whole_record
from workers.source.limits import Patience, Urgency
from workers.source.lists import Changed, Changes, Row
from workers.source.reads import BurstReads
from workers.sync.rows import ListProgress, SyncContext, note_changes, request_lookups
from workers.versions import version_of_record, version_of_row, versions_of

_NEVER_FRESH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def note_baseline(
    connection: Connection,
    sync: SyncContext,
    entity: Entity,
    rows: Sequence[Changed],
    begun_at: datetime,
) -> list[SeenVersion]:
    """Store the rows of a baseline page as seen; return those that may need a lookup.

    These are rows that changed after the baseline began, and rows that differ from a record that
    was already read because of a notification.
    """
    read = present_among(connection, entity, [row.record_id for row in rows])
    old, known, to_look_up, waiting = [], [], [], []
    for row in rows:
        seen = version_of_row(entity, row.record_id, row.at, row.row)
        stored = read.get(row.record_id)
        if stored is not None and _is_same(entity, stored.record, seen):
            known.append(seen)
        elif stored is not None or row.at > begun_at:
            to_look_up.append(seen)
        else:
            old.append(seen)
            if not _kept_for_later(connection, entity, row):
                waiting.append(row.record_id)
    now = sync.clock.now()
    note_seen(connection, entity, known, now)
    note_seen(connection, entity, old, now, suppressed=Reason.BEFORE_START)
    request_lookups(connection, sync, entity, waiting, Origin.CHECK)
    return to_look_up


def _is_same(entity: Entity, record: Record, seen: SeenVersion) -> bool:
    return version_of_record(entity, record).digest == seen.digest


def _kept_for_later(connection: Connection, entity: Entity, row: Changed) -> bool:
    """Store an enrolment that waits for approval: the approval must later count as a change.

    Returns False if its row is partial, so that it has to be read by its Id.
    """
    if entity is not Entity.COURSE_MEMBER or row.row.get("Approved") is not False:
        return True
    record = whole_record(entity, row.row)
    if record is None:
        return False
    accept_record(connection, entity, record, _NEVER_FRESH)
    return True


_CATALOGUE_EVERY = timedelta(hours=1)
_LONGEST_S = 60.0

_log = structlog.get_logger("check")


def refresh_catalogue(sync: SyncContext, rules: Rules) -> None:
    """List the courses if a rule names a course, group or location and the last list is old.

    Source errors are logged, and the next poll tries again. Raises `LedgerUnavailable`.
    """
    if not any(map(names_in, rules.conditions())):
        return
    now = sync.clock.now()
    with reading(sync.engine) as connection:
        known = catalogue_of(connection)
        if is_baseline_due(connection):
            return
    if known is not None and timedelta() <= now - known.seen_at < _CATALOGUE_EVERY:
        return
    patience = Patience(Urgency.WORK, sync.clock.monotonic() + _LONGEST_S, lambda: None)
    courses: dict[int, str | None] = {}
    locations: dict[int, str | None] = {}
    groups: set[str | None] = set()
    try:
        with sync.source(patience) as source:
            for page in source.changed_since(Entity.COURSE, EARLIEST):
                for one in page.rows:
                    courses[one.record_id] = _text(one.row, "Title")
                    groups.add(_text(one.row, "GroupName", empty=""))
                    location_id = one.row.get("BusinessId")
                    if isinstance(location_id, int):
                        locations[location_id] = _text(one.row, "BusinessName")
    except SourceError as error:
        _log.info("catalogue.unread", error=str(error))
        return
    with writing(sync.engine) as connection:
        store_catalogue(connection, Catalogue(courses, frozenset(groups), locations, now))


def _text(row: Row, name: str, empty: str | None = None) -> str | None:
    """Return a name in a row; None if the row lacks the field, `empty` if it is null."""
    value = row.get(name)
    if value is None and name in row:
        return empty
    return value if isinstance(value, str) else None


EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # earlier than any record
OVERLAP = timedelta(minutes=15)  # a list may show a row late, and clocks differ
WIDE_OVERLAP = timedelta(hours=24)  # once an hour
LONGEST_S = 240.0  # for one call; Celery ends the task at 300
_KINDS = (CheckKind.CHECK, CheckKind.BASELINE)


@dataclass(frozen=True, slots=True)
class PollResult:
    """The result of one call: how many changed records were found, and whether more remain."""

    news: int = 0
    more: bool = False


@dataclass(slots=True)
class _PollRun:
    """One call's part of a poll. After `end` (monotonic) it should pause for other work."""

    run: Run
    clock: Clock
    end: float
    progress: ListProgress
    moved: bool = False
    news: int = 0

    def note(self, page: Changes) -> datetime | None:
        """Return up to when all changes were listed; None if the list is not in order."""
        self.progress.note(page)
        if not self.progress.is_ordered:
            return None
        self.moved = self.moved or self.progress.reached > self.progress.since
        return self.progress.reached

    @property
    def may_pause(self) -> bool:
        """Return whether the time is used up and a later call can resume from here."""
        return self.moved and self.progress.is_ordered and self.clock.monotonic() > self.end


def poll_all(sync: SyncContext, *, for_s: float) -> PollResult:
    """Poll every kind of record that is due, for about `for_s` seconds.

    Source errors are stored with the run, and a later call resumes it.
    Raises `LedgerUnavailable`: what was committed before stays.
    """
    last = sync.clock.monotonic() + LONGEST_S
    done = [poll(sync, entity, for_s=for_s, last=last) for entity in FOLLOWED]
    return PollResult(sum(one.news for one in done), any(one.more for one in done))


def poll(sync: SyncContext, entity: Entity, *, for_s: float, last: float) -> PollResult:
    """Poll one kind of record until `last` at most, if it is due and no other worker does it."""
    name, holder = f"check {entity}", sync.clock.new_id()

    def held() -> bool:
        with writing(sync.engine) as connection:
            return take_lease(connection, name, holder, sync.clock.now(), lease_s=sync.lease_s)

    if not held():
        return PollResult()
    try:
        run = _due_run(sync, entity)
        if run is None:
            return PollResult()
        lease = Lease(held, sync.clock, sync.lease_s)
        patience = Patience(Urgency.WORK, last, lease.keep)
        return _resume(sync, entity, run, patience, for_s=for_s)
    except LeaseLost:
        return PollResult()
    finally:
        with writing(sync.engine) as connection:
            release_lease(connection, name, holder)


def _due_run(sync: SyncContext, entity: Entity) -> Run | None:
    """Return the run to resume, or a new one if a poll is due; None otherwise."""
    now = sync.clock.now()
    with writing(sync.engine) as connection:
        interrupted = open_run(connection, _KINDS, entity)
        if interrupted is not None:
            return interrupted
        last = last_run(connection, _KINDS, entity)
        if last is None:
            return begin_check(connection, CheckKind.BASELINE, entity, now, since=EARLIEST)
        # There may be two schedulers, and a restarted one asks for a poll at once.
        if timedelta() <= now - last.begun_at < 0.9 * timedelta(seconds=sync.every_s):
            return None
        return begin_check(connection, CheckKind.CHECK, entity, now, since=_since(last, now))


def _since(last: Run, now: datetime) -> datetime:
    # Everything up to the begin of the last poll is known, except rows that appeared late.
    known_upto = min(last.begun_at, now)
    is_first_of_the_hour = _hour(last.begun_at) != _hour(now) or is_ahead(last.begun_at, now)
    return known_upto - (WIDE_OVERLAP if is_first_of_the_hour else OVERLAP)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _resume(
    sync: SyncContext, entity: Entity, run: Run, patience: Patience, *, for_s: float
) -> PollResult:
    progress = ListProgress(run.reached or run.since or EARLIEST)
    polling = _PollRun(run, sync.clock, sync.clock.monotonic() + for_s, progress)
    try:
        with sync.source(patience) as source:
            for page in source.changed_since(entity, progress.reached):
                patience.keep()
                _keep_page(sync, entity, polling, page)
                if polling.may_pause:
                    return PollResult(polling.news, more=True)
            if run.kind is CheckKind.BASELINE:
                _complete(sync, entity, polling, source)
        with writing(sync.engine) as connection:
            end_check(connection, run.check_id, sync.clock.now())
    except SourceError as error:
        _log.warning("check.stopped", entity=entity.value, error=str(error))
        with writing(sync.engine) as connection:
            fail_check(connection, run.check_id, reason_of(error), str(error))
        return PollResult(polling.news, more=polling.moved and isinstance(error, SourceThrottled))
    _log.info("check.ended", entity=entity.value, kind=run.kind.value, news=polling.news)
    return PollResult(polling.news)


def _complete(sync: SyncContext, entity: Entity, polling: _PollRun, source: BurstReads) -> None:
    """List again until every record was seen: the source may ignore the requested order."""
    for page in source.changed_since(entity, EARLIEST):
        with reading(sync.engine) as connection:
            seen = count_seen(connection, entity)
        if page.total is None or seen >= page.total:
            return
        _keep_page(sync, entity, polling, page)


def _keep_page(sync: SyncContext, entity: Entity, polling: _PollRun, page: Changes) -> None:
    seen = versions_of(entity, page.rows)
    reached = polling.note(page)
    with writing(sync.engine) as connection:
        lock_decisions(connection)  # the same lock order as lookups, so no deadlock
        if polling.run.kind is CheckKind.BASELINE:
            seen = note_baseline(connection, sync, entity, page.rows, polling.run.begun_at)
        news = unknown_among(connection, entity, seen)
        note_changes(connection, sync, entity, news, Origin.CHECK)
        note_page(
            connection,
            polling.run.check_id,
            rows=len(page.rows),
            news=len(news),
            reached=reached,
            total=page.total,
        )
    polling.news += len(news)


def reason_of(error: SourceError) -> Reason:
    """Return the reason code for a source error that stopped a poll."""
    match error:
        case RecordUnreadable():
            return Reason.UNREADABLE
        case SourceRefused():
            return Reason.NEXUDUS_REFUSED
        case SourceThrottled():
            return Reason.NEXUDUS_BUSY
        case _:
            return Reason.NEXUDUS_DOWN
