"""The outbox: planned once, performed by one, and never repeated by itself."""

import json
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import event, text

from ledger.actions import (
    Copy,
    completions_planned,
    copy_of,
    plan_action,
    planned_nearby,
    sent_times,
    store_copy,
    store_held_copies,
    supersede_lessons,
)
from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.events import (
    events_of_action,
    known_events,
    store_events,
)
from ledger.heartbeats import gap_ended_by
from ledger.outbox import (
    ClaimedAction,
    begin_action,
    claim_actions,
    commit_action,
    expire_handovers,
    next_action_at,
    release_action,
    settle_action,
)
from ledger.tables import action_events, actions, attempts, events
from schemas.actions import ActionState, Outcome
from schemas.events import Event, EventKind, course_completed_key
from schemas.reasons import Reason
from tests.contract.ledger_rig import (
    ANA,
    COURSE,
    JOEL,
    LEASE_S,
    LESSON,
    MEMBER,
    NOW,
    at,
    at_once,
    claim_due,
    decide,
    lesson_done,
    minutes,
    plan_for,
    planned,
    processes_at_once,
    rows,
)

HALF_HOUR = 1800.0


def gathered(engine: Engine, number: int, happened_at: datetime, coworker_id: int = ANA) -> None:
    event = lesson_done(LESSON + number, happened_at, coworker_id)
    decide(engine, event, plan_for(event, gather_s=HALF_HOUR))


def begin(engine: Engine, one: ClaimedAction, now: datetime = NOW, *, speaks_of: int = 1) -> bool:
    with writing(engine) as connection:
        return begin_action(connection, one, now, lease_s=LEASE_S, events=speaks_of)


def settle(engine: Engine, one: ClaimedAction, outcome: Outcome, now: datetime = NOW) -> bool:
    with writing(engine) as connection:
        return settle_action(connection, one, outcome, now)


def commit(engine: Engine, one: ClaimedAction, now: datetime = NOW) -> bool:
    with writing(engine) as connection:
        return commit_action(connection, one, now, lease_s=LEASE_S)


def expire(engine: Engine, now: datetime, repeatable: set[str]) -> int:
    with writing(engine) as connection:
        expired = expire_handovers(connection, now, lease_s=60, repeatable=repeatable)
    return expired.repeated + expired.unknown


def supersede(engine: Engine, coworker_id: int = ANA) -> int:
    with writing(engine) as connection:
        return supersede_lessons(connection, COURSE, coworker_id, at(9))


def tries(engine: Engine) -> list[tuple[str, str | None, str | None]]:
    return [(one.outcome, one.reason, one.detail) for one in rows(engine, attempts)]


def test_an_action_is_claimed_as_it_was_planned(ledger_engine: Engine) -> None:
    event = lesson_done()
    decide(ledger_engine, event, plan_for(event), at(5))
    [one] = claim_due(ledger_engine, at(5))
    assert one == ClaimedAction(
        action_id=one.action_id,
        key=f"congratulate-lesson/{event.key}",
        kind="email",
        rule="congratulate-lesson",
        event_kind=EventKind.LESSON_COMPLETED,
        template="lesson-finished",
        course_id=COURSE,
        coworker_id=ANA,
        course_member_id=MEMBER + ANA,
        happened_at=NOW,
        planned_at=at(5),
        due_at=NOW,
        attempts=0,
        token=one.token,
    )
    with reading(ledger_engine) as connection:
        assert events_of_action(connection, one.action_id) == [event]


def test_an_event_is_stored_only_once(ledger_engine: Engine) -> None:
    event = lesson_done()
    first = decide(ledger_engine, event, plan_for(event))
    assert first is not None
    assert decide(ledger_engine, event, plan_for(event, rule="another")) is None
    with reading(ledger_engine) as connection:
        assert known_events(connection, [event.key, "another"]) == {event.key: None}
        assert known_events(connection, []) == {}
    assert [one.rule for one in rows(ledger_engine, actions)] == ["congratulate-lesson"]


