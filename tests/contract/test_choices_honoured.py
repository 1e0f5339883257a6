"""A choice counts at once: for emails that wait, and for one that is being handed over."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage

import pytest

from ledger.choices import choice_keys, store_choices
from ledger.engine import Engine, reading, writing
from ledger.queries import last_detail
from ledger.tables import actions, choices
from schemas.choices import SNOOZE, WEEKLY, Choice
from schemas.entity import Entity
from schemas.reasons import Reason
from tests.contract.ledger_rig import rows
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from tests.doubles.mail_server import server_at
from tests.doubles.scripted_smtp import ScriptedSmtp
from workers.actions.base import Checkpoints
from workers.actions.email.smtp import Mailer
from workers.deliver.simulation import simulate

KEY = "a-key-for-hashes"  # that of the space
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPTED_OUT = ("skipped", "opted-out-all")
SNOOZED = ("skipped", Reason.SNOOZED)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def choose(space: Space, number: int, **chosen: Choice) -> None:
    with writing(space.engine) as connection:
        keys = choice_keys(KEY, number, f"person{number}@example.org")
        store_choices(connection, keys, chosen)


def no(space: Space) -> Choice:
    return Choice(agreed=False, chosen_at=space.clock.now())


def snooze(space: Space, length: timedelta) -> Mapping[str, Choice]:
    now = space.clock.now()
    return {SNOOZE: Choice(agreed=False, chosen_at=now, until=now + length)}


@dataclass
class Sent:
    """Hands emails to a mail server, each after its member said no to their kind."""

    space: Space
    mailer: Mailer

    def in_a_row(self) -> AbstractContextManager[None]:
        return self.mailer.in_a_row()

    def deliver(
        self, message: EmailMessage, *, sender: str, recipient: str, checkpoints: Checkpoints
    ) -> str:
        choose(self.space, 1, service=no(self.space))
        envelope = {"sender": sender, "recipient": recipient}
        return self.mailer.deliver(message, **envelope, checkpoints=checkpoints)


def details(space: Space) -> dict[int, str | None]:
    """Return what the history says last about the email to each person."""
    with reading(space.engine) as connection:
        return {
            row.coworker_id: last_detail(connection, row.id) for row in rows(space.engine, actions)
        }


def test_an_email_that_waits_is_not_sent_after_a_no_and_the_reason_has_its_day(
    space: Space,
) -> None:
    space.enrol(1)
    space.enrol(2)
    space.look_up()
    choose(space, 1, all=no(space))
    space.work()
    assert space.outcomes_by_person("welcome") == {1: OPTED_OUT, 2: ("done", None)}
    assert details(space)[1] == f"since {space.clock.now():%Y-%m-%d}"


def test_a_no_that_is_said_during_the_hand_over_stops_it_before_its_last_step(
    space: Space,
) -> None:
    space.enrol(1)
    space.mailer.meanwhile(lambda: choose(space, 1, all=no(space)))
    space.work()
    assert space.mailer.asked == 1
    assert space.mailer.caught == []
    assert space.outcomes() == [OPTED_OUT]
    assert details(space) == {1: f"since {space.clock.now():%Y-%m-%d}"}
    space.later(hours=30)
    assert space.mailer.asked == 1


@pytest.mark.engines("sqlite")
def test_a_mail_server_gets_no_whole_email_after_a_no_during_the_hand_over(space: Space) -> None:
    with ScriptedSmtp() as server:
        sent = Sent(space, Mailer(server_at(server.port)))
        space.mailer = sent  # type: ignore[assignment]  # it delivers, which is all that is used
        space.enrol(1)
        space.work()
    assert server.texts == []
    assert "DATA" in server.commands
    assert space.outcomes() == [("skipped", "opted-out-kind")]


@pytest.mark.engines("sqlite")
def test_while_snoozed_nothing_is_sent_and_afterwards_only_what_is_new(space: Space) -> None:
    choose(space, 1, **snooze(space, 7 * DAY))
    member = space.enrol(1)
    space.work()
    space.later(days=3)
    space.finish(member, 1)
    space.later(days=3)
    assert space.outcomes() == [SNOOZED, SNOOZED]
    space.later(days=1)
    space.finish(member, 2)
    space.later(days=1)
    assert space.outcomes() == [SNOOZED, SNOOZED, ("done", None)]
    assert space.subjects == ["You finished “Lesson 2”"]


def test_lessons_of_a_week_share_one_email_for_a_member_who_chose_so(space: Space) -> None:
    weekly = Choice(agreed=True, chosen_at=space.clock.now())
    member, other = space.enrol(1), space.enrol(2)
    space.work()
    choose(space, 1, **{WEEKLY: weekly})
    for number in (1, 2):
        space.later(hours=25)
        space.finish(member, number)
        space.finish(other, number)
    space.later(hours=1)
    assert space.outcomes_by_person("congratulate-lesson")[1] == ("waiting", "weekly")
    for _ in range(7):
        space.later(days=1)
    assert space.outcomes_by_person("congratulate-lesson")[1] == ("done", None)
    assert sorted(space.subjects[2:]) == [
        "You finished “Lesson 1”",
        "You finished “Lesson 2”",
        "Your week in Freelance Finance: 2 lessons done",
    ]


@pytest.mark.engines("sqlite")
def test_what_waits_for_friday_goes_with_the_next_lesson_once_the_choice_is_taken_back(
    space: Space,
) -> None:
    choose(space, 1, **{WEEKLY: Choice(agreed=True, chosen_at=space.clock.now())})
    member = space.enrol(1)
    space.work()
    for number in (1, 2):
        space.later(hours=25)
        space.finish(member, number)
        space.later(hours=1)
        choose(space, 1, **{WEEKLY: no(space)})
    assert space.subjects[1:] == ["2 lessons done in Freelance Finance"]


@pytest.mark.engines("sqlite")
def test_a_no_still_counts_after_the_address_changed_in_nexudus(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    choose(space, 1, service=no(space))
    space.source.have(Entity.COWORKER, coworker(1, email="new@example.org"))
    space.finish(member, 1)
    space.later(hours=20)
    assert space.outcomes() == [("done", None), ("skipped", "opted-out-kind")]


@pytest.mark.engines("sqlite")
def test_a_no_of_an_erased_member_still_counts_for_their_address(space: Space) -> None:
    choose(space, 1, all=no(space))
    space.enrol(2)
    space.source.have(Entity.COWORKER, coworker(2, email="Person1@example.org"))
    space.work()
    assert space.outcomes() == [OPTED_OUT]


@pytest.mark.engines("sqlite")
def test_a_simulation_knows_choices_and_a_snooze_only_while_it_lasted(space: Space) -> None:
    for number in (1, 2, 3, 4):
        space.enrol(number)
        space.work()
        if number < 4:
            space.later(hours=24)
    began = space.clock.now() - 3 * DAY
    choose(space, 1, all=no(space))
    now = space.clock.now()
    # From between the second and the third on.
    snoozed = Choice(agreed=False, chosen_at=began + 36 * HOUR, until=now + DAY)
    for number in (2, 3):
        choose(space, number, **{SNOOZE: snoozed})
    found = simulate(space.engine, space.delivery.setup, began - HOUR, now + HOUR)
    assert found.by_rule["welcome"] == {"opted-out-all": 1, "snoozed": 1, "sent": 2}
    assert len(rows(space.engine, choices)) == 6
