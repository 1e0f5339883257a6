"""What does not happen: timers are made, moved, cancelled and fire once, whatever the order."""

from datetime import timedelta

import pytest

from ledger.choices import address_hash, store_choices
from ledger.engine import Engine, reading, writing
from ledger.tables import timers
from schemas.choices import Choice
from schemas.entity import Entity
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import Space, rules_of
from workers.lookup.timers import ask_for_timers

pytestmark = pytest.mark.engines(*BOTH)
REMINDERS = """
version: 1
timing: {quiet_hours: none, flood: none}
rules:
  - name: start
    event: not_started
    action: email
    template: not-started
    after: [7d, 21d]
    send: none
  - {name: back, event: stalled, action: email, template: stalled, send: none}
"""
NONE = "version: 1\nrules:\n  - {name: hi, event: enrolled, action: email, template: welcome}\n"


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(REMINDERS))


def tick(space: Space) -> int:
    """Do what a worker does every few seconds, and what follows from it."""
    asked = ask_for_timers(space.engine, space.rules, space.clock.now())
    space.work()
    return asked


def kept(space: Space) -> list[tuple[str, int, str, str | None]]:
    with reading(space.engine) as connection:
        rows = connection.execute(timers.select().order_by(timers.c.kind, timers.c.step_s))
        return [(row.kind, row.step_s // 86_400, row.state, row.reason) for row in rows]


def agree(space: Space, number: int) -> None:
    hashed = address_hash(f"person{number}@example.org", "a-key-for-hashes")
    with writing(space.engine) as connection:
        chosen = {"reminder": Choice(agreed=True, chosen_at=space.clock.now())}
        store_choices(connection, [hashed], chosen)


def test_a_member_who_never_starts_is_reminded_once_for_each_step(space: Space) -> None:
    agree(space, 1)
    space.enrol(1)
    tick(space)
    assert kept(space) == [
        ("not_started", 7, "waiting", None),
        ("not_started", 21, "waiting", None),
    ]
    space.later(days=6, hours=23)
    tick(space)
    assert space.subjects == []
    space.later(hours=1)
    assert tick(space) == 1
    assert space.subjects == ["Your first lesson in Freelance Finance is ready"]
    assert tick(space) == 0
    space.later(days=14)
    tick(space)
    tick(space)
    assert len(space.subjects) == 2
    assert {state for _, _, state, _ in kept(space)} == {"fired"}


def test_a_member_who_starts_gets_another_timer_that_each_lesson_moves(space: Space) -> None:
    agree(space, 1)
    member = space.enrol(1)
    tick(space)
    space.later(days=2)
    space.finish(member, 1)
    tick(space)
    assert kept(space) == [
        ("not_started", 7, "cancelled", "active-meanwhile"),
        ("not_started", 21, "cancelled", "active-meanwhile"),
        ("stalled", 14, "waiting", None),
    ]
    space.later(days=10)
    space.finish(member, 2)
    tick(space)
    space.later(days=13)
    assert tick(space) == 0
    space.later(days=1)
    tick(space)
    assert space.subjects == ["Where you left off in Freelance Finance"]


def test_the_truth_at_nexudus_counts_when_a_timer_is_due(space: Space) -> None:
    agree(space, 1)
    member = space.enrol(1)
    tick(space)
    space.later(days=7)
    space.finish(member, 1, reported=False)
    tick(space)
    assert space.subjects == []
    assert kept(space)[0] == ("not_started", 7, "cancelled", "active-meanwhile")


def test_a_member_who_is_gone_or_finished_is_not_reminded(space: Space) -> None:
    for number in (1, 2):
        agree(space, number)
    gone, done = space.enrol(1), space.enrol(2)
    tick(space)
    space.source.lose(Entity.COURSE_MEMBER, gone.record_id)
    space.notify(Entity.COURSE_MEMBER, gone.record_id)
    space.finish(done, 1, 2, 3)
    tick(space)
    assert {(state, reason) for _, _, state, reason in kept(space)} == {
        ("cancelled", "record-gone"),
        ("cancelled", "active-meanwhile"),
    }
    space.later(days=60)
    tick(space)
    assert space.subjects == []


def test_rules_that_begin_to_remind_find_only_what_is_still_to_come(space: Space) -> None:
    reminding = space.rules
    space.rules = rules_of(NONE)
    for number, days in ((1, 10), (2, 5), (3, 1)):
        agree(space, number)
        space.clock.time += timedelta(days=days)
        space.enrol(number)
        tick(space)
    space.rules = reminding
    space.clock.time += timedelta(days=2)
    for _ in range(4):
        tick(space)
    # The first enrolled 8 days ago, the second 3 and the third 2.
    assert [step for kind, step, _, _ in kept(space)] == [7, 7, 21, 21, 21]
    assert tick(space) == 0


def test_rules_that_no_longer_remind_cancel_what_waits(space: Space) -> None:
    space.enrol(1)
    tick(space)
    space.rules = rules_of(NONE)
    tick(space)
    assert {(state, reason) for _, _, state, reason in kept(space)} == {("cancelled", "kind-off")}


def test_a_timer_that_is_due_is_asked_for_once_while_nexudus_is_down(space: Space) -> None:
    space.enrol(1)
    tick(space)
    space.clock.time += timedelta(days=7)
    now = space.clock.now()
    assert ask_for_timers(space.engine, space.rules, now) == 1
    assert ask_for_timers(space.engine, space.rules, now) == 0
    assert ask_for_timers(space.engine, space.rules, now + timedelta(hours=6)) == 1


def test_a_member_who_comes_back_while_the_reminder_waits_gets_none(ledger_engine: Engine) -> None:
    text = REMINDERS.replace("quiet_hours: none", 'quiet_hours: "11:00-18:00"')
    space = Space(ledger_engine, rules_of(text))
    agree(space, 1)
    member = space.enrol(1)
    tick(space)
    space.clock.time += timedelta(days=7)
    tick(space)
    assert space.outcomes() == [("waiting", "quiet-hours")]
    space.clock.time += timedelta(hours=1)
    space.change(member, last_access_at=space.clock.now())
    space.later(hours=8)
    assert space.outcomes() == [("skipped", "active-meanwhile")]


def test_rules_that_remind_again_bring_back_what_is_still_to_come(space: Space) -> None:
    agree(space, 1)
    space.enrol(1)
    tick(space)
    reminding, space.rules = space.rules, rules_of(NONE)
    tick(space)
    assert {state for _, _, state, _ in kept(space)} == {"cancelled"}
    space.clock.time += timedelta(days=8)
    space.rules = reminding
    for _ in range(3):
        tick(space)
    assert kept(space) == [
        ("not_started", 7, "cancelled", "kind-off"),
        ("not_started", 21, "waiting", None),
    ]
    space.later(days=13)
    tick(space)
    assert len(space.subjects) == 1


def test_a_reminder_that_was_sent_is_not_brought_back_by_other_rules(space: Space) -> None:
    agree(space, 1)
    space.enrol(1)
    tick(space)
    space.later(days=7)
    tick(space)
    reminding, space.rules = space.rules, rules_of(NONE)
    tick(space)
    space.rules = reminding
    for _ in range(3):
        tick(space)
    assert kept(space)[0] == ("not_started", 7, "fired", None)
    assert len(space.subjects) == 1


@pytest.mark.parametrize("is_second", [False, True])
def test_rules_that_begin_to_remind_count_from_the_approval(
    space: Space,
    is_second: bool,  # noqa: FBT001 - a column of the table
) -> None:
    reminding, space.rules = space.rules, rules_of(NONE)
    if is_second:
        space.source.lose(Entity.COURSE_MEMBER, space.enrol(1).record_id)
        space.notify(Entity.COURSE_MEMBER, 9001)
        space.later(days=1)
    member = space.enrol(1, record_id=9100, approved=False)
    tick(space)
    space.clock.time += timedelta(days=4)
    space.change(member, approved=True)
    tick(space)
    approved_at = space.clock.now()
    space.clock.time += timedelta(days=1)
    space.rules = reminding
    for _ in range(3):
        tick(space)
    with reading(space.engine) as connection:
        due = connection.scalars(
            timers.select().with_only_columns(timers.c.due_at).order_by(timers.c.due_at)
        ).all()
    assert due == [approved_at + timedelta(days=7), approved_at + timedelta(days=21)]
