"""The list of emails and the preview, as operators see them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.engine import writing
from ledger.people import accept_person
from schemas.actions import Mode
from schemas.roles import Role
from service.desk.message import height_class
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Office, over
from tests.contract.study_rig import coworker
from tests.contract.test_operator_pages import MARKUP, statements, text_of

pytestmark = pytest.mark.engines("sqlite")
_RULES = """\
version: 1
rules:
  - {name: hello, event: enrolled, action: email, template: welcome}
  - name: nudges
    event: enrolled
    action: email
    steps: [0d, 3d]
    template: [welcome, not-started]
    until: started
  - {name: away, event: stalled, after: [14d, 21d], action: email, template: stalled}
  - name: tell-the-host
    event: course_completed
    action: email
    to: host
    template: notice
    enabled: false
    where: {course: Freelance Finance}
    delay: 90m
  - name: gathered
    event: lesson_completed
    action: email
    template: lesson-finished
    gather: 30m
digests:
  - {name: mondays, every: week, to: boss@harbour.example}
"""


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen, with rules of every sort."""
    rules = tmp_path / "these.yaml"
    rules.write_text(_RULES)
    portal = "https://portal.example/{course_id}"
    with over(desk, tmp_path, rules, COURSEBELL_COURSE_URL=portal) as found:
        yield found


def words_of_engineers(text: str) -> list[str]:
    """Return the words of engineers in a text that operators read."""
    banned = r"\b(webhook|payload|queue|job|retry policy|UUID|4\d\d)s?\b"
    return re.findall(banned, text.replace("1416", ""), re.IGNORECASE)


