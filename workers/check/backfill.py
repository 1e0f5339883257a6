"""Backfill: asks the source about a window of time or about one person, because somebody wants to.

Not the steady check, which looks by itself. A window brings what changed then and was neither
asked about nor decided on; a person is asked about as a whole, whatever we know. Doing either
again is harmless: what is found again is the same.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from ledger.engine import Connection, writing
from ledger.intake import Origin
from ledger.people import read_anew
from ledger.quiet import quiet_among
from ledger.sightings import Sighting, unknown_among
from schemas.entity import FOLLOWED, Entity
from schemas.records import Record, dump_record
from workers.check.rows import sighting_of_record, sighting_of_row
from workers.check.search import Found, FoundRow, Search, Seen
from workers.check.tools import Checking
from workers.source.budget import Patience, Urgency
from workers.source.lists import Changed, Changes
from workers.source.reads import BurstReads

__all__ = ["KEPT", "Found", "FoundRow", "person", "window"]

KEPT = 2000  # rows that are told of one by one; of more, the number
_TASK_S = 200.0  # a task is ended at 300


def window(  # noqa: PLR0913 - what, in whose name, and how
    checking: Checking,
    since: datetime,
    until: datetime,
    entities: Collection[Entity] = FOLLOWED,
    *,
    origin: Origin = Origin.BACKFILL,
    dry_run: bool = False,
    keep: int = KEPT,
    urgency: Urgency = Urgency.WORK,
    for_s: float = _TASK_S,
) -> Found:
    """Have read what changed (of completions: was made) then, if it is not known in that version.

    With `Origin.PERSON` that is also what was there before we began, or was brought in without an
    email: it may then be written about. After `for_s` seconds no more questions wait their turn.

    Raises:
        SourceThrottled, SourceUnavailable, SourceRefused, RecordUnreadable: the source gave nothing
            to go on with; what came before is kept, and the whole may be asked for again.
        LedgerUnavailable: nothing more was kept.
    """
    search = Search(checking, origin, keep)
    recorded = nullcontext() if dry_run else search.recorded(entities, since)
    with recorded, _source(checking, urgency, for_s) as source:
        for entity in entities:
            for page in _pages(source, entity, since, until):
                rows = [row for row in page.rows if row.at <= until]
                search.ask_about(_seen_in_window(entity, rows, origin))
    return search.found


def person(  # noqa: PLR0913 - who, and how
    checking: Checking,
    coworker_id: int,
    *,
    dry_run: bool = False,
    keep: int = KEPT,
    urgency: Urgency = Urgency.PERSON,
    for_s: float = _TASK_S,
) -> Found:
    """Have everything of one person read anew: enrolments, finished lessons, their own record.

    What was there before we began may be written about then. Raises as `window`.
    """
    search = Search(checking, Origin.PERSON, keep)
    recorded = nullcontext() if dry_run else search.recorded(FOLLOWED, None)
    with recorded, _source(checking, urgency, for_s) as source:
        if not dry_run:
            # Before anything is asked about, so that no decision is made on the older one.
            with writing(checking.engine) as connection:
                read_anew(connection, coworker_id)
        for member in source.enrolments_of(coworker_id):
            # All at once: the events of one enrolment are decided on in any order.
            search.ask_about(
                _seen_whole(Entity.COURSE_MEMBER, [member]),
                _seen_whole(Entity.COMPLETED_LESSON, source.completions_of(member.record_id)),
            )
    return search.found


def _source(
    checking: Checking, urgency: Urgency, for_s: float
) -> AbstractContextManager[BurstReads]:
    return checking.source(Patience(urgency, time.monotonic() + for_s, lambda: None))


def _pages(
    source: BurstReads, entity: Entity, since: datetime, until: datetime
) -> Iterator[Changes]:
    if entity is Entity.COMPLETED_LESSON:
        return source.created_between(entity, since, until)  # these are made, and never change
    return source.changed_since(entity, since)


def _seen_in_window(entity: Entity, rows: Sequence[Changed], origin: Origin) -> Seen:
    def choose(connection: Connection, seen: Sequence[Sighting]) -> set[int]:
        wanted = {one.record_id for one in unknown_among(connection, entity, seen)}
        if origin is Origin.PERSON:
            quiet = quiet_among(connection, [(entity, one.record_id) for one in seen])
            wanted |= {record_id for _, record_id in quiet}
        return wanted

    return Seen(
        entity,
        [(sighting_of_row(entity, row.record_id, row.at, row.row), row.row) for row in rows],
        choose,
    )


def _seen_whole(entity: Entity, records: Sequence[Record]) -> Seen:
    return Seen(
        entity,
        [(sighting_of_record(entity, one), dump_record(entity, one)) for one in records],
        lambda _, seen: {one.record_id for one in seen},
    )


def missed_in(
    checking: Checking, since: datetime, until: datetime, entities: Collection[Entity]
) -> int:
    """Have everything of a window read that was missed; return how many records. As `window`."""
    return sum(window(checking, since, until, entities, keep=0).news.values())
