"""Reports are emails too: they keep to the rate, and what the mail provider says of them counts."""

from datetime import timedelta

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from ledger.choices import address_keys, choices_of, mailbox_hash, store_choices
from ledger.engine import Engine, reading, writing
from ledger.mail_reports import reports_of_digests, store_reports
from ledger.sending_rate import end_turns
from ledger.suppressions import lift, suppression_of
from ledger.tables import mail_reports, reports
from schemas.choices import ALL, Choice, Choices, report_choice
from schemas.errors import ChannelUnavailable
from schemas.mail_reports import MailReport, Provider, ReportKind
from schemas.reasons import Reason
from schemas.settings import SendingRate
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.report_rig import KEY, OPS, ReportDesk
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.contract.test_alert_reports import lose
from tests.contract.test_digests import MONDAY, RITA, TEAM, study, with_host
from workers.actions.email.message import reference
from workers.mail_reports import apply_reports
from workers.reports.plan import plan_reports

pytestmark = pytest.mark.engines("sqlite")
WEEK, MINUTE = timedelta(days=7), timedelta(minutes=1)
OTHER = "desk@acme.example"
FILE = (
    SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")
    + f"""
digests:
  - {{name: for-hosts, every: week, to: host, stuck_after: 90d}}
  - {{name: for-acme, every: week, to: [{TEAM}, {OTHER}], stuck_after: 90d}}
"""
)


@pytest.fixture
def desk(ledger_engine: Engine) -> ReportDesk:
    """Give a space whose digests were just configured, with something to say on Monday."""
    space = Space(ledger_engine, rules_of(FILE))
    with_host(space)
    found = ReportDesk(space)
    found.given(operator_email="")
    found.work()
    study(found)
    return found


def went(desk: ReportDesk) -> list[str]:
    """Return the readers that got a report, in order."""
    return [
        mail.recipient
        for mail in desk.space.mailer.caught
        if not mail.recipient.startswith("person")
    ]


def provider_says(
    desk: ReportDesk, kind: ReportKind, name: str = "for-acme", **different: object
) -> None:
    """Let the mail provider report something about the last report of this name."""
    [*_, row] = [one for one in desk.rows() if one.name == name]
    now = desk.space.clock.now()
    known = {
        "recipient": desk.space.mailer.caught[-1].recipient,
        "reference": reference(f"{row.key}/{row.planned_at.isoformat()}"),
    }
    sent = [str(one.message["Message-ID"]) for one in desk.space.mailer.caught]
    assert any(known["reference"] in one for one in sent)
    found = MailReport(Provider.POSTMARK, kind, f"{kind} {now}", now, **(known | different))  # type: ignore[arg-type]  # what a test changes
    with writing(desk.space.engine) as connection:
        store_reports(connection, [found], lambda one: mailbox_hash(one, KEY), now)
    apply_reports(desk.space.engine, KEY, desk.space.clock)


def is_suppressed(desk: ReportDesk, address: str) -> bool:
    with reading(desk.space.engine) as connection:
        return suppression_of(connection, mailbox_hash(address, KEY)) is not None


def chosen(desk: ReportDesk, address: str) -> Choices:
    with reading(desk.space.engine) as connection:
        return choices_of(connection, address_keys(KEY, address))


@pytest.mark.engines(*BOTH)
def test_reports_beyond_the_rate_wait_for_their_turns_and_go_in_order(desk: ReportDesk) -> None:
    desk.space.rate = SendingRate(1, 60)
    desk.at(MONDAY)
    assert [row.reason for row in desk.rows()] == [None, "mail-rate", "mail-rate"]
    assert [row.due_at - MONDAY for row in desk.rows()][1:] == [MINUTE, 2 * MINUTE]
    desk.at(MONDAY + MINUTE - timedelta(seconds=1))
    assert len(went(desk)) == 1
    desk.at(MONDAY + MINUTE)
    assert len(went(desk)) == 2
    desk.at(MONDAY + 2 * MINUTE)
    assert went(desk) == [RITA, TEAM, OTHER]


@pytest.mark.engines(*BOTH)
def test_reports_and_emails_to_members_share_the_rate(desk: ReportDesk) -> None:
    desk.space.rate = SendingRate(1, 60)
    desk.space.clock.time = MONDAY
    desk.space.enrol(7)
    desk.space.work()
    members = len(desk.space.mailer.caught)
    desk.work()
    assert went(desk) == []
    for number in (8, 9):
        desk.space.enrol(number)
    desk.space.work()
    assert len(desk.space.mailer.caught) == members
    # Every second place is that of a report, although workers come first to actions.
    for minute in (1, 2, 3, 4, 5):
        desk.space.clock.time = MONDAY + minute * MINUTE
        desk.space.work()
        desk.work()
        assert len(desk.space.mailer.caught) == members + minute
        assert len(went(desk)) == (minute + 1) // 2


