"""Every email leads to the member's preferences, and those that repeat stop with one click."""

import io
import re
from dataclasses import replace
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from zoneinfo import ZoneInfo

import pytest
from pypdf import PdfReader

from schemas.actions import HOST
from schemas.choices import report_choice
from schemas.events import EventKind
from schemas.rules import Stream
from schemas.settings import load_settings
from tests.builders.records import COURSE_ID, NOON, course, course_member, lesson
from tests.builders.rules import COUNTS, event, rule
from tests.builders.send_context import person
from workers.actions.base import ActionContext, Prepared, Recipient
from workers.actions.email import TEMPLATES
from workers.actions.email.action import EmailAction
from workers.actions.email.branding import Branding
from workers.actions.email.letter import Letters
from workers.actions.email.letterhead import Letterhead
from workers.actions.email.message import read_message
from workers.completion_certificate.code import CertificateLook
from workers.completion_certificate.issue import CertificateIssuer
from workers.decide.completion import progress
from workers.deliver.forecast import make_send_setup
from workers.preference_links import PreferenceLinks

LINKS = PreferenceLinks("https://courses.harbour.example", "a-secret-key-for-this-test-only")
PERSON = person()
OWNER = LINKS.owner(PERSON.coworker_id, PERSON.email or "")
HEAD = Letterhead(None, None, None, None, ZoneInfo("UTC"))
LETTERS = Letters(Branding())
LESSONS = (lesson(1), lesson(2))
ONCE = [("welcome", Stream.SERVICE), ("course-finished", Stream.SERVICE)]
TO_MEMBERS = sorted(set(TEMPLATES) - {"notice"})
EACH = [(template, stream) for template in TO_MEMBERS for stream in Stream]


def context(template: str, stream: Stream) -> ActionContext:
    kind = min(TEMPLATES[template])
    return ActionContext(
        action_key=f"a/{template}",
        template=template,
        events=(event(kind),),
        enrolment=course_member(),
        course=course(),
        person=PERSON,
        lessons=LESSONS,
        progress=progress(LESSONS, {1}, COUNTS),
        first_lesson=LESSONS[0],
        started_at=NOON,
        now=NOON,
        stream=stream,
    )


def text_of(pdf: bytes) -> str:
    [page] = PdfReader(io.BytesIO(pdf), strict=True).pages
    return page.extract_text()


def head_of(prepared: Prepared) -> "Message[str, str]":
    return message_from_bytes(prepared.body, policy=compat32)


@pytest.mark.parametrize(("template", "stream"), EACH)
def test_every_email_leads_to_the_page_of_its_member(template: str, stream: Stream) -> None:
    email = EmailAction(LETTERS, None, replace(HEAD, links=LINKS))
    prepared = email.prepare(context(template, stream))
    kept = read_message(prepared.body)
    for text in (kept.text, kept.html):
        assert text.count(LINKS.page(OWNER)) == 1
        assert ("Stop reminders, or" in text) is (stream is Stream.REMINDER)
    assert str(COURSE_ID) not in LINKS.page(OWNER)
    assert head_of(prepared)["List-Id"].endswith(f"<{stream}.coursebell.localhost.localdomain>")


