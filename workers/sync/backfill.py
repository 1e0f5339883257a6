"""Backfill: requests lookups of a window of time or of one person.

A window requests the records that changed then and are not known in that version; a person is
requested completely. Repeating either is harmless.

`review` shows an operator what releasing the emails about them would send. These are planned like
any other and held from the start, so what is shown is what is sent after approval.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime

from ledger.actions import store_held_copies
from ledger.checks import CheckKind, last_run
from ledger.controls import sending_of
from ledger.engine import Connection, Engine, chunks, reading, writing
from ledger.events import suppressed_among
from ledger.intake import Origin
from ledger.interventions import held_for_enrolments
from ledger.open_lookups import states_among
from ledger.outbox import read_actions
from ledger.people import require_fresh_read
from ledger.records import SeenVersion, unknown_among
from schemas.actions import LookupState
from schemas.entity import FOLLOWED, Entity
from schemas.errors import CoursebellError, SourceError
from schemas.reasons import Reason
from schemas.records import Record, dump_record
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast
from workers.lookup.batch import LookupContext
from workers.lookup.claim import drain_batch
from workers.source.limits import Patience, Urgency
from workers.source.lists import Changed, Changes
from workers.source.reads import BurstReads
from workers.sync.listed_rows import Candidates, Search, SearchResult
from workers.sync.rows import ListCursor, SyncContext, interleave, reached_by
from workers.versions import version_of_record, version_of_row

_POLL_STATES_S = 0.2  # while a worker reads some of it
_UNREAD = (LookupState.DUE, LookupState.LEASED, LookupState.WAITING)


@dataclass(frozen=True, slots=True)
class Review:
    """What an operator decides on: the expected outcome of each held email if it is released.

    `unread` records could not be read yet, and workers continue with them. `failed` records are
    not read until an operator or a new notification asks for them.
    """

    expected: list[Expected]
    unread: int
    failed: int


def read_found(
    lookup_context: LookupContext, found: SearchResult, end: float
) -> dict[LookupState, int]:
    """Read the found records, together with the workers, until `end` (monotonic) at most.

    Returns how many lookups are in each state. Lookups that wait for Nexudus are not awaited.
    """
    while True:
        claimed, _ = drain_batch(lookup_context)
        with reading(lookup_context.engine) as connection:
            states = states_among(connection, found.requested)
        under_way = states.get(LookupState.DUE, 0) + states.get(LookupState.LEASED, 0)
        if not under_way or lookup_context.clock.monotonic() > end:
            return states
        if not claimed:
            lookup_context.clock.sleep(_POLL_STATES_S)


def review(
    engine: Engine,
    setup: SendSetup,
    found: SearchResult,
    states: dict[LookupState, int],
    now: datetime,
) -> Review:
    """Return what releasing the held emails of these enrolments would do now.

    A copy of each is stored, so that an operator can read it before it is sent.
    """
    with reading(engine) as connection:
        ids = held_for_enrolments(connection, Reason.IMPORTED, found.enrolments)
        wanted = [
            replace(one, due_at=now, released_at=now) for one in read_actions(connection, ids)
        ]
        wanted.sort(key=lambda one: one.action_id)
        started_at = sending_of(connection).started_at
        expected = forecast(connection, setup, wanted, now, started_at)
    prepared = {one.action.action_id: one.copy for one in expected if one.copy is not None}
    for some in chunks(prepared):
        with writing(engine) as connection:
            store_held_copies(connection, {one: prepared[one] for one in some}, now)
    unread = sum(states.get(one, 0) for one in _UNREAD)
    return Review(expected, unread, states.get(LookupState.FAILED, 0))


KEPT = 2000  # rows that are listed one by one; the rest is only counted
_TASK_S = 200.0  # Celery ends the task at 300

# An operator reviews the emails before they are sent; the second also includes records from before
# the baseline and records imported without an email.
REVIEWED = (Origin.REVIEW,)
REVIEWED_WITH_OLD = (Origin.PERSON, Origin.REVIEW)


class BaselineUnfinished(CoursebellError):
    """The baseline has not ended, so missed changes cannot be told from older records."""


class BackfillUnfinished(Exception):
    """A backfill stopped early: `asked_for` records, all up to `reached`, were requested."""

    def __init__(self, trouble: CoursebellError, reached: datetime, asked_for: int) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble
        self.reached = reached
        self.asked_for = asked_for


def backfill_window(  # noqa: PLR0913 - what, its origin, and how
    sync: SyncContext,
    since: datetime,
    until: datetime,
    entities: Collection[Entity] = FOLLOWED,
    *,
    origins: Sequence[Origin] = (Origin.BACKFILL,),
    dry_run: bool = False,
    keep: int = KEPT,
    urgency: Urgency = Urgency.WORK,
    for_s: float = _TASK_S,
) -> SearchResult:
    """Request what changed (completions: was created) in a window and is not known in that version.

    With `REVIEWED_WITH_OLD` also records from before the baseline or imported without an email.
    After `for_s` seconds the source is not asked any more.

    Raises:
        SourceError: the source failed; what was requested before stays, and repeating is harmless.
        LedgerUnavailable: what was committed before stays.
    """
    search = Search(sync, origins, keep)
    recorded = nullcontext() if dry_run else search.recorded(entities, since)
    with recorded, _source(sync, urgency, for_s) as source:
        cursors = [
            ListCursor(entity, since, _pages(source, entity, since, until)) for entity in entities
        ]
        _request_pages(search, cursors, until)
    return search.found


def backfill_person(  # noqa: PLR0913 - who, and how
    sync: SyncContext,
    coworker_id: int,
    *,
    origins: Sequence[Origin] = REVIEWED_WITH_OLD,
    dry_run: bool = False,
    keep: int = KEPT,
    urgency: Urgency = Urgency.PERSON,
    for_s: float = _TASK_S,
) -> SearchResult:
    """Request everything of one person: enrolments, finished lessons and their own record.

    Emails about it are held, unless `origins` say otherwise. Raises as `backfill_window`.
    """
    search = Search(sync, origins, keep)
    recorded = nullcontext() if dry_run else search.recorded(FOLLOWED, None)
    with recorded, _source(sync, urgency, for_s) as source:
        if not dry_run:
            # Before any lookup is requested, so that none decides on the older one.
            with writing(sync.engine) as connection:
                require_fresh_read(connection, coworker_id)
        for member in source.enrolments_of(coworker_id):
            # In one transaction: lookups of one enrolment may run in any order.
            search.request(
                _all_of(Entity.COURSE_MEMBER, [member]),
                _all_of(Entity.COMPLETED_LESSON, source.completions_of(member.record_id)),
            )
    return search.found


def _source(
    sync: SyncContext, urgency: Urgency, for_s: float
) -> AbstractContextManager[BurstReads]:
    return sync.source(Patience(urgency, sync.clock.monotonic() + for_s, lambda: None))


def _pages(
    source: BurstReads, entity: Entity, since: datetime, until: datetime
) -> Iterator[Changes]:
    if entity is Entity.COMPLETED_LESSON:
        return source.created_between(entity, since, until)  # completions never change
    return source.changed_since(entity, since)


def _in_window(entity: Entity, rows: Sequence[Changed], origins: Sequence[Origin]) -> Candidates:
    def choose(connection: Connection, seen: Sequence[SeenVersion]) -> set[int]:
        wanted = {one.record_id for one in unknown_among(connection, entity, seen)}
        if Origin.PERSON in origins:
            quiet = suppressed_among(connection, [(entity, one.record_id) for one in seen])
            wanted |= {record_id for _, record_id in quiet}
        return wanted

    return Candidates(
        entity,
        [(version_of_row(entity, row.record_id, row.at, row.row), row.row) for row in rows],
        choose,
    )


def _all_of(entity: Entity, records: Sequence[Record]) -> Candidates:
    return Candidates(
        entity,
        [(version_of_record(entity, one), dump_record(entity, one)) for one in records],
        lambda _, seen: {one.record_id for one in seen},
    )


def backfill_gap(  # noqa: PLR0913 - what, its origin, and how
    sync: SyncContext,
    since: datetime,
    until: datetime,
    entities: Collection[Entity],
    *,
    end: float | None = None,
    urgency: Urgency = Urgency.WORK,
) -> int:
    """Request everything missed in a window; return how many records.

    Records that existed when the baseline began are left to it. After `end` (monotonic, default a
    few minutes from now) the source is not asked any more.

    Raises:
        BaselineUnfinished: polling is on, and the baseline has not ended. Nothing was requested.
        BackfillUnfinished: the time is used up, or the source failed.
        LedgerUnavailable: what was committed before stays.
    """
    begins = _begins(sync, since, until, entities)
    if not begins:
        return 0
    end = sync.clock.monotonic() + _TASK_S if end is None else end
    search = Search(sync, (Origin.BACKFILL,), 0)
    cursors: list[ListCursor] = []
    try:
        with (
            search.recorded(begins, min(begins.values())),
            _source(sync, urgency, end - sync.clock.monotonic()) as source,
        ):
            cursors += [
                ListCursor(one, at, _pages(source, one, at, until)) for one, at in begins.items()
            ]
            _request_pages(search, cursors, until)
    except SourceError as error:
        reached = reached_by(cursors, until) if cursors else since
        raise BackfillUnfinished(error, reached, sum(search.found.news.values())) from error
    return sum(search.found.news.values())


def _request_pages(search: Search, cursors: Sequence[ListCursor], until: datetime) -> None:
    for cursor, page in interleave(cursors):
        rows = [row for row in page.rows if row.at <= until]
        search.request(_in_window(cursor.entity, rows, search.origins))


def _begins(
    sync: SyncContext, since: datetime, until: datetime, entities: Collection[Entity]
) -> Mapping[Entity, datetime]:
    """Return from when on changes of each kind may have been missed, if any may."""
    with reading(sync.engine) as connection:
        looks = {one: last_run(connection, [CheckKind.BASELINE], one) for one in entities}
    if sync.every_s > 0 and None in looks.values():
        raise BaselineUnfinished("the baseline has not ended yet")
    begins = {
        one: since if look is None else max(since, look.begun_at) for one, look in looks.items()
    }
    return {one: at for one, at in begins.items() if at <= until}