@pytest.mark.engines(*BOTH)
@pytest.mark.parametrize("emails", [1, 4])
@pytest.mark.parametrize("first", ["reports", "members"])
def test_more_reports_than_two_windows_hold_leave_members_half_of_the_places(
    ledger_engine: Engine, emails: int, first: str
) -> None:
    many = [f"reader{number}@acme.example" for number in range(3 * emails)]
    space = Space(ledger_engine, rules_of(FILE.replace(f"[{TEAM}, {OTHER}]", f"{many}")))
    desk = ReportDesk(space)
    desk.given(operator_email="")
    desk.work()
    study(desk)
    space.clock.time = MONDAY
    for number in range(10, 10 + 3 * emails):
        space.enrol(number)
    space.look_up()
    plan_reports(desk.tools)
    before, space.rate = len(space.mailer.caught), SendingRate(emails, 60)
    for minute in range(6):
        for second in (0, 40):
            space.clock.time = MONDAY + minute * MINUTE + timedelta(seconds=second)
            for work in (desk.work, space.work)[:: 1 if first == "reports" else -1]:
                work()
        assert len(space.mailer.caught) - before == emails * (minute + 1)
        to_members = emails * (minute + 1) - len(went(desk))
        assert abs(to_members - len(went(desk))) <= emails
    assert sorted(went(desk)) == sorted(many)


@pytest.mark.engines(*BOTH)
def test_an_alert_takes_the_next_place_before_digests_with_turns_and_members(
    desk: ReportDesk,
) -> None:
    desk.space.rate = SendingRate(1, 60)
    desk.at(MONDAY)
    assert [row.reason for row in desk.rows()] == [None, "mail-rate", "mail-rate"]
    desk.space.enrol(7)
    desk.space.work()
    desk.space.rate = None
    lose(desk, 8)
    desk.space.rate = SendingRate(1, 60)
    desk.given()
    desk.at(MONDAY + MINUTE / 2)
    sent = len(desk.space.mailer.caught)
    desk.space.clock.time = MONDAY + MINUTE
    desk.space.work()
    desk.work()
    assert [mail.recipient for mail in desk.space.mailer.caught[sent:]] == [OPS]
    assert desk.alerts() == [("attention", "done", None)]


def test_a_report_that_is_not_sent_in_its_turn_keeps_no_place_for_ever(desk: ReportDesk) -> None:
    desk.space.rate = SendingRate(1, 60)
    desk.at(MONDAY)
    assert len(went(desk)) == 1
    before = len(desk.space.mailer.caught)
    desk.space.enrol(7)
    desk.space.clock.time = MONDAY + 5 * MINUTE  # nothing sends reports
    desk.space.work()
    assert len(desk.space.mailer.caught) == before + 1


def test_turns_that_are_too_late_come_at_once_after_a_higher_rate_or_a_clock_ahead(
    desk: ReportDesk,
) -> None:
    desk.space.rate = SendingRate(1, 3_600)
    desk.at(MONDAY)
    desk.space.rate = SendingRate(1, 60)
    desk.at(MONDAY + MINUTE)
    assert went(desk) == [RITA, TEAM]
    with writing(desk.space.engine) as connection:
        ahead = MONDAY + timedelta(days=300)
        connection.execute(update(reports).where(reports.c.state == "waiting").values(due_at=ahead))
    desk.at(MONDAY + 2 * MINUTE)
    assert went(desk) == [RITA, TEAM, OTHER]


def test_without_a_rate_turns_end(desk: ReportDesk) -> None:
    desk.space.rate = SendingRate(1, 3_600)
    desk.at(MONDAY)
    desk.space.rate = None
    with writing(desk.space.engine) as connection:
        end_turns(connection, MONDAY)
    desk.work()
    assert went(desk) == [RITA, TEAM, OTHER]


