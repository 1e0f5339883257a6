"""After a restore no email is sent twice, and emails that were surely not sent go as usual.

The source and the mailbox keep what they have while the ledger is set back.
"""

import threading
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import TextClause, text

from ledger.backup import make_backup, open_restored_gap, opened_file, put_into, stage
from ledger.engine import Engine, lock_decisions, open_engine, reading, writing
from ledger.interventions import decisions, held_by_reason, release_held, skip_held
from ledger.migrate import migrate
from ledger.outages import retry_refused
from ledger.outcomes import outcomes_of
from ledger.pauses import PauseScope, begin_pause
from ledger.queries import EmailFilter, filtered_emails
from schemas.actions import ActionState, Mode
from schemas.entity import Entity
from schemas.reasons import Reason
from schemas.records import CompletedLesson
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH, decide, lesson_done, plan_for
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.contract.test_timers import REMINDERS, agree, tick
from tests.servers.programs import wait_until
from workers.deliver.claim import sweep
from workers.lookup.claim import drain_batch
from workers.sync.audit import missing_trace

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

HELD = ("held", "restored")


class Restorable(Space):
    """A space whose ledger is copied and set back."""

    def __init__(self, engine: Engine, folder: Path, rules: str = SHIPPED) -> None:
        super().__init__(engine, rules_of(rules))
        self.folder = folder
        self.notified: dict[tuple[Entity, int], None] = {}

    def notify(self, entity: Entity, record_id: int) -> None:
        self.notified[entity, record_id] = None
        super().notify(entity, record_id)

    def back_up(self) -> None:
        (self.folder / "backup.db").unlink(missing_ok=True)
        make_backup(self.engine, self.folder / "backup.db", None, self.clock.now())

    def restore(self, last_alive: datetime | None = None) -> int:
        """Go back to the backup now, and find again all that ever happened; return what is held."""
        staged = self.folder / "staged.db"
        contents = stage(self.folder / "backup.db", staged)
        with opened_file(staged) as copy:
            held = open_restored_gap(
                copy, contents.made_at, "a test", self.clock.now(), last_alive=last_alive
            )
        put_into(self.engine, staged, lambda _: None)
        staged.unlink()
        for entity, record_id in list(self.notified):
            super().notify(entity, record_id)
        return held

    def sent(self) -> Counter[tuple[str, str]]:
        return Counter(
            (mail.recipient, str(mail.message["Subject"])) for mail in self.mailer.caught
        )

    def decide(self, word: str, *reasons: Reason) -> int:
        """Release or skip, as a person would, all that are held for these reasons."""
        function = release_held if word == "release" else skip_held
        with writing(self.engine) as connection:
            ids = [
                action.action_id
                for reason in reasons or (Reason.RESTORED,)
                for action in filtered_emails(
                    connection, EmailFilter(reason=reason), [ActionState.HELD]
                )
            ]
            return len(function(connection, ids, "Rita", self.clock.now()))

    def held(self) -> dict[Reason, int]:
        with reading(self.engine) as connection:
            return held_by_reason(connection)


@pytest.fixture
def space(ledger_engine: Engine, tmp_path: Path) -> Restorable:
    return Restorable(ledger_engine, tmp_path)


@pytest.mark.engines(*BOTH)
def test_emails_that_the_lost_ledger_sent_are_held_and_sent_once_when_released(
    space: Restorable,
) -> None:
    for number in (1, 2):
        space.enrol(number)
    space.work()
    space.back_up()
    space.later(minutes=10)
    members = [space.enrol(number) for number in (3, 4, 5)]
    space.work()
    space.finish(members[0], 1, 2)
    space.later(hours=1)
    sent = space.sent()
    assert sum(sent.values()) == 6

    space.later(minutes=10)
    assert space.restore() == 0
    space.work()
    space.later(hours=2)
    assert space.sent() == sent
    assert space.held() == {Reason.RESTORED: 4}
    assert [outcome for outcome in space.outcomes() if outcome != HELD] == [("done", None)] * 2

    space.enrol(6)
    space.work()
    new = space.sent() - sent
    assert list(new) == [("person6@example.org", "You're in: Freelance Finance")]

    assert space.decide("release") == 4
    assert space.decide("release") == 0
    space.work()
    space.later(hours=1)
    assert space.held() == {}
    assert max(space.sent().values()) == 2
    assert sum((space.sent() - sent - new).values()) == 4


