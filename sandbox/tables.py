"""The stand-in's records by kind, found by Id and by the relations that are asked for most.

Records are never changed in place: a change puts a new one in the place of the old. So rows may be
handed out without copying them, which is what lets a list over 100,000 rows answer at once.
"""

from collections.abc import Iterable, Mapping
from operator import attrgetter

from sandbox import people, places, shapes
from sandbox.webhooks import foreign_hook
from sandbox.wire import Record
from sandbox.world import CompletionPlan, CoursePlan, World
from schemas.entity import Entity

# What can be asked for without looking at every row.
RELATIONS: Mapping[Entity, tuple[str, ...]] = {
    Entity.COURSE_MEMBER: ("CourseId", "CoworkerId"),
    Entity.COMPLETED_LESSON: ("CourseMemberId", "CourseLessonId"),
    Entity.LESSON: ("CourseId",),
    Entity.SECTION: ("CourseId",),
}


class Table:
    """All records of one kind. Not safe by itself: `Tenant` holds the lock."""

    def __init__(self, relations: tuple[str, ...] = (), records: Iterable[Record] = ()) -> None:
        self._by_id: dict[int, Record] = {}
        self._by_relation: dict[str, dict[object, dict[int, Record]]] = {
            name: {} for name in relations
        }
        for record in records:
            self.put(record)

    def get(self, record_id: int) -> Record | None:
        """Return the record of that Id."""
        return self._by_id.get(record_id)

    def rows(self) -> list[Record]:
        """Return all records."""
        return list(self._by_id.values())

    def having(self, relation: str, value: object) -> list[Record] | None:
        """Return the records with this value; None if nothing is known by that relation."""
        known = self._by_relation.get(relation)
        return None if known is None else list(known.get(_key(value), {}).values())

    def put(self, record: Record) -> None:
        """Add the record, or put it in the place of the one with its Id."""
        record_id = record["Id"]
        before = self._by_id.get(record_id)
        self._by_id[record_id] = record
        for name, known in self._by_relation.items():
            if before is not None:
                known[_key(before[name])].pop(record_id)
            known.setdefault(_key(record[name]), {})[record_id] = record

    def pop(self, record_id: int) -> Record:
        """Take the record out and return it."""
        record = self._by_id.pop(record_id)
        for name, known in self._by_relation.items():
            known[_key(record[name])].pop(record_id)
        return record


def _key(value: object) -> object:
    # A test may put anything where an Id belongs.
    return value if isinstance(value, (int, str, type(None))) else repr(value)


def tables_of(world: World) -> dict[Entity, Table]:
    """Return fresh tables with the records of a world, one for every kind."""
    tables = {entity: Table(RELATIONS.get(entity, ())) for entity in Entity}
    opened = world.opened_at
    for entity, records in (
        (Entity.BUSINESS, [places.business(opened, place) for place in world.places]),
        (Entity.LANGUAGE, places.languages(opened)),
        (Entity.TIME_ZONE, places.time_zones(opened)),
        (Entity.WEB_HOOK, [foreign_hook(opened)]),
    ):
        for record in records:
            tables[entity].put(record)
    _put_people(tables, world)
    for order, course in enumerate(world.courses, start=1):
        _put_course(tables, world, course, order)
    _put_studies(tables, world)
    return tables


def _put_people(tables: dict[Entity, Table], world: World) -> None:
    for plan in world.people:
        place = _there(tables[Entity.BUSINESS], plan.place_id)
        tables[Entity.COWORKER].put(people.coworker(plan.id, world.opened_at, plan.person, place))
        account = people.user(plan.id, world.opened_at, plan.person, place)
        if account is not None:
            tables[Entity.USER].put(account)


def _put_course(tables: dict[Entity, Table], world: World, plan: CoursePlan, order: int) -> None:
    opened, place = world.opened_at, _there(tables[Entity.BUSINESS], plan.place_id)
    course = shapes.course(plan.id, opened, place, plan.title, group=plan.group, order=order)
    tables[Entity.COURSE].put(course)
    for n, section in enumerate(plan.sections, start=1):
        tables[Entity.SECTION].put(
            shapes.section(
                section.id, opened, course, section.title, order=n, active=section.active
            )
        )
    for n, lesson in enumerate(plan.lessons, start=1):
        found = tables[Entity.SECTION].get(lesson.section_id or 0)
        tables[Entity.LESSON].put(
            shapes.lesson(
                lesson.id,
                opened,
                course,
                lesson.title,
                lesson.completion,
                order=n,
                section=found,
                active=lesson.active,
            )
        )


def _put_studies(tables: dict[Entity, Table], world: World) -> None:
    members, lessons = tables[Entity.COURSE_MEMBER], tables[Entity.LESSON]
    for plan in sorted(world.enrolments, key=attrgetter("id")):
        course = _there(tables[Entity.COURSE], plan.course_id)
        person = _there(tables[Entity.COWORKER], plan.person_id)
        member = shapes.course_member(plan.id, plan.at, course, person, approved=plan.approved)
        members.put({**member, "Blocked": plan.blocked})
    # In the order of their Ids, which is the one most lists are asked for.
    last: dict[int, CompletionPlan] = {}
    for done in sorted(world.completions, key=attrgetter("id")):
        member, lesson = _there(members, done.enrolment_id), _there(lessons, done.lesson_id)
        record = shapes.completed_lesson(done.id, done.at, lesson, member)
        tables[Entity.COMPLETED_LESSON].put(record)
        known = last.setdefault(done.enrolment_id, done)
        if done.at >= known.at:
            last[done.enrolment_id] = done
    for done in last.values():
        member, lesson = _there(members, done.enrolment_id), _there(lessons, done.lesson_id)
        members.put(shapes.after_lesson(member, lesson, done.at))


def _there(table: Table, record_id: int) -> Record:
    found = table.get(record_id)
    if found is None:
        raise KeyError(record_id)
    return found
