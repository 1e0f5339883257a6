"""The change to sending and back, as operators see it: what is ready, and what it would do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.controls import sending_of
from ledger.engine import reading
from ledger.interventions import decisions
from schemas.actions import Mode
from schemas.roles import Role
from service.sending_outcomes import outcomes_by_sending
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import on_both_engines
from tests.contract.operator_rig import Office, over
from tests.contract.test_operator_emails import words_of_engineers
from tests.contract.test_operator_pages import statements, text_of
from tests.e2e.house import RULES
from workers.deliver.forecast import make_send_setup

pytestmark = pytest.mark.engines("sqlite")
_MAIL = {"COURSEBELL_SMTP_URL": "smtp://mail.harbour.example:25?tls=none"}


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space that observes."""
    with over(desk, tmp_path, RULES, **_MAIL) as found:
        yield found


def mode_of(office: Office) -> Mode:
    with reading(office.engine) as connection:
        return sending_of(connection).mode


def changes_of_mode(office: Office) -> list[tuple[str, str]]:
    with reading(office.engine) as connection:
        made = [one for one in decisions(connection) if one.what == "mode"]
    return [(one.who, one.detail["mode"]) for one in made]


def test_the_page_says_what_the_last_week_would_have_sent(desk: Desk, office: Office) -> None:
    desk.space.choose(Mode.OBSERVE)
    member = desk.space.enrol(1)
    desk.space.enrol(2)
    desk.space.work()
    desk.space.finish(member, 1, 2, 3)
    desk.space.work()
    browser = office.signed_in()
    seen = text_of(browser.get("/start"))
    assert "Kept here so far: 3 emails." in seen
    assert "3 emails to 2 people. Most to: Person 1 , 2 emails." in seen
    assert "Done The mail server is set mail.harbour.example" in seen
    assert "Harbour Works <courses@harbour.example>. Replies go there too." in seen
    assert 'href="/start/sending"' in browser.get("/start").text
    assert 'href="/emails/welcome"' in browser.get("/start").text
    desk.space.later(days=8)
    week = text_of(office.signed_in(name="Later").get("/start"))
    assert "Kept here so far: 3 emails." in week
    assert "Nothing happened in the last 7 days" in week


@on_both_engines
def test_sending_starts_once_over_a_page_that_says_what_it_does(desk: Desk, office: Office) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    shown = browser.get("/start/sending")
    assert "Sent at once 1 email" in text_of(shown)
    assert "They go to 1 person." in text_of(shown)
    assert mode_of(office) is Mode.OBSERVE
    for _ in range(2):
        done = browser.send(shown, "/start/sending")
        assert done.headers["Location"] == "/start"
    assert mode_of(office) is Mode.SENDING
    assert changes_of_mode(office)[-1] == ("Rita Sousa", "sending")
    assert [mode for _, mode in changes_of_mode(office)].count("sending") == 1
    assert "Sending is on from now." in text_of(browser.get("/start"))
    desk.space.work()
    assert desk.space.outcomes() == [("done", None)]
    assert browser.get("/start/sending").headers["Location"] == "/start"


def test_of_many_emails_the_first_are_looked_at_and_the_others_counted(
    desk: Desk, office: Office
) -> None:
    desk.space.choose(Mode.OBSERVE)
    for number in (1, 2, 3):
        desk.space.enrol(number)
    desk.space.work()
    setup = make_send_setup(office.web.settings)
    with reading(office.engine) as connection:
        found = outcomes_by_sending(connection, setup, office.clock.now(), most=2)
    assert (len(found.expected), found.beyond) == (2, 1)


def test_what_happened_before_the_start_is_said_to_stay(desk: Desk, tmp_path: Path) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    with desk.space.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM controls WHERE name = 'sending_started_at'")
    with over(desk, tmp_path, RULES, **_MAIL) as office:
        office.clock.move(60)
        browser = office.signed_in()
        seen = text_of(browser.get("/start/sending"))
        assert "Stays here 1 email" in seen
        browser.press("/start/sending", "/start/sending")
        desk.space.work()
    assert desk.space.outcomes() == [("held", "before-start")]


def test_one_goes_back_to_observing_on_the_same_page(desk: Desk, office: Office) -> None:
    browser = office.signed_in()
    shown = browser.get("/start")
    assert "Sending is on" in text_of(shown)
    assert browser.send(shown, "/start/observing").headers["Location"] == "/start"
    assert mode_of(office) is Mode.OBSERVE
    assert "Observing from now." in text_of(browser.get("/start"))
    desk.space.enrol(1)
    desk.space.work()
    assert desk.space.outcomes() == [("held", "observe")]


def test_without_a_mail_server_sending_does_not_start(desk: Desk, tmp_path: Path) -> None:
    desk.space.choose(Mode.OBSERVE)
    with over(desk, tmp_path) as office:
        browser = office.signed_in()
        shown = browser.get("/start")
        seen = text_of(shown)
        assert "To do The mail server is set No mail server is set." in seen
        assert "COURSEBELL_SMTP_URL" in seen
        assert 'href="/start/sending"' not in shown.text
        assert browser.get("/start/sending").headers["Location"] == "/start"
        token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
        assert browser.post("/start/sending", {"token": token}).status_code == 303
        assert mode_of(office) is Mode.OBSERVE
        assert "Sending cannot start yet" in text_of(browser.get("/start"))


def test_who_may_only_look_cannot_start_or_stop(desk: Desk, office: Office) -> None:
    desk.space.choose(Mode.OBSERVE)
    browser = office.signed_in(Role.LOOK)
    seen = browser.get("/start")
    assert seen.status_code == 200
    assert 'action="/start' not in seen.text
    assert 'href="/start/sending"' not in seen.text
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    for path in ("/start/sending", "/start/observing"):
        assert browser.post(path, {"token": token}).status_code == 403
    assert mode_of(office) is Mode.OBSERVE


def test_the_page_takes_as_many_statements_for_many_emails_as_for_few(
    desk: Desk, office: Office
) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    few = statements(office, browser, "/start")
    for number in range(2, 9):
        desk.space.enrol(number)
    desk.space.work()
    assert statements(office, browser, "/start") == few


def test_words_of_engineers_are_not_on_these_pages(desk: Desk, office: Office) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in(Role.OPERATE)
    for path in ("/start", "/start/sending"):
        assert words_of_engineers(text_of(browser.get(path))) == [], path
