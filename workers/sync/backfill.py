"""Asks again about a window of time or a person.

Reads what a backfill found, and says what would become of the emails that are held about it.

The emails are planned by the same decisions as any other, and held from the beginning, so that
what is listed here is what is sent after a person agreed.

Backfill: asks the source about a window of time or about one person, because somebody wants to.

Not the steady check, which looks by itself. A window brings what changed then and was neither
asked about nor decided on; a person is asked about as a whole, whatever we know. Doing either
again is harmless: what is found again is the same.
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
from ledger.lookups import states_among
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
from workers.lookup.claim import LookupContext, drain_batch
from workers.source.limits import Patience, Urgency
from workers.source.reads import BurstReads
from workers.source.records import Changed, Changes
from workers.sync.listing import Candidates, FoundRow, Search, SearchResult
from workers.sync.rows import (
    ListCursor,
    SyncContext,
    interleave,
    reached_by,
    version_of_record,
    version_of_row,
)

__all__ = [
    "KEPT",
    "REVIEWED",
    "REVIEWED_WITH_OLD",
    "BackfillUnfinished",
    "BaselineUnfinished",
    "FoundRow",
    "Review",
    "backfill_gap",
    "backfill_person",
    "backfill_window",
    "read_found",
    "review",
]


_LOOK_EVERY_S = 0.2  # while a worker reads some of it
_UNREAD = (LookupState.DUE, LookupState.LEASED, LookupState.WAITING)


@dataclass(frozen=True, slots=True)
class Review:
    """What a person is asked to decide: what would become of each held email if it were released.

    `unread` is how many records could not be read yet; workers go on with them. `failed` is how
    many cannot be read until a person or a new notification comes.
    """

    expected: list[Expected]
    unread: int
    failed: int


def read_found(
    lookup_context: LookupContext, found: SearchResult, end: float
) -> dict[LookupState, int]:
    """Read what was found, together with the workers, until `end` of the steady clock at most.

    Returns how many look-ups are in each state. What waits for Nexudus is not waited for.
    """
    while True:
        claimed, _ = drain_batch(lookup_context)
        with reading(lookup_context.engine) as connection:
            states = states_among(connection, found.requested)
        under_way = states.get(LookupState.DUE, 0) + states.get(LookupState.LEASED, 0)
        if not under_way or lookup_context.clock.monotonic() > end:
            return states
        if not claimed:
            lookup_context.clock.sleep(_LOOK_EVERY_S)


def review(
    engine: Engine,
    setup: SendSetup,
    found: SearchResult,
    states: dict[LookupState, int],
    now: datetime,
) -> Review:
    """Return what releasing the held emails of these enrolments would do now.

    A copy of each is kept, so that it can be looked at before it goes.
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


KEPT = 2000  # rows that are told of one by one; of more, the number
_TASK_S = 200.0  # a task is ended at 300

# A person looks at the emails before they go; with the second also at those about what was there
# before we began, or was brought in without an email.
REVIEWED = (Origin.REVIEW,)
REVIEWED_WITH_OLD = (Origin.PERSON, Origin.REVIEW)


class BaselineUnfinished(CoursebellError):
    """The first look has not ended: what is missed cannot be told from what was there before."""


class BackfillUnfinished(Exception):
    """Not all that was missed could be asked for; all up to `reached` was, `asked_for` records."""

    def __init__(self, trouble: CoursebellError, reached: datetime, asked_for: int) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble
        self.reached = reached
        self.asked_for = asked_for


def backfill_window(  # noqa: PLR0913 - what, in whose name, and how
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
    """Have read what changed (of completions: was made) then, if it is not known in that version.

    With `REVIEWED_WITH_OLD` that is also what was there before we began, or was brought in without
    an email. After `for_s` seconds no more questions wait their turn.

    Raises:
        SourceError: the source gave nothing usable; what came before is kept, and the whole may be
            asked for again.
        LedgerUnavailable: nothing more was kept.
    """
    search = Search(sync, origins, keep)
    recorded = nullcontext() if dry_run else search.recorded(entities, since)
    with recorded, _source(sync, urgency, for_s) as source:
        cursors = [
            ListCursor(entity, since, _pages(source, entity, since, until)) for entity in entities
        ]
        _look(search, cursors, until)
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
    """Have everything of one person read anew: enrolments, finished lessons, their own record.

    Emails about it are held, unless `origins` say otherwise. Raises as `window`.
    """
    search = Search(sync, origins, keep)
    recorded = nullcontext() if dry_run else search.recorded(FOLLOWED, None)
    with recorded, _source(sync, urgency, for_s) as source:
        if not dry_run:
            # Before anything is asked about, so that no decision is made on the older one.
            with writing(sync.engine) as connection:
                require_fresh_read(connection, coworker_id)
        for member in source.enrolments_of(coworker_id):
            # All at once: the events of one enrolment are decided on in any order.
            search.request(
                _seen_whole(Entity.COURSE_MEMBER, [member]),
                _seen_whole(Entity.COMPLETED_LESSON, source.completions_of(member.record_id)),
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
        return source.created_between(entity, since, until)  # these are made, and never change
    return source.changed_since(entity, since)


def _seen_in_window(
    entity: Entity, rows: Sequence[Changed], origins: Sequence[Origin]
) -> Candidates:
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


def _seen_whole(entity: Entity, records: Sequence[Record]) -> Candidates:
    return Candidates(
        entity,
        [(version_of_record(entity, one), dump_record(entity, one)) for one in records],
        lambda _, seen: {one.record_id for one in seen},
    )


def backfill_gap(  # noqa: PLR0913 - what, in whose name, and how
    sync: SyncContext,
    since: datetime,
    until: datetime,
    entities: Collection[Entity],
    *,
    end: float | None = None,
    urgency: Urgency = Urgency.WORK,
) -> int:
    """Have everything of a window read that was missed; return how many records.

    What was there when the first look began is left to it. After `end`, of the steady clock,
    no question is asked any more; else after some minutes.

    Raises:
        BaselineUnfinished: polling is on, and the baseline has not ended. Nothing was requested.
        BackfillUnfinished: it had to stop, or the source gave nothing to go on with.
        LedgerUnavailable: nothing more was kept.
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
            _look(search, cursors, until)
    except SourceError as error:
        reached = reached_by(cursors, until) if cursors else since
        raise BackfillUnfinished(error, reached, sum(search.found.news.values())) from error
    return sum(search.found.news.values())


def _look(search: Search, cursors: Sequence[ListCursor], until: datetime) -> None:
    for cursor, page in interleave(cursors):
        rows = [row for row in page.rows if row.at <= until]
        search.request(_seen_in_window(cursor.entity, rows, search.origins))


def _begins(
    sync: SyncContext, since: datetime, until: datetime, entities: Collection[Entity]
) -> Mapping[Entity, datetime]:
    """Return from when on each kind of record may have been missed; without those that were not."""
    with reading(sync.engine) as connection:
        looks = {one: last_run(connection, [CheckKind.BASELINE], one) for one in entities}
    if sync.every_s > 0 and None in looks.values():
        raise BaselineUnfinished("the first look at what is there has not ended yet")
    begins = {
        one: since if look is None else max(since, look.begun_at) for one, look in looks.items()
    }
    return {one: at for one, at in begins.items() if at <= until}
