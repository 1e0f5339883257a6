"""How few requests the source gets, and that nothing is lost because of that."""

import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select

from ledger.engine import Connection, Engine, reading, writing
from ledger.records import mark_gone
from ledger.source_state import Proof, proofs, store_proof
from ledger.tables import lookups
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from schemas.records import CompletedLesson, CourseMember
from tests.builders.records import course, lesson
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import LESSONS, SHIPPED, Space, coworker, rules_of
from workers.lookup.claim import BATCH, drain_batch
from workers.source.reads import IN_BURSTS, TOO_FEW, is_probe_due, probe_all

_PATIENCE_S = 30.0

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def asked(space: Space) -> Counter[str]:
    """Return how often each kind of request was made since the last call."""
    found = Counter(question for question, _ in space.source.asked)
    space.source.asked.clear()
    return found


def drain(space: Space) -> None:
    while drain_batch(space.lookup_context)[0]:
        pass


def prove(space: Space, *entities: Entity) -> None:
    with writing(space.engine) as connection:
        for entity in entities:
            store_proof(
                connection,
                entity,
                Proof(holds=True, sentence="by hand", probed_at=space.clock.now()),
            )


def studying(space: Space, *numbers: int) -> list[CourseMember]:
    """Enrol people and process that."""
    members = [space.enrol(number) for number in numbers]
    drain(space)
    return members


def tell_both(space: Space, first: int, second: int) -> None:
    """Notify two lessons before either is read; the second is due a second later."""
    space.notify(Entity.COMPLETED_LESSON, first)
    space.notify(Entity.COMPLETED_LESSON, second)
    later = space.clock.now() + timedelta(seconds=1)
    with writing(space.engine) as connection:
        mine = lookups.c.record_id == second
        connection.execute(lookups.update().where(mine).values(due_at=later))


def test_the_first_lookup_reads_all_lessons_of_a_sitting(space: Space) -> None:
    [member] = studying(space, 1)
    asked(space)
    space.finish(member, 1, 2)
    drain_batch(space.lookup_context)
    space.finish(member, 3)
    drain(space)
    found = asked(space)
    assert found["completions_of"] <= 3


def test_a_neighbour_on_the_list_needs_no_request_of_its_own(space: Space) -> None:
    [member] = studying(space, 1)
    first, second = space.finish(member, 1, 2, reported=False)
    tell_both(space, first, second)
    drain(space)
    asked(space)
    space.clock.time += timedelta(seconds=2)
    drain(space)
    assert asked(space) == Counter()
    assert space.reasons("lesson_completed") == [None, None]


def test_a_record_that_is_notified_again_is_read_again(space: Space) -> None:
    [member] = studying(space, 1)
    [done] = space.finish(member, 1)
    drain(space)
    asked(space)
    space.notify(Entity.COMPLETED_LESSON, done)
    drain(space)
    assert asked(space)["CourseCompletedLesson"] == 1


def test_a_list_that_differs_from_the_record_by_id_does_not_settle_the_neighbours(
    space: Space,
) -> None:
    [member] = studying(space, 1)
    first, second = space.finish(member, 1, 2, reported=False)
    shown = space.source.fetch(Entity.COMPLETED_LESSON, first)
    assert isinstance(shown, CompletedLesson)
    space.source.list_as(Entity.COMPLETED_LESSON, replace(shown, lesson_title="Stale"))
    tell_both(space, first, second)
    drain(space)
    asked(space)
    space.later(seconds=2)
    assert asked(space)["CourseCompletedLesson"] == 1


def test_lookups_of_a_batch_that_another_one_answered_need_no_request(space: Space) -> None:
    [member] = studying(space, 1)
    space.finish(member, 1, 2, 3)
    asked(space)
    drain_batch(replace(space.lookup_context, threads=1))
    assert asked(space)["CourseCompletedLesson"] == 1
    assert {state for state, _ in space.lookups()} == {"done"}


def test_another_worker_is_called_for_help_before_a_full_batch_is_read(space: Space) -> None:
    calls: list[int] = []
    for number in range(1, BATCH + 2):
        space.enrol(number)
    for _ in range(2):  # the second batch has one lookup
        drain_batch(space.lookup_context, lambda: calls.append(len(space.source.asked)))
    assert calls == [0]