def test_of_many_workers_that_find_the_same_event_one_stores_it(ledger_engine: Engine) -> None:
    event = lesson_done()
    found = at_once(8, lambda _: decide(ledger_engine, event, plan_for(event)))
    assert sum(one is not None for one in found) == 1
    assert len(rows(ledger_engine, actions)) == len(rows(ledger_engine, action_events)) == 1


def test_the_key_of_an_action_is_used_once_whatever_its_outcome(ledger_engine: Engine) -> None:
    event = lesson_done()
    one = planned(ledger_engine, event)
    settle(ledger_engine, one, Outcome.skipped(Reason.NO_EMAIL))
    other = lesson_done(LESSON + 1)
    decide(ledger_engine, other, plan_for(event, rule="one"))
    assert len(rows(ledger_engine, actions)) == 1
    assert len(rows(ledger_engine, events)) == 2


def test_two_rules_plan_two_actions_for_one_event(ledger_engine: Engine) -> None:
    event = lesson_done()
    with writing(ledger_engine) as connection:
        lock_decisions(connection)
        [event_id] = store_events(connection, [(event, None)], NOW).values()
        plan_action(connection, plan_for(event, rule="one"), event_id, NOW)
        plan_action(connection, plan_for(event, rule="two"), event_id, NOW)
    assert {one.rule for one in claim_due(ledger_engine, NOW)} == {"one", "two"}


def test_lessons_of_one_sitting_gather_into_one_action(ledger_engine: Engine) -> None:
    gathered(ledger_engine, 1, NOW)
    gathered(ledger_engine, 2, minutes(20))
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.reason) == (ActionState.WAITING, Reason.GATHERING)
    assert (row.happened_at, row.due_at) == (NOW, minutes(50))
    assert claim_due(ledger_engine, minutes(49)) == []
    [one] = claim_due(ledger_engine, minutes(50))
    with reading(ledger_engine) as connection:
        lessons = [event.lesson_id for event in events_of_action(connection, one.action_id)]
    assert lessons == [LESSON + 1, LESSON + 2]


def test_gathering_never_waits_longer_than_the_longest_time(ledger_engine: Engine) -> None:
    for number in range(9):
        gathered(ledger_engine, number, minutes(20 * number))
    [row] = rows(ledger_engine, actions)
    assert row.due_at == minutes(180)


def test_a_lesson_found_late_joins_its_sitting_in_the_order_it_happened(
    ledger_engine: Engine,
) -> None:
    gathered(ledger_engine, 2, minutes(20))
    gathered(ledger_engine, 1, NOW)
    [row] = rows(ledger_engine, actions)
    assert row.happened_at == NOW
    [one] = claim_due(ledger_engine, minutes(50))
    with reading(ledger_engine) as connection:
        lessons = [event.lesson_id for event in events_of_action(connection, one.action_id)]
    assert lessons == [LESSON + 1, LESSON + 2]


@pytest.mark.parametrize("apart", [-181, 181])
def test_a_lesson_of_another_sitting_does_not_join(ledger_engine: Engine, apart: int) -> None:
    gathered(ledger_engine, 1, NOW)
    gathered(ledger_engine, 2, minutes(apart))
    assert len(rows(ledger_engine, actions)) == 2


def test_lessons_of_other_people_courses_and_rules_do_not_join(ledger_engine: Engine) -> None:
    gathered(ledger_engine, 1, NOW)
    gathered(ledger_engine, 1, NOW, JOEL)
    event = lesson_done(LESSON + 2)
    decide(ledger_engine, event, plan_for(event, rule="another", gather_s=HALF_HOUR))
    other = Event(EventKind.LESSON_COMPLETED, "k", NOW, COURSE + 1, ANA, MEMBER, LESSON)
    decide(ledger_engine, other, plan_for(other, gather_s=HALF_HOUR))
    assert len(rows(ledger_engine, actions)) == 4


def test_a_rule_that_does_not_gather_plans_each_at_once(ledger_engine: Engine) -> None:
    for number in range(2):
        event = lesson_done(LESSON + number)
        decide(ledger_engine, event, plan_for(event))
    found = rows(ledger_engine, actions)
    assert [(one.state, one.reason) for one in found] == [(ActionState.PLANNED, None)] * 2


