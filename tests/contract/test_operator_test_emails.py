"""Test emails that operators send to themselves from a page."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from ledger.engine import reading
from ledger.interventions import decisions
from ledger.tables import actions, attempts, sent_emails
from schemas.errors import DeliveryUnavailable, DeliveryUnknown
from schemas.roles import Role
from service.desk.trial_sender import PAGE_TIMEOUTS, NoTrial, TrialSender
from service.email_examples import WantedEmail, action_for_tests, read_example
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Browser, Office, opened
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import HASH_KEY
from tests.contract.test_operator_pages import text_of
from tests.doubles.scripted_smtp import HANG_UP, SILENCE, ScriptedSmtp
from tests.e2e.house import RULES
from workers.actions.base import Checkpoints, Prepared
from workers.deliver.forecast import make_send_setup

pytestmark = pytest.mark.engines("sqlite")
_PAGE = "/emails/welcome?person=1"
_TEST = "/emails/welcome/test"


@contextmanager
def over(desk: Desk, folder: Path, server: ScriptedSmtp | None) -> Iterator[Office]:
    """Open the pages of a space with one member, over this mail server."""
    desk.space.enrol(1)
    desk.space.work()
    url = desk.space.engine.url.render_as_string(hide_password=False)
    assert isinstance(desk.space.clock, HandClock)
    given = {
        "COURSEBELL_SECRET_KEY": HASH_KEY,
        "COURSEBELL_RULES": str(RULES),
        "COURSEBELL_OPERATOR_EMAIL": "rita@harbour.example",
        "COURSEBELL_COURSE_URL": "https://portal.example/{course_id}",
    }
    if server is not None:
        given["COURSEBELL_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}?tls=none"
    with opened(folder, url, desk.space.clock, **given) as office:
        yield office


def asked(browser: Browser, to: str = "rita@harbour.example", **more: str) -> TestResponse:
    """Send the form of the page, and return the page that follows."""
    answer = browser.press(_PAGE, _TEST, to=to, **more)
    return browser.get(answer.headers["Location"]) if answer.status_code == 303 else answer


def test_a_test_email_reaches_the_operator_and_does_not_count(desk: Desk, tmp_path: Path) -> None:
    with ScriptedSmtp() as server, over(desk, tmp_path, server) as office:
        tables = (actions, attempts, sent_emails)
        with reading(office.engine) as connection:
            before = [connection.execute(table.select()).all() for table in tables]
        browser = office.signed_in(Role.OPERATE)
        assert 'value="rita@harbour.example"' in browser.get(_PAGE).text
        seen = text_of(asked(browser, language="de"))
        assert "The mail server accepted the test to rita@harbour.example." in seen
        assert "German" in seen
        with reading(office.engine) as connection:
            assert [connection.execute(table.select()).all() for table in tables] == before
            noted = decisions(connection)[-1]
    assert (noted.who, noted.what) == ("Rita Sousa", "test-email")
    assert noted.detail == {"template": "welcome", "coworker_id": 1}
    assert server.commands.count("rcpt TO:<rita@harbour.example>") == 1
    [raw] = server.texts
    message = message_from_bytes(raw, policy=policy.SMTP)
    assert message["Subject"].startswith("[Test] ")
    assert "List-Unsubscribe" not in message
    assert b"portal.example" not in raw
    assert b"person1@example.org" not in raw


def test_a_wrong_address_is_refused_and_nothing_typed_is_lost(desk: Desk, tmp_path: Path) -> None:
    with ScriptedSmtp() as server, over(desk, tmp_path, server) as office:
        browser = office.signed_in(Role.OPERATE)
        for wrong in (
            "",
            "rita",
            "a@b@c",
            "rita@",
            "a" * 300 + "@b.example",
            "a@b.c\r\nBcc: x@y.z",
        ):
            answer = asked(browser, wrong)
            assert answer.status_code == 422
            assert "Emails cannot be sent to this address." in answer.text
        assert 'value="rita"' in asked(browser, "rita").text
        lost = browser.press(_PAGE, _TEST, to="rita@harbour.example", person="77")
        assert lost.status_code == 422
    assert server.commands == []


def test_what_the_mail_server_refuses_is_said_and_only_engineers_read_its_answer(
    desk: Desk, tmp_path: Path
) -> None:
    script = {"RCPT": b"550 5.1.1 no such user"}
    with ScriptedSmtp(script) as server, over(desk, tmp_path, server) as office:
        answer = asked(office.signed_in(Role.OPERATE))
        assert answer.status_code == 409
        assert "It was not sent. The mail server refused it" in answer.text
        assert "550" not in answer.text
        assert "no such user" in asked(office.signed_in(name="Engineer")).text


def test_tests_are_limited_and_there_are_none_without_a_mail_server_or_the_right(
    desk: Desk, tmp_path: Path
) -> None:
    with ScriptedSmtp() as server, over(desk, tmp_path, server) as office:
        browser = office.signed_in(Role.OPERATE)
        for _ in range(5):
            assert "accepted the test" in asked(browser).text
        answer = asked(browser)
        assert answer.status_code == 429
        assert "Please wait a minute." in answer.text
        looking = office.signed_in(Role.LOOK, "Otto Lind")
        assert _TEST not in looking.get(_PAGE).text
        token = looking.get("/account").text.split('name="token" value="')[1].split('"')[0]
        refused = looking.post(_TEST, {"token": token, "person": "1", "to": "o@x.example"})
        assert refused.status_code == 403
    assert len(server.texts) == 5
    with over(desk, tmp_path, None) as office:
        assert "nothing can be sent" in text_of(office.signed_in(name="Third").get(_PAGE))


def test_what_was_cut_off_is_not_said_to_have_been_sent(desk: Desk, tmp_path: Path) -> None:
    for step, said in (("GREETING", "It was not sent."), ("DOT", "may or may not arrive")):
        with ScriptedSmtp({step: HANG_UP}) as server, over(desk, tmp_path, server) as office:
            answer = asked(office.signed_in(Role.OPERATE, f"Of {step}"))
        assert answer.status_code == 409
        assert said in answer.text
        assert "trying again" not in answer.text


def test_a_mail_server_that_hangs_is_given_up_in_the_time_of_a_page(
    desk: Desk, tmp_path: Path
) -> None:
    assert PAGE_TIMEOUTS.session_s + PAGE_TIMEOUTS.end_s < 20
    hurried = replace(PAGE_TIMEOUTS, answer_s=0.2, session_s=0.4, end_s=0.2)
    for step, error in (("GREETING", DeliveryUnavailable), ("DOT", DeliveryUnknown)):
        with ScriptedSmtp({step: SILENCE}) as server, over(desk, tmp_path, server) as office:
            settings = office.web.settings
            setup = make_send_setup(settings)
            with reading(office.engine) as connection:
                wanted = WantedEmail("welcome", 1)
                example = read_example(connection, setup, wanted, office.clock.now(), "new")
            assert example
            action = action_for_tests(settings, hurried)
            prepared = action.prepare_test(example.context, "me@example.org")
            # With the longer times of workers, the page would give up first.
            sender = TrialSender(HandClock(), longest_wait_s=10.0)
            with pytest.raises(error, match=r"cannot be reached|connection was lost"):
                sender.send(prepared, 1)


def test_no_page_waits_longer_than_it_may_and_a_second_test_waits_for_the_first() -> None:
    over_now = threading.Event()

    def send(_: Checkpoints) -> str:
        assert over_now.wait(10)
        return "250 queued"

    prepared = Prepared("me@example.org", "[Test]", b"", "message/rfc822", send)
    sender = TrialSender(HandClock(), longest_wait_s=0.05)
    with pytest.raises(DeliveryUnknown):
        sender.send(prepared, 1)
    assert sender.send(prepared, 2) is NoTrial.UNDER_WAY
    over_now.set()
