"""A member stops emails by the links in them: from the mailbox to the emails that do not come."""

import re
from collections.abc import Iterator

import pytest
import requests

from tests.e2e.house import House, living
from tests.servers.programs import wait_until

FINANCE, CERAMICS = "Freelance Finance", "Ceramics"
_PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house in which everything runs, and whose address is in its emails."""
    with living(tmp_path_factory.mktemp("story")) as found:
        found.environment["COURSEBELL_PUBLIC_URL"] = found.url
        found.start("serve", "worker", "clock")
        wait_until(found.ready, "the service ready")
        yield found


def reasons(house: House) -> list[tuple[str, str | None]]:
    return [(state, reason) for state, reason in house.rows("SELECT state, reason FROM actions")]


def page_in(text: str) -> str:
    page: str
    [page] = set(re.findall(r"http://127\.0\.0\.1:\d+/p/[\w.-]+", text))
    return page


def test_one_click_in_a_mail_program_stops_the_next_email(house: House) -> None:
    member = house.sandbox.enrol("Joël", FINANCE)
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_mails("joel", 2)
    by_subject = {mail["subject"]: mail for mail in house.mails("joel")}
    [welcome] = [by_subject[one] for one in by_subject if one.startswith("You're in")]
    [lesson] = [by_subject[one] for one in by_subject if not one.startswith("You're in")]
    assert "List-Unsubscribe" not in welcome["headers"]
    assert lesson["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for mail in (welcome, lesson):
        assert mail["headers"]["List-Id"].startswith("Course emails <service.coursebell.")
        assert mail["headers"]["Auto-Submitted"] == "auto-generated"
        assert page_in(mail["text"]) == page_in(mail["html"]) == page_in(welcome["text"])
    one_click = lesson["headers"]["List-Unsubscribe"].strip("<>")
    opened = requests.get(one_click, timeout=_PATIENCE_S).url
    assert opened == f"{page_in(welcome['text'])}?lang=en"
    sent = {"List-Unsubscribe": "One-Click"}
    assert requests.post(one_click, sent, timeout=_PATIENCE_S).status_code == 200
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_idle()
    assert len(house.mails("joel")) == 2
    assert reasons(house)[-1] == ("skipped", "opted-out-kind")
    why = house.run("why", "joel.nunez@example.org").stdout
    assert "They switched this kind of email off [opted-out-kind] (since 20" in why


def test_a_break_on_the_page_of_a_welcome_stops_emails_until_it_is_ended(house: House) -> None:
    member = house.sandbox.enrol("Zoë", CERAMICS)
    house.wait_mails("zoe", 1)
    page = page_in(house.mails("zoe")[0]["text"])
    week = {"act": "save", "stream": "service", "snooze": "week"}
    assert "Your emails are paused until" in requests.post(page, week, timeout=_PATIENCE_S).text
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_idle()
    assert reasons(house)[-1] == ("skipped", "snoozed")
    ended = requests.post(page, week | {"snooze": "end"}, timeout=_PATIENCE_S)
    assert "Your emails are paused until" not in ended.text
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_mails("zoe", 2)


def test_no_log_has_a_link(house: House) -> None:
    said = house.logs()
    assert "preferences.changed" in said
    assert "/p/" not in said
    assert "/u/" not in said
