"""Reads the records that one lookup needs: from the ledger if fresh enough, else from Nexudus.

All network reads of a lookup happen here, outside any transaction, and gather in `Findings` before
anything of the enrolment is committed. What many decisions share (courses, their lessons and
sections, time zones) is stored as soon as it is read.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.intake import newest_notification
from ledger.listings import Listing, accept_listings, listed_at
from ledger.lookups import Claim
from ledger.people import person_of
from ledger.records import (
    StoredRecord,
    accept_record,
    is_answered,
    mark_gone,
    present_below,
    record_of,
    references_of,
)
from schemas.entity import Entity
from schemas.errors import NotThereYet, SourceRefused
from schemas.records import CompletedLesson, Course, CourseMember, Coworker, Lesson, Record, Section
from schemas.rules import Rules
from workers.decide.completion import closed_among, progress
from workers.leases import KeyedLock
from workers.source.client import Gone
from workers.source.reads import SourceReads
from workers.zones import zone_name


@dataclass(slots=True)
class Findings:
    """What one lookup read from the source. What was fresh enough in the ledger is not read.

    `asked_at` is before the first request, so these lists may lack what other workers stored later.

    `records` are to be stored, `listings` are complete below a parent (column name and Id), `gone`
    no longer exist, `people` come with the name of their time zone. `decided` are the records that
    need no lookup for notifications up to `upto`. With `is_answered`, the record was decided on
    with others, and nothing is to be stored. The rest is what deciding needs.
    """

    asked_at: datetime
    upto: int = 0
    records: list[tuple[Entity, Record]] = field(default_factory=list)
    listings: list[tuple[Entity, tuple[str, int], Sequence[Record]]] = field(default_factory=list)
    gone: list[tuple[Entity, int]] = field(default_factory=list)
    people: list[tuple[Coworker, str | None]] = field(default_factory=list)
    decided: list[tuple[Entity, int]] = field(default_factory=list)
    is_answered: bool = False
    enrolment: CourseMember | None = None
    course: Course | None = None
    lessons: Sequence[Lesson] = ()
    sections: Sequence[Section] = ()
    completions: Sequence[CompletedLesson] = ()


def completion_of(connection: Connection, record_id: int) -> tuple[int | None, int | None]:
    """Return the Ids of the enrolment and of the lesson that a completion was of."""
    known = references_of(connection, Entity.COMPLETED_LESSON, record_id)
    return known.course_member_id, known.lesson_id


FRESH = timedelta(seconds=60)  # the most an email's facts may age
CACHED = timedelta(minutes=10)  # courses, lessons and people seldom change

_log = structlog.get_logger("lookup")

LONGEST_LOOKUP = timedelta(minutes=3)  # from the first request of a lookup to its commit


Zones = dict[int, tuple[datetime, str | None]]


@dataclass(frozen=True, slots=True)
class Recent:
    """What the lookups of one batch share: courses and their lists, and when they were read.

    `zones` are the names of time zones by Id, and when they were determined.
    """

    found: dict[tuple[Entity, int], tuple[datetime, Sequence[Record]]] = field(default_factory=dict)
    zones: Zones = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads for one lookup or action; what it learns gathers in `findings`.

    `recent` is shared by the lookups of one batch. `turns` holds locks until this lookup is
    committed.

    `before_asking` is called before each request to the source. It renews the lease, so that a slow
    source never makes two workers do the same work. Unless `is_settled`, a record that is missing
    and was never seen raises `NotThereYet`: a notification can be a few seconds ahead of its record
    (contract, section 5.2). Every method also raises what `before_asking` and `Source.fetch` raise.
    """

    engine: Engine
    source: SourceReads
    findings: Findings
    before_asking: Callable[[], None]
    locks: KeyedLock
    is_settled: bool = True
    recent: Recent = field(default_factory=Recent)
    turns: ExitStack = field(default_factory=ExitStack)

    def begin(self, entity: Entity, record_id: int) -> bool:
        """Return whether a record was decided on since it was notified, so needs no lookup."""
        with reading(self.engine) as connection:
            if not self.findings.upto:
                self.findings.upto = newest_notification(connection)
            self.findings.is_answered = is_answered(connection, entity, record_id)
        return self.findings.is_answered

    def take_turn(self, course_member_id: int) -> bool:
        """Keep other threads from looking up the same enrolment; return whether that took a wait.

        After a wait, what this lookup is for may have been decided on with others.
        """
        turn = self.locked(Entity.COURSE_MEMBER, course_member_id)
        return self.turns.enter_context(turn)

    def enrolment(self, course_member_id: int, oldest: timedelta) -> CourseMember | None:
        """Read an enrolment; None if it is gone."""
        record = self._enrolment_record(Entity.COURSE_MEMBER, course_member_id, oldest)
        self.findings.enrolment = record if isinstance(record, CourseMember) else None
        return self.findings.enrolment

    def completed_lesson(self, record_id: int) -> CompletedLesson | None:
        """Read a completed lesson as it is now; None if it is gone."""
        record = self._enrolment_record(Entity.COMPLETED_LESSON, record_id, timedelta())
        return record if isinstance(record, CompletedLesson) else None

    def enrolment_of_gone(self, completed_lesson_id: int) -> int | None:
        """Return the Id of a completion's enrolment, if we ever knew it."""
        with reading(self.engine) as connection:
            return completion_of(connection, completed_lesson_id)[0]

    def completions(self, course_member_id: int, oldest: timedelta) -> None:
        """Read all completed lessons of an enrolment."""
        entity, parent = Entity.COMPLETED_LESSON, ("course_member_id", course_member_id)
        found = self._listed(entity, parent, oldest)
        if found is None:
            self.before_asking()
            found = self.source.completions_of(course_member_id)
            self.findings.listings.append((entity, parent, found))
        self.findings.completions = [one for one in found if isinstance(one, CompletedLesson)]

    def person(self, coworker_id: int, oldest: timedelta) -> None:
        """Read a person and their time zone."""
        with reading(self.engine) as connection:
            known = person_of(connection, coworker_id)
        if known is not None and self.is_fresh(known.fetched_at, oldest):
            return
        found = self._asked(Entity.COWORKER, coworker_id, lambda _: known is not None)
        if isinstance(found, Coworker):
            self.findings.people.append((found, self._zone_of(found)))
        else:
            self.findings.gone.append((Entity.COWORKER, coworker_id))

    def _zone_of(self, coworker: Coworker) -> str | None:
        def ask() -> Sequence[Record]:
            self.before_asking()
            return self.source.all_of(Entity.TIME_ZONE)

        number, now = coworker.time_zone_id, self.findings.asked_at
        if number is None:
            return None
        when, name = self.recent.zones.get(number, (None, None))
        if when is None or not self.is_fresh(when, CACHED):
            with self.locked(Entity.TIME_ZONE, 0):
                name = zone_name(self.engine, number, now, ask)
            self.recent.zones[number] = now, name
        return name

    def course(self, course_id: int, oldest: timedelta) -> None:
        """Read a course."""
        key = (Entity.COURSE, course_id)
        found = self._recent(key, oldest)
        if found is not None:
            [record] = found
            self.findings.course = record if isinstance(record, Course) else None
            return
        with self.locked(Entity.COURSE, course_id):
            with reading(self.engine) as connection:
                stored = record_of(connection, Entity.COURSE, course_id)
            known, when = self._usable(stored, oldest), self.findings.asked_at
            if known is not None and stored is not None:
                when = stored.fetched_at
            course = known or self._read_course(course_id)
        if course is not None:
            self.recent.found[key] = (when, [course])
        self.findings.course = course if isinstance(course, Course) else None

    def _read_course(self, course_id: int) -> Record | None:
        found = self._asked(Entity.COURSE, course_id, lambda _: False)
        asked_at = self.findings.asked_at
        with writing(self.engine) as connection:
            if isinstance(found, Gone):
                mark_gone(connection, Entity.COURSE, course_id, asked_at)
                return None
            accept_record(connection, Entity.COURSE, found, asked_at)
        return found

    def lessons(self, course_id: int, oldest: timedelta) -> None:
        """Read all lessons and sections of a course."""
        ask = self.source.lessons_of
        lessons = self._shared_list(Entity.LESSON, course_id, oldest, ask)
        self.findings.lessons = [one for one in lessons if isinstance(one, Lesson)]
        sections: Sequence[Record] = ()
        if any(lesson.section_id is not None for lesson in self.findings.lessons):
            ask = self.source.sections_of
            try:
                sections = self._shared_list(Entity.SECTION, course_id, oldest, ask)
            except SourceRefused as error:
                # Without this permission all sections count as open, and emails do not fail.
                _log.warning("sections.unread", error=str(error))
        self.findings.sections = [one for one in sections if isinstance(one, Section)]

    def _shared_list(
        self,
        entity: Entity,
        course_id: int,
        oldest: timedelta,
        ask: Callable[[int], Sequence[Record]],
    ) -> Sequence[Record]:
        parent, key = ("course_id", course_id), (entity, course_id)
        recent = self._recent(key, oldest)
        if recent is not None:
            return recent
        with self.locked(entity, course_id):
            found = self._recent(key, oldest)  # another thread may have read it meanwhile
            if found is None:
                found = self._listed(entity, parent, oldest)
            if found is None:
                self.before_asking()
                found = ask(course_id)
                asked_at = self.findings.asked_at
                with writing(self.engine) as connection:
                    lock_decisions(connection)
                    accept_listings(
                        connection, [Listing(entity, parent, found, asked_at, asked_at)]
                    )
                self.recent.found[key] = (asked_at, found)
            return found

    def _recent(self, key: tuple[Entity, int], oldest: timedelta) -> Sequence[Record] | None:
        when, found = self.recent.found.get(key, (None, ()))
        return found if when is not None and self.is_fresh(when, oldest) else None

    def locked(self, entity: Entity, record_id: int) -> AbstractContextManager[bool]:
        """Keep other threads of this process from reading the same meanwhile."""
        return self.locks.hold((entity, record_id), self.before_asking)

    def is_fresh(self, asked_at: datetime, oldest: timedelta) -> bool:
        """Return whether a record read at `asked_at` is fresh enough; at age zero none is."""
        # A clock that was set back must not make old reads count as fresh for hours.
        return bool(oldest) and -LONGEST_LOOKUP <= self.findings.asked_at - asked_at < oldest

    def known(self, entity: Entity, record_id: int, oldest: timedelta) -> Record | None:
        """Return a record from the ledger, if it is fresh enough."""
        with reading(self.engine) as connection:
            return self._usable(record_of(connection, entity, record_id), oldest)

    def _usable(self, known: StoredRecord | None, oldest: timedelta) -> Record | None:
        if known and known.gone_at is None and self.is_fresh(known.fetched_at, oldest):
            return known.record
        return None

    def _enrolment_record(self, entity: Entity, record_id: int, oldest: timedelta) -> Record | None:
        known = self.known(entity, record_id, oldest) if oldest else None
        if known is not None:
            return known
        found = self._asked(
            entity, record_id, lambda ledger: record_of(ledger, entity, record_id) is not None
        )
        if isinstance(found, Gone):
            self.findings.gone.append((entity, record_id))
            return None
        self.findings.records.append((entity, found))
        return found

    def _asked(
        self, entity: Entity, record_id: int, was_seen: Callable[[Connection], bool]
    ) -> Record | Gone:
        self.before_asking()
        found = self.source.fetch(entity, record_id)
        if isinstance(found, Gone) and not self.is_settled:
            with reading(self.engine) as connection:
                if not was_seen(connection):
                    raise NotThereYet(f"{entity} cannot be read yet")
        return found

    def _listed(
        self, entity: Entity, parent: tuple[str, int], oldest: timedelta
    ) -> Sequence[Record] | None:
        if not oldest:
            return None
        with reading(self.engine) as connection:
            when = listed_at(connection, entity, parent[1])
            if when is not None and self.is_fresh(when, oldest):
                found = present_below(connection, entity, parent)
                self.recent.found[entity, parent[1]] = (when, found)
                return found
        return None


