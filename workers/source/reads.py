"""The interfaces for reading the source, and the probe of whether list rows can replace records.

`workers.source.client.Source` implements `SourceReads` and `BurstReads`, and so does a double in
tests.

Rows may be partial (contract, section 2.8), and which fields are missing on which tenant is not
documented. So `probe_all` compares some known records with their rows; the result is valid for a
week.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from typing import Protocol

from ledger.engine import Connection, Engine, reading, writing
from ledger.people import present_people
from ledger.record_queries import last_read_ids
from ledger.source_state import Proof, proofs, store_proof
from schemas.entity import Entity
from schemas.errors import RecordStuck, RecordUnreadable, SourceRefused
from schemas.events import is_within
from schemas.records import Coworker, Message, Record
from schemas.text import folded
from workers.actions.base import SourceSession
from workers.source.client import Gone, whole_record
from workers.source.limits import Patience
from workers.source.lists import Changes, Row


class SourceReads(Protocol):
    """Reads of single records and of the lists that belong to them."""

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return one record as it is now."""

    def lessons_of(self, course_id: int) -> Sequence[Record]:
        """Return all lessons of a course."""

    def sections_of(self, course_id: int) -> Sequence[Record]:
        """Return all sections of a course."""

    def completions_of(self, course_member_id: int) -> Sequence[Record]:
        """Return all completed lessons of an enrolment."""

    def all_of(self, entity: Entity) -> Sequence[Record]:
        """Return all records of a kind that has few."""


class BurstReads(SourceReads, Protocol):
    """`SourceReads`, and reads of several records and of whole lists."""

    @property
    def session(self) -> SourceSession:
        """Signed-in requests of any kind."""

    def several(self, entity: Entity, record_ids: Sequence[int]) -> list[Row]:
        """Return the rows of several records."""

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        """Yield what changed since then, page by page."""

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        """Yield what was created then, page by page."""

    def enrolments_of(self, coworker_id: int) -> Sequence[Record]:
        """Return all enrolments of a person."""

    def enrolled_with(self, email: str, most: int) -> Sequence[int]:
        """Return the Ids of a few coworkers with enrolments who may have this address."""

    def messages_to(self, coworker_id: int, since: datetime) -> Sequence[Message]:
        """Return what the source itself sent to a person after a moment, with one request."""


# Lends a client of the source.
Lend = Callable[[Patience], AbstractContextManager[BurstReads]]

MOST_COWORKERS = 5  # with one address; more means that the filter was ignored


def enrolled_coworkers(source: BurstReads, email: str) -> list[Coworker]:
    """Return the coworkers with an enrolment who have exactly this address; nothing is written.

    A source may ignore the filter, so each of at most `MOST_COWORKERS` is read by Id, and the
    address compared as `folded` does. One that cannot be read is left out.

    Raises:
        SourceError: the source gave no usable answer.
    """
    found = []
    for coworker_id in source.enrolled_with(email, MOST_COWORKERS):
        with suppress(RecordUnreadable, RecordStuck):
            record = source.fetch(Entity.COWORKER, coworker_id)
            if isinstance(record, Coworker) and folded(record.email) == folded(email):
                found.append(record)
    return found


IN_BURSTS = (Entity.COMPLETED_LESSON, Entity.COURSE_MEMBER, Entity.COWORKER, Entity.COURSE)
TRIED = 5  # records of each kind
_FEWEST = 2
_AGAIN = {True: timedelta(days=7), False: timedelta(days=1)}  # by whether the last one held
_TOO_FEW_AGAIN = timedelta(minutes=1)
TOO_FEW = "too few records are known yet"


def probe_all(
    engine: Engine, source: BurstReads, now: datetime, *, anew: bool = False
) -> dict[Entity, Proof]:
    """Probe the kinds of record whose last probe is old, or all if `anew`; return all results.

    Raises:
        SourceThrottled, SourceUnavailable: the remaining kinds were not probed.
    """
    with reading(engine) as connection:
        known = proofs(connection)
    for entity in IN_BURSTS:
        if not anew and not _is_due(known.get(entity), now):
            continue
        known[entity] = _probe(engine, source, entity, now)
        with writing(engine) as connection:
            store_proof(connection, entity, known[entity])
    return known


def is_probe_due(engine: Engine, now: datetime) -> bool:
    """Return whether a kind of record can be probed that was not, or not for long.

    That is as soon as enough of its records are known, so that a burst soon takes fewer requests.
    """
    with reading(engine) as connection:
        known = proofs(connection)
        return any(
            _is_due(known.get(entity), now) and len(_known_ids(connection, entity)) >= TRIED
            for entity in IN_BURSTS
        )


def _is_due(last: Proof | None, now: datetime) -> bool:
    return last is None or not is_within(last.probed_at, now, _wait(last))


def _wait(last: Proof) -> timedelta:
    return _TOO_FEW_AGAIN if last.sentence == TOO_FEW else _AGAIN[last.holds]


def _probe(engine: Engine, source: BurstReads, entity: Entity, now: datetime) -> Proof:
    with reading(engine) as connection:
        ids = _known_ids(connection, entity)
    try:
        # A record may change between two requests, so a difference counts only if it persists.
        found = _compared(source, entity, ids) or _compared(source, entity, ids)
    except (SourceRefused, RecordUnreadable) as error:
        return Proof(holds=False, sentence=str(error), probed_at=now)
    if found is None:
        return Proof(
            holds=False, sentence="rows lack fields, or differ from the records", probed_at=now
        )
    if found < _FEWEST:
        return Proof(holds=False, sentence=TOO_FEW, probed_at=now)
    sentence = f"{found} rows were equal to their records in every field we read"
    return Proof(holds=True, sentence=sentence, probed_at=now)


def _known_ids(connection: Connection, entity: Entity) -> list[int]:
    if entity is Entity.COWORKER:
        return present_people(connection, TRIED)
    return last_read_ids(connection, entity, TRIED)


def _compared(source: BurstReads, entity: Entity, ids: Sequence[int]) -> int | None:
    """Return how many rows were equal to their records; None if one was not."""
    if len(ids) < _FEWEST:
        return 0
    rows = {row["Id"]: row for row in source.several(entity, ids)}
    same = 0
    for record_id in ids:
        record = source.fetch(entity, record_id)
        if isinstance(record, Gone):
            continue
        if record_id not in rows or whole_record(entity, rows[record_id]) != record:
            return None
        same += 1
    return same
