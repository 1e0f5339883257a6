"""What Nexudus itself sends counts for reminders: one request for each that would go now."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ledger.choices import address_hash, store_choices
from ledger.engine import Engine, reading, writing
from ledger.outages import source_pause
from ledger.queries import last_detail
from schemas.actions import Mode
from schemas.choices import Choice
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceError, SourceRefused, SourceUnavailable
from schemas.records import CourseMember, Message
from tests.contract.study_rig import Space, coworker, rules_of
from workers.lookup.timers import ask_for_timers
from workers.retries import SOURCE_FAILS_AFTER

pytestmark = pytest.mark.engines("sqlite")
DAY = timedelta(days=1)
REMIND = """
version: 1
timing: {quiet_hours: none, flood: none, spread: none, count_nexudus: true}
rules:
  - {name: start, event: not_started, action: email, template: not-started, send: none}
  - {name: lesson, event: lesson_completed, action: email, template: lesson-finished}
"""
SENT = ("done", None)
WEEK = timedelta(days=7)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(REMIND))


def choose(space: Space, address: str, *, agreed: bool = True) -> None:
    hashed = address_hash(address, "a-key-for-hashes")
    with writing(space.engine) as connection:
        chosen = {"reminder": Choice(agreed, space.clock.now())}
        store_choices(connection, [hashed], chosen)


def absent(space: Space, *numbers: int) -> list[CourseMember]:
    """Have people enrol who agreed to reminders, and let a week pass; nothing is sent yet."""
    members = []
    for number in numbers:
        choose(space, f"person{number}@example.org")
        members.append(space.enrol(number))
    space.work()
    space.clock.time += WEEK
    return members


def tick(space: Space) -> None:
    """Do what a worker does every few seconds, and what follows from it."""
    ask_for_timers(space.engine, space.rules, space.clock.now())
    space.work()


def write(space: Space, number: int, *, ago: timedelta = DAY, reminder: bool = False) -> None:
    """Let Nexudus write to a person some time ago."""
    space.completions += 1
    at = space.clock.now() - ago
    about = "3b0c3a0e" if reminder else None
    space.source.have(Entity.MESSAGE, Message(space.completions, at, at, number, reminder_id=about))


def asked(space: Space) -> list[int]:
    """Return of whom the messages were asked for, in order."""
    return [record_id for question, record_id in space.source.asked if question == "messages_to"]


def test_a_reminder_that_may_go_takes_one_request_and_goes(space: Space) -> None:
    absent(space, 1)
    write(space, 1)
    tick(space)
    assert space.outcomes() == [SENT]
    assert len(space.subjects) == 1
    assert asked(space) == [1]
    tick(space)
    assert asked(space) == [1]


def test_a_reminder_of_nexudus_replaces_ours(space: Space) -> None:
    absent(space, 1, 2, 3)
    write(space, 1, reminder=True)
    write(space, 2, reminder=True, ago=WEEK)
    write(space, 4, reminder=True)
    tick(space)
    assert space.outcomes_by_person("start") == {
        1: ("skipped", "nexudus-reminded"),
        2: SENT,
        3: SENT,
    }
    assert sorted(asked(space)) == [1, 2, 3]


def test_what_nexudus_sent_today_delays_a_reminder_until_tomorrow(space: Space) -> None:
    absent(space, 1)
    write(space, 1, ago=timedelta(hours=1))
    write(space, 1, ago=timedelta(hours=2))
    tick(space)
    assert space.outcomes() == [("waiting", "cap-day")]
    with reading(space.engine) as connection:
        assert last_detail(connection, 1) == "counting what Nexudus itself sent"
    space.later(days=1)
    assert space.outcomes() == [SENT]
    assert asked(space) == [1, 1]


def _no_longer_agrees(space: Space, _: CourseMember) -> None:
    choose(space, "person1@example.org", agreed=False)


def _observing(space: Space, _: CourseMember) -> None:
    space.choose(Mode.OBSERVE)


def _at_night(space: Space, _: CourseMember) -> None:
    space.rules = rules_of(REMIND.replace("quiet_hours: none", 'quiet_hours: "11:00-18:00"'))


def _without_usable_address(space: Space, _: CourseMember) -> None:
    space.source.have(Entity.COWORKER, coworker(1, email="no address"))
    choose(space, "no address")


@pytest.mark.parametrize(
    ("hinder", "outcome"),
    [
        (_no_longer_agrees, ("skipped", "opted-out-kind")),
        (_observing, ("held", "observe")),
        (_at_night, ("waiting", "quiet-hours")),
        (_without_usable_address, ("skipped", "no-email")),
    ],
)
def test_a_reminder_that_may_not_go_takes_no_request(
    space: Space,
    hinder: Callable[[Space, CourseMember], None],
    outcome: tuple[str, str | None],
) -> None:
    [member] = absent(space, 1)
    hinder(space, member)
    tick(space)
    assert space.outcomes_by_person("start") == {1: outcome}
    assert asked(space) == []


def test_a_reminder_beyond_the_limit_of_our_own_takes_no_request(space: Space) -> None:
    space.rules = rules_of(REMIND.replace("not-started, ", "not-started, after: [7d, 8d], "))
    absent(space, 1)
    tick(space)
    space.clock.time += DAY
    tick(space)
    assert space.outcomes() == [SENT, ("waiting", "cap-week")]
    assert asked(space) == [1]


def test_other_emails_and_rules_that_do_not_count_it_take_no_request(space: Space) -> None:
    members = absent(space, 1, 2)
    for _ in range(5):
        write(space, 1, reminder=True)
    space.finish(members[0], 1)
    space.work()
    assert space.outcomes_by_person("lesson") == {1: SENT}
    space.rules = rules_of(REMIND.replace("count_nexudus: true", "count_nexudus: false"))
    tick(space)
    assert space.outcomes_by_person("start") == {2: SENT}
    assert asked(space) == []


def test_a_reminder_that_waits_for_a_lookup_takes_no_request(space: Space) -> None:
    [member] = absent(space, 1)
    ask_for_timers(space.engine, space.rules, space.clock.now())
    space.look_up()
    # A lesson that no notification reported: the list shows it just before the reminder goes.
    space.finish(member, 1, reported=False)
    space.clock.time += timedelta(minutes=5)
    space.work()
    space.later(minutes=5)
    assert space.outcomes_by_person("start") == {1: ("skipped", "active-meanwhile")}
    assert asked(space) == []


def test_a_member_who_comes_back_while_messages_are_read_is_not_reminded(space: Space) -> None:
    [member] = absent(space, 1)

    def come_back() -> None:
        space.change(member, last_access_at=space.clock.now() + timedelta(seconds=1))

    space.source.when_asked("messages_to", come_back)
    tick(space)
    space.later(minutes=5)
    assert space.outcomes_by_person("start") == {1: ("skipped", "active-meanwhile")}
    assert asked(space) == [1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SourceUnavailable("the source did not answer"), "nexudus-down"),
        (SourceRefused("the source answered 401"), "nexudus-refused"),
        (RecordUnreadable("CoworkerMessage: unreadable field Id", {"Id": ["x"]}), "unreadable"),
    ],
)
def test_messages_that_cannot_be_read_delay_reminders_and_nothing_else(
    space: Space, error: SourceError, reason: str
) -> None:
    def fail() -> None:
        raise error

    numbers = range(1, SOURCE_FAILS_AFTER + 3)
    absent(space, *numbers)
    space.source.when_asked("messages_to", fail)
    tick(space)
    assert space.outcomes_by_person("start") == dict.fromkeys(numbers, ("waiting", reason))
    with reading(space.engine) as connection:
        assert source_pause(connection) is None
    other = space.enrol(99)
    space.finish(other, 1)
    space.work()
    assert space.outcomes_by_person("lesson") == {99: SENT}
    space.source.when_asked("messages_to", lambda: None)
    space.later(hours=8)
    assert space.outcomes_by_person("start") == dict.fromkeys(numbers, SENT)
