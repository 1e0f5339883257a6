"""After a clock was a day ahead, nothing that it left behind lasts that day."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import pytest
from sqlalchemy import Table, update
from structlog.testing import capture_logs

from ledger.checks import CheckKind, begin_check, end_check, last_run
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, sending_of
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import (
    LastHeartbeat,
    heartbeats_ahead,
    last_heartbeats,
    record_heartbeat,
    take_lease,
)
from ledger.hooks import Watch, store_watch
from ledger.interventions import decisions
from ledger.listings import Listing, accept_listings
from ledger.lookups import claim_lookups, next_lookup_at
from ledger.outages import note_outage
from ledger.outbox import begin_action, claim_actions, commit_action, next_action_at
from ledger.skew import clock_ahead
from ledger.source_state import SignIn, store_sign_in
from ledger.tables import actions, lookups, outages
from schemas.actions import Mode
from schemas.entity import FOLLOWED, Entity
from schemas.events import TOLERANCE
from schemas.reasons import Reason
from schemas.settings import load_settings
from service.readiness import readiness
from tests.builders.records import COURSE_ID, NOON, lesson
from tests.contract.ledger_rig import BOTH, LEASE_S, NOW, at, claim, rows
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import LISBON, SHIPPED, Space, rules_of
from workers.attention import clock_warnings
from workers.deliver.claim import perform_batch, sweep
from workers.leases import Lease
from workers.retries import LONGEST_WAITS, refused_again_at
from workers.source.auth import Credentials, Tokens
from workers.sync.reconcile import is_nightly_due
from workers.sync.webhooks import is_check_due

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

A_DAY = timedelta(days=1)
DAYTIME = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(DAYTIME))


def ahead(space: Space, do: Callable[[], object]) -> None:
    """Do something while the clock is a day ahead."""
    space.clock.time += A_DAY
    do()
    space.clock.time -= A_DAY


def claim_one(space: Space) -> None:
    """Claim what is due, as a worker that then crashes."""
    with writing(space.engine) as connection:
        claim_lookups(connection, space.clock.now(), SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=9)
        claim_actions(connection, space.clock.now(), SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=9)


def test_a_lookup_with_a_lease_from_the_future_is_taken_over_at_once(space: Space) -> None:
    space.enrol(1)
    ahead(space, lambda: claim_one(space))
    with reading(space.engine) as connection:
        assert next_lookup_at(connection, space.clock.now(), lease_s=LEASE_S) == space.clock.now()
    space.work()
    assert space.outcomes() == [("done", None)]


def test_an_action_with_a_lease_from_the_future_is_taken_over_at_once(space: Space) -> None:
    space.enrol(1)
    space.look_up()
    ahead(space, lambda: claim_one(space))
    with reading(space.engine) as connection:
        found = next_action_at(connection, space.clock.now(), lease_s=LEASE_S)
    assert found is not None
    assert found <= space.clock.now()
    space.work()
    assert space.outcomes() == [("done", None)]


@pytest.mark.parametrize("committed", [False, True])
def test_a_hand_over_cut_off_in_the_future_is_settled_now_and_never_repeated(
    space: Space, *, committed: bool
) -> None:
    def hand_over() -> None:
        now = space.clock.now()
        with writing(space.engine) as connection:
            [one] = claim_actions(connection, now, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=1)
            assert begin_action(connection, one, now, lease_s=LEASE_S, events=1)
            assert not committed or commit_action(connection, one, now, lease_s=LEASE_S)

    space.enrol(1)
    space.look_up()
    ahead(space, hand_over)
    sweep(space.delivery)
    space.work()
    expected = ("unknown", "handover-unknown") if committed else ("done", None)
    assert space.outcomes() == [expected]
    assert len(space.mailer.caught) == (0 if committed else 1)


@pytest.mark.parametrize("minutes_ahead", [0, 4])
def test_the_live_lease_of_a_host_a_little_ahead_is_kept(
    space: Space, minutes_ahead: float
) -> None:
    space.enrol(1)
    space.clock.move(60 * minutes_ahead)
    claim_one(space)
    with writing(space.engine) as connection:
        assert take_lease(connection, "clock", "it", space.clock.now(), lease_s=5)
    space.clock.move(-60 * minutes_ahead)
    assert claim(space.engine, space.clock.now()) == []
    with writing(space.engine) as connection:
        assert not take_lease(connection, "clock", "another", space.clock.now(), lease_s=5)


def test_a_worker_that_lives_through_the_correction_sends_nothing_twice(space: Space) -> None:
    def set_back_and_sweep() -> None:
        space.clock.time -= A_DAY
        sweep(space.delivery)

    space.enrol(1)
    space.look_up()
    space.clock.time += A_DAY
    space.mailer.meanwhile(set_back_and_sweep)
    perform_batch(space.delivery, space.lend)
    space.work()
    assert space.mailer.asked == 2
    assert len(space.mailer.caught) == 1
    assert space.outcomes() == [("done", None)]


def test_a_lease_is_renewed_at_once_when_the_clock_was_set_back() -> None:
    clock, renewed = HandClock(NOW + A_DAY), list[datetime]()

    def renew() -> bool:
        renewed.append(clock.now())
        return True

    lease = Lease(renew, clock, LEASE_S)
    lease.keep()
    clock.time = NOW
    lease.keep()
    lease.keep()
    assert renewed == [NOW + A_DAY, NOW]


def test_a_named_lease_from_the_future_is_free(ledger_engine: Engine) -> None:
    for holder, seconds in (("it", 86_400.0), ("another", 0.0)):
        with writing(ledger_engine) as connection:
            assert take_lease(connection, "reconcile", holder, at(seconds), lease_s=120)


def test_a_heartbeat_from_the_future_counts_as_none_and_is_shown(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        record_heartbeat(connection, "worker", "host:1", NOW + A_DAY)
        record_heartbeat(connection, "clock", "host:2", NOW)
    with reading(ledger_engine) as connection:
        assert last_heartbeats(connection, NOW) == {"clock": NOW}
        assert heartbeats_ahead(connection, NOW) == [LastHeartbeat("worker", "host:1", NOW + A_DAY)]
        said = [line for line in clock_warnings(connection, NOW) if "host:1" in line]
    assert len(said) == 1
    assert "24 h ahead" in said[0]
    parts = readiness(load_settings({}), ledger_engine, NOW)
    assert parts["clock"] == "ok"
    assert "dated in the future" in parts["worker"]
    with writing(ledger_engine) as connection:
        record_heartbeat(connection, "worker", "host:3", NOW + TOLERANCE)
    assert readiness(load_settings({}), ledger_engine, NOW)["worker"] == "ok"


@pytest.mark.engines(*BOTH)
def test_the_clock_of_a_database_server_is_compared_with_ours(ledger_engine: Engine) -> None:
    with reading(ledger_engine) as connection:
        said = list(clock_warnings(connection, SYSTEM_CLOCK.now() - A_DAY))
        assert list(clock_warnings(connection, SYSTEM_CLOCK.now())) == []
        if ledger_engine.dialect.name == "sqlite":
            assert said == []
            assert clock_ahead(connection, NOW) is None
            return
    assert said == ["the clock of this machine is 24 h behind the database server's"]


def test_a_lookup_due_in_the_future_is_due_now(space: Space) -> None:
    ahead(space, lambda: space.enrol(1))
    space.work()
    assert space.lookups() == [("due", None)]
    with capture_logs() as logs:
        sweep(space.delivery)
    assert [line["count"] for line in logs if line["event"] == "clock.waits-ended"] == [1]
    space.work()
    assert space.lookups() == [("done", None)]


@pytest.mark.parametrize("table", [lookups, actions])
def test_only_a_wait_longer_than_any_possible_one_ends(space: Space, table: Table) -> None:
    def due_after_a_sweep(reason: Reason | None, wait: timedelta) -> timedelta:
        values = {"state": "waiting", "reason": reason, "due_at": space.clock.now() + wait}
        with writing(space.engine) as connection:
            connection.execute(update(table).values(values))
        sweep(space.delivery)
        due_at: datetime = rows(space.engine, table)[0].due_at
        return due_at - space.clock.now()

    space.enrol(1)
    space.look_up()
    a_second = timedelta(seconds=1)
    for reason, longest in LONGEST_WAITS.items():
        assert due_after_a_sweep(reason, longest) == longest
        assert due_after_a_sweep(reason, longest + TOLERANCE + a_second) == timedelta()
    if table is actions:  # released by a person
        assert due_after_a_sweep(None, TOLERANCE + a_second) == timedelta()


def test_waits_that_people_or_records_set_are_not_shortened(space: Space) -> None:
    space.enrol(1)
    space.look_up()
    for state, reason in (("waiting", Reason.GATHERING), ("planned", None)):
        values = {"state": state, "reason": reason, "due_at": space.clock.now() + 300 * A_DAY}
        with writing(space.engine) as connection:
            connection.execute(update(actions).values(values))
        sweep(space.delivery)
        assert rows(space.engine, actions)[0].due_at == values["due_at"]


def test_an_outage_that_ends_in_the_far_future_ends_now(space: Space) -> None:
    for moment, expected in ((space.clock.now(), 900), (space.clock.now() + A_DAY, 0)):
        with writing(space.engine) as connection:
            connection.execute(outages.delete())
            note_outage(connection, "email", Reason.MAIL_BUSY, "", moment, lambda _: 900.0)
        sweep(space.delivery)
        until = rows(space.engine, outages)[0].until
        assert (until - space.clock.now()).total_seconds() == expected


def test_no_wait_exceeds_its_bound() -> None:
    latest = refused_again_at(NOW, 99, chance=1.0)
    assert latest - NOW == LONGEST_WAITS[Reason.NEXUDUS_REFUSED]


@pytest.mark.engines(*BOTH)
def test_a_ledger_that_began_in_the_future_emails_about_today(
    ledger_engine: Engine,
) -> None:
    # Times of today, since the database server's own clock has to agree.
    clock = HandClock(SYSTEM_CLOCK.now().replace(microsecond=0))
    began_at = clock.time + A_DAY
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.SENDING, began_at, SYSTEM_CLOCK.new_id())
    space = Space(ledger_engine, rules_of(DAYTIME), clock, begins=began_at - NOON)
    with capture_logs() as logs:
        sweep(space.delivery)
        sweep(space.delivery)
    assert len([line for line in logs if line["event"] == "clock.start-corrected"]) == 1
    with reading(ledger_engine) as connection:
        sending = sending_of(connection)
        assert [one.what for one in decisions(connection)] == ["start"]
    assert sending.started_at == sending.began_at
    assert sending.started_at is not None
    assert began_at - A_DAY <= sending.started_at < began_at
    clock.move(60)
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("done", None)]


@pytest.mark.engines(*BOTH)
def test_a_start_is_corrected_when_a_process_begins_too(ledger_engine: Engine) -> None:
    now = SYSTEM_CLOCK.now()
    for moment in (now + A_DAY, now):
        with writing(ledger_engine) as connection:
            begin_with(connection, Mode.SENDING, moment, SYSTEM_CLOCK.new_id())
    with reading(ledger_engine) as connection:
        since = sending_of(connection).watching_since
    assert since is not None
    assert now <= since < now + A_DAY


@pytest.mark.engines(*BOTH)
def test_a_host_that_is_behind_its_database_server_moves_no_start(ledger_engine: Engine) -> None:
    now = SYSTEM_CLOCK.now()
    for moment in (now, now - A_DAY):
        with writing(ledger_engine) as connection:
            begin_with(connection, Mode.SENDING, moment, SYSTEM_CLOCK.new_id())
    with reading(ledger_engine) as connection:
        since = sending_of(connection).watching_since
    is_file = ledger_engine.dialect.name == "sqlite"  # which has no clock to compare with
    assert since == (now - A_DAY if is_file else now)


def test_the_last_run_is_the_newest_by_id_and_not_one_from_the_future(
    ledger_engine: Engine,
) -> None:
    kind, entity = CheckKind.CHECK, Entity.COURSE_MEMBER
    with writing(ledger_engine) as connection:
        for moment in (NOW + A_DAY, NOW):
            run = begin_check(connection, kind, entity, moment)
            end_check(connection, run.check_id, moment)
        found = last_run(connection, [kind], entity)
    assert found is not None
    assert found.begun_at == NOW


@pytest.mark.engines(*BOTH)
def test_work_dated_in_the_future_is_done_again_today(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        for entity in FOLLOWED:
            run = begin_check(connection, CheckKind.BASELINE, entity, NOW - A_DAY)
            end_check(connection, run.check_id, NOW - A_DAY)
        run = begin_check(connection, CheckKind.RECONCILE, None, NOW + A_DAY)
        end_check(connection, run.check_id, NOW + A_DAY)
        store_watch(connection, Watch(None, looked_at=NOW + A_DAY), NOW + A_DAY)
        assert is_nightly_due(connection, NOW, LISBON)
        assert is_check_due(connection, NOW)
        store_watch(connection, Watch(None, looked_at=NOW), NOW)
        run = begin_check(connection, CheckKind.RECONCILE, None, NOW)
        end_check(connection, run.check_id, NOW)
        assert not is_nightly_due(connection, NOW, LISBON)
        assert not is_check_due(connection, NOW)


def test_a_record_missing_from_a_list_is_gone_even_if_it_was_read_in_the_future(
    ledger_engine: Engine,
) -> None:
    entity, parent, records = Entity.LESSON, ("course_id", COURSE_ID), [lesson(1), lesson(2)]
    with writing(ledger_engine) as connection:
        later = NOW + A_DAY
        accept_listings(connection, [Listing(entity, parent, records, later, later)])
        one_less = Listing(entity, parent, records[:1], NOW, NOW)
        assert accept_listings(connection, [one_less]) == [(entity, 2)]


def no_transport() -> NoReturn:
    """Stand for the way to the source, where nothing is to be asked."""
    raise AssertionError


def test_a_sign_in_from_the_future_is_replaced(ledger_engine: Engine) -> None:
    tokens = Tokens(ledger_engine, no_transport, Credentials("a", "b"), HandClock(NOW))
    for signed_in_at, usable in ((NOW, True), (NOW + TOLERANCE, True), (NOW + A_DAY, False)):
        until = signed_in_at + timedelta(minutes=20)
        with writing(ledger_engine) as connection:
            store_sign_in(connection, SignIn(1, "token", "refresh", signed_in_at, until))
        assert (tokens.newer_than(0) is not None) is usable
