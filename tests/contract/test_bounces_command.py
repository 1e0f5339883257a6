"""`coursebell bounces`, and what other commands say of an address that bounced."""

from datetime import timedelta

import pytest

from ledger.choices import address_hash
from ledger.engine import writing
from ledger.mail_reports import store_reports
from ledger.tables import actions
from schemas.mail_reports import MailReport, Provider, ReportKind
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import rows
from tests.contract.study_rig import HASH_KEY
from workers.actions.email.message import reference
from workers.mail_reports import apply_reports

ANA = "person1@example.org"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", HASH_KEY)


def report(desk: Desk, kind: ReportKind) -> None:
    """Let the mail provider report something about the only email."""
    [email] = rows(desk.space.engine, actions)
    now = desk.space.clock.now()
    found = MailReport(
        Provider.POSTMARK,
        kind,
        f"{kind} {now}",
        now,
        ANA,
        reference(email.key),
        code="5.1.1",
        detail="550 5.1.1 unknown",
    )
    with writing(desk.space.engine) as connection:
        store_reports(connection, [found], lambda one: address_hash(one, HASH_KEY), now)
    apply_reports(desk.space.engine, HASH_KEY, desk.space.clock)


def sent(desk: Desk, *kinds: ReportKind) -> None:
    desk.space.enrol(1)
    desk.space.work()
    for kind in kinds:
        report(desk, kind)


def test_a_bounced_address_is_listed_explained_and_lifted(desk: Desk) -> None:
    assert "no address is suppressed" in desk.run("bounces", "list").output
    sent(desk, ReportKind.DELIVERED, ReportKind.HARD_BOUNCE)
    listed = desk.run("bounces", "list")
    assert "(coworker 1)  p***@example.org: since" in listed.output
    assert "an email to it came back (postmark: 5.1.1 550 5.1.1 unknown)" in listed.output
    assert ANA in desk.run("bounces", "list", "--show-addresses").output
    why = desk.run("why", "1").output
    assert "Their address bounced: nothing is sent to it since" in why
    assert "Delivered at" in why
    assert "Came back: the address does not work at" in why
    status = desk.run("status").output
    assert "1 address bounced" in status.splitlines()[0]
    assert "reports of postmark, last 7 days: 1 delivered, 1 hard-bounce" in status
    assert "Reported" in desk.run("show", "1").output
    desk.space.clock.time += timedelta(seconds=1)
    lifted = desk.run("bounces", "lift", "1")
    assert (lifted.exit_code, lifted.output) == (0, "Emails go to this address again.\n")
    again = desk.run("bounces", "lift", ANA)
    assert again.exit_code == 1
    assert "came back" in again.output
    assert "allowed emails to coworker 1 again, after one had bounced" in desk.run("log").output
    assert "1 address bounced" not in desk.run("status").output
    assert "Their address bounced" not in desk.run("why", "1").output


def test_what_was_reported_is_there_for_programs(desk: Desk) -> None:
    sent(desk, ReportKind.HARD_BOUNCE)
    assert desk.as_json("show", "1")["reports"][0]["kind"] == "hard-bounce"
    assert desk.run("why", "1", "--json").output.count('"kind": "hard-bounce"') == 1
    assert '"code": "bounced"' in desk.run("status", "--json").output
    assert '"number": 1' in desk.run("status", "--json").output
    assert '"email": "p***@example.org"' in desk.run("bounces", "list", "--json").output
    lifted = desk.run("bounces", "lift", ANA, "--json")
    assert '"lifted": true' in lifted.output


def test_an_address_that_nobody_has_any_more_can_be_lifted_too(desk: Desk) -> None:
    sent(desk, ReportKind.HARD_BOUNCE)
    with writing(desk.space.engine) as connection:
        connection.exec_driver_sql("UPDATE people SET email = NULL, email_key = NULL")
    assert "an address that nobody here has" in desk.run("bounces", "list").output
    assert "1 address bounced" not in desk.run("status").output
    assert desk.run("bounces", "lift", ANA).exit_code == 0
    assert "allowed emails to an address again" in desk.run("log").output


def test_a_complaint_is_shown_as_a_choice(desk: Desk) -> None:
    sent(desk, ReportKind.COMPLAINT)
    assert "Wants no emails since" in desk.run("why", "1").output
    assert "by marking an email as spam" in desk.run("preferences", "1").output