@pytest.mark.engines(*BOTH)
def test_a_bounce_of_a_digest_is_shown_and_suppresses_the_next_until_it_is_lifted(
    desk: ReportDesk,
) -> None:
    desk.at(MONDAY)
    provider_says(desk, ReportKind.HARD_BOUNCE)
    assert (is_suppressed(desk, OTHER), is_suppressed(desk, TEAM)) == (True, False)
    last = desk.rows()[-1]
    with reading(desk.space.engine) as connection:
        said = reports_of_digests(connection, [last.id])[last.id]
    assert [(one.kind, one.is_of_other) for one in said] == [(ReportKind.HARD_BOUNCE, False)]
    desk.space.enrol(8)
    desk.space.work()
    desk.at(MONDAY + WEEK)
    assert [row.reason for row in desk.rows()[3:]] == [None, None, "bounced-before"]
    with writing(desk.space.engine) as connection:
        assert lift(connection, mailbox_hash(OTHER, KEY), desk.space.clock.now())
    desk.space.enrol(9)
    desk.space.work()
    desk.at(MONDAY + 2 * WEEK)
    assert went(desk)[-1] == OTHER


def test_soft_bounces_of_several_digests_count_and_those_of_one_do_not(desk: ReportDesk) -> None:
    for week in range(3):
        desk.space.enrol(8 + week)
        desk.space.work()
        desk.at(MONDAY + week * WEEK)
        for _ in range(2):
            desk.space.clock.time += MINUTE
            provider_says(desk, ReportKind.SOFT_BOUNCE)
        assert is_suppressed(desk, OTHER) == (week == 2)
        if week == 1:
            provider_says(desk, ReportKind.SOFT_BOUNCE)
            assert not is_suppressed(desk, OTHER)


def test_a_digest_is_found_by_the_receipt_or_as_the_last_email_to_an_address(
    desk: ReportDesk,
) -> None:
    desk.at(MONDAY)
    provider_says(desk, ReportKind.HARD_BOUNCE, reference=None, message_id="never-seen-before")
    assert not is_suppressed(desk, OTHER)
    provider_says(desk, ReportKind.SOFT_BOUNCE, reference=None)
    assert [row.report_id for row in rows(desk.space.engine, mail_reports)] == [None, 3]


def test_a_report_about_another_address_is_shown_and_has_no_effect(desk: ReportDesk) -> None:
    desk.at(MONDAY)
    provider_says(desk, ReportKind.HARD_BOUNCE, recipient="forwarded@example.org")
    assert not is_suppressed(desk, OTHER)
    assert not is_suppressed(desk, "forwarded@example.org")
    last = desk.rows()[-1].id
    with reading(desk.space.engine) as connection:
        [said] = reports_of_digests(connection, [last])[last]
    assert said.is_of_other


def test_a_complaint_about_a_digest_stops_all_emails_to_its_reader(desk: ReportDesk) -> None:
    desk.at(MONDAY)
    provider_says(desk, ReportKind.COMPLAINT)
    assert chosen(desk, OTHER).agreed == {ALL: False}
    assert chosen(desk, TEAM).agreed == {}
    desk.space.enrol(8)
    desk.space.work()
    desk.at(MONDAY + WEEK)
    assert [row.reason for row in desk.rows()[3:]] == [None, None, "opted-out-all"]


def test_a_complaint_about_an_alert_stops_what_operators_get_unless_they_chose_it_later(
    desk: ReportDesk,
) -> None:
    desk.given()
    desk.at(MONDAY)
    desk.at(MONDAY + WEEK)
    complained_at = desk.space.clock.now()
    again = Choice(agreed=True, chosen_at=complained_at + MINUTE)
    with writing(desk.space.engine) as connection:
        for key in address_keys(KEY, OPS):
            store_choices(connection, [key], {report_choice("trouble"): again})
    provider_says(desk, ReportKind.COMPLAINT, "summary", recipient=OPS)
    own = {name: yes for name, yes in chosen(desk, OPS).agreed.items() if name != ALL}
    assert own == {
        report_choice("attention"): False,
        report_choice("summary"): False,
        report_choice("trouble"): True,
    }


def test_a_mail_server_that_a_report_finds_down_is_logged_once(desk: ReportDesk) -> None:
    desk.space.mailer.fail_next(ChannelUnavailable(Reason.MAIL_UNREACHABLE, "refused"))
    with capture_logs() as logs:
        desk.at(MONDAY)
        desk.at(MONDAY + 30 * MINUTE)
    found = [line["event"] for line in logs if line["event"].startswith("mail.")]
    assert found == ["mail.stopped", "mail.restored"]
    assert sorted(went(desk)) == sorted([RITA, TEAM, OTHER])
