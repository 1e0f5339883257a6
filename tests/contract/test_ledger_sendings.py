"""Emails that may have been received count for caps, for brakes and for the flood guard."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from ledger.actions import count_sent, planned_nearby, sent_times
from ledger.engine import Engine, reading, writing
from ledger.outbox import begin_action, commit_action, expire_handovers, settle_action
from ledger.tables import actions
from schemas.actions import Outcome
from schemas.reasons import Reason
from tests.contract.ledger_rig import (
    ANA,
    JOEL,
    LEASE_S,
    LESSON,
    NOW,
    at,
    claim_due,
    decide,
    lesson_done,
    minutes,
    plan_for,
    planned,
)

LAST_WEEK = minutes(-7 * 24 * 60)


def sent(
    engine: Engine, coworker_id: int = ANA, *, since: datetime = LAST_WEEK, but: int = 0
) -> list[datetime]:
    with reading(engine) as connection:
        return sorted(sent_times(connection, coworker_id, since, kind="email", but=but))


def nearby(engine: Engine, seconds: float) -> int:
    with reading(engine) as connection:
        return planned_nearby(connection, NOW, timedelta(seconds=seconds))


def test_a_sent_email_counts_for_its_person_from_when_it_was_sent(ledger_engine: Engine) -> None:
    one = planned(ledger_engine, lesson_done(happened_at=at(-500)))
    with writing(ledger_engine) as connection:
        begin_action(connection, one, at(1), lease_s=LEASE_S, events=1)
        settle_action(connection, one, Outcome.done("250"), at(2))
    assert sent(ledger_engine) == [at(2)]
    assert sent(ledger_engine, JOEL) == []
    assert sent(ledger_engine, but=one.action_id) == []
    assert sent(ledger_engine, since=at(2)) == []


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.skipped(Reason.NO_EMAIL),
        Outcome.held(Reason.OBSERVE),
        Outcome.failed(Reason.MAIL_REJECTED),
        Outcome.waiting(at(60), Reason.MAIL_TEMPORARY),
    ],
)
def test_an_email_that_was_not_sent_does_not_count(ledger_engine: Engine, outcome: Outcome) -> None:
    one = planned(ledger_engine)
    with writing(ledger_engine) as connection:
        settle_action(connection, one, outcome, at(2))
    assert sent(ledger_engine) == []
    assert of_rule(ledger_engine) == 0


def test_a_planned_email_does_not_count(ledger_engine: Engine) -> None:
    planned(ledger_engine)
    assert sent(ledger_engine) == []


def of_rule(engine: Engine, rule: str = "one", *, since: datetime = LAST_WEEK, but: int = 0) -> int:
    with reading(engine) as connection:
        return count_sent(connection, rule, since, but=but)


def test_emails_of_a_rule_count_from_when_their_hand_over_begins(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    assert of_rule(ledger_engine) == 0
    with writing(ledger_engine) as connection:
        begin_action(connection, one, at(1), lease_s=LEASE_S, events=1)
    assert of_rule(ledger_engine, since=minutes(60)) == 1
    with writing(ledger_engine) as connection:
        settle_action(connection, one, Outcome.done("250"), at(2))
    assert of_rule(ledger_engine) == of_rule(ledger_engine, since=at(2)) == 1
    assert of_rule(ledger_engine, since=at(3)) == 0
    assert of_rule(ledger_engine, but=one.action_id) == 0
    assert of_rule(ledger_engine, "another") == 0
    with writing(ledger_engine) as connection:
        connection.execute(update(actions).values(released_at=at(1)))
    assert of_rule(ledger_engine) == 0


def test_an_email_being_handed_over_counts_as_sent_now(
    ledger_engine: Engine,
) -> None:
    one = planned(ledger_engine, lesson_done(happened_at=minutes(-30 * 24 * 60)))
    with writing(ledger_engine) as connection:
        begin_action(connection, one, at(1), lease_s=LEASE_S, events=1)
    [moment] = sent(ledger_engine)
    assert at(1) <= moment <= at(1 + LEASE_S)


def test_an_unknown_email_counts_as_sent(ledger_engine: Engine) -> None:
    one = planned(ledger_engine)
    with writing(ledger_engine) as connection:
        begin_action(connection, one, at(1), lease_s=LEASE_S, events=1)
        commit_action(connection, one, at(2), lease_s=LEASE_S)
        expire_handovers(connection, at(100), lease_s=60, repeatable=set())
    assert sent(ledger_engine) == [at(100)]
    assert of_rule(ledger_engine) == 1


def test_emails_planned_around_the_same_time_are_counted_without_skipped_ones(
    ledger_engine: Engine,
) -> None:
    for number, planned_at in enumerate([-601, -600, -1, 0, 600, 601]):
        event = lesson_done(LESSON + number)
        decide(ledger_engine, event, plan_for(event), at(planned_at))
    assert nearby(ledger_engine, 600) == 4
    assert nearby(ledger_engine, 0) == 1
    [one] = claim_due(ledger_engine, NOW, most=1)
    before = nearby(ledger_engine, 3600)
    with writing(ledger_engine) as connection:
        settle_action(connection, one, Outcome.skipped(Reason.NO_EMAIL), NOW)
    assert (before, nearby(ledger_engine, 3600)) == (6, 5)