def test_a_lost_worker_counts_for_fewer_lookups_than_twice_its_threads(space: Space) -> None:
    begun: list[int] = []

    def look() -> None:
        with reading(space.engine) as connection:
            begun.append(sum(connection.scalars(select(lookups.c.lost_leases))))

    for number in range(1, 8):
        space.enrol(number)
    space.source.when_asked(Entity.COURSE_MEMBER.value, look)
    drain_batch(replace(space.lookup_context, threads=2))
    assert len(begun) == 7
    assert max(begun) <= 3


def test_a_neighbour_that_is_gone_meanwhile_is_read_by_id(space: Space) -> None:
    [member] = studying(space, 1)
    first, second = space.finish(member, 1, 2, reported=False)
    tell_both(space, first, second)
    drain(space)
    space.source.lose(Entity.COMPLETED_LESSON, second)
    with writing(space.engine) as connection:
        mark_gone(connection, Entity.COMPLETED_LESSON, second, space.clock.now())
    asked(space)
    space.later(seconds=2)
    assert asked(space)["CourseCompletedLesson"] == 1
    assert ("done", "record-gone") in space.lookups()


def test_changes_that_an_email_finds_first_are_decided_on_before_it_is_sent(space: Space) -> None:
    [member] = studying(space, 1)
    space.finish(member, 1, 2, 3, reported=False)
    space.later(minutes=5)  # the welcome email reads the completions, and waits for what they mean
    assert ("waiting", "gathering") in space.outcomes()
    assert space.reasons("course_completed") == [None]
    space.later(seconds=20)
    assert sorted(space.subjects) == [
        "You finished “Freelance Finance”",
        "You're in: Freelance Finance",
    ]


def test_courses_lessons_and_people_are_read_once(space: Space) -> None:
    members = studying(space, *range(1, 7))
    found = asked(space)
    assert (found["Course"], found["Coworker"], found["CourseMember"]) == (1, 6, 6)
    for member in members:
        space.finish(member, 1)
    drain(space)
    found = asked(space)
    assert found["lessons_of"] == 1
    assert (found["Course"], found["Coworker"], found["CourseMember"]) == (0, 0, 0)


def test_a_burst_is_read_with_few_requests_where_a_probe_proved_it(space: Space) -> None:
    prove(space, *IN_BURSTS)
    for number in range(1, 31):
        space.enrol(number)
    drain(space)
    found = asked(space)
    assert found["CourseMember"] == found["Coworker"] == 0
    assert found.total() <= 5
    members = [space.source.fetch(Entity.COURSE_MEMBER, 9000 + number) for number in range(1, 31)]
    for member in members:
        assert isinstance(member, CourseMember)
        space.finish(member, 1, 2, 3)
    asked(space)
    drain(space)
    found = asked(space)
    assert found["CourseCompletedLesson"] == found["completions_of"] == 0
    assert found.total() <= 6
    assert space.reasons("course_completed") == [None] * 30
    assert len(space.reasons("lesson_completed")) == 90


def test_without_a_probe_each_record_is_read_by_its_id(space: Space) -> None:
    prove(space, Entity.COURSE)
    for number in range(1, 11):
        space.enrol(number)
    drain(space)
    found = asked(space)
    assert (found["CourseMember"], found["Coworker"]) == (10, 10)
    assert not [question for question in found if question.startswith("several CourseMember")]


@pytest.mark.engines(*BOTH)
def test_a_record_missing_among_several_is_read_by_its_id(space: Space) -> None:
    prove(space, *IN_BURSTS)
    for number in range(1, 6):
        space.enrol(number)
    space.source.leave_out(Entity.COURSE_MEMBER, "CoworkerFullName")  # since the probe
    drain(space)
    found = asked(space)
    assert (found["several CourseMember"], found["CourseMember"]) == (1, 5)
    assert space.reasons("enrolled") == [None] * 5


def test_a_burst_is_processed_one_by_one_when_prefetching_fails(space: Space) -> None:
    prove(space, *IN_BURSTS)
    for number in range(1, 6):
        space.enrol(number)
    space.source.fail_next(SourceUnavailable("not now"))
    drain(space)
    assert space.reasons("enrolled") == [None] * 5


def test_a_burst_with_enrolments_dated_in_the_future_is_read_completely(
    space: Space,
) -> None:
    next_year = space.clock.now() + timedelta(days=365)
    members = [space.enrol(number, created_at=next_year) for number in range(1, 6)]
    drain(space)
    prove(space, *IN_BURSTS)
    for member in members:
        space.finish(member, 1, 2, reported=False)
        space.finish(member, 3)
    drain(space)
    assert space.reasons("course_completed") == [None] * 5