NOW = timedelta()  # no stored version is fresh enough: ask the source


def read_for_lookup(claim: Claim, reader: Reader, rules: Rules) -> Findings:
    """Read what deciding about this record needs: other records, as fresh as each must be.

    Raises as `Source.fetch`.
    """
    findings, waits = reader.findings, bool(rules.timed())
    if not findings.upto and reader.begin(claim.entity, claim.record_id):
        return findings  # decided already, with another lesson of this person
    if claim.entity is Entity.COURSE_MEMBER:
        enrolment = reader.enrolment(claim.record_id, NOW)
        if enrolment is not None and waits:
            reader.take_turn(claim.record_id)
            reader.completions(claim.record_id, NOW)
    else:
        enrolment = _read_lesson(claim, reader)
    findings.decided += [(entity, record.record_id) for entity, record in findings.records]
    if enrolment is None:
        return findings
    reader.course(enrolment.course_id, CACHED)
    reader.person(enrolment.coworker_id, CACHED)
    if waits or claim.entity is Entity.COMPLETED_LESSON:
        reader.lessons(enrolment.course_id, CACHED)
        done_ids = {completion.lesson_id for completion in findings.completions}
        closed = closed_among(findings.sections)
        if progress(findings.lessons, done_ids, rules.counts, closed).finished:
            # A finish is announced once and cannot be taken back, so the list must be fresh.
            reader.lessons(enrolment.course_id, FRESH)
    return findings


