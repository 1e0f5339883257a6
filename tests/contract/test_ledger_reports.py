"""The outbox of reports on both engines: who may change a row, and what clocks and rivals leave."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text, update

from ledger.actions import Copy
from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.outages import note_outage
from ledger.reports import (
    Report,
    ReportPlan,
    begin_report,
    claim_report,
    commit_report,
    expire_reports,
    last_reports,
    note_report_state,
    plan_report,
    renew_report,
    report_state,
    settle_report,
)
from ledger.skew import end_far_waits
from ledger.tables import reports
from schemas.actions import Outcome, audience_of
from schemas.errors import DeliveryUnknown
from schemas.events import TOLERANCE
from schemas.reasons import Reason
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH, PATIENCE_S, rows
from tests.contract.report_rig import BOSS, OPS, ReportDesk
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.servers.programs import wait_until
from workers.actions.email.action import EmailAction
from workers.reports.alerts import AlertState
from workers.reports.listing import report_lines
from workers.reports.plan import plan_reports
from workers.reports.send import send_reports
from workers.retries import LONGEST_REPORT_WAITS, LONGEST_WAITS

pytestmark = pytest.mark.engines(*BOTH)
LEASE_S = 60
A_COPY = Copy("1", OPS, "a title", b"a body", "text/plain")
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
ALERT = ReportPlan("attention/a/1", "attention", "a", NOON)
DIGEST = replace(ALERT, key="digest", name="digest", period_from=NOON - 7 * DAY, period_to=NOON)


def claimed_at(engine: Engine, moment: datetime, token: str) -> Report:
    with writing(engine) as connection:
        found = claim_report(connection, moment, token, lease_s=LEASE_S)
    assert found is not None
    return found


def test_a_report_that_another_worker_took_over_is_no_longer_changed_by_the_first(
    ledger_engine: Engine,
) -> None:
    with writing(ledger_engine) as connection:
        plan_report(connection, ALERT, NOON)
    first = claimed_at(ledger_engine, NOON, "1" * 32)
    later = NOON + timedelta(seconds=LEASE_S)
    second = claimed_at(ledger_engine, later, "2" * 32)

    def may_change(claimed: Report) -> list[bool]:
        with writing(ledger_engine) as connection:
            return [
                renew_report(connection, claimed, later, lease_s=LEASE_S),
                begin_report(connection, claimed, A_COPY, later, lease_s=LEASE_S),
                commit_report(connection, claimed, later, lease_s=LEASE_S),
                settle_report(connection, claimed, Outcome.done(claimed.token), later),
            ]

    assert may_change(first) == [False] * 4
    assert may_change(second) == [True] * 4
    assert may_change(first) == [False] * 4
    assert rows(ledger_engine, reports)[0].receipt == second.token


def test_the_last_report_to_an_address_is_shown_however_long_ago_it_was(
    ledger_engine: Engine,
) -> None:
    desk = ReportDesk(Space(ledger_engine, rules_of(SHIPPED)))
    plan = replace(ALERT, audience=str(audience_of(OPS)))
    with writing(ledger_engine) as connection:
        plan_report(connection, plan, NOON)
    claimed = claimed_at(ledger_engine, NOON, "1" * 32)
    with writing(ledger_engine) as connection:
        settle_report(connection, claimed, Outcome.done("250 ok"), NOON)
        plan_report(connection, replace(plan, key="next"), NOON)
    now = NOON + 180 * DAY
    with reading(ledger_engine) as connection:
        assert [one.plan.key for one in last_reports(connection, NOON + DAY)] == [plan.key, "next"]
        assert [one.plan.key for one in last_reports(connection, now)] == ["next"]
        line, *_ = report_lines(connection, desk.tools, now)
    assert line.last is not None
    assert (line.last.plan.key, line.due_at) == (plan.key, NOON)


def test_a_receipt_whose_commit_was_not_confirmed_counts_as_stored(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        plan_report(connection, ALERT, NOON)
    claimed = claimed_at(ledger_engine, NOON, "1" * 32)
    for receipt, is_stored in (("250 ok", True), ("250 ok", True), ("250 other", False)):
        with writing(ledger_engine) as connection:
            assert settle_report(connection, claimed, Outcome.done(receipt), NOON) is is_stored


def test_a_report_whose_workers_vanish_is_tried_less_and_less_often(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        plan_report(connection, ALERT, NOON)
    now, waits = NOON, []
    for number in range(6):
        claimed = claimed_at(ledger_engine, now, str(number) * 32)
        with writing(ledger_engine) as connection:
            begin_report(connection, claimed, A_COPY, now, lease_s=LEASE_S)
            over = now + timedelta(seconds=LEASE_S)
            assert expire_reports(connection, over, lease_s=LEASE_S) == (1, 0)
        now = rows(ledger_engine, reports)[0].due_at
        waits.append((now - over).total_seconds())
    assert waits == [0, 0, 0, 8, 16, 32]
    assert rows(ledger_engine, reports)[0].tries == {"mail-interrupted": 6}


def due_after(
    engine: Engine, plan: ReportPlan, reason: Reason | None, wait: timedelta
) -> timedelta:
    """Return how long a report still waits after far waits were ended."""
    with writing(engine) as connection:
        connection.execute(reports.delete())
        plan_report(connection, plan, NOON)
        values = {"state": "waiting" if reason else "planned", "reason": reason}
        connection.execute(update(reports).values(due_at=NOON + wait, **values))
        end_far_waits(connection, NOON, LONGEST_WAITS, LONGEST_REPORT_WAITS)
    due_at: datetime = rows(engine, reports)[0].due_at
    return due_at - NOON


def test_only_a_wait_longer_than_any_possible_one_ends(ledger_engine: Engine) -> None:
    planned = (None, timedelta(hours=25))
    for reason, length in (*LONGEST_REPORT_WAITS.items(), planned):
        assert due_after(ledger_engine, ALERT, reason, length) == length
        assert due_after(ledger_engine, ALERT, reason, length + TOLERANCE + SECOND) == timedelta()


def test_a_digest_waits_for_the_end_of_its_period_however_far(ledger_engine: Engine) -> None:
    assert due_after(ledger_engine, DIGEST, Reason.PAUSED, DAY) == timedelta()
    # A clock ahead planned and tried this one, and it goes when its week is over.
    early = replace(DIGEST, period_to=NOON + 3 * DAY)
    assert due_after(ledger_engine, early, Reason.PAUSED, 4 * DAY) == 4 * DAY
    assert due_after(ledger_engine, early, None, 4 * DAY) == 4 * DAY


def test_a_reason_that_a_report_may_cause_itself_has_the_bound_of_its_own_tries() -> None:
    reasons = EmailAction.reasons
    bounds = {LONGEST_REPORT_WAITS[reason] for reason in (*reasons.maybe_own, reasons.later)}
    assert bounds == {LONGEST_WAITS[Reason.MAIL_TEMPORARY]}


@pytest.fixture
def desk(ledger_engine: Engine) -> ReportDesk:
    return ReportDesk(Space(ledger_engine, rules_of(SHIPPED)))


def lose(desk: ReportDesk, number: int) -> None:
    desk.space.mailer.fail_next(DeliveryUnknown("the connection was lost"))
    desk.space.enrol(number)
    desk.space.work()


def test_an_alert_that_a_clock_a_year_ahead_left_behind_goes_at_once(desk: ReportDesk) -> None:
    desk.space.clock.time = NOON + 365 * DAY
    lose(desk, 1)
    plan_reports(desk.tools)
    desk.space.clock.time += timedelta(hours=10)  # it is night, so it waits
    send_reports(desk.tools)
    assert desk.alerts()[0] == ("attention", "waiting", "quiet-hours")
    desk.space.clock.time = NOON
    with writing(desk.space.engine) as connection:
        end_far_waits(connection, NOON, LONGEST_WAITS, LONGEST_REPORT_WAITS)
    desk.work()
    assert desk.alerts()[0] == ("attention", "done", None)
    lose(desk, 2)
    desk.at(NOON + timedelta(hours=1))
    assert desk.alerts() == [("attention", "done", None)] * 2


def test_an_alert_that_a_clock_ahead_put_off_until_its_morning_goes_at_once(
    desk: ReportDesk,
) -> None:
    lose(desk, 1)
    desk.space.clock.time = NOON + timedelta(hours=10)
    plan_reports(desk.tools)
    desk.at(NOON)
    assert desk.alerts()[0] == ("attention", "done", None)


def test_an_alert_takes_the_next_free_number(desk: ReportDesk) -> None:
    lose(desk, 1)
    audience = str(audience_of(OPS))
    with writing(desk.space.engine) as connection:
        for number in (1, 2):
            key = f"attention/{audience}/{number}"
            plan = ReportPlan(key, "attention", audience, NOON, skipped_for=Reason.RESTORED)
            plan_report(connection, plan, NOON)
    desk.work()
    assert rows(desk.space.engine, reports)[-1].key == f"attention/{audience}/3"
    assert desk.subjects == ["Coursebell: 1 email may have been sent or not"]
    with reading(desk.space.engine) as connection:
        assert report_state(connection, "attention")[audience]["number"] == 3


def test_reports_that_wait_for_the_mail_server_go_once_an_email_was_accepted(
    desk: ReportDesk,
) -> None:
    lose(desk, 1)
    plan_reports(desk.tools)
    with writing(desk.space.engine) as connection:
        note_outage(connection, "email", Reason.MAIL_LOGIN, "", NOON, lambda _: 60.0)
        waiting = {"state": "waiting", "reason": "mail-login", "due_at": NOON + DAY}
        connection.execute(update(reports).values(waiting))
    desk.space.clock.time = NOON + timedelta(minutes=1)
    desk.space.enrol(2)
    desk.space.work()
    send_reports(desk.tools)
    assert desk.alerts() == [("attention", "done", None)]


NOTED = AlertState({"held": 7}).plain


@contextmanager
def meanwhile_noted(engine: Engine, name: str) -> Iterator[Callable[[], None]]:
    """While another transaction notes something about another operator, let one wait for it."""
    is_waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    def one_waits() -> bool:
        with engine.connect() as other:
            return bool(other.scalar(is_waiting) == 1)

    with writing(engine) as connection:
        lock_decisions(connection)
        note_report_state(connection, name, str(audience_of(BOSS)), NOTED, NOON)
        yield lambda: wait_until(one_waits, "it waits for the other transaction")


def check_both_are_noted(desk: ReportDesk, name: str) -> None:
    with reading(desk.space.engine) as connection:
        noted = report_state(connection, name)
    assert noted[str(audience_of(BOSS))] == NOTED
    assert str(audience_of(OPS)) in noted


@pytest.mark.engines("postgres")
@pytest.mark.parametrize("name", ["attention", "summary"])
def test_planning_overwrites_nothing_that_is_noted_meanwhile(desk: ReportDesk, name: str) -> None:
    # The other one is there, so that only the change of one row is at stake.
    with writing(desk.space.engine) as connection:
        note_report_state(connection, name, "other", {}, NOON)
        note_report_state(connection, "attention", str(audience_of(OPS)), AlertState().plain, NOON)
    if name == "attention":
        lose(desk, 1)
    thread = threading.Thread(target=plan_reports, args=[desk.tools])
    with meanwhile_noted(desk.space.engine, name) as until_it_waits:
        thread.start()
        until_it_waits()
    thread.join()
    check_both_are_noted(desk, name)


@pytest.mark.engines("postgres")
@pytest.mark.parametrize("is_accepted", [False, True])
def test_sending_overwrites_nothing_that_is_noted_meanwhile(
    desk: ReportDesk, *, is_accepted: bool
) -> None:
    lose(desk, 1)
    plan_reports(desk.tools)
    desk.space.clock.time += timedelta(minutes=1)
    is_handed_over, is_noting = threading.Event(), threading.Event()

    def give_way() -> None:
        is_handed_over.set()
        assert is_noting.wait(PATIENCE_S)

    thread = threading.Thread(target=send_reports, args=[desk.tools])
    if is_accepted:  # the other begins after the hand-over, else before it
        desk.space.mailer.at_end = give_way
        thread.start()
        assert is_handed_over.wait(PATIENCE_S)
    with meanwhile_noted(desk.space.engine, "attention") as until_it_waits:
        is_noting.set()
        if not is_accepted:
            thread.start()
        until_it_waits()
    thread.join()
    check_both_are_noted(desk, "attention")
    with reading(desk.space.engine) as connection:
        noted = report_state(connection, "attention")[str(audience_of(OPS))]
    assert noted["known"] == {"unknown": 1}