def test_a_stale_list_of_completions_is_not_prefetched(space: Space) -> None:
    members = studying(space, *range(1, 6))
    prove(space, *IN_BURSTS)
    made = [space.finish(member, 1)[0] for member in members]
    shown = space.source.fetch(Entity.COMPLETED_LESSON, made[0])
    assert isinstance(shown, CompletedLesson)
    asked(space)
    space.source.several_as(Entity.COMPLETED_LESSON, replace(shown, lesson_title="Otherwise"))
    drain(space)
    assert asked(space)["completions_of"] == 5


def test_a_long_list_of_completions_is_not_read_for_a_few_enrolments(space: Space) -> None:
    members = studying(space, *range(1, 6))
    prove(space, *IN_BURSTS)
    space.source.say_total(Entity.COMPLETED_LESSON, 100_000)
    for member in members:
        space.finish(member, 1)
    asked(space)
    drain(space)
    assert asked(space)["completions_of"] == 5


def test_a_probe_without_records_says_that_it_needs_some(space: Space) -> None:
    found = probe_all(space.engine, space.source, space.clock.now())
    assert {proof.sentence for proof in found.values()} == {TOO_FEW}
    assert not any(proof.holds for proof in found.values())


def test_a_probe_covers_each_kind_separately_and_is_stored_with_its_date(space: Space) -> None:
    for number, record_id in ((1, 7), (2, 8), (3, 9)):
        space.source.have(Entity.COURSE, course(record_id=record_id))
        space.source.have(Entity.LESSON, lesson(100 + number, course_id=record_id))
        member = space.enrol(number, course_id=record_id)
        space.finish(member, 100 + number)
    drain(space)
    space.source.leave_out(Entity.COWORKER, "Email")
    found = probe_all(space.engine, space.source, space.clock.now())
    assert {entity for entity, proof in found.items() if proof.holds} == set(IN_BURSTS) - {
        Entity.COWORKER
    }
    assert "differ" in found[Entity.COWORKER].sentence
    with reading(space.engine) as connection:
        assert proofs(connection) == found
    assert {proof.probed_at for proof in found.values()} == {space.clock.now()}


@pytest.mark.engines(*BOTH)
def test_a_probe_is_repeated_after_a_while_and_not_before(space: Space) -> None:
    studying(space, 1, 2)
    probe_all(space.engine, space.source, space.clock.now())
    asked(space)
    space.clock.time += timedelta(minutes=59)
    probe_all(space.engine, space.source, space.clock.now())
    assert asked(space) == Counter()
    probe_all(space.engine, space.source, space.clock.now(), anew=True)
    assert asked(space)["several CourseMember"] == 1
    space.clock.time += timedelta(days=8)
    probe_all(space.engine, space.source, space.clock.now())
    assert asked(space)["several CourseMember"] == 1


def test_a_probe_is_due_as_soon_as_five_records_of_a_kind_are_known(space: Space) -> None:
    studying(space, 1, 2, 3, 4)
    assert not is_probe_due(space.engine, space.clock.now())
    studying(space, 5)
    assert is_probe_due(space.engine, space.clock.now())
    probe_all(space.engine, space.source, space.clock.now())
    assert not is_probe_due(space.engine, space.clock.now())
    space.clock.time += timedelta(days=6)
    assert not is_probe_due(space.engine, space.clock.now()), "it holds for a week"


def test_a_probe_that_found_too_few_records_is_repeated_after_a_minute(space: Space) -> None:
    probe_all(space.engine, space.source, space.clock.now())
    studying(space, 1, 2, 3, 4, 5)
    assert not is_probe_due(space.engine, space.clock.now())
    space.clock.time += timedelta(minutes=1)
    assert is_probe_due(space.engine, space.clock.now())
    found = probe_all(space.engine, space.source, space.clock.now())
    assert found[Entity.COURSE_MEMBER].holds


def test_lessons_of_one_person_that_are_read_at_the_same_time_are_listed_once(
    space: Space,
) -> None:
    [member] = studying(space, 1)
    lessons = space.finish(member, *LESSONS)
    together = threading.Barrier(len(lessons))

    def arrive() -> None:
        together.wait(_PATIENCE_S)

    space.source.when_asked(Entity.COMPLETED_LESSON.value, arrive)
    asked(space)
    drain_batch(replace(space.lookup_context, threads=len(lessons)))
    found = asked(space)
    assert (found[Entity.COMPLETED_LESSON.value], found["completions_of"]) == (len(lessons), 1)
    with reading(space.engine) as connection:
        states = connection.scalars(select(lookups.c.state)).all()
    assert set(states) == {LookupState.DONE}