def test_a_clock_set_back_across_a_restore_repeats_nothing(space: Restorable) -> None:
    space.later(hours=3)
    planned = space.enrol(1)
    space.look_up()  # planned in the copy, and sent afterwards
    space.back_up()
    space.work()
    space.later(minutes=10)
    space.enrol(2)
    space.finish(planned, 1)
    space.later(hours=1)
    sent, last_alive = space.sent(), space.clock.now()
    assert sum(sent.values()) == 3

    space.clock.time -= timedelta(hours=3)  # before the backup
    assert space.restore(last_alive) == 1
    space.later(hours=1)
    assert space.sent() == sent
    assert space.held()[Reason.RESTORED] >= 1
    space.decide("release")
    space.work()  # while the clock is still behind the end of the gap
    assert Reason.RESTORED not in space.held()
    assert sum((space.sent() - sent).values()) >= 1
    assert max(space.sent().values()) == 2


def test_a_clock_that_was_once_a_year_ahead_holds_nothing_after_a_restore(
    space: Restorable,
) -> None:
    space.clock.time += timedelta(days=365)
    space.enrol(1)
    space.work()
    space.clock.time -= timedelta(days=365)
    space.enrol(2)
    space.work()
    space.later(days=2)
    space.back_up()
    space.later(hours=1)
    space.restore()
    space.later(minutes=1)
    space.enrol(3)
    space.work()
    assert (len(space.subjects), space.held()) == (3, {})


