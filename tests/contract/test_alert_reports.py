"""Alerts to operators, from the ledger to the mail server: once, at a decent hour, never twice."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from ledger.choices import address_hash, store_choices
from ledger.controls import change_mode
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import Gap, open_gap
from ledger.hooks import Watch, store_watch
from ledger.outages import note_outage, outages_now
from ledger.pauses import PauseScope, begin_pause
from ledger.reports import claim_report, expire_reports
from ledger.retention import delete_old
from ledger.tables import report_copies, reports
from schemas.actions import Mode
from schemas.choices import Choice, report_choice
from schemas.errors import ChannelUnavailable, DeliveryUnavailable, DeliveryUnknown
from schemas.reasons import Reason
from schemas.settings import load_settings
from tests.builders.records import NOON
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.report_rig import BOSS, GIVEN, KEY, OPS, ReportDesk
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.doubles.slow_smtp import SlowSmtp
from tests.servers.programs import wait_until
from workers import tasks
from workers.context import read_shared_config
from workers.reports.plan import plan_reports
from workers.reports.send import send_reports
from workers.shared_state import SharedState
from workers.worker_process import close_process, initialise_process

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
    # It is accepted, so by the time it is read emails can be sent.
    assert desk.subjects == ["Coursebell: No email could go out from 3 Mar 2026, 12:00 to…"]
    with reading(desk.space.engine) as connection:
        assert outages_now(connection) == {}


def test_a_mail_server_that_comes_and_goes_gives_no_alert(desk: ReportDesk) -> None:
    for number in range(20):
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


def end_outage_at(desk: ReportDesk, moment: datetime) -> None:
    """Let an email to a member be the first that is accepted."""
    desk.space.clock.time = moment
    desk.space.enrol(900 + moment.hour)
    desk.space.work()


def test_an_outage_during_the_night_is_said_by_the_alert_that_waited_for_the_morning(
    desk: ReportDesk,
) -> None:
    desk.space.clock.time = NOON + 9 * HOUR
    lose(desk, 1)
    desk.work()
    desk.space.choose(Mode.OBSERVE)
    desk.work()
    desk.space.choose(Mode.SENDING)
    desk.space.clock.time = NOON + 10 * HOUR
    outage(desk, 2 * 3_600.0)
    end_outage_at(desk, NOON + 12 * HOUR)
    desk.at(MORNING + timedelta(days=1))
    [text] = [desk.text(number) for number in (-1, -2) if "go out" in desk.text(number)]
    assert "from 3 Mar 2026, 22:00 to 4 Mar 2026, 00:00" in " ".join(text.split())
    assert ("trouble", "done", None) in desk.alerts()


def test_an_alert_that_leaves_long_after_an_outage_says_when_that_ended(desk: ReportDesk) -> None:
    outage(desk, 2 * 3_600.0)
    desk.at(NOON + HOUR)
    desk.space.mailer.fail_on(OPS, DeliveryUnavailable("try later"))
    end_outage_at(desk, NOON + 2 * HOUR)
    desk.work()
    # It was tried, and meanwhile there is another outage.
    outage(desk, 2 * 3_600.0)
    desk.at(NOON + 3 * HOUR)
    end_outage_at(desk, NOON + 4 * HOUR)
    desk.work()
    desk.space.mailer.pass_on(OPS)
    desk.at(NOON + 7 * HOUR)
    text = " ".join(desk.text().split())
    assert "from 3 Mar 2026, 12:00 to 3 Mar 2026, 14:00" in text
    assert "from 3 Mar 2026, 14:00 to 3 Mar 2026, 16:00" in text
    desk.space.choose(Mode.OBSERVE)
    desk.at(MORNING + timedelta(days=1))
    assert "go out" not in desk.text()  # it was said


def test_an_outage_whose_alert_was_refused_is_said_by_the_next(desk: ReportDesk) -> None:
    outage(desk, 2 * 3_600.0)
    desk.at(NOON + HOUR)
    desk.space.mailer.answer(OPS, "550 5.7.1 not today")
    end_outage_at(desk, NOON + 2 * HOUR)
    desk.work()
    desk.space.mailer.accept(OPS)
    desk.space.choose(Mode.OBSERVE)
    desk.at(NOON + 4 * HOUR)
    assert "from 3 Mar 2026, 12:00 to 3 Mar 2026, 14:00" in " ".join(desk.text().split())


def attention(desk: ReportDesk) -> list[tuple[str, str | None]]:
    return [one[1:] for one in desk.alerts() if one[0] == "attention"]


@pytest.mark.engines(*BOTH)
def test_an_outage_uses_up_no_try_of_an_alert_that_waited_through_it(desk: ReportDesk) -> None:
    lose(desk, 1)
    away = ChannelUnavailable(Reason.MAIL_UNREACHABLE, "away", answer="refused")
    desk.space.mailer.fail_on(OPS, away)
    for hour in range(8):
        desk.at(NOON + hour * HOUR)
    assert attention(desk) == [("waiting", "mail-unreachable")]
    desk.space.mailer.fail_on(OPS, DeliveryUnavailable("greylisted"))
    for day in range(1, 6):
        desk.at(NOON + timedelta(days=day))
        assert attention(desk) == [("waiting", "mail-temporary")]
    desk.at(NOON + timedelta(days=6))
    assert attention(desk) == [("failed", "mail-temporary")]


def test_a_reason_that_stops_all_email_already_uses_up_no_try_and_extends_nothing(
    desk: ReportDesk,
) -> None:
    lose(desk, 1)
    with writing(desk.space.engine) as connection:
        note_outage(connection, "email", Reason.MAIL_SENDER, "", NOON, lambda _: 0.0)
    desk.space.mailer.fail_on(OPS, ChannelUnavailable(Reason.MAIL_SENDER, "no", answer="550"))
    for day in range(8):
        desk.at(NOON + timedelta(days=day))
    assert attention(desk) == [("waiting", "mail-sender")]
    with reading(desk.space.engine) as connection:
        assert outages_now(connection)["email"].until == NOON
    desk.space.mailer.pass_on(OPS)
    desk.at(NOON + timedelta(days=8))
    assert attention(desk) == [("done", None)]


def test_a_try_that_is_repeated_at_night_waits_for_the_morning_unless_it_is_urgent(
    desk: ReportDesk,
) -> None:
    desk.space.clock.time = NOON + timedelta(hours=7, minutes=55)
    lose(desk, 1)
    desk.space.mailer.fail_next(*(DeliveryUnavailable("try later") for _ in range(2)))
    desk.work()
    desk.at(NOON + 8 * HOUR)
    assert desk.alerts() == [("attention", "waiting", "quiet-hours")]
    outage(desk, 0.0)
    desk.at(NOON + 9 * HOUR)  # another alert is urgent, and this one is not
    assert desk.alerts() == [
        ("attention", "waiting", "quiet-hours"),
        ("trouble", "waiting", "mail-temporary"),
    ]
    desk.at(NOON + 10 * HOUR)
    assert len(desk.subjects) == 1
    desk.at(MORNING + timedelta(days=1))
    assert [row[1] for row in desk.alerts()] == ["done", "done"]


def test_an_alert_that_waits_for_the_morning_goes_at_once_with_an_urgent_cause(
    desk: ReportDesk,
) -> None:
    desk.space.clock.time = NOON + timedelta(hours=7, minutes=59)
    desk.space.choose(Mode.OBSERVE)
    desk.work()
    assert len(desk.subjects) == 1
    begin_and_forget_a_pause(desk)
    desk.at(NOON + 9 * HOUR)
    assert desk.alerts()[1:] == [("trouble", "planned", None)]
    send_reports(desk.tools)
    desk.space.clock.time = NOON + 10 * HOUR
    outage(desk, 3_600.0)
    desk.at(NOON + 11 * HOUR)
    assert desk.alerts()[1:] == [("trouble", "done", None)]
    assert desk.subjects[1] == "Coursebell: Emails have been paused since 2 Mar 2026, 12:00"
    assert "from 3 Mar 2026, 22:00 to 3 Mar 2026, 23:00" in " ".join(desk.text().split())


def test_an_urgent_cause_does_not_wait_for_the_next_try_of_an_alert_that_was_put_off(
    desk: ReportDesk,
) -> None:
    begin_and_forget_a_pause(desk)
    desk.space.mailer.fail_on(OPS, DeliveryUnavailable("try later"))
    for minutes in (0, 2, 15, 20):
        desk.at(MORNING + timedelta(days=1, minutes=minutes))
    assert desk.space.mailer.asked == 3  # the next try is an hour later
    watch_no_hooks(desk)
    for minutes in range(25, 200, 5):
        desk.at(MORNING + timedelta(days=1, minutes=minutes))
    assert desk.space.mailer.asked == 5  # at once, an hour later, and not two hours after that
    assert desk.alerts() == [("trouble", "waiting", "mail-temporary")]


def watch_no_hooks(desk: ReportDesk) -> None:
    """Let the check of webhooks be refused, which is urgent."""
    with writing(desk.space.engine) as connection:
        store_watch(connection, Watch(None, refused="no right"), desk.space.clock.now())


def begin_and_forget_a_pause(desk: ReportDesk) -> None:
    with writing(desk.space.engine) as connection:
        day_ago = NOON - timedelta(days=1)
        begin_pause(
            connection, PauseScope.ALL, None, until=None, note=None, who="Rita", now=day_ago
        )


def test_planning_only_reads_while_nothing_is_to_plan(desk: ReportDesk) -> None:
    lose(desk, 1)
    desk.work()
    desk.at(NOON + 2 * HOUR)
    with writing(desk.space.engine):  # so that nothing else can be written
        assert plan_reports(desk.tools) == 0


def cut_off(desk: ReportDesk) -> None:
    """Kill the worker between the hand-over and its commit."""

    def die() -> None:
        raise SystemExit

    desk.space.mailer.at_end = die
    with pytest.raises(SystemExit):
        desk.work()
    desk.space.mailer.at_end = None


@pytest.mark.engines(*BOTH)
def test_what_an_alert_said_that_was_cut_off_is_said_again_an_hour_later(desk: ReportDesk) -> None:
    lose(desk, 1)
    cut_off(desk)
    desk.at(NOON + timedelta(minutes=55))
    assert desk.subjects == []
    for hour in (*range(1, 10), *range(10, 30, 4)):
        desk.at(NOON + hour * HOUR)
    assert desk.subjects == ["Coursebell: 1 email may have been sent or not"]
    assert desk.alerts() == [
        ("attention", "unknown", "handover-unknown"),
        ("attention", "done", None),
    ]


def test_an_alert_that_is_refused_in_the_morning_is_not_repeated_minutes_later(
    desk: ReportDesk,
) -> None:
    desk.space.clock.time = NOON + 10 * HOUR
    lose(desk, 1)
    desk.space.mailer.answer(OPS, "550 5.7.1 not today")
    desk.work()
    for minutes in range(0, 60, 5):
        desk.at(MORNING + timedelta(days=1, minutes=minutes))
    assert desk.alerts() == [("attention", "failed", "mail-rejected")]
    desk.at(MORNING + timedelta(days=1, hours=1))
    assert desk.alerts() == [("attention", "failed", "mail-rejected")] * 2


@pytest.mark.engines(*BOTH)
def test_a_slow_worker_whose_alert_was_given_up_still_notes_what_it_said(desk: ReportDesk) -> None:
    lose(desk, 1)
    other = ReportDesk(desk.space)

    def be_slow() -> None:
        desk.space.mailer.at_end = None
        desk.space.clock.time += HOUR
        expire_all(desk)

    desk.space.mailer.at_end = be_slow
    desk.work()
    assert desk.alerts() == [("attention", "done", None)]
    for hour in (*range(2, 10), *range(10, 30, 4)):
        other.at(NOON + hour * HOUR)
    assert len(desk.subjects) == 1


def expire_all(desk: ReportDesk) -> None:
    with writing(desk.space.engine) as connection:
        assert expire_reports(connection, desk.space.clock.now(), lease_s=60) == (0, 1)


@pytest.mark.engines(*BOTH)
def test_what_a_refused_alert_said_is_said_again_at_growing_distances_until_one_arrives(
    desk: ReportDesk,
) -> None:
    lose(desk, 1)
    desk.space.mailer.answer(OPS, "550 5.7.1 not today")
    for minutes in range(0, 8 * 60, 15):
        desk.at(NOON + timedelta(minutes=minutes))
    assert desk.alerts() == [("attention", "failed", "mail-rejected")] * 4  # at 12, 13, 15 and 19
    desk.space.mailer.accept(OPS)
    desk.at(MORNING + timedelta(days=1))
    assert desk.subjects == ["Coursebell: 1 email may have been sent or not"]
    assert "1 email may have been sent or not" in " ".join(desk.text().split())
    for hour in range(2, 48, 5):
        desk.at(MORNING + timedelta(days=1) + hour * HOUR)
    assert len(desk.rows()) == 5


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
    for day in range(1, 6):
        desk.at(NOON + timedelta(days=day))
    assert desk.alerts() == [("attention", "failed", "mail-relay")]


def test_a_restore_that_a_clock_ahead_put_into_the_future_does_not_silence_alerts(
    desk: ReportDesk,
) -> None:
    with writing(desk.space.engine) as connection:
        open_gap(connection, Gap(NOON, NOON + timedelta(days=365), "restore"), "Rita")
    desk.space.enrol(1)
    desk.space.work()
    desk.work()
    assert desk.alerts() == [("attention", "done", None)]  # about the email that is held


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


def test_a_stop_waits_for_a_report_that_is_handed_over(desk: ReportDesk, tmp_path: Path) -> None:
    lose(desk, 1)
    plan_reports(desk.tools)
    shared = SharedState(workers=1)
    with SlowSmtp(0.2) as smtp:
        settings = load_settings(
            GIVEN
            | {
                "COURSEBELL_DATA_DIR": str(tmp_path),
                "COURSEBELL_DATABASE_URL": desk.space.engine.url.render_as_string(
                    hide_password=False
                ),
                "COURSEBELL_SECRET_KEY": KEY,
                "COURSEBELL_MAIL_FROM": "rita@example.org",
                "COURSEBELL_SMTP_URL": smtp.url,
            }
        )
        initialise_process(settings, read_shared_config(settings), shared, desk.space.clock)
        try:
            sending = threading.Thread(target=tasks.send_due_reports)
            sending.start()
            wait_until(lambda: smtp.open > 0, "a report on its way")
            assert shared.is_action_running()
            sending.join()
            assert not shared.is_action_running()
        finally:
            close_process()
    assert desk.alerts() == [("attention", "done", None)]
