"""The stand-in's records in memory, the ways in which they change, and the clock that dates them.

Records are never changed in place: a change puts a new one in the place of the old one. So rows are
handed out without copying, which lets a list over 100,000 rows answer at once. Changes made here
are not delivered: see `stage`.
"""

import math
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import count
from operator import itemgetter
from typing import Any

from sandbox import records
from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.switch import Refused
from sandbox.records import Record
from sandbox.world import World, built_in_world
from schemas.entity import CompletionType, Entity

# The relations that have an index.
RELATIONS: Mapping[Entity, tuple[str, ...]] = {
    Entity.COURSE_MEMBER: ("CourseId", "CoworkerId"),
    Entity.COMPLETED_LESSON: ("CourseMemberId", "CourseLessonId"),
    Entity.LESSON: ("CourseId",),
    Entity.SECTION: ("CourseId",),
    Entity.MESSAGE: ("CoworkerId",),
}


class WorldClock:
    """The time of the stand-in's world: the real one, or the one a test set.

    It dates records, webhooks and emails. Tokens, quotas and delays use the time of this machine,
    which cannot be set. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._fixed: datetime | None = None

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        return self._fixed or datetime.now(UTC)

    def fix(self, at: datetime | None) -> None:
        """Stop at an aware time; None is the real time again."""
        self._fixed = None if at is None else at.astimezone(UTC)

    def report(self) -> dict[str, Any]:
        """Return the time, and whether it is the real one."""
        return {"now": self().isoformat().replace("+00:00", "Z"), "real": self._fixed is None}


class Table:
    """All records of one kind. Not thread-safe: `Tenant` holds the lock."""

    def __init__(self, relations: tuple[str, ...] = (), rows: Iterable[Record] = ()) -> None:
        self._by_id: dict[int, Record] = {}
        self._by_relation: dict[str, dict[object, dict[int, Record]]] = {
            name: {} for name in relations
        }
        for record in rows:
            self.put(record)

    def __getitem__(self, record_id: int) -> Record:
        return self._by_id[record_id]

    def get(self, record_id: int) -> Record | None:
        """Return the record with that Id, if there is one."""
        return self._by_id.get(record_id)

    def rows(self) -> list[Record]:
        """Return all records."""
        return list(self._by_id.values())

    def having(self, relation: str, value: object) -> list[Record] | None:
        """Return the records with this value; None if the relation has no index."""
        known = self._by_relation.get(relation)
        return None if known is None else list(known.get(_key(value), {}).values())

    def put(self, record: Record) -> None:
        """Add the record, replacing the one with its Id."""
        record_id = record["Id"]
        before = self._by_id.get(record_id)
        self._by_id[record_id] = record
        for name, known in self._by_relation.items():
            if before is not None:
                known[_key(before[name])].pop(record_id)
            known.setdefault(_key(record[name]), {})[record_id] = record

    def pop(self, record_id: int) -> Record:
        """Remove the record and return it."""
        record = self._by_id.pop(record_id)
        for name, known in self._by_relation.items():
            known[_key(record[name])].pop(record_id)
        return record


class Tenant:
    """One Nexudus account with its people, courses and enrolments.

    Safe to use from several threads; returned records must not be changed.
    """

    def __init__(
        self,
        world: World | None = None,
        board: Board | None = None,
        clock: WorldClock | None = None,
    ) -> None:
        self._world = world or built_in_world()
        self.opened_at = self._world.opened_at
        self._lock = threading.RLock()
        self._board = board or Board()
        self._clock = clock or WorldClock()
        self.reset()

    def reset(self) -> None:
        """Go back to the records of the start."""
        with self._lock:
            self._tables = _tables_of(self._world)
            self._gone: dict[tuple[Entity, int], Record] = {}
            self._created: dict[tuple[Entity, int], float] = {}
            self._ids = count(self._world.first_new_id)
            self._large_ids = count()

    def find(self, entity: Entity, record_id: int) -> Record | None:
        """Return the record, or None if it does not exist (any more)."""
        with self._lock:
            return self._tables[entity].get(record_id)

    def last_known(self, entity: Entity, record_id: int) -> Record:
        """Return the record or its last version: a delivery may come after a delete."""
        with self._lock:
            found = self._tables[entity].get(record_id) or self._gone.get((entity, record_id))
            if found is None:
                raise Refused(f"No {entity} has the Id {record_id}.", 404)
            return found

    def rows(self, entity: Entity) -> list[Record]:
        """Return all records of one kind, in no particular order."""
        with self._lock:
            return self._tables[entity].rows()

    def rows_with(self, entity: Entity, relation: str, value: int) -> list[Record]:
        """Return the records that belong to another one, such as the lessons of a course."""
        with self._lock:
            found = self._tables[entity].having(relation, value)
            return self._tables[entity].rows() if found is None else found

    def age_s(self, entity: Entity, record_id: int) -> float:
        """Return the seconds since the record was created here; endless for those of the start."""
        with self._lock:
            created = self._created.get((entity, record_id))
        return math.inf if created is None else time.monotonic() - created

    def lessons_of(self, course_id: int) -> list[Record]:
        """Return a course's lessons in the order of a learner."""
        lessons = self.rows_with(Entity.LESSON, "CourseId", course_id)
        return sorted(
            lessons, key=lambda row: (row["SectionDisplayOrder"] or 0, row["DisplayOrder"])
        )

    def counts(self, lesson: Record) -> bool:
        """Whether completing the course requires this lesson (contract, section 8).

        It must be active and tracked, and in no inactive section.
        """
        section = self.find(Entity.SECTION, lesson["SectionId"] or 0)
        is_open = section is None or bool(section["Active"])
        is_tracked = lesson["CompletionType"] != CompletionType.NONE
        return is_open and is_tracked and bool(lesson["Active"])

    def location_of(self, entity: Entity, record: Record) -> int | None:
        """Return the Id of the location whose course this enrolment or completion is about."""
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

    def completed_lesson_ids(self, member_id: int) -> set[int]:
        """Return the Ids of the lessons completed in this enrolment."""
        rows = self.rows_with(Entity.COMPLETED_LESSON, "CourseMemberId", member_id)
        return {row["CourseLessonId"] for row in rows}

    def lessons_left(self, member_id: int) -> list[Record]:
        """Return the required lessons not completed in this enrolment, the next one first."""
        with self._lock:
            member = self._must_find(Entity.COURSE_MEMBER, member_id)
            done = self.completed_lesson_ids(member_id)
            lessons = self.lessons_of(member["CourseId"])
            return [row for row in lessons if self.counts(row) and row["Id"] not in done]

    def enrol(
        self, course_id: int, coworker_id: int, *, approved: bool, at: datetime | None = None
    ) -> Record:
        """Add an enrolment, dated now or `at`."""
        with self._lock:
            course = self._must_find(Entity.COURSE, course_id)
            coworker = self._must_find(Entity.COWORKER, coworker_id)
            if self.enrolment(course_id, coworker_id) is not None:
                raise Refused("This person is already enrolled in this course.", 409)
            member = records.course_member(
                self.new_id(), at or self._clock(), course, coworker, approved=approved
            )
            self.add(Entity.COURSE_MEMBER, member)
            return member

    def finish_lesson(
        self, member_id: int, lesson_id: int | None = None, at: datetime | None = None
    ) -> tuple[Record, Record]:
        """Add a completion of the next required lesson, or of the named one.

        A named lesson may be completed twice: the source does not rule it out. Returns the
        completion, and the enrolment, which changes with it.
        """
        with self._lock:
            member = self._must_find(Entity.COURSE_MEMBER, member_id)
            lesson = self._lesson_to_finish(member, lesson_id)
            moment = at or self._clock()
            completed = records.completed_lesson(self.new_id(), moment, lesson, member)
            self.add(Entity.COMPLETED_LESSON, completed)
            changed = records.after_lesson(member, lesson, moment)
            self._tables[Entity.COURSE_MEMBER].put(changed)
            return completed, changed

    def write_message(
        self, coworker_id: int, *, incoming: bool, reminder: bool, at: datetime | None = None
    ) -> Record:
        """Add a message to a person, or with `incoming` from one, dated now or `at`."""
        with self._lock:
            coworker = self._must_find(Entity.COWORKER, coworker_id)
            moment = at or self._clock()
            written = records.message(
                self.new_id(), moment, coworker, incoming=incoming, reminder=reminder
            )
            self.add(Entity.MESSAGE, written)
            return written

    def add(self, entity: Entity, record: Record) -> None:
        """Add a new record."""
        with self._lock:
            self._tables[entity].put(record)
            self._created[entity, record["Id"]] = time.monotonic()

    def change(self, entity: Entity, record_id: int, fields: Mapping[str, object]) -> Record:
        """Set fields of a record, as an editor at the source would; UpdatedOn follows."""
        with self._lock:
            record = self._must_find(entity, record_id)
            unknown = sorted(set(fields) - set(record))
            if unknown:
                raise Refused(f"{entity} has no field {', '.join(unknown)}.", 400)
            changed = {**record, "UpdatedOn": self._clock(), **fields}
            self._tables[entity].put(changed)
            return changed

    def delete(self, entity: Entity, record_id: int) -> None:
        """Delete the record, and with an enrolment its completions; no trace remains."""
        with self._lock:
            self._must_find(entity, record_id)
            self._gone[entity, record_id] = self._tables[entity].pop(record_id)
            if entity is Entity.COURSE_MEMBER:
                for row in self.rows_with(Entity.COMPLETED_LESSON, "CourseMemberId", record_id):
                    self.delete(Entity.COMPLETED_LESSON, row["Id"])

    def new_id(self) -> int:
        """Return an unused Id."""
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


