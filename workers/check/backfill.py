"""Backfill: asks the source about a window of time or about one person, because somebody wants to.

Not the steady check, which looks by itself. A window brings what changed then and was neither
asked about nor decided on; a person is asked about as a whole, whatever we know. Doing either
again is harmless: what is found again is the same.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from ledger.checks import CheckKind, last_run
from ledger.engine import Connection, reading, writing
from ledger.intake import Origin
from ledger.people import read_anew
from ledger.quiet import quiet_among
from ledger.records import SeenVersion, unknown_among
from schemas.entity import FOLLOWED, Entity
from schemas.errors import CoursebellError, SourceError
from schemas.records import Record, dump_record
from workers.check.rows import version_of_record, version_of_row
from workers.check.search import Found, FoundRow, Search, Seen
from workers.check.tools import Checking
from workers.check.turns import Way, by_turns, reached_by
from workers.source.limits import Patience, Urgency
from workers.source.reads import BurstReads
from workers.source.records import Changed, Changes

__all__ = [
    "KEPT",
    "REVIEWED",
    "REVIEWED_WITH_OLD",
    "FirstLookAwaited",
    "Found",
    "FoundRow",
    "Unfinished",
    "missed_in",
    "person",
    "window",
]

KEPT = 2000  # rows that are told of one by one; of more, the number
_TASK_S = 200.0  # a task is ended at 300

# A person looks at the emails before they go; with the second also at those about what was there
# before we began, or was brought in without an email.
REVIEWED = (Origin.REVIEW,)
REVIEWED_WITH_OLD = (Origin.PERSON, Origin.REVIEW)


class FirstLookAwaited(CoursebellError):
    """The first look has not ended: what is missed cannot be told from what was there before."""


class Unfinished(Exception):
    """Not all that was missed could be asked for; all up to `reached` was, `asked_for` records."""

    def __init__(self, trouble: CoursebellError, reached: datetime, asked_for: int) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble
        self.reached = reached
        self.asked_for = asked_for


def window(  # noqa: PLR0913 - what, in whose name, and how
    checking: Checking,
    since: datetime,
    until: datetime,
    entities: Collection[Entity] = FOLLOWED,
    *,
    origins: Sequence[Origin] = (Origin.BACKFILL,),
    dry_run: bool = False,
    keep: int = KEPT,
    urgency: Urgency = Urgency.WORK,
    for_s: float = _TASK_S,
) -> Found:
    """Have read what changed (of completions: was made) then, if it is not known in that version.

    With `REVIEWED_WITH_OLD` that is also what was there before we began, or was brought in without
    an email. After `for_s` seconds no more questions wait their turn.

    Raises:
        SourceError: the source gave nothing usable; what came before is kept, and the whole may be
            asked for again.
        LedgerUnavailable: nothing more was kept.
    """
    search = Search(checking, origins, keep)
    recorded = nullcontext() if dry_run else search.recorded(entities, since)
    with recorded, _source(checking, urgency, for_s) as source:
        ways = [Way(entity, since, _pages(source, entity, since, until)) for entity in entities]
        _look(search, ways, until)
    return search.found


def person(  # noqa: PLR0913 - who, and how
    checking: Checking,
    coworker_id: int,
    *,
    origins: Sequence[Origin] = REVIEWED_WITH_OLD,
    dry_run: bool = False,
    keep: int = KEPT,
    urgency: Urgency = Urgency.PERSON,
    for_s: float = _TASK_S,
) -> Found:
    """Have everything of one person read anew: enrolments, finished lessons, their own record.

    Emails about it are held, unless `origins` say otherwise. Raises as `window`.
    """
    search = Search(checking, origins, keep)
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
    return checking.source(Patience(urgency, checking.clock.monotonic() + for_s, lambda: None))


def _pages(
    source: BurstReads, entity: Entity, since: datetime, until: datetime
) -> Iterator[Changes]:
    if entity is Entity.COMPLETED_LESSON:
        return source.created_between(entity, since, until)  # these are made, and never change
    return source.changed_since(entity, since)


def _seen_in_window(entity: Entity, rows: Sequence[Changed], origins: Sequence[Origin]) -> Seen:
    def choose(connection: Connection, seen: Sequence[SeenVersion]) -> set[int]:
        wanted = {one.record_id for one in unknown_among(connection, entity, seen)}
        if Origin.PERSON in origins:
            quiet = quiet_among(connection, [(entity, one.record_id) for one in seen])
            wanted |= {record_id for _, record_id in quiet}
        return wanted

    return Seen(
        entity,
        [(version_of_row(entity, row.record_id, row.at, row.row), row.row) for row in rows],
        choose,
    )


def _seen_whole(entity: Entity, records: Sequence[Record]) -> Seen:
    return Seen(
        entity,
        [(version_of_record(entity, one), dump_record(entity, one)) for one in records],
        lambda _, seen: {one.record_id for one in seen},
    )


def missed_in(  # noqa: PLR0913 - what, in whose name, and how
    checking: Checking,
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
        FirstLookAwaited: we look by ourselves, and the first look has not ended. Nothing was asked.
        Unfinished: it had to stop, or the source gave nothing to go on with.
        LedgerUnavailable: nothing more was kept.
    """
    begins = _begins(checking, since, until, entities)
    if not begins:
        return 0
    end = checking.clock.monotonic() + _TASK_S if end is None else end
    search = Search(checking, (Origin.BACKFILL,), 0)
    ways: list[Way] = []
    try:
        with (
            search.recorded(begins, min(begins.values())),
            _source(checking, urgency, end - checking.clock.monotonic()) as source,
        ):
            ways += [Way(one, at, _pages(source, one, at, until)) for one, at in begins.items()]
            _look(search, ways, until)
    except SourceError as error:
        reached = reached_by(ways, until) if ways else since
        raise Unfinished(error, reached, sum(search.found.news.values())) from error
    return sum(search.found.news.values())


def _look(search: Search, ways: Sequence[Way], until: datetime) -> None:
    for way, page in by_turns(ways):
        rows = [row for row in page.rows if row.at <= until]
        search.ask_about(_seen_in_window(way.entity, rows, search.origins))


def _begins(
    checking: Checking, since: datetime, until: datetime, entities: Collection[Entity]
) -> Mapping[Entity, datetime]:
    """Return from when on each kind of record may have been missed; without those that were not."""
    with reading(checking.engine) as connection:
        looks = {one: last_run(connection, [CheckKind.BASELINE], one) for one in entities}
    if checking.every_s > 0 and None in looks.values():
        raise FirstLookAwaited("the first look at what is there has not ended yet")
    begins = {
        one: since if look is None else max(since, look.begun_at) for one, look in looks.items()
    }
    return {one: at for one, at in begins.items() if at <= until}
