"""Pauses: what is held while they last, and what becomes of it when they end."""

from datetime import timedelta

import pytest

from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.interventions import decisions
from ledger.pauses import (
    Pause,
    PauseScope,
    begin_pause,
    end_pauses,
    held_by,
    keep_held,
    kinds_held_by,
    open_among,
    open_by_rule_and_course,
    open_pauses,
)
from ledger.queries import first_held, held_group, next_emails
from schemas.reasons import Reason
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import SHIPPED, Space, rules_of
from workers.deliver.claim import sweep

pytestmark = pytest.mark.engines("sqlite")
PAUSED, SENT = ("held", "paused"), ("done", None)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def pause(
    space: Space,
    scope: PauseScope = PauseScope.ALL,
    target: object = None,
    *,
    hours: float | None = None,
) -> Pause:
    now = space.clock.now()
    until = None if hours is None else now + timedelta(hours=hours)
    named = None if target is None else str(target)
    with writing(space.engine) as connection:
        lock_decisions(connection)
        return begin_pause(connection, scope, named, until=until, note="why", who="Rita", now=now)


def resume(space: Space, *these: Pause) -> list[int]:
    with writing(space.engine) as connection:
        lock_decisions(connection)
        return end_pauses(connection, these, "Rita", space.clock.now())


@pytest.mark.engines(*BOTH)
@pytest.mark.parametrize(
    ("scope", "target", "held"),
    [
        (PauseScope.ALL, None, {1, 2}),
        (PauseScope.RULE, "welcome", {1, 2}),
        (PauseScope.RULE, "another", set()),
        (PauseScope.COURSE, COURSE_ID, {1, 2}),
        (PauseScope.COURSE, 77, set()),
        (PauseScope.PERSON, 1, {1}),
    ],
)
def test_a_pause_holds_what_it_names_and_a_resume_sends_it(
    space: Space, scope: PauseScope, target: object, held: set[int]
) -> None:
    made = pause(space, scope, target)
    for number in (1, 2):
        space.enrol(number)
    space.look_up()
    with reading(space.engine) as connection:
        assert sum(open_among(connection, made).values()) == len(held)
    space.work()
    found = space.outcomes_by_person("welcome")
    assert found == {number: PAUSED if number in held else SENT for number in (1, 2)}
    with reading(space.engine) as connection:
        assert len(held_by(connection, [made])) == len(held)
    space.later(hours=1)
    assert len(resume(space, made)) == len(held)
    space.work()
    assert set(space.outcomes_by_person("welcome").values()) == {SENT}
    assert len(space.subjects) == 2


@pytest.mark.engines(*BOTH)
def test_two_pauses_of_one_email_must_both_end(space: Space) -> None:
    everything, one = pause(space), pause(space, PauseScope.PERSON, 1)
    space.enrol(1)
    space.work()
    assert resume(space, everything) == []
    space.work()
    assert space.outcomes() == [PAUSED]
    assert len(resume(space, one)) == 1
    assert resume(space, one) == []
    space.work()
    assert space.outcomes() == [SENT]


@pytest.mark.engines(*BOTH)
def test_a_pause_ends_by_itself_when_its_time_comes(space: Space) -> None:
    pause(space, hours=3)
    space.enrol(1)
    space.work()
    space.clock.time += timedelta(hours=2, minutes=59)
    sweep(space.delivery)
    space.work()
    assert space.outcomes() == [PAUSED]
    space.clock.time += timedelta(minutes=1)
    sweep(space.delivery)
    space.work()
    assert space.outcomes() == [SENT]
    with reading(space.engine) as connection:
        assert open_pauses(connection) == []
        log = [(one.what, one.who) for one in decisions(connection)]
    assert log[-2:] == [("pause", "Rita"), ("resume", "coursebell")]


@pytest.mark.engines(*BOTH)
def test_of_many_that_a_pause_held_workers_free_those_that_a_resume_left(space: Space) -> None:
    made = pause(space)
    for number in range(1, 6):
        space.enrol(number)
    space.work()
    with writing(space.engine) as connection:
        lock_decisions(connection)
        freed = end_pauses(connection, [made], "Rita", space.clock.now(), most=2)
    assert len(freed) == 2
    space.enrol(6)
    space.work()
    assert sorted(space.outcomes()) == [SENT] * 3 + [PAUSED] * 3
    sweep(space.delivery)
    space.work()
    assert set(space.outcomes()) == {SENT}
    with reading(space.engine) as connection:
        assert open_pauses(connection) == []
        log = [one for one in decisions(connection) if one.what == "resume"]
    assert [(one.who, len(one.detail["action_ids"])) for one in log] == [
        ("Rita", 2),
        ("coursebell", 3),
    ]


