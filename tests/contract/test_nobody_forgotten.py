"""No email is lost, sent twice or held for ever because Nexudus or a lookup is late.

Lookups and actions are performed by different workers, so here each runs without the other.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ledger.engine import Engine, reading, writing
from ledger.heartbeats import take_lease
from ledger.outages import outages_now, source_pause
from ledger.tables import actions, attempts
from schemas.entity import Entity
from schemas.errors import SourceUnavailable
from schemas.records import CourseMember
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.study_rig import SHIPPED, Space, rules_of
from workers.deliver.claim import perform_batch
from workers.retries import PROBE_LEASE_S, SOURCE_FAILS_AFTER

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

ANY_TIME = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")
PATIENT = ANY_TIME.replace("stale_after: 48h", "stale_after: none")
FIRST, TOGETHER = "You finished “Lesson 1”", "2 lessons done in Freelance Finance"


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def perform(space: Space, **later: float) -> None:
    """Let time pass, and perform the actions that are due then, but no lookup."""
    space.clock.time += timedelta(**later)
    while perform_batch(space.delivery, space.lend):
        pass


def studied(space: Space) -> tuple[CourseMember, int]:
    """Return a welcomed member, and the completion of a lesson whose email is due."""
    member = space.enrol(1)
    space.work()
    space.clock.time += timedelta(minutes=5)
    [done] = space.finish(member, 1)
    space.work()
    space.clock.time += timedelta(minutes=31)
    return member, done


def waits(space: Space) -> list[tuple[str, int]]:
    """Return reason and number of tries of each row in the history of the last action."""
    found = rows(space.engine, attempts)
    last = max(row.action_id for row in found)
    return [(row.reason, row.tries) for row in found if row.action_id == last]


def due_in_s(space: Space) -> float:
    [action] = rows(space.engine, actions)
    until: datetime = action.due_at
    return (until - space.clock.now()).total_seconds()


@pytest.mark.engines(*BOTH)
def test_a_lesson_that_a_list_lacked_for_a_moment_is_congratulated(space: Space) -> None:
    _, done = studied(space)
    space.source.leave_out_of_below(done)
    perform(space)
    space.source.be_slow()
    space.look_up()
    perform(space, seconds=16)
    assert space.outcomes()[1] == ("waiting", "nexudus-down")
    space.source.recover()
    space.later(minutes=20)
    assert space.subjects[1:] == [FIRST]


def test_an_email_waits_for_a_lookup_however_late_it_is(space: Space) -> None:
    _, done = studied(space)
    space.source.leave_out_of_below(done)
    perform(space)
    for _ in range(20):
        perform(space, minutes=1)
    assert space.outcomes()[1] == ("waiting", "gathering")
    assert waits(space) == [("gathering", 0)]
    asked = len(space.source.asked)
    perform(space, minutes=3)
    assert len(space.source.asked) == asked  # waiting takes no request
    space.source.recover()
    space.look_up()
    perform(space, minutes=3)
    assert space.subjects[1:] == [FIRST]


def test_a_list_that_stays_short_delays_an_email_and_does_not_stop_it(space: Space) -> None:
    _, done = studied(space)
    space.source.leave_out_of_below(done)
    for _ in range(8):
        perform(space, minutes=2)
        space.clock.time += timedelta(minutes=4)
        space.look_up()
    space.later(minutes=3)
    assert space.subjects[1:] == [FIRST]


def test_a_lesson_found_just_before_sending_joins_however_late_its_lookup_is(space: Space) -> None:
    member, _ = studied(space)
    space.clock.time -= timedelta(minutes=11)
    space.finish(member, 2, reported=False)
    perform(space, minutes=11)
    perform(space, seconds=16)
    perform(space, minutes=5)
    space.later(hours=2)
    assert space.subjects[1:] == [TOGETHER]


def test_an_enrolment_that_changed_again_is_decided_on_before_its_email_goes(space: Space) -> None:
    member, _ = studied(space)
    space.change(member, blocked=True)
    space.source.have(Entity.COURSE_MEMBER, member)  # until the lookup, it looks unchanged
    perform(space)
    assert space.outcomes()[1] == ("waiting", "gathering")
    space.source.have(Entity.COURSE_MEMBER, replace(member, blocked=True))
    space.later(minutes=5)
    assert space.outcomes()[1] == ("skipped", "blocked")


def test_an_enrolment_that_is_gone_by_its_id_is_not_waited_for(space: Space) -> None:
    member, _ = studied(space)
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    perform(space)
    assert space.outcomes()[1] == ("skipped", "record-gone")


def test_a_lesson_is_not_gone_while_it_cannot_be_read_by_its_id(space: Space) -> None:
    _, done = studied(space)
    space.source.leave_out_of_below(done)
    space.source.break_record(Entity.COMPLETED_LESSON, done)
    perform(space)
    for hours in (0.1, 0.5, 2):
        space.later(hours=hours)
        assert space.outcomes()[1] == ("waiting", "unreadable")
    space.source.mend_record(Entity.COMPLETED_LESSON, done)
    space.source.recover()
    space.at(NOON + timedelta(days=1))
    space.later(minutes=1)
    assert space.subjects[1:] == [FIRST]


def test_an_email_whose_lesson_stays_unreadable_fails_in_the_end(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(ANY_TIME))
    _, done = studied(space)
    space.source.leave_out_of_below(done)
    space.source.break_record(Entity.COMPLETED_LESSON, done)
    for _ in range(8):
        space.later(hours=4)
        space.later(minutes=1)
    space.later(hours=18)
    assert space.outcomes()[1] == ("failed", "unreadable")
    assert waits(space)[-2:] == [("unreadable", 5), ("unreadable", 1)]


@pytest.mark.parametrize("trouble", ["unreadable", "record-stuck", "nexudus-refused"])
def test_a_lookup_that_may_never_succeed_holds_no_email_that_can_do_without(
    space: Space, trouble: str
) -> None:
    member, _ = studied(space)
    [other] = space.finish(member, 2, reported=False)
    entity = Entity.COMPLETED_LESSON
    if trouble == "unreadable":
        space.source.break_record(entity, other)
        space.source.leave_out_of_below(other)
    elif trouble == "record-stuck":
        space.source.be_stuck(entity, other)
    else:
        space.source.refuse()
    space.notify(entity, other)
    space.look_up()
    assert trouble in {reason for _, reason in space.lookups()}
    if trouble == "nexudus-refused":
        space.source.recover()
    for _ in range(4):
        perform(space, minutes=1)
    assert space.outcomes()[1][0] == "done"


def test_an_email_waits_longer_each_time_while_nexudus_is_down(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(ANY_TIME))
    space.enrol(1)
    space.look_up()
    space.source.be_slow()
    seconds = []
    for _ in range(8):
        perform(space)
        seconds.append(round(due_in_s(space)))
        space.clock.time += timedelta(seconds=seconds[-1] + 1)
    assert seconds[:6] == sorted(seconds[:6])
    assert seconds[0] < 60
    assert 600 < seconds[-1] < 1200
    assert waits(space) == [("nexudus-down", 8)]
    [row] = rows(space.engine, attempts)
    assert row.at == NOON
    space.source.refuse()
    perform(space)
    assert 600 < due_in_s(space) < 1200  # the first refusal
    assert waits(space) == [("nexudus-down", 8), ("nexudus-refused", 1)]


@pytest.mark.engines(*BOTH)
def test_a_source_that_is_down_gets_few_requests_for_any_number_of_emails(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(ANY_TIME))
    emails = 12
    for number in range(1, emails + 1):
        space.enrol(number)
    space.look_up()
    space.source.be_slow()
    before = len(space.source.asked)
    for _ in range(60):
        perform(space, minutes=1)
    assert len(space.source.asked) - before < 12
    assert set(space.outcomes()) == {("waiting", "nexudus-down")}
    assert len(rows(space.engine, attempts)) == emails
    with reading(space.engine) as connection:
        assert outages_now(connection) == {}  # email itself works
    space.source.recover()
    perform(space, minutes=16)
    assert len(space.subjects) == emails
    with reading(space.engine) as connection:
        assert source_pause(connection) is None


def test_only_one_action_reads_a_source_that_was_down(space: Space) -> None:
    for number in range(1, 6):
        space.enrol(number)
    space.look_up()
    space.source.be_slow()
    perform(space)
    space.source.recover()
    space.clock.time += timedelta(minutes=2)
    with writing(space.engine) as connection:
        now = space.clock.now()
        take_lease(connection, "source.probe", "another", now, lease_s=PROBE_LEASE_S)
    before = len(space.source.asked)
    perform(space)
    assert len(space.source.asked) == before
    perform(space, minutes=3)
    assert len(space.subjects) == 5


def test_one_record_that_never_answers_delays_no_other_email(space: Space) -> None:
    for number in range(1, 8):
        space.enrol(number)
    space.look_up()
    space.clock.time += timedelta(minutes=2)

    def fail_for_the_first() -> None:
        if space.source.asked[-1][1] == 1:
            raise SourceUnavailable("the source answered 500")

    space.source.when_asked("Coworker", fail_for_the_first)
    space.source.when_asked("CourseMember", lambda: None)
    for _ in range(SOURCE_FAILS_AFTER):
        perform(space, minutes=20)
    assert len(space.subjects) == 6
    space.enrol(8)
    space.work()
    space.later(minutes=16)
    assert len(space.subjects) == 7


def test_a_long_outage_makes_every_email_too_old_alike(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(ANY_TIME))
    for number in range(1, 6):
        space.enrol(number)
    space.look_up()
    space.source.be_slow()
    for _ in range(25):
        perform(space, hours=2)
    assert set(space.outcomes()) == {("waiting", "nexudus-down")}
    space.source.recover()
    space.later(hours=1)
    assert set(space.outcomes()) == {("held", "too-old")}


def test_an_unreadable_answer_just_before_sending_is_tried_again(space: Space) -> None:
    member = space.enrol(1)
    space.look_up()
    space.clock.time += timedelta(minutes=2)
    space.source.break_record(Entity.COURSE_MEMBER, member.record_id)
    perform(space)
    assert space.outcomes() == [("waiting", "unreadable")]
    space.source.mend_record(Entity.COURSE_MEMBER, member.record_id)
    perform(space, minutes=2)
    assert space.outcomes() == [("done", None)]


def test_an_email_fails_after_six_unreadable_answers(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(PATIENT))
    member = space.enrol(1)
    space.look_up()
    space.source.break_record(Entity.COURSE_MEMBER, member.record_id)
    perform(space, minutes=2)
    for tries in range(2, 6):
        perform(space, hours=5)
        assert waits(space) == [("unreadable", tries)]
    perform(space, hours=18)
    assert space.outcomes() == [("failed", "unreadable")]
