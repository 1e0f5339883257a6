"""COURSEBELL_MAIL_RATE: how many emails go at a time, and that the others follow in order."""

from datetime import datetime, timedelta

import pytest

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, writing
from ledger.outbox import claim_actions, settle_action
from ledger.sending_rate import end_turns, may_begin
from ledger.tables import actions, attempts
from schemas.actions import Outcome
from schemas.reasons import Reason
from schemas.settings import SendingRate
from tests.contract.ledger_rig import (
    ANA,
    LEASE_S,
    NOW,
    at,
    at_once,
    decide,
    lesson_done,
    plan_for,
    rows,
)
from tests.contract.study_rig import NOON, SHIPPED, Space, rules_of

RULES = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")
TWO_A_MINUTE = SendingRate(2, 60)
WAITS = ("waiting", Reason.MAIL_RATE)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(RULES), rate=TWO_A_MINUTE)


def turns(engine: Engine) -> list[float]:
    """Return when those that wait for a turn have it, in seconds after noon, by id."""
    return [
        (row.due_at - NOON).total_seconds()
        for row in rows(engine, actions)
        if row.reason == Reason.MAIL_RATE
    ]


def addresses(space: Space) -> list[str]:
    return [mail.recipient.partition("@")[0] for mail in space.mailer.caught]


def in_order(space: Space) -> list[str]:
    return [f"person{row.coworker_id}" for row in rows(space.engine, actions)]


def run(space: Space, seconds: int, *, step_s: int = 10) -> list[datetime]:
    """Let time pass in steps; return when each email went."""
    went = [space.clock.now()] * len(space.mailer.caught)
    for _ in range(0, seconds, step_s):
        space.later(seconds=step_s)
        went += [space.clock.now()] * (len(space.mailer.caught) - len(went))
    return went


def test_more_than_the_rate_waits_its_turn_and_goes_in_order(space: Space) -> None:
    for number in range(1, 8):
        space.enrol(number)
    space.work()
    assert space.outcomes() == [("done", None)] * 2 + [WAITS] * 5
    assert turns(space.engine) == [60, 90, 120, 150, 180]
    went = run(space, 240)
    assert addresses(space) == in_order(space)
    assert space.outcomes() == [("done", None)] * 7
    assert not [
        one
        for one, third in zip(went, went[2:], strict=False)
        if third - one < timedelta(minutes=1)
    ]
    # One wait in the history of each, and one attempt.
    assert [(row.outcome, row.reason, row.tries) for row in rows(space.engine, attempts)].count(
        (*WAITS, 0)
    ) == 5
    assert len(rows(space.engine, attempts)) == 7 + 5


def test_what_becomes_due_later_waits_behind_those_that_wait(space: Space) -> None:
    for number in (1, 2, 3, 4):
        space.enrol(number)
    space.work()
    space.later(seconds=61)
    space.enrol(5)
    space.work()
    assert turns(space.engine) == [90, 120]
    assert len(space.mailer.caught) == 3
    run(space, 120)
    assert addresses(space) == in_order(space)


def test_without_a_rate_everything_goes_at_once(space: Space) -> None:
    space.rate = None
    for number in range(1, 6):
        space.enrol(number)
    space.work()
    assert space.outcomes() == [("done", None)] * 5


@pytest.mark.engines("sqlite")
def test_a_higher_rate_brings_turns_forward_and_no_rate_ends_them(space: Space) -> None:
    space.rate = SendingRate(1, 3_600)
    for number in range(1, 6):
        space.enrol(number)
    space.work()
    assert turns(space.engine) == [3_600, 7_200, 10_800, 14_400]
    space.rate = SendingRate(2, 60)
    space.enrol(6)
    space.later(seconds=61)
    assert len(space.mailer.caught) == 3
    assert turns(space.engine) == [121, 151, 181]
    with writing(space.engine) as connection:
        end_turns(connection, space.clock.now())
    space.rate = None
    space.work()
    assert addresses(space) == in_order(space)


@pytest.mark.engines("sqlite")
def test_an_email_that_is_not_sent_leaves_its_place_to_the_next(space: Space) -> None:
    for number in range(1, 5):
        space.enrol(number)
    space.look_up()
    space.mailer.answer(f"{in_order(space)[0]}@example.org", "550 5.1.1 no such person")
    space.work()
    assert space.outcomes() == [("failed", "mail-rejected"), ("done", None), ("done", None), WAITS]


@pytest.mark.engines("sqlite")
def test_emails_that_went_while_a_clock_was_ahead_take_no_place_once_it_is_set_back(
    space: Space,
) -> None:
    space.clock.time += timedelta(days=1)
    for number in (1, 2):
        space.enrol(number)
    space.work()
    space.clock.time -= timedelta(days=1)
    for number in (3, 4, 5):
        space.enrol(number)
    space.work()
    assert space.outcomes() == [("done", None)] * 4 + [WAITS]
    assert turns(space.engine) == [60]


def test_workers_that_claim_at_the_same_time_take_no_more_than_the_rate(
    ledger_engine: Engine,
) -> None:
    for number in range(12):
        event = lesson_done(number + 1, coworker_id=ANA + number)
        decide(ledger_engine, event, plan_for(event))
    rate = SendingRate(3, 60)

    def claim(_: int) -> int:
        with writing(ledger_engine) as connection:
            if not may_begin(connection, "email", rate, NOW, lease_s=LEASE_S):
                return 0
            claims = claim_actions(
                connection, NOW, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=1, only={"email"}
            )
            return len(claims)

    assert sum(at_once(6, claim)) == 3
    assert sum(row.reason == Reason.MAIL_RATE for row in rows(ledger_engine, actions)) == 9


def test_a_place_is_taken_from_the_claim_on_until_the_window_after_the_email_ends(
    ledger_engine: Engine,
) -> None:
    rate = SendingRate(1, 60)
    for number in (1, 2):
        event = lesson_done(number, coworker_id=ANA + number)
        decide(ledger_engine, event, plan_for(event))
    with writing(ledger_engine) as connection:
        assert may_begin(connection, "email", rate, NOW, lease_s=LEASE_S)
        [first] = claim_actions(connection, NOW, "a" * 32, lease_s=LEASE_S, most=1, only={"email"})
        assert not may_begin(connection, "email", rate, at(1), lease_s=LEASE_S)
        assert may_begin(connection, "sms", rate, at(1), lease_s=LEASE_S)
        settle_action(connection, first, Outcome.done("250 fine"), at(10))
        assert not may_begin(connection, "email", rate, at(61), lease_s=LEASE_S)
        assert may_begin(connection, "email", rate, at(70), lease_s=LEASE_S)