def test_looking_for_due_lookups_writes_nothing_when_there_are_none(space: Space) -> None:
    studying(space, 1)
    begun: list[bool] = []

    def note(connection: Connection) -> None:
        begun.append(bool(connection.get_execution_options().get("coursebell_writes")))

    event.listen(space.engine, "begin", note)
    assert drain_batch(space.lookup_context) == (0, 0)
    assert begun == [False]


def test_an_old_proof_is_not_used(space: Space) -> None:
    prove(space, *IN_BURSTS)
    space.clock.time += timedelta(days=31)
    for number in range(1, 6):
        space.enrol(number)
    drain(space)
    assert asked(space)["CourseMember"] == 5


def test_a_record_that_cannot_be_read_yet_is_retried(space: Space) -> None:
    member = space.enrol(1)
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    drain(space)
    assert space.lookups() == [("waiting", "not-there-yet")]
    space.source.have(Entity.COURSE_MEMBER, member)
    space.later(seconds=5)
    assert space.reasons("enrolled") == [None]


@pytest.mark.parametrize("missing", [Entity.COURSE_MEMBER, Entity.COURSE, Entity.COWORKER])
def test_a_lesson_whose_neighbour_cannot_be_read_yet_waits_for_it(
    space: Space, missing: Entity
) -> None:
    member = space.enrol(1, course_id=77)
    space.source.have(Entity.COURSE, course(record_id=77))
    space.source.have(Entity.LESSON, lesson(8, course_id=77))
    space.finish(member, 8)
    with writing(space.engine) as connection:
        connection.execute(lookups.delete().where(lookups.c.entity == Entity.COURSE_MEMBER))
    space.source.hide(missing)
    drain(space)
    assert space.lookups() == [("waiting", "not-there-yet")]
    space.source.recover()
    space.later(seconds=5)
    assert space.reasons("course_completed") == [None]


def test_a_record_that_never_appears_is_gone_after_a_while(space: Space) -> None:
    space.notify(Entity.COURSE_MEMBER, 4_242)
    drain(space)
    for _ in range(6):
        space.later(seconds=4)
    assert space.lookups() == [("done", "record-gone")]


def test_a_record_we_knew_is_gone_at_once(space: Space) -> None:
    [member] = studying(space, 1)
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    drain(space)
    assert space.lookups() == [("done", "record-gone")]


def test_after_an_outage_the_first_successful_lookup_wakes_the_others(space: Space) -> None:
    for number in range(1, 11):
        space.enrol(number)
    space.source.be_slow()
    for _ in range(8):
        drain(space)
        space.clock.time += timedelta(minutes=10)
    assert {state for state, _ in space.lookups()} == {"waiting"}
    space.source.recover()
    with writing(space.engine) as connection:
        later = space.clock.now() + timedelta(hours=1)
        connection.execute(lookups.update().values(due_at=later))
        one = lookups.c.record_id == 9001
        connection.execute(lookups.update().where(one).values(due_at=space.clock.now()))
    drain(space)
    assert space.lookups() == [("done", None)] * 10


def test_waiting_for_our_share_is_no_failed_attempt(space: Space) -> None:
    space.enrol(1)
    for _ in range(5):
        space.source.fail_next(SourceThrottled("our own limit", retry_after_s=30))
        drain(space)
        assert space.lookups() == [("waiting", "nexudus-busy")]
        space.clock.move(35)
    drain(space)
    assert space.reasons("enrolled") == [None]


def test_a_notification_during_a_prefetched_batch_is_read(space: Space) -> None:
    prove(space, *IN_BURSTS)
    members = [space.enrol(number, approved=False) for number in range(1, 6)]

    def approve_the_last() -> None:
        space.source.when_asked("lessons_of", lambda: None)
        changed = replace(members[-1], approved=True, updated_at=space.clock.now())
        space.source.have(Entity.COURSE_MEMBER, changed)
        space.notify(Entity.COURSE_MEMBER, changed.record_id)

    space.source.when_asked("Course", approve_the_last)
    drain(space)
    assert space.reasons("enrolled") == [None]


