"""Alerts to operators, from the ledger to the mail server: once, at a decent hour, never twice."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from ledger.choices import address_hash, store_choices
from ledger.controls import change_mode
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import Gap, open_gap
from ledger.outages import note_outage, outages_now
from ledger.pauses import PauseScope, begin_pause
from ledger.reports import claim_report
from ledger.retention import delete_old
from ledger.tables import report_copies, reports
from schemas.actions import Mode
from schemas.choices import Choice, report_choice
from schemas.errors import ChannelUnavailable, DeliveryUnknown
from schemas.reasons import Reason
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.report_rig import BOSS, KEY, OPS, ReportDesk
from tests.contract.study_rig import SHIPPED, Space, rules_of
from workers.reports.send import send_reports

pytestmark = pytest.mark.engines("sqlite")
PATIENT = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")
HOUR = timedelta(hours=1)
MORNING = NOON.replace(hour=8)  # also in Lisbon, where it is winter


@pytest.fixture
def desk(ledger_engine: Engine) -> ReportDesk:
    return ReportDesk(Space(ledger_engine, rules_of(PATIENT)))


def lose(desk: ReportDesk, *numbers: int) -> None:
    """Let emails to these people end as unknown."""
    for number in numbers:
        desk.space.mailer.fail_next(DeliveryUnknown("the connection was lost"))
        desk.space.enrol(number)
        desk.space.work()


@pytest.mark.engines(*BOTH)
def test_what_needs_a_person_is_said_once_however_often_it_is_looked_at(desk: ReportDesk) -> None:
    lose(desk, 1, 2)
    for _ in range(3):
        desk.work()
    assert desk.subjects == ["Coursebell: 2 emails may have been sent or not"]
    [mail] = desk.space.mailer.caught
    assert mail.recipient == OPS
    assert "run coursebell status" in " ".join(desk.text().split())
    assert "<https://courses.example.org/u/" in str(mail.message["List-Unsubscribe"])
    assert desk.alerts() == [("attention", "done", None)]
    lose(desk, 3)
    desk.work()
    assert len(desk.subjects) == 1
    desk.at(NOON + HOUR)
    assert desk.subjects[1:] == ["Coursebell: 3 emails may have been sent or not"]


def test_nothing_is_planned_before_there_is_a_mail_server_or_an_address(desk: ReportDesk) -> None:
    lose(desk, 1)
    desk.has_mailer = False
    desk.work()
    desk.has_mailer = True
    desk.given(operator_email="")
    desk.work()
    assert desk.rows() == []


def test_what_is_not_urgent_is_said_in_the_morning_unless_it_is_over(desk: ReportDesk) -> None:
    desk.space.clock.time = NOON + 10 * HOUR
    lose(desk, 1)
    desk.work()
    assert desk.subjects == []
    desk.at(MORNING + timedelta(days=1) - timedelta(minutes=1))
    assert desk.subjects == []
    desk.at(MORNING + timedelta(days=1))
    assert len(desk.subjects) == 1


def test_what_lasts_is_not_said_again_hours_or_days_later(desk: ReportDesk) -> None:
    lose(desk, 1)
    for hours in (0, 1, 3, 9, 25, 49, 71):
        desk.at(NOON + hours * HOUR)
    assert desk.alerts() == [("attention", "done", None)]


def test_what_comes_during_the_night_is_one_alert_in_the_morning(desk: ReportDesk) -> None:
    for number in range(1, 5):
        desk.space.clock.time = NOON + (8 + 2 * number) * HOUR
        lose(desk, number)
        desk.work()
    desk.at(MORNING + timedelta(days=1))
    assert desk.subjects == ["Coursebell: 4 emails may have been sent or not"]
    assert desk.alerts() == [("attention", "done", None)]


def test_what_is_over_by_the_morning_is_not_said(desk: ReportDesk) -> None:
    desk.space.clock.time = NOON + 10 * HOUR
    desk.space.choose(Mode.OBSERVE)
    desk.work()
    desk.space.choose(Mode.SENDING)
    desk.at(MORNING + timedelta(days=1))
    assert desk.alerts() == [("trouble", "skipped", "changed-meanwhile")]


@pytest.mark.engines(*BOTH)
def test_alerts_leave_in_observe_mode_and_say_that_sending_is_off(desk: ReportDesk) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.work()
    assert desk.subjects == ["Coursebell: Sending has been off since 3 Mar 2026, 12:00"]


def test_a_new_installation_that_observes_is_no_trouble(ledger_engine: Engine) -> None:
    desk = ReportDesk(Space(ledger_engine, rules_of(PATIENT)))
    with writing(ledger_engine) as connection:
        connection.exec_driver_sql("DELETE FROM controls WHERE name = 'sending_started_at'")
        change_mode(connection, Mode.OBSERVE, "a test", NOON)
    desk.work()
    assert desk.rows() == []


def test_a_pause_that_lasts_a_day_is_said(desk: ReportDesk) -> None:
    with writing(desk.space.engine) as connection:
        begin_pause(connection, PauseScope.ALL, None, until=None, note=None, who="Rita", now=NOON)
    desk.at(NOON + timedelta(hours=23))
    assert desk.subjects == []
    desk.at(NOON + timedelta(hours=25))
    assert desk.subjects == ["Coursebell: Emails have been paused since 3 Mar 2026, 12:00"]


def outage(desk: ReportDesk, wait_s: float = 900.0) -> None:
    with writing(desk.space.engine) as connection:
        now, why = desk.space.clock.now(), Reason.MAIL_UNREACHABLE
        note_outage(connection, "email", why, "", now, lambda _: wait_s)


@pytest.mark.engines(*BOTH)
def test_a_mail_server_that_was_down_is_said_once_it_works_again(desk: ReportDesk) -> None:
    outage(desk)
    away = ChannelUnavailable(Reason.MAIL_UNREACHABLE, "away", answer="refused")
    desk.space.mailer.fail_next(away, away)
    for quarter in range(8):
        desk.at(NOON + timedelta(minutes=15 * quarter))
    assert desk.subjects == [
        "Coursebell: No email has gone out since 3 Mar 2026, 12:00"
    ]  # it says so at the time it could leave
    with reading(desk.space.engine) as connection:
        assert outages_now(connection) == {}


def test_a_mail_server_that_comes_and_goes_gives_no_alert(desk: ReportDesk) -> None:
    for number in range(50):
        desk.space.clock.time = NOON + timedelta(minutes=20 * number)
        outage(desk)
        desk.work()
        desk.space.enrol(number + 1)
        desk.space.clock.time += timedelta(minutes=16)
        desk.space.work()
        desk.work()
    assert "Coursebell" not in " ".join(desk.subjects)


def test_a_mail_server_that_works_again_when_the_alert_leaves_is_said_to_work(
    desk: ReportDesk,
) -> None:
    outage(desk, 2 * 3_600.0)
    desk.at(NOON + HOUR)
    desk.space.clock.time += 2 * HOUR
    desk.space.enrol(1)
    desk.space.work()
    desk.work()
    assert desk.subjects[1:] == ["Coursebell: No email could go out from 3 Mar 2026, 12:00 to…"]
    assert "from 3 Mar 2026, 12:00 to 3 Mar 2026, 15:00" in " ".join(desk.text().split())


def cut_off(desk: ReportDesk) -> None:
    """Kill the worker between the hand-over and its commit."""

    def die() -> None:
        raise SystemExit

    desk.space.mailer.at_end = die
    with pytest.raises(SystemExit):
        desk.work()
    desk.space.mailer.at_end = None


@pytest.mark.engines(*BOTH)
def test_an_alert_that_was_cut_off_is_unknown_and_never_sent_again(desk: ReportDesk) -> None:
    lose(desk, 1)
    cut_off(desk)
    for hour in range(1, 30):
        desk.at(NOON + hour * HOUR)
    assert desk.subjects == []
    assert desk.alerts() == [("attention", "unknown", "handover-unknown")]


def test_an_alert_cut_off_before_the_last_step_is_sent(desk: ReportDesk) -> None:
    lose(desk, 1)

    def die() -> None:
        raise SystemExit

    desk.space.mailer.meanwhile(die)
    with pytest.raises(SystemExit):
        desk.work()
    desk.at(NOON + HOUR)
    assert len(desk.subjects) == 1
    assert desk.alerts() == [("attention", "done", None)]


@pytest.mark.engines(*BOTH)
def test_two_workers_plan_and_send_one(desk: ReportDesk) -> None:
    lose(desk, 1)
    other = ReportDesk(desk.space)
    desk.space.mailer.meanwhile(other.work)
    desk.work()
    other.work()
    assert len(desk.subjects) == 1
    assert len(desk.rows()) == 1


def stop(desk: ReportDesk, address: str = OPS) -> None:
    with writing(desk.space.engine) as connection:
        no = Choice(agreed=False, chosen_at=desk.space.clock.now())
        store_choices(connection, [address_hash(address, KEY)], {report_choice("attention"): no})


def leave(desk: ReportDesk) -> None:
    desk.given(operator_email=BOSS)


def restore(desk: ReportDesk) -> None:
    with writing(desk.space.engine) as connection:
        open_gap(connection, Gap(NOON, desk.space.clock.now(), "restore"), "Rita")


@pytest.mark.parametrize(
    ("happens", "reason"),
    [(stop, "opted-out-kind"), (leave, "kind-off"), (restore, "restored")],
)
def test_what_changes_between_planning_and_sending_counts(
    desk: ReportDesk, happens: Callable[[ReportDesk], None], reason: str
) -> None:
    desk.space.clock.time = NOON + 10 * HOUR
    lose(desk, 1)
    desk.work()
    happens(desk)
    desk.space.clock.time = MORNING + timedelta(days=1)
    send_reports(desk.tools)
    assert desk.alerts()[0] == ("attention", "skipped", reason)
    assert OPS not in {mail.recipient for mail in desk.space.mailer.caught}


def test_a_reader_may_stop_alerts_until_the_last_step(desk: ReportDesk) -> None:
    lose(desk, 1)
    desk.space.mailer.meanwhile(lambda: stop(desk))
    desk.work()
    assert desk.alerts() == [("attention", "skipped", "opted-out-kind")]
    desk.at(NOON + timedelta(days=3))
    assert len(desk.rows()) == 1


def test_each_address_gets_its_own_and_a_new_one_learns_what_is_so(desk: ReportDesk) -> None:
    lose(desk, 1)
    desk.work()
    desk.given(operator_email=f"{OPS}, {BOSS}")
    desk.work()
    desk.work()
    assert [mail.recipient for mail in desk.space.mailer.caught] == [OPS, BOSS]


def test_a_refusal_of_one_report_holds_no_other_email(desk: ReportDesk) -> None:
    lose(desk, 1)
    desk.space.mailer.fail_on(OPS, ChannelUnavailable(Reason.MAIL_RELAY, "no", answer="550"))
    desk.work()
    assert desk.alerts() == [("attention", "waiting", "mail-relay")]
    with reading(desk.space.engine) as connection:
        assert outages_now(connection) == {}
    for day in range(1, 9):
        desk.at(NOON + timedelta(days=day))
    assert desk.alerts() == [("attention", "failed", "mail-relay")]


def test_no_address_is_in_the_ledger_but_in_copies_which_are_deleted(desk: ReportDesk) -> None:
    lose(desk, 1)
    desk.work()
    assert OPS not in " ".join(str(one) for row in desk.rows() for one in row)
    assert len(rows(desk.space.engine, report_copies)) == 1
    delete_old(desk.space.engine, NOON + timedelta(days=91))
    assert rows(desk.space.engine, report_copies) == []
    assert len(desk.rows()) == 1


def test_a_claim_that_a_clock_far_ahead_took_does_not_last(desk: ReportDesk) -> None:
    desk.space.clock.time = NOON + timedelta(days=365)
    lose(desk, 1)
    desk.space.clock.time = NOON
    desk.given()
    with writing(desk.space.engine) as connection:
        connection.execute(update(reports).values(due_at=NOON))
        claim_report(connection, NOON + timedelta(days=365), "1" * 32, lease_s=60)
    desk.work()
    assert len(desk.subjects) == 1
