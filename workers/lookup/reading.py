"""Reads from the source what a decision needs, and from the ledger what is fresh enough there.

All reads of the network happen here, outside any transaction.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ledger.engine import Engine, reading
from ledger.people import person_of
from ledger.snapshots import listed_at, present_below, snapshot_of
from schemas.entity import Entity
from schemas.records import CompletedLesson, Course, CourseMember, Coworker, Lesson, Record
from workers.lookup.findings import Findings
from workers.source.client import Gone

FRESH = timedelta(seconds=60)  # what an email says must not be older
CACHED = timedelta(minutes=10)  # courses, lessons and people seldom change


class SourceReads(Protocol):
    """What we ask the source for: `workers.source.client.Source`, or a double in tests."""

    def fetch(self, entity: Entity, record_id: int) -> Record | Gone:
        """Return one record as it is now."""

    def lessons_of(self, course_id: int) -> Sequence[Record]:
        """Return all lessons of a course."""

    def completions_of(self, course_member_id: int) -> Sequence[Record]:
        """Return all completed lessons of an enrolment."""


Lend = Callable[[], AbstractContextManager[SourceReads]]  # a way to the source, for a while


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads for one piece of work; what it learns gathers in `findings`.

    `before_asking` is called before each question to the source; it renews the lease of the work,
    so that a slow source never makes two workers ask the same. Every method raises what it and
    `Source.fetch` raise.
    """

    engine: Engine
    source: SourceReads
    findings: Findings
    before_asking: Callable[[], None]

    def enrolment(self, course_member_id: int, oldest: timedelta) -> CourseMember | None:
        """Learn an enrolment; None if it is gone."""
        record = self._record(Entity.COURSE_MEMBER, course_member_id, oldest)
        self.findings.enrolment = record if isinstance(record, CourseMember) else None
        return self.findings.enrolment

    def completed_lesson(self, record_id: int) -> CompletedLesson | None:
        """Learn a completed lesson as it is now; None if it is gone."""
        record = self._record(Entity.COMPLETED_LESSON, record_id, timedelta())
        return record if isinstance(record, CompletedLesson) else None

    def course(self, course_id: int, oldest: timedelta) -> None:
        """Learn a course."""
        record = self._record(Entity.COURSE, course_id, oldest)
        self.findings.course = record if isinstance(record, Course) else None

    def person(self, coworker_id: int, oldest: timedelta) -> None:
        """Learn who this is."""
        with reading(self.engine) as connection:
            known = person_of(connection, coworker_id)
        if known is not None and self._is_fresh(known.fetched_at, oldest):
            return
        self.before_asking()
        record = self.source.fetch(Entity.COWORKER, coworker_id)
        if isinstance(record, Coworker):
            self.findings.people.append(record)
        else:
            self.findings.gone.append((Entity.COWORKER, coworker_id))

    def lessons(self, course_id: int, oldest: timedelta) -> None:
        """Learn all lessons of a course."""
        found = self._listing(Entity.LESSON, ("course_id", course_id), oldest)
        self.findings.lessons = [record for record in found if isinstance(record, Lesson)]

    def completions(self, course_member_id: int, oldest: timedelta) -> None:
        """Learn all completed lessons of an enrolment."""
        found = self._listing(
            Entity.COMPLETED_LESSON, ("course_member_id", course_member_id), oldest
        )
        self.findings.completions = [
            record for record in found if isinstance(record, CompletedLesson)
        ]

    def _is_fresh(self, asked_at: datetime, oldest: timedelta) -> bool:
        # What was asked for after we began, or under a clock that runs ahead, proves nothing.
        return timedelta() <= self.findings.asked_at - asked_at < oldest

    def _record(self, entity: Entity, record_id: int, oldest: timedelta) -> Record | None:
        with reading(self.engine) as connection:
            known = snapshot_of(connection, entity, record_id)
        if known and known.gone_at is None and self._is_fresh(known.fetched_at, oldest):
            return known.record
        self.before_asking()
        found = self.source.fetch(entity, record_id)
        if isinstance(found, Gone):
            self.findings.gone.append((entity, record_id))
            return None
        self.findings.records.append((entity, found))
        return found

    def _listing(
        self, entity: Entity, parent: tuple[str, int], oldest: timedelta
    ) -> Sequence[Record]:
        with reading(self.engine) as connection:
            when = listed_at(connection, entity, parent[1])
            if when is not None and self._is_fresh(when, oldest):
                return present_below(connection, entity, parent)
        ask = self.source.lessons_of if entity is Entity.LESSON else self.source.completions_of
        self.before_asking()
        found = ask(parent[1])
        self.findings.listings.append((entity, parent, found))
        return found
