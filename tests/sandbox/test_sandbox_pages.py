"""The sandbox's pages, pressed and read like a browser without script does."""

import smtplib
from email.message import EmailMessage

import pytest
import requests

from tests.sandbox.sandbox_rig import Receiver, Running, until


def _press(sandbox: Running, act: str, name: str = "Joël", title: str = "Ceramics") -> str:
    answer = sandbox.web.post(
        sandbox.addresses["page"] + "act",
        data={"act": act, "coworker": sandbox.person(name), "course": sandbox.course(title)},
        timeout=10,
    )
    assert answer.status_code == 200
    assert [step.status_code for step in answer.history] == [303]
    return answer.text


def test_a_title_with_markup_is_escaped(silent_sandbox: Running) -> None:
    page = _press(silent_sandbox, "enrol")
    assert page.count("Ceramics: Feuer &amp; Glasur &lt;Grundkurs&gt;") == 2
    assert "<Grundkurs>" not in page


def test_a_learner_walks_through_a_course_by_buttons(silent_sandbox: Running) -> None:
    assert "Enrol them first" in _press(silent_sandbox, "finish-lesson")
    assert "0 of 3" in _press(silent_sandbox, "enrol")
    assert "already enrolled in this course" in _press(silent_sandbox, "enrol")
    assert "1 of 3" in _press(silent_sandbox, "finish-lesson")
    assert "3 of 3" in _press(silent_sandbox, "finish-course")
    assert "already finished this course" in _press(silent_sandbox, "finish-course")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Tomasz", "without an email address"), ("Ada", "inactive"), ("Priya", "archived")],
)
def test_the_page_says_why_a_person_gets_no_email(
    silent_sandbox: Running, name: str, reason: str
) -> None:
    enrolled = _press(silent_sandbox, "enrol", name=name)
    assert f"No email follows, because this person is {reason}; " in enrolled
    assert "No email follows" not in _press(silent_sandbox, "enrol", name="Joël")


def test_a_button_leads_to_a_delivery(sandbox: Running, receiver: Receiver) -> None:
    _press(sandbox, "enrol", name="ليلى")
    until(lambda: len(receiver.received) == 1)
    until(lambda: "Answered 202" in sandbox.get("/").text)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example.org"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["act", "mailbox/empty", "sandbox/enrol"])
def test_another_site_cannot_press_our_buttons(
    silent_sandbox: Running, path: str, headers: dict[str, str]
) -> None:
    fields = {
        "act": "enrol",
        "coworker": silent_sandbox.person("Joël"),
        "course": silent_sandbox.course("Finance"),
    }
    address = silent_sandbox.addresses["page"] + path
    answer = requests.post(address, data=fields, headers=headers, timeout=10)
    assert answer.status_code == 403
    assert "No enrolments yet" in silent_sandbox.get("/").text


def test_our_own_page_may_press_them(silent_sandbox: Running) -> None:
    own = {"Sec-Fetch-Site": "same-origin", "Origin": silent_sandbox.addresses["api"]}
    address = silent_sandbox.addresses["page"] + "mailbox/empty"
    assert requests.post(address, headers=own, timeout=10).status_code == 200


def test_an_email_is_listed_and_read_without_its_markup_taking_effect(
    silent_sandbox: Running,
) -> None:
    letter = EmailMessage()
    letter["From"], letter["To"] = "courses@example.org", "joel.nunez@example.org"
    letter["Subject"] = "<b>Well done</b>"
    letter.set_content("You did it & <i>more</i>")
    letter.add_alternative(
        '<a href="https://example.org/p/1">Choose</a> <a href="javascript:alert(1)">No</a>',
        subtype="html",
    )
    with smtplib.SMTP("127.0.0.1", silent_sandbox.smtp_port, timeout=10) as post_office:
        post_office.send_message(letter)
    for path in ("/", "/mailbox"):
        assert "&lt;b&gt;Well done&lt;/b&gt;" in silent_sandbox.get(path).text
    page = silent_sandbox.get("/mailbox/1").text
    assert "You did it &amp; &lt;i&gt;more&lt;/i&gt;" in page
    assert 'href="https://example.org/p/1"' in page
    assert "javascript:" not in page
    missing = silent_sandbox.get("/mailbox/2")
    assert missing.status_code == 404
    assert "There is no such page" in missing.text
    assert 'href="/mailbox"' in missing.text


def test_nothing_is_loaded_from_elsewhere(silent_sandbox: Running) -> None:
    answer = silent_sandbox.get("/")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text
