"""Today, a person and an email, as operators see them: what they say, and what can be done."""

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import event
from werkzeug.test import TestResponse

from ledger.choices import choice_keys, store_choices
from ledger.engine import reading, writing
from ledger.interventions import decisions
from ledger.people import accept_person
from ledger.tables import actions
from schemas.actions import Mode
from schemas.choices import ALL, Choice
from schemas.roles import Role
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import on_both_engines
from tests.contract.operator_rig import Browser, Office, over
from tests.contract.study_rig import HASH_KEY, coworker

pytestmark = pytest.mark.engines("sqlite")
MARKUP = "<b>Bobby</b> & Co"


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with over(desk, tmp_path) as found:
        yield found


def text_of(answer: TestResponse) -> str:
    """Return what a reader sees of the content of a page."""
    assert answer.status_code == 200, answer.text
    content = answer.text.partition("<main")[2].partition(">")[2]
    apart = re.sub(r"</?(?:td|th|dt|dd|li|p|h\d|br|a)\b[^>]*>", " ", content)
    return unescape(" ".join(re.sub(r"<[^>]*>", "", apart).split()))


def test_today_says_what_happened_and_what_came_of_it(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    seen = text_of(office.signed_in().get("/"))
    assert "1 email sent, 0 waiting, 0 not sent on purpose." in seen
    assert "Person 1 Enrolled Freelance Finance Sent" in seen


def test_today_names_each_email_that_needs_the_operator(desk: Desk, office: Office) -> None:
    desk.refuse(1)
    seen = text_of(office.signed_in().get("/"))
    assert "Failed Person 1 , You're in: Freelance Finance. The mail server refused it" in seen


@on_both_engines
def test_today_is_turned_back_page_by_page_and_filtered(desk: Desk, office: Office) -> None:
    for number in range(1, 31):
        desk.space.enrol(number)
    desk.space.look_up()
    browser = office.signed_in()
    first = browser.get("/")
    older = re.search(r'href="(/\?before=\d+)">Older', first.text)
    assert older
    second = text_of(browser.get(older[1]))
    names = re.findall(r"Person \d+", text_of(first).partition("What happened")[2])
    names += re.findall(r"Person \d+", second.partition("What happened")[2])
    assert sorted(names) == sorted(f"Person {number}" for number in range(1, 31))
    assert "Nothing of this kind yet." in text_of(browser.get("/?kind=course_completed"))
    for odd in ("before=x", "before=-1", "before=" + "9" * 30, "kind=<b>", "before=0"):
        assert browser.get(f"/?{odd}").status_code == 200


@on_both_engines
def test_a_person_is_found_by_name_address_and_course(desk: Desk, office: Office) -> None:
    for number in (1, 2, 12):
        desk.space.enrol(number)
    desk.space.work()
    browser = office.signed_in()
    assert browser.get("/people?q=person2@example.org").headers["Location"] == "/people/2"
    assert browser.get("/people?q=Person 1").headers["Location"] == "/people/1"
    several = text_of(browser.get("/people?q=person"))
    assert all(f"Person {number}" in several for number in (1, 2, 12))
    course = browser.get("/people?q=freelance")
    assert f'href="/people?course={COURSE_ID}"' in course.text
    assert "Person 12" in text_of(browser.get(f"/people?course={COURSE_ID}"))
    assert "Nobody here matches “nobody at all”" in text_of(browser.get("/people?q=nobody at all"))
    for odd in ("course=x", "course=77", "q=%00", "q=" + "a" * 5000, "q=%25%27"):
        assert browser.get(f"/people?{odd}").status_code == 200


def test_a_person_page_answers_whether_the_last_email_went_out(desk: Desk, office: Office) -> None:
    space = desk.space
    member = space.enrol(1)
    space.work()
    browser = office.signed_in()
    seen = text_of(browser.get("/people/1"))
    assert "Did Person 1 get the welcome? Yes. Enrolled in Freelance Finance" in seen
    assert "1 email in 30 days" in seen
    space.finish(member, 1)
    space.look_up()
    seen = text_of(browser.get("/people/1"))
    assert "Did Person 1 get the congratulations? Not yet." in seen
    assert re.search(r"Scheduled .*Goes \d\d:\d\d\.", seen)
    office.clock.time += timedelta(hours=3)  # as if no worker ran
    seen = text_of(browser.get("/people/1"))
    assert re.search(r"Scheduled .*Due since \S+; it goes as soon as it can\.", seen)
    assert "Goes " not in seen


def test_a_person_who_wants_no_emails_is_shown_so(desk: Desk, office: Office) -> None:
    space = desk.space
    space.enrol(1)
    no = Choice(agreed=False, chosen_at=office.clock.now())
    with writing(office.engine) as connection:
        store_choices(connection, choice_keys(HASH_KEY, 1, None), {ALL: no})
    space.work()
    seen = text_of(office.signed_in().get("/people/1"))
    assert "wants no emails" in seen
    assert "No, on purpose." in seen


@pytest.mark.parametrize(
    "path", ["/people/77", "/messages/77", "/messages/77/body", f"/people/{10**30}"]
)
def test_what_does_not_exist_is_said_to_be_missing(office: Office, path: str) -> None:
    answer = office.signed_in().get(path)
    assert answer.status_code == 404
    assert "There is no" in answer.text


def test_an_email_is_shown_as_it_was_sent_and_its_links_are_dead(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    seen = text_of(browser.get("/messages/1"))
    assert "As it was written" in seen
    assert "To person1@example.org" in seen
    assert "It was accepted" in seen
    shown = browser.get("/messages/1/body")
    assert "Hello" in shown.text
    assert " href=" not in shown.text
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert "script-src" not in shown.headers["Content-Security-Policy"]


def test_names_are_other_peoples_text(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    with writing(office.engine) as connection:
        accept_person(
            connection, coworker(1, full_name=MARKUP, email="b@example.org"), office.clock.now()
        )
    browser = office.signed_in()
    for path in ("/", "/people", "/people?q=Bobby", "/people/1", "/messages/1"):
        answer = browser.get(path)
        assert "<b>Bobby" not in answer.text
    assert "&lt;b&gt;Bobby&lt;/b&gt; &amp; Co" in browser.get("/people/1").text


@on_both_engines
def test_a_failed_email_is_sent_again_once_however_often_it_is_pressed(
    desk: Desk, office: Office
) -> None:
    space = desk.space
    desk.refuse(1)
    with writing(office.engine) as connection:
        accept_person(connection, coworker(1, email="new@example.org"), office.clock.now())
    browser = office.signed_in()
    shown = browser.get("/messages/1/again")
    assert "It went to person1@example.org. Nexudus now has new@example.org." in text_of(shown)
    first = browser.send(shown, "/messages/1/again")
    second = browser.send(shown, "/messages/1/again")
    assert first.headers["Location"] == "/messages/2?look=1"
    assert second.headers["Location"] == "/messages/2"
    assert [state for state, _ in space.outcomes()] == ["failed", "planned"]
    assert "sent again" in text_of(browser.get("/messages/1"))
    with reading(office.engine) as connection:
        last = decisions(connection)[-1]
    assert (last.what, last.who) == ("resend", "Rita Sousa")


def test_an_unknown_email_is_sent_again_only_after_the_operator_checked(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    with writing(office.engine) as connection:
        connection.execute(actions.update().values(state="unknown", reason="handover-unknown"))
    browser = office.signed_in()
    shown = browser.get("/messages/1/again")
    assert "I checked: it did not arrive" in shown.text
    assert browser.send(shown, "/messages/1/again").headers["Location"] == "/messages/1/again"
    assert "Nothing was sent" in browser.get("/messages/1/again").text
    done = browser.send(shown, "/messages/1/again", checked="yes")
    assert done.headers["Location"] == "/messages/2?look=1"


def held(desk: Desk, reason: str) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    with writing(desk.space.engine) as connection:
        connection.execute(actions.update().values(state="held", reason=reason))


def test_a_held_email_is_sent_or_dropped(desk: Desk, office: Office) -> None:
    held(desk, "too-old")
    browser = office.signed_in()
    assert "Needs you" in text_of(browser.get("/messages/1"))
    browser.press("/messages/1", "/messages/1/release")
    assert "It is checked again and goes out now." in text_of(browser.get("/messages/1"))
    desk.space.work()
    assert desk.space.outcomes() == [("done", None)]
    assert "/messages/1/release" not in browser.get("/messages/1").text


def test_an_email_that_waits_can_be_dropped(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    browser = office.signed_in()
    browser.press("/messages/1", "/messages/1/skip")
    assert "It will not be sent." in text_of(browser.get("/messages/1"))
    desk.space.work()
    assert [state for state, _ in desk.space.outcomes()] == ["skipped"]


def test_while_observing_nothing_is_released_or_sent_again(desk: Desk, office: Office) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    seen = browser.get("/messages/1")
    assert "Observing. Emails are written and kept here. Nothing is sent." in seen.text
    assert "/messages/1/release" not in seen.text
    assert "Kept here" in text_of(browser.get("/"))


def test_who_may_only_look_changes_nothing_and_is_told_who_can(desk: Desk, office: Office) -> None:
    held(desk, "too-old")
    office.add("Otto Lind", Role.OPERATE)
    browser = office.signed_in(Role.LOOK)
    seen = browser.get("/messages/1")
    assert "/messages/1/release" not in seen.text
    assert "person1@example.org" not in seen.text + browser.get("/people/1").text
    assert "p…@example.org" in browser.get("/people/1").text
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    for act in ("release", "skip", "again"):
        refused = browser.post(f"/messages/1/{act}", {"token": token})
        assert refused.status_code == 403
        assert "Otto Lind" in refused.text
    assert desk.space.outcomes() == [("held", "too-old")]


def test_who_may_only_look_finds_a_name_although_many_addresses_match(office: Office) -> None:
    now = office.clock.now()
    with writing(office.engine) as connection:
        for number in range(1, 26):
            other = {"full_name": f"Abe {number}", "email": f"maria{number}@example.org"}
            accept_person(connection, coworker(number, **other), now)
        zoe = coworker(99, full_name="Zoë María", email="z@example.org")
        accept_person(connection, zoe, now)
    found = office.signed_in(Role.LOOK).get("/people?q=zoe+maria")
    assert found.headers["Location"] == "/people/99"
    found = office.signed_in(Role.LOOK, "Otto Lind").get("/people?q=maria")
    assert found.headers["Location"] == "/people/99"


def test_a_page_takes_as_many_statements_for_many_events_as_for_few(
    desk: Desk, office: Office
) -> None:
    space, browser = desk.space, office.signed_in()
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    few = {path: statements(office, browser, path) for path in ("/", "/people/1")}
    space.finish(member, 2, 3)
    for number in range(2, 9):
        space.enrol(number)
    space.work()
    assert {path: statements(office, browser, path) for path in few} == few


def statements(office: Office, browser: Browser, path: str) -> int:
    """Return how many statements a page takes, without what is kept for a while.

    What is kept may still be read by a thread of its own, which is not counted.
    """
    browser.get(path)
    seen: list[str] = []
    here = threading.get_ident()

    def note(*given: object) -> None:
        if threading.get_ident() == here:
            seen.append(str(given[2]))

    event.listen(office.web.engine, "before_cursor_execute", note)
    try:
        browser.get(path)
    finally:
        event.remove(office.web.engine, "before_cursor_execute", note)
    return len(seen)