def test_each_rule_that_sends_an_email_is_listed_in_words(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    seen = text_of(browser.get("/emails"))
    assert "Welcome hello On When a member gets a place on a course. To the member" in seen
    assert "Welcome and Reminder to start nudges On" in seen
    assert "One email each after: at once and 3 days. It ends when they start." in seen
    assert "When a member was away for 14 days and 21 days. Only to members who agreed" in seen
    assert "tell-the-host Off When a member finishes a course. It waits 90 minutes first." in seen
    assert "first. Only for: Freelance Finance. To the host of the course" in seen
    assert "share an email: 30 minutes after the last one." in seen
    assert "Digest mondays On Every Monday" in seen
    assert "To boss@harbour.example" in seen
    assert "English, Arabic, German" in seen
    assert 'href="/emails/hello"' in browser.get("/emails").text


def test_the_list_counts_what_was_sent_in_the_last_30_days(desk: Desk, office: Office) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.work()
    with writing(office.engine) as connection:
        connection.exec_driver_sql("UPDATE actions SET rule = 'hello'")
    browser = office.signed_in()
    assert "2 sent" in text_of(browser.get("/emails"))
    office.clock.move(31 * 86_400)
    assert "2 sent" not in text_of(office.signed_in(name="Later").get("/emails"))


def test_an_email_is_shown_as_a_member_would_get_it(desk: Desk, office: Office) -> None:
    member = desk.space.enrol(1)
    desk.space.enrol(2)
    desk.space.work()
    desk.space.finish(member, 1, 2)
    desk.space.look_up()
    browser = office.signed_in()
    page = browser.get("/emails/gathered?person=1")
    seen = text_of(page)
    assert "Subject 2 lessons done in Freelance Finance" in seen
    assert "To person1@example.org" in seen
    assert "It has a plain text part" in seen
    assert "Would it be sent now? Not now" in seen
    frame = re.search(r'<iframe src="([^"]*)" title="The email" sandbox ', page.text)
    assert frame
    text = browser.get(frame[1].replace("&amp;", "&"))
    assert ">Lesson 2</" in text.text
    assert ' data-href="https://portal.example/' in text.text
    assert " href=" not in text.text
    assert "sandbox" in text.headers["Content-Security-Policy"]
    assert "script-src" not in text.headers["Content-Security-Policy"]


def test_a_preview_is_by_language_width_scheme_and_form(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    german = browser.get("/emails/hello/body?person=1&language=de")
    assert '<html lang="de"' in german.text
    assert "@media (prefers-color-scheme" not in german.text
    assert "@media not all {" in german.text
    dark = browser.get("/emails/hello/body?person=1&scheme=dark")
    assert "@media all {" in dark.text
    assert "light dark" not in dark.text.partition("</head>")[0]
    assert 'phone"></iframe>' in browser.get("/emails/hello?person=1&width=phone").text
    plain = browser.get("/emails/hello?person=1&form=text")
    assert "<iframe" not in plain.text
    assert "<pre" in plain.text
    arabic = browser.get("/emails/hello/body?person=1&language=ar")
    assert 'dir="rtl"' in arabic.text


def test_ways_to_look_at_a_preview_are_labelled_and_its_frame_is_as_high_as_it(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    shown = browser.get("/emails/hello?person=1")
    assert "Shown as As it looks Plain text" in text_of(shown)
    for name, label in (("form", "Shown as"), ("width", "Width"), ("scheme", "Colours")):
        assert f'<div class="filters" role="group" aria-labelledby="by-{name}">' in shown.text
        assert f'<span id="by-{name}" class="muted">{label}</span>' in shown.text
    style, heights = browser.get("/desk.css").text, set()
    for lines in (0, 5, 9, 1000):
        name = height_class("\n\n".join(["A line of an email"] * lines))
        assert f".{name} {{ height:" in style
        heights.add(name)
    assert len(heights) == 4
    for path in ("/emails/hello?person=1", "/messages/1"):
        assert re.search(r'<iframe [^>]* class="em-\d+"', browser.get(path).text)
    assert 'aria-labelledby="by-width"' not in browser.get("/emails/hello?form=text").text


def test_a_person_to_show_it_as_is_found_by_name(desk: Desk, office: Office) -> None:
    for number in (1, 12):
        desk.space.enrol(number)
    desk.space.work()
    browser = office.signed_in()
    one = browser.get("/emails/hello?q=person12@example.org&scheme=dark")
    assert one.status_code == 303
    assert "person=12" in one.headers["Location"]
    assert "scheme=dark" in one.headers["Location"]
    several = text_of(browser.get("/emails/hello?q=person"))
    assert "Person 1" in several
    assert "Person 12" in several
    assert "Nobody here matches “zzz”" in text_of(browser.get("/emails/hello?q=zzz"))
    # Without a name it is shown as a person of whom something happened lately.
    assert "Subject You're in: Freelance Finance" in text_of(browser.get("/emails/hello"))


def test_the_preview_says_whether_it_would_be_sent_now_and_why_not(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    with writing(office.engine) as connection:
        connection.exec_driver_sql("UPDATE actions SET rule = 'hello', template = 'welcome'")
    browser = office.signed_in()
    sent = browser.get("/emails/hello?person=1")
    assert "No It happened" in text_of(sent)
    assert re.search(r"does not happen again. Sent \d\d:\d\d. See that email", text_of(sent))
    assert 'href="/messages/1"' in sent.text
    assert "This email is switched off." in text_of(browser.get("/emails/tell-the-host?person=1"))
    assert "once its time has come" in text_of(browser.get("/emails/away?person=1"))
    unused = text_of(browser.get("/emails/course-finished?person=1"))
    assert "No email that is switched on says this." in unused
    desk.space.choose(Mode.OBSERVE)
    assert "No, it would be held" in text_of(browser.get("/emails/gathered?person=1"))


def test_what_cannot_be_shown_is_explained(desk: Desk, office: Office) -> None:
    browser = office.signed_in()
    assert "Nobody yet." in text_of(browser.get("/emails/hello"))
    for name in ("nothing", "%00", "é", "a" * 3000):
        for path in (f"/emails/{name}", f"/emails/{name}/body"):
            answer = browser.get(path)
            assert answer.status_code == 404
            assert "There is no email of this name." in answer.text
    desk.space.enrol(1)
    desk.space.work()
    assert "nobody with this number" in text_of(browser.get("/emails/hello?person=77"))
    assert browser.get("/emails/hello/body?person=77").status_code == 404
    for odd in ("person=x", "course=x", "language=xx", "course=77", "step=x", "width=<b>", "q=%00"):
        assert browser.get(f"/emails/hello?{odd}&person=1").status_code == 200
    with writing(office.engine) as connection:
        connection.exec_driver_sql("UPDATE people SET email = NULL")
    assert "no usable email address" in text_of(browser.get("/emails/hello?person=1"))


def test_names_in_a_preview_are_other_peoples_text_and_look_sees_short_addresses(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    changed = coworker(1, full_name=MARKUP, email="bobby@example.org")
    with writing(office.engine) as connection:
        accept_person(connection, changed, office.clock.now())
    browser = office.signed_in(Role.LOOK)
    for path in ("/emails/hello?person=1", "/emails/hello/body?person=1", "/emails/hello?q=Bobby"):
        assert "<b>Bobby" not in browser.get(path).text
        assert "bobby@example.org" not in browser.get(path).text
    assert "b…@example.org" in browser.get("/emails/hello?person=1").text
    assert "boss@harbour.example" not in browser.get("/emails").text


def test_a_preview_takes_as_many_statements_for_many_events_as_for_few(
    desk: Desk, office: Office
) -> None:
    space, browser = desk.space, office.signed_in()
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    paths = ("/emails", "/emails/gathered?person=1", "/emails/hello/body?person=1")
    few = {path: statements(office, browser, path) for path in paths}
    space.finish(member, 2, 3)
    for number in range(2, 9):
        space.enrol(number)
    space.work()
    assert {path: statements(office, browser, path) for path in few} == few


def test_words_of_engineers_are_not_on_these_pages(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in(Role.OPERATE)
    for path in ("/emails", "/emails/hello?person=1", "/emails/tell-the-host?person=1"):
        assert words_of_engineers(text_of(browser.get(path))) == [], path
