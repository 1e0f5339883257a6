"""`resend`: what failed is sent again once a person says so, and never twice by itself."""

from datetime import timedelta

import pytest

from ledger.engine import Engine, reading, writing
from ledger.interventions import ResendRefusal, candidates, candidates_for, decisions, send_again
from ledger.outbox import expire_handovers
from ledger.outcomes import outcomes_of
from ledger.people import mark_person_gone
from ledger.tables import action_events, actions
from schemas.actions import event_key_of, resend_key
from schemas.entity import Entity
from schemas.errors import DeliveryUnavailable, DeliveryUnknown
from schemas.reasons import Reason
from tests.builders.records import NOON, course_member
from tests.contract.ledger_rig import BOTH, at_once, rows
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from tests.doubles.catching_mailer import CatchingMailer
from workers.sync.audit import missing_trace

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

WRONG, RIGHT = "person1@example.org", "person.one@example.org"


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def refused(space: Space, *numbers: int) -> None:
    """Let people enrol whose addresses the mail server refuses."""
    for number in numbers:
        space.mailer.answer(f"person{number}@example.org", "550 5.1.1 no such person")
        space.enrol(number)
    space.work()


def again(space: Space, *action_ids: int, checked: bool = False) -> dict[int, int]:
    with writing(space.engine) as connection:
        return send_again(connection, action_ids, "Rita", space.clock.now(), checked=checked)


def refusals(space: Space, *action_ids: int, checked: bool = False) -> list[ResendRefusal | None]:
    with reading(space.engine) as connection:
        return [one.refusal for one in candidates(connection, action_ids, checked=checked)]


def recipients(space: Space) -> list[str]:
    return [mail.recipient for mail in space.mailer.caught]


def test_a_resent_email_goes_to_the_current_address_in_nexudus(
    space: Space,
) -> None:
    refused(space, 1)
    space.source.have(Entity.COWORKER, coworker(1, email=RIGHT))  # seconds after it was read
    assert again(space, 1) == {1: 2}
    space.work()
    assert recipients(space) == [RIGHT]
    assert space.outcomes() == [("failed", "mail-rejected"), ("done", None)]
    first, second = rows(space.engine, actions)
    assert (second.resend_of, second.key) == (1, f"{first.key}/resend-1")
    assert second.happened_at == first.happened_at


def test_the_permanent_key_of_a_repetition_names_what_it_repeats() -> None:
    key = "welcome/enrolled:1:2"
    assert resend_key(key) == f"{key}/resend-1"
    assert resend_key(resend_key(key)) == f"{key}/resend-2"
    assert event_key_of(resend_key(key)) == event_key_of(key) == "enrolled:1:2"


@pytest.mark.engines(*BOTH)
def test_concurrent_resends_of_one_email_send_it_once(space: Space) -> None:
    refused(space, 1, 2)
    done = at_once(4, lambda _: again(space, 1, 2))
    assert sorted(len(one) for one in done) == [0, 0, 0, 2]
    assert len(rows(space.engine, actions)) == 4


@pytest.mark.engines(*BOTH)
def test_an_email_whose_resend_waits_or_was_sent_is_refused(space: Space) -> None:
    refused(space, 1)
    assert again(space, 1) == {1: 2}
    assert refusals(space, 1) == refusals(space, 1, 2) == [ResendRefusal.OPEN]
    assert again(space, 1, 2) == {}
    space.work()
    assert refusals(space, 1) == [None]
    assert again(space, 1) == {}  # that caller did not know of the second
    assert again(space, 2).keys() == {2}
    space.mailer = CatchingMailer()
    space.work()
    last = max(row.id for row in rows(space.engine, actions))
    assert space.outcomes()[-1] == ("done", None)
    assert refusals(space, 1) == refusals(space, 2, checked=True) == [ResendRefusal.REPEATED]
    assert refusals(space, last) == [None]
    assert refusals(space, 77) == [ResendRefusal.MISSING]


def test_an_email_that_may_have_arrived_needs_a_person_who_checked(space: Space) -> None:
    space.mailer.fail_on("person1@example.org", DeliveryUnknown("cut off"))
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("unknown", "handover-unknown")]
    assert refusals(space, 1) == [ResendRefusal.UNCHECKED]
    assert again(space, 1) == {}
    assert refusals(space, 1, checked=True) == [None]
    assert again(space, 1, checked=True) == {1: 2}