def test_two_threads_that_decide_for_one_person_plan_one_action(ledger_engine: Engine) -> None:
    at_once(8, lambda number: gathered(ledger_engine, number, minutes(number)))
    assert len(rows(ledger_engine, actions)) == 1
    assert len(rows(ledger_engine, action_events)) == 8


def test_an_action_waiting_for_another_reason_is_joined_and_keeps_its_due_time(
    ledger_engine: Engine,
) -> None:
    gathered(ledger_engine, 1, NOW)
    [one] = claim_due(ledger_engine, minutes(30))
    settle(ledger_engine, one, Outcome.waiting(minutes(600), Reason.QUIET_HOURS))
    gathered(ledger_engine, 2, minutes(31))
    [row] = rows(ledger_engine, actions)
    assert (row.due_at, row.reason) == (minutes(600), Reason.QUIET_HOURS)
    assert len(rows(ledger_engine, action_events)) == 2


@pytest.mark.parametrize(
    "outcome", [Outcome.done("250"), Outcome.skipped(Reason.NO_EMAIL), Outcome.held(Reason.OBSERVE)]
)
def test_no_event_joins_an_action_that_ended(ledger_engine: Engine, outcome: Outcome) -> None:
    gathered(ledger_engine, 1, NOW)
    [one] = claim_due(ledger_engine, minutes(30))
    settle(ledger_engine, one, outcome)
    gathered(ledger_engine, 2, minutes(31))
    assert len(rows(ledger_engine, actions)) == 2


def test_no_event_joins_an_action_that_is_being_handed_over(ledger_engine: Engine) -> None:
    gathered(ledger_engine, 1, NOW)
    [one] = claim_due(ledger_engine, minutes(30))
    assert begin(ledger_engine, one, minutes(30))
    gathered(ledger_engine, 2, minutes(31))
    assert len(rows(ledger_engine, actions)) == 2


def test_an_event_that_joins_between_claim_and_begin_stops_the_hand_over(
    ledger_engine: Engine,
) -> None:
    gathered(ledger_engine, 1, NOW)
    [one] = claim_due(ledger_engine, minutes(30))
    gathered(ledger_engine, 2, minutes(30))
    assert not begin(ledger_engine, one, minutes(30), speaks_of=1)
    assert rows(ledger_engine, actions)[0].state == ActionState.WAITING
    assert begin(ledger_engine, one, minutes(30), speaks_of=2)


def test_threads_that_claim_at_once_never_get_the_same_action(ledger_engine: Engine) -> None:
    for number in range(60):
        event = lesson_done(LESSON + number)
        decide(ledger_engine, event, plan_for(event))

    def work(_: int) -> list[int]:
        mine: list[int] = []
        while some := claim_due(ledger_engine, NOW, most=4):
            assert len(some) <= 4
            mine += [one.action_id for one in some]
        return mine

    taken = [one for mine in at_once(6, work) for one in mine]
    assert sorted(taken) == [row.id for row in rows(ledger_engine, actions)]


def test_processes_that_claim_at_once_never_get_the_same_action(
    ledger_url: str, ledger_engine: Engine
) -> None:
    with writing(ledger_engine) as connection:
        for number in range(60):
            event = lesson_done(LESSON + number, datetime(2020, 1, 1, tzinfo=NOW.tzinfo))
            [event_id] = store_events(connection, [(event, None)], NOW).values()
            plan_action(connection, plan_for(event), event_id, NOW)
    printed = processes_at_once(3, "tests.contract.ledger_program", ledger_url, "actions")
    taken = [one for line in printed for one in json.loads(line)]
    assert sorted(taken) == [row.id for row in rows(ledger_engine, actions)]


def test_a_claim_that_ended_is_taken_by_the_next(ledger_engine: Engine) -> None:
    slow = planned(ledger_engine)
    assert claim_due(ledger_engine, at(LEASE_S - 1)) == []
    [quick] = claim_due(ledger_engine, at(LEASE_S))
    assert quick.token != slow.token
    assert not begin(ledger_engine, slow)
    assert not settle(ledger_engine, slow, Outcome.done("250"))
    with writing(ledger_engine) as connection:
        release_action(connection, slow)
    assert begin(ledger_engine, quick)
    assert tries(ledger_engine) == []


