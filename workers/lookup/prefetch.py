"""Reads many records with few requests, before the lookups that need them.

Only for kinds of record whose list rows were proved complete on this tenant
(`workers.source.reads`), and only for a burst. What is not prefetched is read one by one: a record
missing among several is not proved gone.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ledger.engine import reading
from ledger.people import persons_of
from ledger.records import present_among
from schemas.entity import Entity
from schemas.records import CompletedLesson, CourseMember, Record
from workers.lookup.read import CACHED, Reader
from workers.source.client import MOST_IDS, Gone, whole_record
from workers.source.lists import PAGE_SIZE
from workers.source.reads import BurstReads, SourceReads

FEWEST = 3  # fewer records cost as much one by one
_MOST_PAGES = 10  # of a list of completions; more would delay the burst
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_BEFORE = timedelta(days=1)  # no lesson is finished before its enrolment


@dataclass(slots=True)
class PrefetchedRecords:
    """What was prefetched, all of it after `asked_at` and after notification `upto`.

    `completions` are by enrolment.
    """

    asked_at: datetime
    upto: int
    records: dict[tuple[Entity, int], Record] = field(default_factory=dict)
    completions: dict[int, list[Record]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrefetchedSource:
    """Reads from what was prefetched, else from the source."""

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
    """Fills `prefetched`. `reader` says what the ledger has that is fresh enough."""

    source: BurstReads
    reader: Reader
    proved: Collection[Entity]
    prefetched: PrefetchedRecords

    def for_lookups(self, wanted: Iterable[tuple[Entity, int]]) -> None:
        """Read what lookups of these records will need. Raises as `Source.fetch`."""
        by_entity: dict[Entity, set[int]] = {}
        for entity, record_id in wanted:
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
        self._read(
            Entity.COWORKER, self._unknown_people({member.coworker_id for member in members})
        )
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
        """Read all completions since the first enrolment, if that takes fewer requests."""
        if Entity.COMPLETED_LESSON not in self.proved or len(members) < FEWEST:
            return
        found: dict[int, dict[int, Record]] = {member.record_id: {} for member in members}
        # An unset .NET date is the earliest possible one, from which no day can be subtracted; an
        # enrolment dated in the future may have lessons finished today.
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

    def _members(self, record_ids: Collection[int]) -> list[CourseMember]:
        known = self._known(Entity.COURSE_MEMBER, record_ids)
        found = (
            self.prefetched.records.get((Entity.COURSE_MEMBER, record_id)) or known.get(record_id)
            for record_id in record_ids
        )
        return [record for record in found if isinstance(record, CourseMember)]

    def _unknown(self, entity: Entity, record_ids: Collection[int]) -> list[int]:
        known = self._known(entity, record_ids)
        return [one for one in record_ids if one not in known]

    def _known(self, entity: Entity, record_ids: Collection[int]) -> dict[int, Record]:
        """Return those of these records that the ledger has, fresh enough."""
        with reading(self.reader.engine) as connection:
            stored = present_among(connection, entity, record_ids)
        return {
            number: one.record
            for number, one in stored.items()
            if self.reader.is_fresh(one.fetched_at, CACHED)
        }

    def _unknown_people(self, coworker_ids: Collection[int]) -> list[int]:
        with reading(self.reader.engine) as connection:
            known = persons_of(connection, coworker_ids)
        return [
            one
            for one in coworker_ids
            if one not in known or not self.reader.is_fresh(known[one].fetched_at, CACHED)
        ]