def test_a_slow_worker_cannot_reopen_an_email_that_was_resent(space: Space) -> None:
    def be_overtaken() -> None:
        with writing(space.engine) as connection:
            later = space.clock.now() + timedelta(hours=2)
            assert expire_handovers(connection, later, lease_s=60, repeatable=set()).unknown == 1
        space.mailer.at_end = None
        assert again(space, 1, checked=True) == {1: 2}
        raise DeliveryUnavailable("later")

    space.enrol(1)
    space.mailer.at_end = be_overtaken
    space.work()
    space.later(days=1)
    assert space.outcomes() == [("unknown", "handover-unknown"), ("done", None)]
    assert len(space.mailer.caught) == 1


def test_a_resent_email_is_checked_again_except_for_age_and_number(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED.replace("25/10m", "1/10m")))
    for number in (1, 2, 3):
        refused(space, number)
        space.later(hours=1)
    space.clock.time = NOON + timedelta(days=40, hours=11)  # at night
    space.change(course_member(record_id=9001, coworker_id=1), blocked=True)
    space.look_up()
    assert len(again(space, 1, 2, 3)) == 3
    space.work()
    assert space.outcomes()[:3] == [("failed", "mail-rejected")] * 3
    new = space.outcomes()[3:]
    assert new == [("skipped", "blocked"), ("waiting", "quiet-hours"), ("waiting", "quiet-hours")]
    space.enrol(4)
    space.look_up()
    space.later(hours=12)
    assert space.outcomes()[3:] == [("skipped", "blocked")] + [("failed", "mail-rejected")] * 2 + [
        ("done", None)
    ]


def test_a_resent_email_gathers_no_lessons_and_counts_as_no_flood(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.mailer.answer(WRONG, "550 5.1.1 no such person")
    space.finish(member, 1)
    space.later(hours=1)
    assert again(space, 2) == {2: 3}
    space.finish(member, 2)
    space.look_up()
    links = [(row.action_id, row.rule) for row in rows(space.engine, action_events)]
    assert sorted(links) == [
        (1, "welcome"),
        (2, "congratulate-lesson"),
        (3, "resend:3"),
        (4, "congratulate-lesson"),
    ]


@pytest.mark.engines(*BOTH)
def test_all_emails_that_failed_for_one_reason_are_found_once(space: Space) -> None:
    def found(reason: Reason) -> list[int]:
        with reading(space.engine) as connection:
            since = NOON - timedelta(days=1)
            some = candidates_for(connection, reason, since, checked=False)
            return [one.asked_for for one in some]

    refused(space, 1, 2)
    space.enrol(3)
    space.source.have(Entity.COWORKER, coworker(3, email=None))
    space.work()
    assert found(Reason.MAIL_REJECTED) == [1, 2]
    assert found(Reason.NO_EMAIL) == [3]
    assert again(space, 1) == {1: 4}
    assert found(Reason.MAIL_REJECTED) == [2]
    space.work()
    assert found(Reason.MAIL_REJECTED) == [2, 4]


def test_nothing_is_sent_to_a_person_who_is_gone(space: Space) -> None:
    refused(space, 1)
    with writing(space.engine) as connection:
        mark_person_gone(connection, 1, space.clock.now())
    assert refusals(space, 1) == [ResendRefusal.PERSON_GONE]
    assert again(space, 1) == {}


def test_a_resend_is_logged_with_the_operator_and_is_no_difference(space: Space) -> None:
    refused(space, 1)
    again(space, 1)
    space.work()
    with reading(space.engine) as connection:
        [line] = decisions(connection)
        found = outcomes_of(connection, [], NOON - timedelta(days=1), NOON + timedelta(days=1))
    assert (line.what, line.who) == ("resend", "Rita")
    assert line.detail == {"action_ids": [1], "new_action_ids": [2], "checked": False}
    assert [missing_trace(effect, traced_since=NOON) for effect in found.effects.values()] == [
        None,
        None,
    ]