@pytest.mark.parametrize("proved", [True, False])
def test_an_unset_date_blocks_no_lookup(
    space: Space,
    proved: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    if proved:
        prove(space, *IN_BURSTS)
    unset = datetime(1, 1, 1, tzinfo=UTC)
    members = [space.enrol(number) for number in range(1, 5)]
    members.append(space.enrol(5, created_at=unset))
    for member in members:
        space.finish(member, 1)
    drain(space)
    assert {state for state, _ in space.lookups()} == {"done"}
    assert len(space.reasons("lesson_completed")) == 5


def test_a_bug_while_prefetching_blocks_no_lookup(space: Space) -> None:
    prove(space, *IN_BURSTS)
    for number in range(1, 6):
        space.enrol(number)

    def fail() -> None:
        space.source.when_asked("several CourseMember", lambda: None)
        raise ZeroDivisionError

    space.source.when_asked("several CourseMember", fail)
    drain(space)
    assert space.reasons("enrolled") == [None] * 5


def test_a_record_that_the_source_never_shows_is_not_woken_with_the_others(space: Space) -> None:
    members = [space.enrol(number) for number in range(1, 4)]
    space.source.be_slow()
    drain(space)
    space.source.recover()
    space.source.be_stuck(Entity.COURSE_MEMBER, members[0].record_id)
    for _ in range(12):
        space.later(seconds=10)
    assert sorted(space.lookups()) == [("done", None), ("done", None), ("waiting", "record-stuck")]
    tries = Counter(record_id for question, record_id in space.source.asked)
    assert tries[members[0].record_id] <= 8


def test_the_end_of_an_outage_is_logged_once_a_minute_at_most(space: Space) -> None:
    members = [space.enrol(number) for number in range(1, 4)]
    space.source.be_slow()
    drain(space)
    space.source.recover()
    hour = space.clock.now() + timedelta(hours=1)

    def wait_until(number: int, moment: datetime) -> None:
        space.notify(Entity.COURSE_MEMBER, members[number].record_id)
        with writing(space.engine) as connection:
            mine = lookups.c.record_id == members[number].record_id
            connection.execute(
                lookups.update()
                .where(mine)
                .values(state="waiting", reason="nexudus-down", due_at=moment, attempts=1)
            )

    wait_until(0, space.clock.now())
    wait_until(1, hour)
    drain(space)
    assert space.lookups()[1] == ("done", None)
    wait_until(0, space.clock.now())
    wait_until(1, hour)
    drain(space)
    assert space.lookups()[:2] == [("done", None), ("waiting", "nexudus-down")]
    space.clock.move(61)
    wait_until(0, space.clock.now())
    drain(space)
    assert space.lookups()[1] == ("done", None)


def test_unreadable_time_zones_block_no_lookup(space: Space) -> None:
    member = space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, time_zone_id=2023))

    def be_busy() -> None:
        raise SourceThrottled("not now", retry_after_s=5)

    space.source.when_asked("all_of SimpleTimeZone", be_busy)
    drain(space)
    assert space.reasons("enrolled") == [None]
    asked(space)
    space.clock.time += timedelta(minutes=30)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    drain(space)
    assert asked(space)["all_of SimpleTimeZone"] == 0
    space.clock.time += timedelta(minutes=31)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    drain(space)
    assert asked(space)["all_of SimpleTimeZone"] == 1


def test_without_the_right_to_read_sections_all_count_as_open_and_no_email_fails(
    space: Space,
) -> None:
    def refuse() -> None:
        raise SourceRefused("the source answered 401: sign-in or rights are missing")

    lessons = [lesson(number, section_id=31) for number in (1, 2, 3)]
    space.source.have(Entity.LESSON, *lessons)
    space.source.when_asked("sections_of", refuse)
    [member] = studying(space, 1)
    space.finish(member, 1, 2, 3)
    drain(space)
    assert space.reasons("course_completed") == [None]
    space.later(minutes=5)
    assert space.subjects


def test_a_notification_of_a_stuck_record_is_tried_at_once(space: Space) -> None:
    member = space.enrol(1)
    space.source.be_stuck(Entity.COURSE_MEMBER, member.record_id)
    for _ in range(8):
        space.later(minutes=10)
    assert space.lookups() == [("waiting", "record-stuck")]
    space.source.recover()
    asked(space)
    space.notify(Entity.COURSE_MEMBER, member.record_id)  # it was saved again
    drain(space)
    assert space.lookups() == [("done", None)]
    assert asked(space)["CourseMember"] == 1
