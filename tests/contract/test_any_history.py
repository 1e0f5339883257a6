"""Random histories against the real ledger: what must be true after every step of any of them."""

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.choices import address_hash, store_choices
from ledger.engine import lock_decisions, reading, writing
from ledger.interventions import release_held
from ledger.pauses import PauseScope, begin_pause, end_pauses, open_pauses, pause_of
from ledger.tables import action_events, actions, events
from schemas.actions import Mode
from schemas.choices import Choice
from schemas.entity import Entity
from schemas.records import CourseMember
from tests.builders.records import COURSE_ID
from tests.contract.study_rig import LISBON, SHIPPED, Space, rules_of
from tests.servers.ready_ledgers import quick_engine, sqlite_copy
from workers.deliver.claim import sweep
from workers.lookup.timers import ask_for_timers

STRICT = """
version: 1
timing:
  {quiet_hours: "19:00-09:00", cap_per_day: 1, cap_per_week: 3, stale_after: 48h, flood: 6/10m}
rules:
  - {name: welcome, event: enrolled, action: email, template: welcome}
  - {name: lesson, event: lesson_completed, action: email, template: lesson-finished, delay: 1h}
  - {name: start, event: not_started, action: email, template: not-started, after: [1d, 3d]}
  - {name: back, event: stalled, action: email, template: stalled, after: 2d}
  - {name: end, event: course_completed, action: email, template: course-finished}
"""
RULES = (SHIPPED, STRICT.strip())
PEOPLE = st.integers(1, 3)
LESSON = st.integers(1, 3)
BEYOND_WEEK = {"enrolled", "course_completed"}


