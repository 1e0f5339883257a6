"""Reads many records with few questions, ahead of the look-ups that need them.

Only for kinds of record whose rows were proved whole on this tenant (`workers.source.reads`), and
only for a burst. What is not on the shelf is asked for one by one, as if there were no shelf: that
a record is missing among several does not prove it gone.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ledger.engine import reading
from ledger.people import person_of
from schemas.entity import Entity
from schemas.records import CompletedLesson, CourseMember, Record
from workers.lookup.read import CACHED, Reader
from workers.source.client import MOST_IDS, Gone, whole_record
from workers.source.reads import BurstReads, SourceReads
from workers.source.records import PAGE_SIZE

FEWEST = 3  # below that, one by one is as cheap
_MOST_PAGES = 10  # of a list of completions; more take longer than a burst may wait
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_BEFORE = timedelta(days=1)  # nobody finishes a lesson before they are enrolled


@dataclass(slots=True)
class PrefetchedRecords:
    """What was read ahead, all of it after `asked_at` and after notification `upto`.

    `completions` are by enrolment.
    """

    asked_at: datetime
    upto: int
    records: dict[tuple[Entity, int], Record] = field(default_factory=dict)
    completions: dict[int, list[Record]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrefetchedSource:
    """A way to the source that looks on the shelf first."""

    source: SourceReads
    prefetched: PrefetchedRecords

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return one record; see `Source.fetch`."""
        found = self.prefetched.records.get((entity, record_id))
        return self.source.fetch(entity, record_id) if found is None else found

    def completions_of(self, course_member_id: int) -> Sequence[Record]:
        """Return all completed lessons of an enrolment; see `Source.completions_of`."""
        found = self.prefetched.completions.get(course_member_id)
        return self.source.completions_of(course_member_id) if found is None else found

    def lessons_of(self, course_id: int) -> Sequence[Record]:
        """Return all lessons of a course; see `Source.lessons_of`."""
        return self.source.lessons_of(course_id)

    def sections_of(self, course_id: int) -> Sequence[Record]:
        """Return all sections of a course; see `Source.sections_of`."""
        return self.source.sections_of(course_id)

    def all_of(self, entity: Entity) -> Sequence[Record]:
        """Return all records of a kind; see `Source.all_of`."""
        return self.source.all_of(entity)


@dataclass(frozen=True, slots=True)
class Prefetch:
    """Fills a shelf. `reader` says what the ledger has that is fresh enough."""

    source: BurstReads
    reader: Reader
    proved: Collection[Entity]
    prefetched: PrefetchedRecords

    def for_lookups(self, wanted: Iterable[tuple[Entity, int]]) -> None:
        """Read what look-ups of these records will ask for. Raises as `Source.fetch`."""
        by_entity: dict[Entity, set[int]] = {}
        for entity, record_id in wanted:
            if not self.reader.is_answered(entity, record_id):
                by_entity.setdefault(entity, set()).add(record_id)
        for entity, record_ids in by_entity.items():
            self._read(entity, record_ids)
        completed = [
            one for one in self.prefetched.records.values() if isinstance(one, CompletedLesson)
        ]
        studying = {one.course_member_id for one in completed}
        self._read(Entity.COURSE_MEMBER, self._unknown(Entity.COURSE_MEMBER, studying))
        members = self._members(studying | by_entity.get(Entity.COURSE_MEMBER, set()))
        courses = {member.course_id for member in members}
        self._read(Entity.COURSE, self._unknown(Entity.COURSE, courses))
        self._read(Entity.COWORKER, self._strangers({member.coworker_id for member in members}))
        self._read_completions([one for one in members if one.record_id in studying], completed)

    def _read(self, entity: Entity, record_ids: Collection[int]) -> None:
        wanted = sorted(one for one in record_ids if (entity, one) not in self.prefetched.records)
        if entity not in self.proved or len(wanted) < FEWEST:
            return
        for first in range(0, len(wanted), MOST_IDS):
            self.reader.before_asking()
            for row in self.source.several(entity, wanted[first : first + MOST_IDS]):
                record = whole_record(entity, row)
                if record is not None:
                    self.prefetched.records[entity, record.record_id] = record

    def _read_completions(
        self, members: Sequence[CourseMember], completed: Sequence[CompletedLesson]
    ) -> None:
        """Read all completions since the first of these enrolments, if that is less to ask."""
        if Entity.COMPLETED_LESSON not in self.proved or len(members) < FEWEST:
            return
        found: dict[int, dict[int, Record]] = {member.record_id: {} for member in members}
        # An unset date of .NET is the first there is, before which there is no other; and who is
        # said to enrol in the future may have finished lessons today.
        enrolled_at = min(*(member.created_at for member in members), self.prefetched.asked_at)
        since = max(enrolled_at, _FIRST) - _BEFORE
        self.reader.before_asking()
        for page in self.source.changed_since(Entity.COMPLETED_LESSON, since):
            if page.total is None or page.total > PAGE_SIZE * min(_MOST_PAGES, len(members) / 3):
                return
            for changed in page.rows:
                record = whole_record(Entity.COMPLETED_LESSON, changed.row)
                if not isinstance(record, CompletedLesson):
                    return
                if record.course_member_id in found:
                    found[record.course_member_id][record.record_id] = record
            self.reader.before_asking()
        listed = {number: one for mine in found.values() for number, one in mine.items()}
        if all(listed.get(one.record_id, one) == one for one in completed):
            self.prefetched.completions.update(
                {number: list(mine.values()) for number, mine in found.items()}
            )

    def _members(self, record_ids: Iterable[int]) -> list[CourseMember]:
        found = []
        for record_id in record_ids:
            record = self.prefetched.records.get((Entity.COURSE_MEMBER, record_id))
            record = record or self.reader.known(Entity.COURSE_MEMBER, record_id, CACHED)
            if isinstance(record, CourseMember):
                found.append(record)
        return found

    def _unknown(self, entity: Entity, record_ids: Iterable[int]) -> list[int]:
        return [one for one in record_ids if self.reader.known(entity, one, CACHED) is None]

    def _strangers(self, coworker_ids: Iterable[int]) -> list[int]:
        found = []
        with reading(self.reader.engine) as connection:
            for coworker_id in coworker_ids:
                known = person_of(connection, coworker_id)
                if known is None or not self.reader.is_fresh(known.fetched_at, CACHED):
                    found.append(coworker_id)
        return found