@pytest.mark.postgres
def test_decisions_lock_rows_in_one_order_and_never_block_each_other(
    postgres_database_url: str,
) -> None:
    engine = open_engine(postgres_database_url)
    migrate(engine)
    for number in (1, 2):
        found = lesson_done(number, NOON)
        decide(engine, found, plan_for(found), NOON)
        with writing(engine) as connection:
            # Where the first is last in the table, PostgreSQL would lock it last.
            connection.execute(
                text("UPDATE actions SET state = 'held', reason = 'restored' WHERE id = :id"),
                {"id": number},
            )
    with writing(engine) as connection:
        connection.execute(text("UPDATE actions SET rule = rule WHERE id = 1"))

    def release() -> None:
        with writing(engine) as connection:
            release_held(connection, [1, 2], "Rita", NOON)

    is_waiting = text(
        "SELECT 1 FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def asked(statement: TextClause) -> list[int]:
        with engine.connect() as other:
            return list(other.scalars(statement))

    free = text("SELECT id FROM actions ORDER BY id FOR UPDATE SKIP LOCKED")
    thread = threading.Thread(target=release)
    with writing(engine) as connection:
        connection.execute(text("SELECT 1 FROM actions WHERE id = 2 FOR UPDATE"))
        thread.start()
        wait_until(lambda: asked(is_waiting) == [1], "the release waits for the second")
        assert asked(free) == []
    thread.join()
    with reading(engine) as connection:
        states = connection.scalars(text("SELECT state FROM actions")).all()
    assert states == ["waiting", "waiting"]
    engine.dispose()


def test_two_operators_who_release_the_same_emails_at_once_send_each_once(
    space: Restorable,
) -> None:
    space.back_up()
    space.enrol(1)
    space.work()
    space.restore()
    space.work()
    with reading(space.engine) as connection:  # both list what is held, then both decide
        held = filtered_emails(connection, EmailFilter(), [ActionState.HELD])
        ids = [action.action_id for action in held]
    assert len(ids) == 1
    for expected in (ids, []):
        with writing(space.engine) as connection:
            assert release_held(connection, ids, "Rita", space.clock.now()) == expected
        space.work()
    assert sum(space.sent().values()) == 2
    with writing(space.engine) as connection:
        assert skip_held(connection, ids, "Rita", space.clock.now()) == []


def test_skipped_emails_stay_skipped_and_the_log_names_the_operator(space: Restorable) -> None:
    space.back_up()
    space.enrol(1)
    space.work()
    space.restore()
    space.work()
    assert space.decide("skip") == 1
    space.later(days=1)
    assert space.outcomes() == [("skipped", "restored")]
    assert sum(space.sent().values()) == 1
    with reading(space.engine) as connection:
        log = [
            (line.what, line.who, line.detail.get("action_ids")) for line in decisions(connection)
        ]
    assert log == [("restore", "a test", None), ("skip", "Rita", [1])]


def test_held_released_and_skipped_emails_have_a_complete_history(
    space: Restorable,
) -> None:
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    space.back_up()
    space.enrol(2)
    space.later(hours=1)
    assert space.restore() == 1
    space.work()
    assert space.held() == {Reason.RESTORED: 2}
    for word in (None, "skip"):
        if word:
            space.decide(word)
        with reading(space.engine) as connection:
            found = outcomes_of(connection, [], NOON - timedelta(days=1), NOON + timedelta(days=1))
        assert len(found.effects) == 3
        assert [
            missing_trace(effect, traced_since=effect.planned_at)
            for effect in found.effects.values()
        ] == [None] * 3


def test_emails_planned_in_the_backup_are_held_if_due_before_the_restore(
    space: Restorable,
) -> None:
    first, second = space.enrol(1), space.enrol(2)
    space.work()
    space.finish(first, 1)
    space.later(minutes=20)
    space.finish(second, 1)
    space.work()
    space.back_up()
    space.later(minutes=15)  # the first has gone, the second still gathers
    sent = space.sent()
    assert sum(sent.values()) == 3
    assert space.restore() == 1
    space.later(hours=1)
    new = space.sent() - sent
    assert [recipient for recipient, _ in new.elements()] == ["person2@example.org"]
    assert space.held() == {Reason.RESTORED: 1}


@pytest.mark.parametrize(("at", "held"), [(23, 0), (33, 1)], ids=["at night", "in the morning"])
def test_an_email_waiting_for_the_morning_is_held_only_after_that_morning(
    space: Restorable, at: int, held: int
) -> None:
    space.at(NOON + timedelta(hours=9))
    space.enrol(1)
    space.work()
    space.back_up()
    space.at(NOON + timedelta(hours=at - 12))
    space.clock.time += timedelta(seconds=1)
    assert space.restore() == held
    space.at(NOON + timedelta(hours=24))
    assert sum(space.sent().values()) == 1
    assert space.held() == ({Reason.RESTORED: 1} if held else {})


def test_lessons_from_before_and_after_the_restore_share_no_email(space: Restorable) -> None:
    member = space.enrol(1)
    space.work()
    space.back_up()
    space.finish(member, 1)
    space.later(minutes=40)
    assert sum(space.sent().values()) == 2
    space.restore()
    space.clock.time += timedelta(minutes=1)
    space.finish(member, 2)  # both are found at the same time
    space.later(hours=1)
    assert space.held() == {Reason.RESTORED: 1}
    assert [mail.message["Subject"] for mail in space.mailer.caught[2:]] == [
        "You finished “Lesson 2”"
    ]
    space.decide("release")
    space.later(days=1)
    assert [mail.message["Subject"] for mail in space.mailer.caught[3:]] == [
        "You finished “Lesson 1”"
    ]


def test_no_event_that_may_have_been_sent_joins_a_released_email(
    space: Restorable,
) -> None:
    member = space.enrol(1)
    space.work()
    space.back_up()
    space.at(NOON + timedelta(hours=7))
    first_at = space.clock.now()
    space.finish(member, 1)
    space.at(NOON + timedelta(hours=9))  # night
    space.restore()
    space.work()
    space.decide("release")
    space.work()
    found_late = CompletedLesson(60_000, first_at, first_at, 2, None, member.record_id, None)
    space.source.have(Entity.COMPLETED_LESSON, found_late)
    space.notify(Entity.COMPLETED_LESSON, found_late.record_id)
    space.later(hours=12)
    assert space.held() == {Reason.RESTORED: 1}
    subjects = [str(mail.message["Subject"]) for mail in space.mailer.caught]
    assert subjects[1:] == ["You finished “Lesson 1”"]


def test_an_enrolment_that_was_approved_and_then_changed_is_held(space: Restorable) -> None:
    member = space.enrol(1, approved=False)
    space.work()
    space.back_up()
    space.later(minutes=10)
    space.change(member, approved=True)
    space.work()
    assert sum(space.sent().values()) == 1
    space.later(minutes=10)
    space.restore()
    space.clock.time += timedelta(minutes=10)
    space.change(member, approved=True)  # before anything was found again
    space.work()
    assert sum(space.sent().values()) == 1
    assert space.held() == {Reason.RESTORED: 1}


def test_emails_held_in_observe_mode_may_have_been_sent_by_the_lost_ledger(
    space: Restorable,
) -> None:
    space.choose(Mode.SENDING)
    space.choose(Mode.OBSERVE)
    space.enrol(1)
    space.work()
    assert space.held() == {Reason.OBSERVE: 1}
    space.back_up()
    space.choose(Mode.SENDING)
    space.work()
    assert sum(space.sent().values()) == 1
    space.later(minutes=10)
    space.restore()
    space.choose(Mode.SENDING)
    space.work()
    assert sum(space.sent().values()) == 1
    assert space.held() == {Reason.RESTORED: 1}


@pytest.mark.engines(*BOTH)
def test_emails_held_by_a_pause_may_have_been_sent_by_the_lost_ledger(space: Restorable) -> None:
    now = space.clock.now()
    with writing(space.engine) as connection:
        lock_decisions(connection)
        begin_pause(
            connection,
            PauseScope.ALL,
            None,
            until=now + timedelta(hours=1),
            note=None,
            who="Rita",
            now=now,
        )
    space.enrol(1)
    space.work()
    assert space.held() == {Reason.PAUSED: 1}
    space.back_up()
    space.later(minutes=61)
    sweep(space.delivery)
    space.work()
    assert sum(space.sent().values()) == 1
    assert space.restore() == 1
    sweep(space.delivery)
    space.later(minutes=10)
    assert sum(space.sent().values()) == 1
    assert space.held() == {Reason.RESTORED: 1}


@pytest.mark.engines(*BOTH)
def test_a_reminder_that_the_lost_ledger_may_have_sent_is_not_sent_later(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    space = Restorable(ledger_engine, tmp_path, REMINDERS)
    agree(space, 1)
    member = space.enrol(1)
    tick(space)
    space.later(days=1)
    space.finish(member, 1)
    tick(space)
    space.back_up()
    space.later(days=14)
    tick(space)
    assert space.subjects == ["Where you left off in Freelance Finance"]
    space.later(days=1)
    space.finish(member, 2)
    tick(space)
    space.restore()
    tick(space)
    space.later(days=14)
    tick(space)
    assert space.subjects == ["Where you left off in Freelance Finance"]


@pytest.mark.engines(*BOTH)
def test_emails_that_waited_for_nexudus_may_have_been_sent_before_they_were_due(
    space: Restorable,
) -> None:
    space.enrol(1)
    drain_batch(space.lookup_context)
    space.source.refuse()
    space.work()
    assert space.outcomes() == [("waiting", "nexudus-refused")]
    space.back_up()
    space.source.recover()
    with writing(space.engine) as connection:
        retry_refused(connection, space.clock.now())  # as a worker that starts does
    space.work()
    assert sum(space.sent().values()) == 1
    assert space.restore() == 1
    space.later(days=1)
    assert sum(space.sent().values()) == 1


def test_a_second_restore_holds_emails_released_after_the_first(space: Restorable) -> None:
    space.back_up()
    space.enrol(1)
    space.work()
    space.later(minutes=10)
    space.restore()
    space.work()
    space.later(minutes=10)
    space.decide("release")
    space.back_up()
    space.work()
    assert sum(space.sent().values()) == 2
    space.later(minutes=10)
    assert space.restore() == 1
    space.later(days=1)
    assert sum(space.sent().values()) == 2