class AnyHistory(RuleBasedStateMachine):
    """A space in which anything may happen in any order; emails are checked as they are sent."""

    @initialize(text=st.sampled_from(RULES))
    def open(self, text: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="coursebell-any-"))
        self.engine = quick_engine(sqlite_copy(self.folder / "ledger.db"))
        self.space = Space(self.engine, rules_of(text))
        self.members: dict[int, CourseMember] = {}
        self.done: dict[int, list[int]] = {}
        self.wrong: list[str] = []
        for number in (1, 2):
            self.enrol_anew(number, reported=True, approved=True)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()
            shutil.rmtree(self.folder, ignore_errors=True)

    def enrol_anew(self, number: int, *, reported: bool, approved: bool) -> None:
        member = self.space.enrol(number, reported=reported, approved=approved)
        self.members[number] = member

    @precondition(lambda self: 3 not in self.members)
    @rule(reported=st.booleans(), approved=st.booleans())
    def enrol(self, *, reported: bool, approved: bool) -> None:
        self.enrol_anew(3, reported=reported, approved=approved)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), approved=st.booleans(), blocked=st.booleans())
    def change(self, data: st.DataObject, *, approved: bool, blocked: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.members)))
        member = self.members[number]
        self.space.change(member, approved=approved, blocked=blocked)
        at = self.space.clock.now()
        self.members[number] = replace(member, approved=approved, blocked=blocked, updated_at=at)

    @precondition(lambda self: self.members)
    @rule(data=st.data(), lesson=LESSON, reported=st.booleans(), minutes=st.integers(0, 90))
    def finish(self, data: st.DataObject, lesson: int, minutes: int, *, reported: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.members)))
        made = self.space.finish(self.members[number], lesson, reported=reported)
        self.done.setdefault(number, []).extend(made)
        self.space.clock.time += timedelta(minutes=minutes)
        self.work()

    @precondition(lambda self: any(self.done.values()))
    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(n for n, made in self.done.items() if made)))
        record_id = self.done[number].pop()
        self.space.source.lose(Entity.COMPLETED_LESSON, record_id)
        self.space.notify(Entity.COMPLETED_LESSON, record_id)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def report_again(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.members)))
        self.space.notify(Entity.COURSE_MEMBER, self.members[number].record_id)
        for record_id in self.done.get(number, []):
            self.space.notify(Entity.COMPLETED_LESSON, record_id)

    @rule(number=PEOPLE, stream=st.sampled_from(["service", "reminder", "all"]), yes=st.booleans())
    def choose(self, number: int, stream: str, *, yes: bool) -> None:
        hashed = address_hash(f"person{number}@example.org", "a-key-for-hashes")
        with writing(self.engine) as connection:
            chosen = {stream: Choice(yes, self.space.clock.now())}
            store_choices(connection, [hashed], chosen)

    @rule(scope=st.sampled_from(PauseScope), number=PEOPLE, hours=st.sampled_from([None, 5, 40]))
    def pause(self, scope: PauseScope, number: int, hours: int | None) -> None:
        now = self.space.clock.now()
        targets = {"all": None, "rule": "welcome", "course": str(COURSE_ID), "person": str(number)}
        until = None if hours is None else now + timedelta(hours=hours)
        with writing(self.engine) as connection:
            lock_decisions(connection)
            target = targets[scope]
            begin_pause(connection, scope, target, until=until, note=None, who="Rita", now=now)

    @rule()
    def resume(self) -> None:
        with writing(self.engine) as connection:
            lock_decisions(connection)
            end_pauses(connection, open_pauses(connection), "Rita", self.space.clock.now())

    @rule()
    def release(self) -> None:
        with writing(self.engine) as connection:
            lock_decisions(connection)
            held = connection.scalars(actions.select().where(actions.c.state == "held")).all()
            release_held(connection, held, "Rita", self.space.clock.now())

    @rule(mode=st.sampled_from(Mode))
    def set_mode(self, mode: Mode) -> None:
        self.space.choose(mode)

    @rule(text=st.sampled_from(RULES))
    def edit_rules(self, text: str) -> None:
        self.space.rules = rules_of(text)

    @rule(minutes=st.sampled_from([1, 20, 45, 200]))
    def pass_minutes(self, minutes: int) -> None:
        self.space.clock.time += timedelta(minutes=minutes)
        self.work()

    @rule(hours=st.sampled_from([7, 12, 24, 30, 66, 180]))
    def pass_hours(self, hours: int) -> None:
        self.space.clock.time += timedelta(hours=hours)
        self.work()

    @rule()
    def work(self) -> None:
        ask_for_timers(self.engine, self.space.rules, self.space.clock.now())
        sweep(self.space.delivery)
        # One after the other, so that each is compared with what was sent before it.
        self.space.mailer.at_end = self.check_sent
        self.space.work()
        assert self.wrong == []

    def check_sent(self) -> None:
        """Note what is wrong with the email that is being handed over just now.

        Raising here would only look like a fault of the mail server.
        """
        now = self.space.clock.now()
        with reading(self.engine) as connection:
            performing = connection.execute(
                actions.select().where(actions.c.state == "performing")
            ).one()
            sent = connection.execute(
                actions.select().where(
                    actions.c.coworker_id == performing.coworker_id,
                    actions.c.state.in_(["done", "unknown"]),
                )
            ).all()
            pauses = open_pauses(connection)
        whose = {"course_id": performing.course_id, "coworker_id": performing.coworker_id}
        used = self.space.rules.by_name(performing.rule)
        assert used is not None
        timing, local = used.timing, now.astimezone(LISBON)
        week = [one for one in sent if one.finished_at > now - timedelta(days=7)]
        today = [one for one in sent if one.finished_at.astimezone(LISBON).date() == local.date()]
        reminders = [one for one in week if one.stream == "reminder"]
        quiet, window = timing.quiet_hours, timing.send
        most = None if performing.event_kind in BEYOND_WEEK else timing.cap_per_week
        faults = {
            "paused": pause_of(pauses, now, rule=performing.rule, **whose) is not None,
            "in quiet hours": quiet is not None and quiet.covers(local.time()),
            "outside its window": window is not None and not window.is_open(local.time()),
            "on another day": window is not None and local.weekday() not in window.days,
            "beyond the day": len(today) >= (timing.cap_per_day or 99),
            "beyond the week": len(week) >= (most or 99),
            "a second reminder": performing.stream == "reminder" and bool(reminders),
        }
        self.wrong += [
            f"{performing.rule} was sent {what}" for what, is_so in faults.items() if is_so
        ]

    @invariant()
    def every_event_has_one_outcome(self) -> None:
        if not hasattr(self, "engine"):
            return
        with reading(self.engine) as connection:
            found = connection.execute(events.select()).all()
            linked = Counter(connection.scalars(action_events.select()).all())
            planned = connection.execute(actions.select()).all()
        for event in found:
            assert (event.reason is None) == (linked[event.id] > 0), event.kind
        assert all(one.reason for one in planned if one.state in {"skipped", "held", "failed"})
        assert not any(one.reason for one in planned if one.state == "done")

    @invariant()
    def no_email_is_sent_twice(self) -> None:
        if hasattr(self, "engine"):
            caught = Counter(mail.message["Message-ID"] for mail in self.space.mailer.caught)
            assert not caught or max(caught.values()) == 1


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.permutations(range(8)), again=st.lists(st.integers(0, 7), max_size=6))
def test_any_order_and_repetition_of_the_same_facts_gives_the_same_emails(
    order: list[int], again: list[int]
) -> None:
    with tempfile.TemporaryDirectory(prefix="coursebell-order-") as folder:
        engine = quick_engine(sqlite_copy(Path(folder) / "ledger.db"))
        space = Space(engine, rules_of(SHIPPED))
        facts = [(Entity.COURSE_MEMBER, space.enrol(n, reported=False).record_id) for n in (1, 2)]
        members = {n: space.source.fetch(*facts[n - 1]) for n in (1, 2)}
        for number, lesson in ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2)):
            space.clock.time += timedelta(minutes=5)
            member = members[number]
            assert isinstance(member, CourseMember)
            [made] = space.finish(member, lesson, reported=False)
            facts.append((Entity.COMPLETED_LESSON, made))
        facts.append(facts[-1])
        for place in [*order, *again]:
            space.notify(*facts[place])
            space.work()
        space.later(hours=2)
        caught = sorted((one.recipient, one.message["Subject"]) for one in space.mailer.caught)
        engine.dispose()
    assert caught == [
        ("person1@example.org", "You finished “Freelance Finance”"),
        ("person1@example.org", "You're in: Freelance Finance"),
        ("person2@example.org", "2 lessons done in Freelance Finance"),
        ("person2@example.org", "You're in: Freelance Finance"),
    ]