def _key(value: object) -> object:
    # A test may put anything in the place of an Id.
    return value if isinstance(value, (int, str, type(None))) else repr(value)


def _tables_of(world: World) -> dict[Entity, Table]:
    tables = {entity: Table(RELATIONS.get(entity, ())) for entity in Entity}
    opened = world.opened_at

    def put(entity: Entity, record: Record) -> Record:
        tables[entity].put(record)
        return record

    places = {
        one["id"]: put(Entity.BUSINESS, records.business(one, opened)) for one in world.locations
    }
    for language in records.languages(opened):
        put(Entity.LANGUAGE, language)
    for zone in records.time_zones(opened):
        put(Entity.TIME_ZONE, zone)
    put(Entity.WEB_HOOK, records.foreign_hook(opened))
    for person in world.people:
        place = places[person["location"]]
        put(Entity.COWORKER, records.coworker(person, opened, place))
        account = records.user(person, opened, place)
        if account is not None:
            put(Entity.USER, account)
    for order, entry in enumerate(world.courses, start=1):
        course = put(Entity.COURSE, records.course(entry, opened, places[entry["location"]], order))
        sections = {
            one["id"]: put(Entity.SECTION, records.section(one, opened, course, n))
            for n, one in enumerate(entry["sections"], start=1)
        }
        for n, lesson in enumerate(entry["lessons"], start=1):
            within = sections.get(lesson["section"])
            put(Entity.LESSON, records.lesson(lesson, opened, course, within, n))
    _put_studies(tables, world)
    return tables


def _put_studies(tables: Mapping[Entity, Table], world: World) -> None:
    """Add enrolments and completions in the order of their Ids, the usual order of lists."""
    courses, people = tables[Entity.COURSE], tables[Entity.COWORKER]
    members, lessons = tables[Entity.COURSE_MEMBER], tables[Entity.LESSON]
    for one in sorted(world.enrolments, key=itemgetter("id")):
        course, person = courses[one["course"]], people[one["person"]]
        approved, blocked = one["approved"], one["blocked"]
        member = records.course_member(one["id"], one["at"], course, person, approved=approved)
        members.put({**member, "Blocked": blocked})
    last: dict[int, tuple[datetime, Record]] = {}
    for one in sorted(world.completions, key=itemgetter("id")):
        member_id, lesson, at = one["enrolment"], lessons[one["lesson"]], one["at"]
        done = records.completed_lesson(one["id"], at, lesson, members[member_id])
        tables[Entity.COMPLETED_LESSON].put(done)
        if at >= last.get(member_id, (at, lesson))[0]:
            last[member_id] = (at, lesson)
    for member_id, (at, lesson) in last.items():
        members.put(records.after_lesson(members[member_id], lesson, at))