def _read_lesson(claim: Claim, reader: Reader) -> CourseMember | None:
    findings = reader.findings
    completed = reader.completed_lesson(claim.record_id)
    if completed is None:
        whose = reader.enrolment_of_gone(claim.record_id)
        if whose is not None:
            reader.enrolment(whose, FRESH)  # the enrolment may be gone too
            findings.enrolment = None
        return None
    if reader.take_turn(completed.course_member_id) and reader.begin(claim.entity, claim.record_id):
        return None
    enrolment = reader.enrolment(completed.course_member_id, CACHED)
    if enrolment is None:
        return None
    reader.completions(completed.course_member_id, NOW)
    row = next((one for one in findings.completions if one.record_id == completed.record_id), None)
    if row is None and not reader.is_settled:
        # The list lags, so it may also lack other lessons, and with them the end of the course, for
        # which no other notification would come.
        raise NotThereYet("the list does not have this lesson yet")
    if row is None:
        # It can be read by its Id, so it exists even if the list never shows it.
        findings.completions = [*findings.completions, completed]
    elif row == completed:
        # The list shows this one as it is by Id, so the others on it need no requests of their own.
        findings.decided += _ids(findings.completions)
    return enrolment


def _ids(completions: Sequence[CompletedLesson]) -> list[tuple[Entity, int]]:
    return [(Entity.COMPLETED_LESSON, one.record_id) for one in completions]
