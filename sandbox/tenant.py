"""The stand-in's records, in memory, and the few ways in which they change.

Safe to use from several threads; what is returned is never changed afterwards and must not be
changed by whoever gets it. Nobody is told of a change here: see `story`.
"""

import math
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from itertools import count

from sandbox import shapes
from sandbox.clock import WorldClock
from sandbox.misbehaviour.board import Board
from sandbox.refused import Refused
from sandbox.seed import BUILT_IN
from sandbox.tables import tables_of
from sandbox.wire import Record
from sandbox.world import World
from schemas.entity import Entity
from schemas.vocabulary import CompletionType


class Tenant:
    """One Nexudus account with its people, courses and enrolments."""

    def __init__(
        self,
        world: World = BUILT_IN,
        board: Board | None = None,
        clock: WorldClock | None = None,
    ) -> None:
        self.opened_at = world.opened_at
        self._world = world
        self._lock = threading.RLock()
        self._board = board or Board()
        self._clock = clock or WorldClock()
        self.begin_again()

    def begin_again(self) -> None:
        """Have the records of the beginning, and no others."""
        with self._lock:
            self._tables = tables_of(self._world)
            self._gone: dict[tuple[Entity, int], Record] = {}
            self._born: dict[tuple[Entity, int], float] = {}
            self._ids = count(self._world.first_new_id)
            self._large_ids = count()

    def find(self, entity: Entity, record_id: int) -> Record | None:
        """Return the record as it stands, or None when there is none (any more)."""
        with self._lock:
            return self._tables[entity].get(record_id)

    def last_known(self, entity: Entity, record_id: int) -> Record:
        """Return the record as it stands or last stood: a delivery may come after a delete."""
        with self._lock:
            found = self._tables[entity].get(record_id) or self._gone.get((entity, record_id))
            if found is None:
                raise Refused(f"No {entity} has the Id {record_id}.", 404)
            return found

    def rows(self, entity: Entity) -> list[Record]:
        """Return all records of one kind, in no promised order."""
        with self._lock:
            return self._tables[entity].rows()

    def rows_with(self, entity: Entity, relation: str, value: int) -> list[Record]:
        """Return the records of one kind that belong to another one, such as a course's lessons."""
        with self._lock:
            found = self._tables[entity].having(relation, value)
            return self._tables[entity].rows() if found is None else found

    def age_s(self, entity: Entity, record_id: int) -> float:
        """Return how long ago the record was made here; what was there from the start is old."""
        with self._lock:
            born = self._born.get((entity, record_id))
        return math.inf if born is None else time.monotonic() - born

    def lessons_of(self, course_id: int) -> list[Record]:
        """Return a course's lessons in the order a learner meets them."""
        lessons = self.rows_with(Entity.LESSON, "CourseId", course_id)
        return sorted(
            lessons, key=lambda row: (row["SectionDisplayOrder"] or 0, row["DisplayOrder"])
        )

    def counts(self, lesson: Record) -> bool:
        """Whether finishing the course needs this lesson (contract, section 8).

        It must be active, tracked, and in no section that was taken out.
        """
        section = self.find(Entity.SECTION, lesson["SectionId"] or 0)
        is_open = section is None or bool(section["Active"])
        return (
            is_open and bool(lesson["Active"]) and lesson["CompletionType"] != CompletionType.NONE
        )

    def business_of(self, entity: Entity, record: Record) -> int | None:
        """Return the Id of the location whose course this enrolment or completion belongs to."""
        member: Record | None = record
        if entity is Entity.COMPLETED_LESSON:
            member = self.find(Entity.COURSE_MEMBER, record["CourseMemberId"])
        course = self.find(Entity.COURSE, (member or {}).get("CourseId", 0))
        return None if course is None else int(course["BusinessId"])

    def enrolment(self, course_id: int, coworker_id: int) -> Record | None:
        """Return this person's enrolment in this course, if there is one."""
        for row in self.rows_with(Entity.COURSE_MEMBER, "CoworkerId", coworker_id):
            if row["CourseId"] == course_id:
                return row
        return None

    def finished_lesson_ids(self, member_id: int) -> set[int]:
        """Return the Ids of the lessons this enrolment has finished."""
        rows = self.rows_with(Entity.COMPLETED_LESSON, "CourseMemberId", member_id)
        return {row["CourseLessonId"] for row in rows}

    def lessons_left(self, member_id: int) -> list[Record]:
        """Return the counting lessons this enrolment has not finished, next one first."""
        with self._lock:
            member = self._must_find(Entity.COURSE_MEMBER, member_id)
            finished = self.finished_lesson_ids(member_id)
            lessons = self.lessons_of(member["CourseId"])
            return [row for row in lessons if self.counts(row) and row["Id"] not in finished]

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
                self.new_id(), at or self._clock(), course, coworker, approved=approved
            )
            self.add(Entity.COURSE_MEMBER, member)
            return member

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
            moment = at or self._clock()
            completed = shapes.completed_lesson(self.new_id(), moment, lesson, member)
            self.add(Entity.COMPLETED_LESSON, completed)
            changed = shapes.after_lesson(member, lesson, moment)
            self._tables[Entity.COURSE_MEMBER].put(changed)
            return completed, changed

    def add(self, entity: Entity, record: Record) -> None:
        """Put a new record in."""
        with self._lock:
            self._tables[entity].put(record)
            self._born[entity, record["Id"]] = time.monotonic()

    def change(self, entity: Entity, record_id: int, fields: Mapping[str, object]) -> Record:
        """Set some fields the record has, as its editor would; UpdatedOn follows."""
        with self._lock:
            record = self._must_find(entity, record_id)
            unknown = sorted(set(fields) - set(record))
            if unknown:
                raise Refused(f"{entity} has no field {', '.join(unknown)}.", 400)
            changed = {**record, "UpdatedOn": self._clock(), **fields}
            self._tables[entity].put(changed)
            return changed

    def delete(self, entity: Entity, record_id: int) -> None:
        """Take the record away, and with an enrolment its completions; no trace is left."""
        with self._lock:
            self._must_find(entity, record_id)
            self._gone[entity, record_id] = self._tables[entity].pop(record_id)
            if entity is Entity.COURSE_MEMBER:
                for row in self.rows_with(Entity.COMPLETED_LESSON, "CourseMemberId", record_id):
                    self.delete(Entity.COMPLETED_LESSON, row["Id"])

    def new_id(self) -> int:
        """Return an Id that nothing has yet."""
        large = self._board.now("large-ids")
        if large is not None:
            return large.whole("first") + next(self._large_ids)
        return next(self._ids)

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