@pytest.mark.parametrize(("template", "stream"), EACH)
def test_emails_that_repeat_stop_with_one_click(template: str, stream: Stream) -> None:
    email = EmailAction(LETTERS, None, replace(HEAD, links=LINKS))
    head = head_of(email.prepare(context(template, stream)))
    if (template, stream) in ONCE:
        assert head["List-Unsubscribe"] is None
        assert head["List-Unsubscribe-Post"] is None
        return
    url = head["List-Unsubscribe"].removeprefix("<https://courses.harbour.example/u/")
    token, _, query = url.removesuffix(">").partition("?")
    assert LINKS.read_one_click(token) == (OWNER, stream)
    assert query == "lang=en"
    assert head["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize("audience", [HOST, "team"])
def test_others_than_the_member_get_links_that_stop_only_what_this_rule_sends_to_them(
    audience: str,
) -> None:
    email = EmailAction(LETTERS, None, replace(HEAD, links=LINKS))
    to = "rita@harbour.example"
    longest = rule(name="r" * 60, event=EventKind.ENROLLED, template="notice")
    notice = replace(
        context("notice", Stream.SERVICE),
        recipient=Recipient(audience, to, "Rita"),
        rule=longest,
        languages=("de",),
    )
    prepared = email.prepare(notice)
    kept, name = read_message(prepared.body), f"by/{'r' * 60}"
    page, click = LINKS.report_page(name, to, "de"), LINKS.report_one_click(name, to, "de")
    assert head_of(prepared)["List-Unsubscribe"] == f"<{click}>"
    for text in (kept.text, kept.html):
        assert text.count(page) == 1
        assert text.count("https://courses.harbour.example") == 1
    assert "Diese E-Mails abbestellen" in kept.text
    token = page.rpartition("/")[2].partition("?")[0]
    found = LINKS.read_report(token)
    assert found is not None
    assert report_choice(found[1]) == name


def test_without_a_public_address_an_email_has_no_link_that_leads_nowhere() -> None:
    prepared = EmailAction(LETTERS, None, HEAD).prepare(context("stalled", Stream.REMINDER))
    head, kept = head_of(prepared), read_message(prepared.body)
    assert head["List-Unsubscribe"] is None
    assert head["List-Id"]
    assert "/p/" not in kept.text + kept.html


def test_the_page_opens_in_the_language_of_the_email() -> None:
    email = EmailAction(LETTERS, None, replace(HEAD, links=LINKS))
    arabic = replace(context("stalled", Stream.REMINDER), languages=("ar-EG",))
    kept = read_message(email.prepare(arabic).body)
    assert re.search(r"/p/[\w.-]+\?lang=ar$", kept.text, re.MULTILINE)


def test_a_test_email_leads_to_no_choices_of_the_member() -> None:
    email = EmailAction(LETTERS, None, replace(HEAD, links=LINKS))
    prepared = email.prepare_test(context("stalled", Stream.REMINDER), "rita@harbour.example")
    kept = read_message(prepared.body)
    assert head_of(prepared)["List-Unsubscribe"] is None
    assert "https://courses.harbour.example" not in kept.text + kept.html
    assert "link-of-a-test.invalid" in kept.text


def test_a_test_or_a_preview_has_no_code_and_no_link_that_acts_for_the_member() -> None:
    look = CertificateLook("https://courses.harbour.example", "#0E6655")
    issuer = CertificateIssuer("a-secret-key-for-this-test-only", look)
    portal = replace(HEAD, links=LINKS, course_url="https://portal.example/{course_id}")
    certifying = replace(
        context("course-finished", Stream.SERVICE),
        rule=rule(event=EventKind.COURSE_COMPLETED, template="course-finished", certificate=True),
        next_course=course(record_id=77, title="Pricing your work"),
    )
    email = EmailAction(LETTERS, None, portal, issuer)
    real = read_message(email.prepare(certifying).body)
    assert "https://portal.example/77" in real.html
    assert "https://courses.harbour.example/c/" in real.html
    kept = read_message(email.prepare_test(certifying, "rita@harbour.example").body)
    leads_to = set(re.findall(r"https?://[^\s\"<]+", kept.text + kept.html))
    assert leads_to == {"https://link-of-a-test.invalid/"}
    shown = read_message(email.prepare_preview(certifying).body)
    assert "https://portal.example/77" in shown.html
    assert "https://courses.harbour.example" not in shown.text + shown.html
    printed = [text_of(one.attachments[0].content) for one in (real, kept, shown)]
    assert ["0000-0000-0000-0000" in one for one in printed] == [False, True, True]


@pytest.mark.parametrize("audience", [HOST, "team"])
def test_a_test_of_a_notice_leads_to_no_choices_either(audience: str) -> None:
    email = EmailAction(LETTERS, None, replace(HEAD, links=LINKS))
    others = Recipient(audience, "rita@harbour.example", "Rita")
    notice = replace(context("notice", Stream.SERVICE), recipient=others)
    kept = read_message(email.prepare_test(notice, "ana@harbour.example").body)
    leads_to = set(re.findall(r"https?://[^\s\"<]+", kept.text))
    assert leads_to == {"https://link-of-a-test.invalid/"}


@pytest.mark.parametrize(
    ("public_url", "key", "has_links"),
    [
        ("https://courses.harbour.example", "a-secret-key-for-this-test-only", True),
        ("https://courses.harbour.example", "", False),
        ("http://courses.harbour.example", "a-secret-key-for-this-test-only", False),
        ("https://localhost", "a-secret-key-for-this-test-only", False),
    ],
)
def test_links_need_an_https_address_and_the_secret_key(
    tmp_path: object,
    public_url: str,
    key: str,
    has_links: bool,  # noqa: FBT001 - a column of the table
) -> None:
    settings = load_settings(
        {
            "COURSEBELL_DATA_DIR": str(tmp_path),
            "COURSEBELL_PUBLIC_URL": public_url,
            "COURSEBELL_SECRET_KEY": key,
        }
    )
    email = make_send_setup(settings).actions["email"]
    kept = read_message(email.prepare(context("stalled", Stream.REMINDER)).body)
    assert (f"{public_url}/p/" in kept.text) is has_links
