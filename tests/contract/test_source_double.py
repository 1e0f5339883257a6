"""The source client over HTTP and its double: the same cases on both."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest

from sandbox.tenant import Tenant
from sandbox.wire import as_read
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused, SourceThrottled, SourceUnavailable
from schemas.records import (
    Business,
    CompletedLesson,
    Course,
    CourseMember,
    Coworker,
    Lesson,
    Message,
    Record,
    Section,
    SourceLanguage,
    TimeZone,
    User,
    WebHook,
    load_record,
)
from tests.contract.source_rig import answer, line_to, sqlite_ledger, tell_the_truth
from tests.doubles.fake_source import FakeSource
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.source.client import Gone, whole_record
from workers.source.reads import BurstReads

CLASSES: dict[Entity, type[object]] = {
    Entity.COURSE_MEMBER: CourseMember,
    Entity.COMPLETED_LESSON: CompletedLesson,
    Entity.LESSON: Lesson,
    Entity.COURSE: Course,
    Entity.COWORKER: Coworker,
    Entity.SECTION: Section,
    Entity.BUSINESS: Business,
    Entity.USER: User,
    Entity.LANGUAGE: SourceLanguage,
    Entity.TIME_ZONE: TimeZone,
    Entity.WEB_HOOK: WebHook,
    Entity.MESSAGE: Message,
}
FEW = (
    Entity.SECTION,
    Entity.BUSINESS,
    Entity.USER,
    Entity.LANGUAGE,
    Entity.TIME_ZONE,
    Entity.WEB_HOOK,
)
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


class World(Protocol):
    """A source, and the ways in which its records and its health change."""

    source: BurstReads

    def ids(self) -> dict[Entity, int]: ...
    def finish_lesson(self) -> int: ...
    def write(
        self, at: datetime, *, name: str = ..., incoming: bool = ..., reminder: bool = ...
    ) -> int: ...
    def approve(self, *, approved: bool) -> None: ...
    def delete(self, entity: Entity, record_id: int) -> None: ...
    def break_record(self, entity: Entity, record_id: int) -> None: ...
    def be_slow(self) -> None: ...
    def be_busy(self, retry_after_s: int | None) -> None: ...
    def refuse(self) -> None: ...
    def recover(self) -> None: ...


class HttpWorld:
    """The stand-in, as a program of its own."""

    def __init__(self, source: BurstReads, sandbox: Running) -> None:
        self.source = source
        self._sandbox = sandbox
        self._member = sandbox.enrol("Joël", "Finance")
        self._first = self.finish_lesson()
        self._message = self.write(NOON)
        self._few = {entity: source.all_of(entity)[0].record_id for entity in FEW}

    def ids(self) -> dict[Entity, int]:
        [finance] = [
            one for one in self._sandbox.get("/sandbox/courses").json() if "Finance" in one["title"]
        ]
        return {
            Entity.COURSE_MEMBER: self._member,
            Entity.COMPLETED_LESSON: self._first,
            Entity.LESSON: finance["lessons"][0]["id"],
            Entity.COURSE: finance["id"],
            Entity.COWORKER: self._sandbox.person("Joël"),
            Entity.MESSAGE: self._message,
            **self._few,
        }

    def finish_lesson(self) -> int:
        done = self._sandbox.post("/sandbox/finish-lesson", course_member_id=self._member)
        return int(done["completed_lesson_id"])

    def write(
        self, at: datetime, *, name: str = "Joël", incoming: bool = False, reminder: bool = False
    ) -> int:
        whose = {"coworker_id": self._sandbox.person(name), "at": at.isoformat()}
        kind = {"incoming": incoming, "reminder": reminder}
        return int(self._sandbox.post("/sandbox/message", **whose, **kind)["message_id"])

    def approve(self, *, approved: bool) -> None:
        self._change(Entity.COURSE_MEMBER, self._member, {"Approved": approved})

    def delete(self, entity: Entity, record_id: int) -> None:
        self._sandbox.post("/sandbox/delete", entity=entity, id=record_id)

    def break_record(self, entity: Entity, record_id: int) -> None:
        self._change(entity, record_id, {"UpdatedOn": "not a time"})

    def be_slow(self) -> None:
        answer(self._sandbox, "/api", 504)

    def be_busy(self, retry_after_s: int | None) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        answer(self._sandbox, "/api", 409, headers=headers)

    def refuse(self) -> None:
        answer(self._sandbox, "/api", 403, body={"Message": "no"})

    def recover(self) -> None:
        tell_the_truth(self._sandbox)

    def _change(self, entity: Entity, record_id: int, fields: dict[str, object]) -> None:
        self._sandbox.post("/sandbox/change", entity=entity, id=record_id, fields=fields)


class MemoryWorld:
    """The same people and courses, without a network."""

    def __init__(self) -> None:
        self._fake = FakeSource()
        self.source: BurstReads = self._fake
        self._tenant = Tenant()
        self._course = self._tenant.rows(Entity.COURSE)[0]["Id"]
        self._person = self._coworker_id("Joël")
        self._member = self._tenant.enrol(self._course, self._person, approved=True)["Id"]
        self._first = self.finish_lesson()
        self._message = self.write(NOON)

    def ids(self) -> dict[Entity, int]:
        return {
            Entity.COURSE_MEMBER: self._member,
            Entity.COMPLETED_LESSON: self._first,
            Entity.MESSAGE: self._message,
            Entity.LESSON: self._tenant.lessons_of(self._course)[0]["Id"],
            Entity.COURSE: self._course,
            Entity.COWORKER: self._person,
            **{entity: self._tenant.rows(entity)[0]["Id"] for entity in FEW},
        }

    def finish_lesson(self) -> int:
        completed, _ = self._tenant.finish_lesson(self._member)
        self._tell()
        return int(completed["Id"])

    def write(
        self, at: datetime, *, name: str = "Joël", incoming: bool = False, reminder: bool = False
    ) -> int:
        whose = self._coworker_id(name)
        written = self._tenant.write_message(whose, incoming=incoming, reminder=reminder, at=at)
        self._tell()
        return int(written["Id"])

    def approve(self, *, approved: bool) -> None:
        self._tenant.change(Entity.COURSE_MEMBER, self._member, {"Approved": approved})
        self._tell()

    def delete(self, entity: Entity, record_id: int) -> None:
        self._fake.lose(entity, record_id)

    def break_record(self, entity: Entity, record_id: int) -> None:
        self._fake.break_record(entity, record_id)

    def be_slow(self) -> None:
        self._fake.be_slow()

    def be_busy(self, retry_after_s: int | None) -> None:
        self._fake.be_busy(retry_after_s)

    def refuse(self) -> None:
        self._fake.refuse()

    def recover(self) -> None:
        self._fake.recover()

    def _coworker_id(self, name: str) -> int:
        people = self._tenant.rows(Entity.COWORKER)
        [found] = [row["Id"] for row in people if name in row["FullName"]]
        return int(found)

    def _tell(self) -> None:
        for entity in Entity:
            rows = self._tenant.rows(entity)
            self._fake.have(entity, *(load_record(entity, as_read(row)) for row in rows))


@pytest.fixture(params=["over http", "double"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "double":
        yield MemoryWorld()
        return
    with (
        running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as sandbox,
        sqlite_ledger(tmp_path) as engine,
        line_to(sandbox.addresses["api"], engine) as line,
    ):
        yield HttpWorld(line.source(), sandbox)


def ids_of(records: Sequence[Record]) -> list[int]:
    return [record.record_id for record in records]


@pytest.mark.parametrize("entity", Entity)
def test_every_kind_of_record_is_fetched_by_its_id(world: World, entity: Entity) -> None:
    found = world.source.fetch(entity, world.ids()[entity])
    assert isinstance(found, CLASSES[entity])
    assert getattr(found, "record_id", None) == world.ids()[entity]


@pytest.mark.parametrize("entity", Entity)
def test_a_record_that_never_existed_is_gone(world: World, entity: Entity) -> None:
    assert world.source.fetch(entity, 4_242) == Gone()


@pytest.mark.parametrize("entity", Entity)
def test_a_record_that_was_deleted_is_gone(world: World, entity: Entity) -> None:
    record_id = world.ids()[entity]
    world.delete(entity, record_id)
    assert world.source.fetch(entity, record_id) == Gone()


def test_a_record_is_as_it_stands_now(world: World) -> None:
    member_id = world.ids()[Entity.COURSE_MEMBER]
    for approved in (False, True):
        world.approve(approved=approved)
        found = world.source.fetch(Entity.COURSE_MEMBER, member_id)
        assert isinstance(found, CourseMember)
        assert found.approved is approved


def test_the_lessons_of_a_course_are_all_of_it_and_nothing_else(world: World) -> None:
    course_id = world.ids()[Entity.COURSE]
    lessons = world.source.lessons_of(course_id)
    assert all(isinstance(one, Lesson) and one.course_id == course_id for one in lessons)
    assert len(set(ids_of(lessons))) == 6
    assert ids_of(lessons) == sorted(ids_of(lessons))
    assert sum(isinstance(one, Lesson) and one.active for one in lessons) == 5


def test_the_completions_of_an_enrolment_are_all_of_it(world: World) -> None:
    member_id = world.ids()[Entity.COURSE_MEMBER]
    first = world.ids()[Entity.COMPLETED_LESSON]
    assert ids_of(world.source.completions_of(member_id)) == [first]
    second = world.finish_lesson()
    completions = world.source.completions_of(member_id)
    assert ids_of(completions) == [first, second]
    assert all(isinstance(one, CompletedLesson) for one in completions)


def test_the_list_below_an_unknown_parent_is_empty(world: World) -> None:
    assert world.source.lessons_of(4_242) == []
    assert world.source.completions_of(4_242) == []


def test_the_completions_of_an_enrolment_go_with_it(world: World) -> None:
    member_id = world.ids()[Entity.COURSE_MEMBER]
    world.delete(Entity.COURSE_MEMBER, member_id)
    assert world.source.completions_of(member_id) == []
    assert (
        world.source.fetch(Entity.COMPLETED_LESSON, world.ids()[Entity.COMPLETED_LESSON]) == Gone()
    )


def test_the_sections_of_a_course_are_all_of_it_and_nothing_else(world: World) -> None:
    course_id = world.ids()[Entity.COURSE]
    sections = world.source.sections_of(course_id)
    assert sections
    assert all(isinstance(one, Section) and one.course_id == course_id for one in sections)
    assert world.source.sections_of(4_242) == []


@pytest.mark.parametrize("entity", FEW)
def test_every_record_of_a_kind_of_which_there_are_few(world: World, entity: Entity) -> None:
    found = world.source.all_of(entity)
    assert ids_of(found) == sorted(set(ids_of(found)))
    assert all(world.source.fetch(entity, one.record_id) == one for one in found)


def test_several_records_come_with_one_request_without_missing_ones(world: World) -> None:
    lessons = world.source.lessons_of(world.ids()[Entity.COURSE])
    ids = [*ids_of(lessons), 4_242]
    rows = world.source.several(Entity.LESSON, ids)
    assert sorted(row["Id"] for row in rows) == ids_of(lessons)
    assert [whole_record(Entity.LESSON, row) for row in rows] == lessons


def test_changes_since_a_moment_come_in_order_without_earlier_ones(
    world: World,
) -> None:
    first = world.ids()[Entity.COMPLETED_LESSON]
    found = world.source.fetch(Entity.COMPLETED_LESSON, first)
    assert isinstance(found, CompletedLesson)
    second = world.finish_lesson()
    pages = list(world.source.changed_since(Entity.COMPLETED_LESSON, found.created_at))
    assert [row.record_id for page in pages for row in page.rows] == [first, second]
    later = found.created_at + timedelta(days=1)
    assert not [page.rows for page in world.source.changed_since(Entity.COURSE, later) if page.rows]


def test_records_created_in_a_window_come_without_later_ones(world: World) -> None:
    first = world.ids()[Entity.COMPLETED_LESSON]
    found = world.source.fetch(Entity.COMPLETED_LESSON, first)
    assert isinstance(found, CompletedLesson)

    def made(since: timedelta, until: timedelta) -> list[int]:
        window = (found.created_at + since, found.created_at + until)
        pages = world.source.created_between(Entity.COMPLETED_LESSON, *window)
        return [row.record_id for page in pages for row in page.rows]

    assert made(timedelta(minutes=-5), timedelta()) == [first]
    assert made(timedelta(minutes=-30), timedelta(minutes=-5)) == []
    assert made(timedelta(days=1), timedelta(days=2)) == []


def test_the_enrolments_of_a_person_are_those_and_no_others(world: World) -> None:
    member = world.source.fetch(Entity.COURSE_MEMBER, world.ids()[Entity.COURSE_MEMBER])
    assert isinstance(member, CourseMember)
    assert world.source.enrolments_of(member.coworker_id) == [member]
    assert world.source.enrolments_of(4_242) == []


def test_messages_to_a_person_are_those_of_the_source_after_a_moment_the_newest_first(
    world: World,
) -> None:
    joel, first = world.ids()[Entity.COWORKER], world.ids()[Entity.MESSAGE]
    world.write(NOON - WEEK)
    world.write(NOON - timedelta(hours=2), incoming=True)
    world.write(NOON - timedelta(hours=3), name="Zoë")
    second = world.write(NOON - WEEK + timedelta(seconds=1), reminder=True)
    found = world.source.messages_to(joel, NOON - WEEK)
    assert [(one.record_id, one.is_reminder) for one in found] == [(first, False), (second, True)]
    assert world.source.messages_to(joel, NOON) == []
    assert world.source.messages_to(4_242, NOON - WEEK) == []


def test_an_address_finds_the_few_with_enrolments_who_have_it(world: World) -> None:
    person = world.source.fetch(Entity.COWORKER, world.ids()[Entity.COWORKER])
    assert isinstance(person, Coworker)
    assert person.email
    assert world.source.enrolled_with(person.email, 5) == [person.record_id]
    assert world.source.enrolled_with("zoe.brandt@example.org", 5) == [], "no enrolment has it"


def ask_everything(world: World, error: type[Exception]) -> list[BaseException]:
    ids = world.ids()
    met: list[BaseException] = []
    for ask in (
        lambda: world.source.fetch(Entity.COURSE, ids[Entity.COURSE]),
        lambda: world.source.lessons_of(ids[Entity.COURSE]),
        lambda: world.source.completions_of(ids[Entity.COURSE_MEMBER]),
        lambda: world.source.messages_to(ids[Entity.COWORKER], NOON),
    ):
        with pytest.raises(error) as caught:
            ask()
        met.append(caught.value)
    return met


def test_a_source_without_an_answer_is_unavailable_until_it_recovers(world: World) -> None:
    world.be_slow()
    ask_everything(world, SourceUnavailable)
    world.recover()
    assert isinstance(world.source.fetch(Entity.COURSE, world.ids()[Entity.COURSE]), Course)


@pytest.mark.parametrize("retry_after_s", [None, 7])
def test_a_source_that_is_busy_says_how_long(world: World, retry_after_s: int | None) -> None:
    world.be_busy(retry_after_s)
    met = ask_everything(world, SourceThrottled)
    assert {getattr(error, "retry_after_s", 0) for error in met} == {retry_after_s}


def test_a_negative_answer_of_a_source_is_a_refusal(world: World) -> None:
    world.refuse()
    ask_everything(world, SourceRefused)


@pytest.mark.parametrize("entity", Entity)
def test_a_record_that_does_not_fit_is_unreadable_by_its_fields(
    world: World, entity: Entity
) -> None:
    record_id = world.ids()[entity]
    world.break_record(entity, record_id)
    with pytest.raises(RecordUnreadable) as caught:
        world.source.fetch(entity, record_id)
    assert caught.value.fields
    assert str(caught.value).startswith(entity.value)


def test_a_list_with_a_record_that_does_not_fit_is_unreadable(world: World) -> None:
    world.break_record(Entity.LESSON, world.ids()[Entity.LESSON])
    with pytest.raises(RecordUnreadable):
        world.source.lessons_of(world.ids()[Entity.COURSE])
    world.break_record(Entity.COMPLETED_LESSON, world.ids()[Entity.COMPLETED_LESSON])
    with pytest.raises(RecordUnreadable):
        world.source.completions_of(world.ids()[Entity.COURSE_MEMBER])
    world.break_record(Entity.MESSAGE, world.ids()[Entity.MESSAGE])
    with pytest.raises(RecordUnreadable):
        world.source.messages_to(world.ids()[Entity.COWORKER], NOON - WEEK)


def test_the_double_counts_requests_and_fails_as_configured() -> None:
    fake = FakeSource()
    fake.fail_next(SourceUnavailable("once"))
    with pytest.raises(SourceUnavailable, match="once"):
        fake.fetch(Entity.COURSE, 7)
    assert fake.fetch(Entity.COURSE, 7) == Gone()
    fake.lessons_of(8)
    fake.completions_of(9)
    assert fake.asked == [("Course", 7), ("Course", 7), ("lessons_of", 8), ("completions_of", 9)]
    fake.close()