@pytest.mark.engines(*BOTH)
def test_a_pause_that_begins_while_a_worker_reads_its_records_holds_the_email(
    space: Space,
) -> None:
    space.enrol(1)
    space.look_up()
    made: list[Pause] = []
    space.source.when_asked("CourseMember", lambda: made.append(pause(space)))
    space.later(minutes=2)
    assert len(made) == 1
    assert space.outcomes() == [PAUSED]
    assert space.subjects == []


@pytest.mark.engines(*BOTH)
def test_an_email_that_is_being_handed_over_still_goes(space: Space) -> None:
    space.enrol(1)
    space.look_up()
    made: list[Pause] = []
    space.mailer.meanwhile(lambda: made.append(pause(space)))
    space.work()
    assert len(made) == 1
    assert space.outcomes() == [SENT]


def test_what_became_too_old_during_a_pause_is_held_for_a_person(space: Space) -> None:
    made = pause(space)
    space.enrol(1)
    space.work()
    space.later(hours=49)
    resume(space, made)
    space.work()
    assert space.outcomes() == [("held", "too-old")]


def test_what_is_no_longer_true_after_a_pause_is_not_sent(space: Space) -> None:
    made = pause(space)
    member = space.enrol(1)
    space.work()
    space.change(member, blocked=True)
    space.work()
    resume(space, made)
    space.work()
    assert space.outcomes() == [("skipped", "blocked")]


def test_a_pause_of_the_same_replaces_the_one_before(space: Space) -> None:
    pause(space, PauseScope.PERSON, 1)
    pause(space, PauseScope.PERSON, 2)
    last = pause(space, PauseScope.PERSON, 1, hours=1)
    with reading(space.engine) as connection:
        assert [one.target for one in open_pauses(connection)] == ["2", "1"]
        assert open_pauses(connection)[1] == last


def test_the_log_names_no_person(space: Space) -> None:
    pause(space, PauseScope.PERSON, 1)
    with reading(space.engine) as connection:
        assert decisions(connection)[-1].detail.keys() == {"pause_id", "scope"}


