"""Reads the records that one lookup needs, each once.

What one look-up learned from the source, before any of it is committed.

What it means that a record is gone: who it was of, as far as we ever saw it.

Reads from the source what a decision needs, and from the ledger what is fresh enough there.

All reads of the network happen here, outside any transaction. What many decisions share (courses,
their lessons and sections, time zones) is kept as soon as it is read; what is news of one
enrolment is kept by whoever decides on it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.people import person_of
from ledger.records import (
    StoredRecord,
    accept_listing,
    accept_record,
    is_answered,
    listed_at,
    mark_gone,
    present_below,
    record_of,
    references_of,
)
from schemas.entity import Entity
from schemas.errors import NotThereYet, SourceRefused
from schemas.events import Event
from schemas.records import CompletedLesson, Course, CourseMember, Coworker, Lesson, Record, Section
from workers.decide.events import EnrolmentRef, from_gone_completion, from_gone_enrolment
from workers.leases import KeyedLock
from workers.source.client import Gone
from workers.source.reads import SourceReads
from workers.zones import zone_name


@dataclass(slots=True)
class Findings:
    """Records as the source has them now. What was fresh enough in the ledger is not read again.

    `asked_at` is before the first question: what others kept later may be missing on these lists.

    `records` are to be accepted, `listings` as all there is below a parent (column name
    and Id), `gone` are no longer there, `people` come with the name of their time zone. `decided`
    are those records that need no look-up of their own any more for what was said of them up to the
    notification `upto`. The rest is what deciding needs.
    """

    asked_at: datetime
    upto: int = 0
    records: list[tuple[Entity, Record]] = field(default_factory=list)
    listings: list[tuple[Entity, tuple[str, int], Sequence[Record]]] = field(default_factory=list)
    gone: list[tuple[Entity, int]] = field(default_factory=list)
    people: list[tuple[Coworker, str | None]] = field(default_factory=list)
    decided: list[tuple[Entity, int]] = field(default_factory=list)
    enrolment: CourseMember | None = None
    course: Course | None = None
    lessons: Sequence[Lesson] = ()
    sections: Sequence[Section] = ()
    completions: Sequence[CompletedLesson] = ()


def events_of_gone(
    connection: Connection, gone: list[tuple[Entity, int]], found_at: datetime
) -> list[Event]:
    """Return what happened to those records that are gone, of enrolments and completions.

    Completions that went with their enrolment are no news of their own; nor is what we never saw.
    """
    found = []
    for entity, record_id in gone:
        if entity is Entity.COURSE_MEMBER:
            member = _member(connection, record_id)
            if member is not None:
                found.append(from_gone_enrolment(member, found_at))
        elif entity is Entity.COMPLETED_LESSON:
            whose, lesson_id = completion_of(connection, record_id)
            member = None if whose is None else _member(connection, whose)
            went = (Entity.COURSE_MEMBER, whose) in gone or _is_gone(connection, whose)
            if member is not None and not went:
                found.append(from_gone_completion(record_id, lesson_id, member, found_at))
    return found


def completion_of(connection: Connection, record_id: int) -> tuple[int | None, int | None]:
    """Return the Ids of the enrolment and of the lesson that a completion was of."""
    known = references_of(connection, Entity.COMPLETED_LESSON, record_id)
    return known.course_member_id, known.lesson_id


def _member(connection: Connection, record_id: int) -> EnrolmentRef | None:
    known = references_of(connection, Entity.COURSE_MEMBER, record_id)
    if known.course_id is None or known.coworker_id is None:
        return None
    return EnrolmentRef(record_id, known.course_id, known.coworker_id)


def _is_gone(connection: Connection, course_member_id: int | None) -> bool:
    if course_member_id is None:
        return False
    known = record_of(connection, Entity.COURSE_MEMBER, course_member_id)
    return known is not None and known.gone_at is not None


FRESH = timedelta(seconds=60)  # what an email says must not be older
CACHED = timedelta(minutes=10)  # courses, lessons and people seldom change

_log = structlog.get_logger("lookup")

LONGEST_LOOK = timedelta(minutes=3)  # from the first question of a look-up to its commit


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads for one piece of work; what it learns gathers in `findings`.

    `before_asking` is called before each question to the source; it renews the lease of the work,
    so that a slow source never makes two workers ask the same. Unless the news is `is_settled`, a
    record that was never seen and is missing is `NotThereYet`: a notification can be a few seconds
    ahead of what it speaks of (contract, section 5.2). Every method raises what `before_asking` and
    `Source.fetch` raise.
    """

    engine: Engine
    source: SourceReads
    findings: Findings
    before_asking: Callable[[], None]
    locks: KeyedLock
    is_settled: bool = True

    def is_answered(self, entity: Entity, record_id: int) -> bool:
        """Say whether it was decided on together with others, after the last word about it."""
        with reading(self.engine) as connection:
            return is_answered(connection, entity, record_id)

    def enrolment(self, course_member_id: int, oldest: timedelta) -> CourseMember | None:
        """Learn an enrolment; None if it is gone."""
        record = self._news(Entity.COURSE_MEMBER, course_member_id, oldest)
        self.findings.enrolment = record if isinstance(record, CourseMember) else None
        return self.findings.enrolment

    def completed_lesson(self, record_id: int) -> CompletedLesson | None:
        """Learn a completed lesson as it is now; None if it is gone."""
        record = self._news(Entity.COMPLETED_LESSON, record_id, timedelta())
        return record if isinstance(record, CompletedLesson) else None

    def enrolment_of_gone(self, completed_lesson_id: int) -> int | None:
        """Return the Id of the enrolment that a completion was of, if we ever knew."""
        with reading(self.engine) as connection:
            return completion_of(connection, completed_lesson_id)[0]

    def completions(self, course_member_id: int, oldest: timedelta) -> None:
        """Learn all completed lessons of an enrolment."""
        entity, parent = Entity.COMPLETED_LESSON, ("course_member_id", course_member_id)
        found = self._listed(entity, parent, oldest)
        if found is None:
            self.before_asking()
            found = self.source.completions_of(course_member_id)
            self.findings.listings.append((entity, parent, found))
        self.findings.completions = [one for one in found if isinstance(one, CompletedLesson)]

    def person(self, coworker_id: int, oldest: timedelta) -> None:
        """Learn who this is, and which time zone is theirs."""
        with reading(self.engine) as connection:
            known = person_of(connection, coworker_id)
        if known is not None and self.is_fresh(known.fetched_at, oldest):
            return
        found = self._asked(Entity.COWORKER, coworker_id, seen=known is not None)
        if isinstance(found, Coworker):
            self.findings.people.append((found, self._zone_of(found)))
        else:
            self.findings.gone.append((Entity.COWORKER, coworker_id))

    def _zone_of(self, coworker: Coworker) -> str | None:
        def ask() -> Sequence[Record]:
            self.before_asking()
            return self.source.all_of(Entity.TIME_ZONE)

        with self.locked(Entity.TIME_ZONE, 0):
            return zone_name(self.engine, coworker.time_zone_id, self.findings.asked_at, ask)

    def course(self, course_id: int, oldest: timedelta) -> None:
        """Learn a course."""
        with self.locked(Entity.COURSE, course_id):
            record = self.known(Entity.COURSE, course_id, oldest) or self._read_course(course_id)
        self.findings.course = record if isinstance(record, Course) else None

    def _read_course(self, course_id: int) -> Record | None:
        found = self._asked(Entity.COURSE, course_id, seen=False)
        asked_at = self.findings.asked_at
        with writing(self.engine) as connection:
            if isinstance(found, Gone):
                mark_gone(connection, Entity.COURSE, course_id, asked_at)
                return None
            accept_record(connection, Entity.COURSE, found, asked_at)
        return found

    def lessons(self, course_id: int, oldest: timedelta) -> None:
        """Learn all lessons of a course, and its sections."""
        ask = self.source.lessons_of
        lessons = self._shared_list(Entity.LESSON, course_id, oldest, ask)
        self.findings.lessons = [one for one in lessons if isinstance(one, Lesson)]
        sections: Sequence[Record] = ()
        if any(lesson.section_id is not None for lesson in self.findings.lessons):
            ask = self.source.sections_of
            try:
                sections = self._shared_list(Entity.SECTION, course_id, oldest, ask)
            except SourceRefused as error:
                # Without that right all sections count as open; no email should fail for it.
                _log.warning("sections.unread", error=str(error))
        self.findings.sections = [one for one in sections if isinstance(one, Section)]

    def _shared_list(
        self,
        entity: Entity,
        course_id: int,
        oldest: timedelta,
        ask: Callable[[int], Sequence[Record]],
    ) -> Sequence[Record]:
        parent = ("course_id", course_id)
        with self.locked(entity, course_id):
            found = self._listed(entity, parent, oldest)
            if found is None:
                self.before_asking()
                found = ask(course_id)
                asked_at = self.findings.asked_at
                with writing(self.engine) as connection:
                    lock_decisions(connection)
                    accept_listing(connection, entity, parent, found, asked_at, asked_at=asked_at)
            return found

    def locked(self, entity: Entity, record_id: int) -> AbstractContextManager[None]:
        """Let nobody else in this process ask for the same meanwhile."""
        return self.locks.hold((entity, record_id), self.before_asking)

    def is_fresh(self, asked_at: datetime, oldest: timedelta) -> bool:
        """Say whether what was asked for then may be used; of no age at all, nothing may."""
        # A clock that was set back must not make old reads fresh for hours.
        return bool(oldest) and -LONGEST_LOOK <= self.findings.asked_at - asked_at < oldest

    def known(self, entity: Entity, record_id: int, oldest: timedelta) -> Record | None:
        """Return a record as the ledger has it, if that is fresh enough."""
        with reading(self.engine) as connection:
            return self._usable(record_of(connection, entity, record_id), oldest)

    def _usable(self, known: StoredRecord | None, oldest: timedelta) -> Record | None:
        if known and known.gone_at is None and self.is_fresh(known.fetched_at, oldest):
            return known.record
        return None

    def _news(self, entity: Entity, record_id: int, oldest: timedelta) -> Record | None:
        with reading(self.engine) as connection:
            stored = record_of(connection, entity, record_id)
        known = self._usable(stored, oldest)
        if known is not None:
            return known
        found = self._asked(entity, record_id, seen=stored is not None)
        if isinstance(found, Gone):
            self.findings.gone.append((entity, record_id))
            return None
        self.findings.records.append((entity, found))
        return found

    def _asked(self, entity: Entity, record_id: int, *, seen: bool) -> Record | Gone:
        self.before_asking()
        found = self.source.fetch(entity, record_id)
        if isinstance(found, Gone) and not seen and not self.is_settled:
            raise NotThereYet(f"{entity} cannot be read yet")
        return found

    def _listed(
        self, entity: Entity, parent: tuple[str, int], oldest: timedelta
    ) -> Sequence[Record] | None:
        with reading(self.engine) as connection:
            when = listed_at(connection, entity, parent[1])
            if when is not None and self.is_fresh(when, oldest):
                return present_below(connection, entity, parent)
        return None