def test_a_released_claim_is_free_at_once_and_counts_no_attempt(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    with writing(ledger_engine) as connection:
        release_action(connection, one)
    assert not begin(ledger_engine, one)
    [again] = claim_due(ledger_engine, NOW)
    assert (again.action_id, again.attempts) == (one.action_id, 0)


def test_only_one_of_many_can_begin(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    assert sum(at_once(6, lambda _: begin(ledger_engine, one))) == 1
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.attempts, row.lease_until) == ("performing", 1, at(LEASE_S))


def test_an_action_that_is_being_handed_over_is_not_claimed(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    assert claim_due(ledger_engine, at(10**6)) == []


def test_only_one_of_many_can_settle(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    commit(ledger_engine, one)
    assert sum(at_once(6, lambda _: settle(ledger_engine, one, Outcome.done("250 ok")))) == 1
    assert tries(ledger_engine) == [("done", None, "250 ok")]


def test_an_action_that_is_done_has_its_receipt_and_is_not_due(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    assert settle(ledger_engine, one, Outcome.done("250 2.0.0 queued"), at(2))
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.receipt, row.finished_at) == ("done", "250 2.0.0 queued", at(2))
    assert (row.lease_until, row.lease_token, row.due_at) == (None, None, NOW)
    assert claim_due(ledger_engine, at(10**6)) == []


def test_a_waiting_action_is_due_again_at_its_time(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    outcome = Outcome.waiting(at(600), Reason.MAIL_TEMPORARY, "450 later")
    assert settle(ledger_engine, one, outcome)
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.reason, row.finished_at, row.receipt) == (
        "waiting",
        Reason.MAIL_TEMPORARY,
        None,
        None,
    )
    assert claim_due(ledger_engine, at(599)) == []
    [again] = claim_due(ledger_engine, at(600))
    assert (again.attempts, again.due_at) == (1, at(600))
    assert begin(ledger_engine, again, at(600))
    assert rows(ledger_engine, actions)[0].reason is None


@pytest.mark.parametrize(
    ("outcome", "is_final"),
    [
        (Outcome.skipped(Reason.NO_EMAIL), True),
        (Outcome.failed(Reason.MAIL_REJECTED, "550"), True),
        (Outcome.held(Reason.OBSERVE), False),
    ],
)
def test_an_action_can_end_before_any_hand_over(
    ledger_engine: Engine,
    outcome: Outcome,
    is_final: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    one = planned(ledger_engine)
    assert settle(ledger_engine, one, outcome, at(1))
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.reason) == (outcome.state, outcome.reason)
    assert row.finished_at == (at(1) if is_final else None)
    assert not settle(ledger_engine, one, Outcome.done("250"), at(2))
    assert not begin(ledger_engine, one)
    assert claim_due(ledger_engine, at(10**6)) == []


def test_a_hand_over_whose_worker_vanished_is_unknown_and_never_repeated(
    ledger_engine: Engine,
) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    assert commit(ledger_engine, one)
    assert expire(ledger_engine, at(LEASE_S - 1), set()) == 0
    assert expire(ledger_engine, at(LEASE_S), set()) == 1
    assert expire(ledger_engine, at(LEASE_S + 1), set()) == 0
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.reason, row.finished_at) == (
        "unknown",
        Reason.HANDOVER_UNKNOWN,
        at(LEASE_S),
    )
    assert claim_due(ledger_engine, at(10**6)) == []
    assert [outcome for outcome, _, _ in tries(ledger_engine)] == ["unknown"]


def test_a_hand_over_cut_off_before_its_last_step_is_due_again(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    assert expire(ledger_engine, at(LEASE_S), set()) == 1
    assert tries(ledger_engine)[0][:2] == ("waiting", Reason.MAIL_INTERRUPTED)
    [again] = claim_due(ledger_engine, at(LEASE_S))
    assert not commit(ledger_engine, one)  # it was only slow, and may not take the step
    assert begin(ledger_engine, again)
    assert not commit(ledger_engine, one)
    assert commit(ledger_engine, again)


def test_an_action_that_keeps_losing_workers_waits_longer_each_time(
    ledger_engine: Engine,
) -> None:
    now = 0.0
    one = planned(ledger_engine)
    waits = []
    for _ in range(6):
        begin(ledger_engine, one, at(now))
        now += LEASE_S
        assert expire(ledger_engine, at(now), set()) == 1
        [row] = rows(ledger_engine, actions)
        waits.append((row.due_at - at(now)).total_seconds())
        now += waits[-1]
        [one] = claim_due(ledger_engine, at(now))
    assert waits == [0, 0, 0, 8, 16, 32]


def test_a_hand_over_that_may_be_repeated_is_due_again(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    commit(ledger_engine, one)
    assert expire(ledger_engine, at(LEASE_S), {"email"}) == 1
    [again] = claim_due(ledger_engine, at(LEASE_S))
    assert (again.action_id, again.attempts) == (one.action_id, 1)
    assert not settle(ledger_engine, one, Outcome.done("250"), at(LEASE_S))


def test_of_many_sweeps_one_settles(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    commit(ledger_engine, one)
    assert sum(at_once(6, lambda _: expire(ledger_engine, at(LEASE_S), set()))) == 1
    assert len(tries(ledger_engine)) == 1


def test_a_slow_worker_replaces_unknown_with_its_result(
    ledger_engine: Engine,
) -> None:
    one = planned(ledger_engine)
    begin(ledger_engine, one)
    commit(ledger_engine, one)
    expire(ledger_engine, at(LEASE_S), set())
    assert settle(ledger_engine, one, Outcome.done("250"), at(LEASE_S + 5))
    [row] = rows(ledger_engine, actions)
    assert (row.state, row.reason, row.receipt) == ("done", None, "250")
    assert [outcome for outcome, _, _ in tries(ledger_engine)] == ["unknown", "done"]
    assert not settle(ledger_engine, one, Outcome.failed(Reason.MAIL_REJECTED))


def test_the_completion_of_a_course_supersedes_its_lessons(ledger_engine: Engine) -> None:
    gathered(ledger_engine, 1, NOW)
    gathered(ledger_engine, 1, NOW, JOEL)
    held, begun = lesson_done(LESSON + 7), lesson_done(LESSON + 8)
    settle(ledger_engine, planned(ledger_engine, held), Outcome.held(Reason.OBSERVE))
    under_way = planned(ledger_engine, begun)
    begin(ledger_engine, under_way)
    assert supersede(ledger_engine) == 2
    states = {
        (row.coworker_id, row.key): (row.state, row.reason) for row in rows(ledger_engine, actions)
    }
    overtaken = (ActionState.SKIPPED, Reason.SUPERSEDED)
    first = f"congratulate-lesson/{lesson_done(LESSON + 1).key}"
    assert states[ANA, first] == states[ANA, f"one/{held.key}"] == overtaken
    assert states[ANA, f"one/{begun.key}"] == (ActionState.PERFORMING, None)
    joel = f"congratulate-lesson/{lesson_done(LESSON + 1, NOW, JOEL).key}"
    assert states[JOEL, joel] == (ActionState.WAITING, Reason.GATHERING)


def test_an_action_superseded_while_it_is_claimed_is_not_handed_over(
    ledger_engine: Engine,
) -> None:
    one = planned(ledger_engine)
    assert supersede(ledger_engine) == 1
    assert not begin(ledger_engine, one)
    assert not settle(ledger_engine, one, Outcome.done("250"))
    assert rows(ledger_engine, actions)[0].state == ActionState.SKIPPED


def test_the_completion_of_a_course_itself_is_not_superseded(ledger_engine: Engine) -> None:
    key = course_completed_key(COURSE, ANA)
    end = Event(EventKind.COURSE_COMPLETED, key, at(3), COURSE, ANA, MEMBER, LESSON)
    with reading(ledger_engine) as connection:
        assert completions_planned(connection, [ANA, JOEL]) == {}
    decide(ledger_engine, end, plan_for(end, rule="congratulate-course"))
    assert supersede(ledger_engine) == 0
    with reading(ledger_engine) as connection:
        assert completions_planned(connection, [ANA, JOEL]) == {(COURSE, ANA): {None: at(3)}}
        assert completions_planned(connection, [JOEL]) == {}


def test_the_next_due_time_ignores_claimed_actions(ledger_engine: Engine) -> None:
    def next_at(now: datetime) -> datetime | None:
        with reading(ledger_engine) as connection:
            return next_action_at(connection, now, lease_s=60)

    assert next_at(NOW) is None
    one = planned(ledger_engine)
    assert next_at(NOW) is None
    assert next_at(at(LEASE_S)) == NOW
    begin(ledger_engine, one)
    assert next_at(at(10**6)) is None
    settle(ledger_engine, one, Outcome.waiting(at(600), Reason.MAIL_TEMPORARY))
    assert next_at(NOW) == at(600)


def test_the_longest_overdue_are_claimed_first(ledger_engine: Engine) -> None:
    for number in range(5):
        event = lesson_done(LESSON + number, at(-number))
        decide(ledger_engine, event, plan_for(event))
    with writing(ledger_engine) as connection:
        found = claim_actions(connection, NOW, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=2)
    assert {one.due_at for one in found} == {at(-4), at(-3)}


def test_no_more_are_claimed_than_requested_whatever_the_query_plan(ledger_engine: Engine) -> None:
    for number in range(5):
        event = lesson_done(LESSON + number)
        decide(ledger_engine, event, plan_for(event))
    with writing(ledger_engine) as connection:
        if ledger_engine.dialect.name == "postgresql":
            # So that it joins by a nested loop, as it does when it takes a table for tiny.
            for plan in ("hashagg", "hashjoin", "mergejoin", "sort", "material", "memoize"):
                connection.execute(text(f"SET LOCAL enable_{plan} = off"))
        found = claim_actions(connection, NOW, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=2)
        assert len(found) == 2


def test_the_copy_of_an_action_is_the_last_one_written(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    first = Copy("w1", "ana@people.example", "Schön 🔔", b"text", "text/plain")
    last = Copy("", None, "Schöner", b"\x00\xff", "application/octet-stream")
    with writing(ledger_engine) as connection:
        assert copy_of(connection, one.action_id) is None
        store_copy(connection, one.action_id, first, NOW)
        store_copy(connection, one.action_id, last, at(1))
        assert copy_of(connection, one.action_id) == last
    assert "ana@people.example" not in repr(first)


def test_a_draft_never_replaces_the_copy_of_a_sent_email(ledger_engine: Engine) -> None:
    draft = Copy("v2", "ana@example.org", "Draft", b"Text", "text/plain")
    sent = replace(draft, version="v1", title="Sent")
    held, done = (
        planned(ledger_engine, lesson_done(LESSON + one), rule=f"{one}") for one in (1, 2)
    )
    with writing(ledger_engine) as connection:
        assert settle_action(connection, held, Outcome.held(Reason.IMPORTED), NOW)
        store_copy(connection, done.action_id, sent, NOW)
        assert settle_action(connection, done, Outcome.done("250"), NOW)
        drafts = {held.action_id: draft, done.action_id: draft}
        store_held_copies(connection, drafts, NOW)
        kept = [copy_of(connection, one.action_id) for one in (held, done)]
    assert kept == [draft, sent]


def test_the_queries_before_a_hand_over_are_built_once_for_all_actions(
    ledger_engine: Engine,
) -> None:
    claimed = [planned(ledger_engine, lesson_done(number)) for number in (1, 2)]
    asked: list[object] = []
    with writing(ledger_engine) as connection:

        @event.listens_for(connection, "before_execute")
        def _(_: object, statement: object, *_others: object) -> None:
            asked.append(statement)

        for one in claimed:
            assert len(events_of_action(connection, one.action_id)) == 1
            sent_times(connection, JOEL, NOW, kind=one.kind, but=one.action_id)
            planned_nearby(connection, one.planned_at, minutes(30) - NOW)
            gap_ended_by(connection, one.planned_at)
            assert begin_action(connection, one, NOW, lease_s=LEASE_S, events=1)
            claim_actions(connection, NOW, f"after {one.action_id}", lease_s=LEASE_S, most=1)
    once, again = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    assert [id(one) for one in once] == [id(one) for one in again]