def test_the_command_pauses_one_course_and_resumes_it(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.work()
    paused = desk.run("pause", "--course", "freelance finance", "--note", "a typo", "--until", "2d")
    assert paused.exit_code == 0, paused.output
    assert paused.stdout.startswith("Paused emails about Freelance Finance until 2")
    assert "Nothing waits now." in paused.stdout
    desk.space.enrol(2)
    desk.space.work()
    assert "emails about Freelance Finance paused by" in desk.run("status").stdout
    listed = desk.run("pause").stdout
    assert listed.startswith("1  emails about Freelance Finance paused by ")
    assert "(a typo)" in listed
    assert "1 held, paused: Sending is paused\n  next: coursebell resume" in desk.run("held").stdout
    shown = desk.run("resume", "--dry-run")
    assert "1 email waited:\n  1 email is sent at once" in shown.stdout
    unasked = desk.run("resume")
    assert unasked.exit_code == 3
    done = desk.run("resume", "--yes")
    assert done.stdout == "Resumed. 1 email will be checked again, and sent if still right.\n"
    desk.space.work()
    assert desk.space.outcomes() == [SENT, SENT]
    assert "Nothing is paused." in desk.run("pause").stdout


def test_what_waited_can_be_dropped(desk: Desk) -> None:
    desk.run("pause", "--all")
    desk.space.enrol(1)
    desk.space.work()
    assert desk.as_json("resume", "--skip", "--yes") == {
        "pause_ids": [1],
        "resumed": [],
        "skipped": [1],
        "reports": 0,
    }
    desk.space.work()
    assert desk.space.outcomes() == [("skipped", "paused")]


def test_a_paused_email_is_released_only_by_a_resume(desk: Desk) -> None:
    desk.run("pause", "--all")
    desk.space.enrol(1)
    desk.space.work()
    refused = desk.run("release", "1", "--yes")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "To end the pause: coursebell resume" in refused.stderr
    assert desk.space.outcomes() == [PAUSED]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rule", "welcom"], "There is no rule or report called welcom; did you mean welcome?"),
        (["--course", "Freelance Fiance"], "did you mean Freelance Finance?"),
        (["--person", "nobody@example.org"], "knows no member"),
    ],
)
def test_a_pause_of_something_unknown_names_the_nearest(
    desk: Desk, words: list[str], says: str
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    refused = desk.run("pause", *words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert says in refused.stderr


def test_a_pause_of_two_things_or_until_the_past_is_refused(desk: Desk) -> None:
    assert desk.run("pause", "--all", "--rule", "welcome").exit_code == 2
    for past in ("2020-01-01", "yesterday", "0d"):
        assert desk.run("pause", "--all", "--until", past).exit_code == 2


def test_a_dry_run_pauses_nothing(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    tried = desk.run("pause", "--all", "--dry-run")
    assert tried.stdout == "Would pause all emails. 1 email that waits now would be held.\n"
    assert "Nothing is paused." in desk.run("pause").stdout


def test_why_says_that_a_waiting_email_will_be_held(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    desk.run("pause", "--person", "1")
    assert "It will be held: Sending is paused [paused]" in desk.run("why", "1").stdout


def test_why_names_the_command_that_sends_a_paused_email(desk: Desk) -> None:
    desk.run("pause", "--all")
    desk.space.enrol(1)
    desk.space.work()
    answer = desk.run("why", "1").stdout.splitlines()[1]
    assert answer.endswith("[paused]. To send it: coursebell resume")
    desk.run("resume", "--yes")
    desk.space.enrol(2)
    desk.space.look_up()
    desk.run("hold", "2", "--yes")
    answer = desk.run("why", "2").stdout.splitlines()[1]
    assert answer.endswith("[on-hold]. To send it: coursebell release 2")


def test_in_observe_mode_a_pause_changes_nothing(desk: Desk) -> None:
    desk.run("mode", "observe")
    desk.space.enrol(1)
    desk.space.work()
    desk.run("pause", "--all")
    desk.space.enrol(2)
    desk.space.work()
    assert desk.space.outcomes() == [("held", "observe")] * 2


def test_why_says_that_a_pause_will_hold_what_waits_and_names_what_is_possible(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    desk.run("pause", "--all")
    answer = desk.run("why", "1").stdout.splitlines()[1]
    assert "waits, and will be held: Sending is paused [paused]." in answer
    assert answer.endswith("To end the pause: coursebell resume")
    desk.run("resume", "--yes")
    desk.run("mode", "observe")
    desk.space.work()
    answer = desk.run("why", "1").stdout.splitlines()[1]
    assert answer.endswith("[observe]. To send it: coursebell mode sending")


@pytest.mark.engines(*BOTH)
def test_what_waits_and_what_is_held_is_counted_for_pages(space: Space) -> None:
    for number in (1, 2, 3):
        space.enrol(number)
    space.look_up()
    now = space.clock.now()
    with reading(space.engine) as connection:
        upcoming = next_emails(connection, now + timedelta(days=1), 2)
        assert (sum(upcoming.by_kind.values()), upcoming.people, len(upcoming.emails)) == (3, 3, 2)
        assert set(upcoming.events.values()) == {1}
        assert open_by_rule_and_course(connection) == {("welcome", COURSE_ID): 3}
    made = pause(space)
    space.work()
    with reading(space.engine) as connection:
        ids = held_by(connection, [made])
        assert held_by(connection, [made], most=2) == ids[:2]
        assert kinds_held_by(connection, [made]) == {"email": 3}
        group = held_group(connection, Reason.PAUSED)
        assert (group.number, group.people, group.last_id) == (3, 3, ids[-1])
        assert group.planned_at is not None
        assert abs(group.planned_at - now) < timedelta(hours=1)
        assert held_group(connection, Reason.PAUSED, ids[:1]).number == 1
        assert [one.action_id for one in first_held(connection, Reason.PAUSED, 2)] == ids[:2]
        assert held_group(connection, Reason.TOO_OLD).number == 0
    with writing(space.engine) as connection:
        lock_decisions(connection)
        assert keep_held(connection, ids[:1], "Rita", now) == ids[:1]
        assert end_pauses(connection, [made], "Rita", now) == ids[1:]
