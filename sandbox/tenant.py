"""The stand-in's records, in memory, and the few ways in which they change.

Safe to use from several threads; everything returned is a copy. Nobody is told of a change here:
see `story`.
"""

import threading
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from itertools import count

from sandbox import shapes
from sandbox.seed import FIRST_NEW_ID, seeded_tables
from sandbox.wire import Record
from schemas.entity import Entity
from schemas.vocabulary import CompletionType


class Refused(Exception):
    """The wish cannot be granted; carries the HTTP status that says so."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


def counts(lesson: Record) -> bool:
    """Whether finishing the course needs this lesson (contract, section 8: active and tracked)."""
    return bool(lesson["Active"]) and lesson["CompletionType"] != CompletionType.NONE


class Tenant:
    """One Nexudus account with its people, courses and enrolments."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tables = seeded_tables()
        self._gone: dict[tuple[Entity, int], Record] = {}
        self._ids = count(FIRST_NEW_ID)

    def find(self, entity: Entity, record_id: int) -> Record | None:
        """Return the record as it stands, or None when there is none (any more)."""
        with self._lock:
            return deepcopy(self._tables[entity].get(record_id))

    def last_known(self, entity: Entity, record_id: int) -> Record:
        """Return the record as it stands or last stood: a delivery may come after a delete."""
        with self._lock:
            found = self._tables[entity].get(record_id) or self._gone.get((entity, record_id))
            if found is None:
                raise Refused(f"No {entity} has the Id {record_id}.", 404)
            return deepcopy(found)

    def rows(self, entity: Entity) -> list[Record]:
        """Return all records of one kind, in no promised order."""
        with self._lock:
            return deepcopy(list(self._tables[entity].values()))

    def lessons_of(self, course_id: int) -> list[Record]:
        """Return a course's lessons in the order a learner meets them."""
        lessons = [row for row in self.rows(Entity.LESSON) if row["CourseId"] == course_id]
        return sorted(
            lessons, key=lambda row: (row["SectionDisplayOrder"] or 0, row["DisplayOrder"])
        )

    def enrolment(self, course_id: int, coworker_id: int) -> Record | None:
        """Return this person's enrolment in this course, if there is one."""
        for row in self.rows(Entity.COURSE_MEMBER):
            if (row["CourseId"], row["CoworkerId"]) == (course_id, coworker_id):
                return row
        return None

    def finished_lesson_ids(self, member_id: int) -> set[int]:
        """Return the Ids of the lessons this enrolment has finished."""
        rows = self.rows(Entity.COMPLETED_LESSON)
        return {row["CourseLessonId"] for row in rows if row["CourseMemberId"] == member_id}

    def lessons_left(self, member_id: int) -> list[Record]:
        """Return the counting lessons this enrolment has not finished, next one first."""
        with self._lock:
            member = self._must_find(Entity.COURSE_MEMBER, member_id)
            finished = self.finished_lesson_ids(member_id)
            lessons = self.lessons_of(member["CourseId"])
            return [row for row in lessons if counts(row) and row["Id"] not in finished]

    def enrol(
        self, course_id: int, coworker_id: int, *, approved: bool, at: datetime | None = None
    ) -> Record:
        """Add an enrolment; it happens now, or at the moment given."""
        with self._lock:
            course = self._must_find(Entity.COURSE, course_id)
            coworker = self._must_find(Entity.COWORKER, coworker_id)
            if self.enrolment(course_id, coworker_id) is not None:
                raise Refused("They are on this course already.", 409)
            member = shapes.course_member(
                next(self._ids), at or datetime.now(UTC), course, coworker, approved=approved
            )
            self._tables[Entity.COURSE_MEMBER][member["Id"]] = member
            return deepcopy(member)

    def finish_lesson(
        self, member_id: int, lesson_id: int | None = None, at: datetime | None = None
    ) -> tuple[Record, Record]:
        """Add a completion of the next counting lesson, or of the one named.

        A lesson that is named may be finished twice: the source does not promise that it cannot.
        Returns the new completion, and the enrolment, which changes with it.
        """
        with self._lock:
            member = self._must_find(Entity.COURSE_MEMBER, member_id)
            lesson = self._lesson_to_finish(member, lesson_id)
            moment = at or datetime.now(UTC)
            completed = shapes.completed_lesson(next(self._ids), moment, lesson, member)
            self._tables[Entity.COMPLETED_LESSON][completed["Id"]] = completed
            member |= {
                "LastCompletedLessonId": lesson["Id"],
                "LastCompletedLessonTitle": lesson["Title"],
                "LastAccess": moment,
                "UpdatedOn": moment,
            }
            return deepcopy(completed), deepcopy(member)

    def change(self, entity: Entity, record_id: int, fields: Mapping[str, object]) -> Record:
        """Set some fields the record has, as its editor would; UpdatedOn follows."""
        with self._lock:
            record = self._must_find(entity, record_id)
            unknown = sorted(set(fields) - set(record))
            if unknown:
                raise Refused(f"{entity} has no field {', '.join(unknown)}.", 400)
            record |= {"UpdatedOn": datetime.now(UTC), **fields}
            return deepcopy(record)

    def delete(self, entity: Entity, record_id: int) -> None:
        """Take the record away, and with an enrolment its completions; no trace is left."""
        with self._lock:
            self._must_find(entity, record_id)
            self._gone[entity, record_id] = self._tables[entity].pop(record_id)
            if entity is Entity.COURSE_MEMBER:
                for row in self.rows(Entity.COMPLETED_LESSON):
                    if row["CourseMemberId"] == record_id:
                        self.delete(Entity.COMPLETED_LESSON, row["Id"])

    def _lesson_to_finish(self, member: Record, lesson_id: int | None) -> Record:
        if lesson_id is not None:
            lesson = self._must_find(Entity.LESSON, lesson_id)
            if lesson["CourseId"] != member["CourseId"]:
                raise Refused("That lesson belongs to another course.", 409)
            return lesson
        left = self.lessons_left(member["Id"])
        if not left:
            raise Refused("No lesson is left to finish.", 409)
        return left[0]

    def _must_find(self, entity: Entity, record_id: int) -> Record:
        found = self._tables[entity].get(record_id)
        if found is None:
            raise Refused(f"No {entity} has the Id {record_id}.", 404)
        return found
