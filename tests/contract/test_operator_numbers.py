"""The page of numbers, and of each course: what they count, and what they draw."""

import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.engine import writing
from ledger.people import accept_person
from schemas.entity import Entity
from schemas.roles import Role
from service.desk.background import BackgroundLook
from service.desk.counting import Numbers
from service.desk.languages import FOLDER, ui_language
from service.desk.pictures import Drawing, KeptPictures
from tests.builders.records import COURSE_ID, course
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Browser, Office, over
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import LESSONS, coworker
from tests.contract.test_operator_pages import statements, text_of
from tests.servers.programs import wait_until

pytestmark = pytest.mark.engines("sqlite")
BANNED = re.compile(r"\b(webhook|payload|queue|job|retry policy|UUID)s?\b", re.IGNORECASE)
ARABIC = "ليلى حداد"


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with over(desk, tmp_path) as found:
        yield found


def counted(browser: Browser, path: str = "/numbers") -> str:
    """Return what a reader sees of a page once everything is counted."""
    for _ in range(200):  # each waits a moment for the count
        answer = browser.get(path)
        if "are being counted" not in answer.text:
            return text_of(answer)
        assert answer.headers["Refresh"].startswith(f"3; url={path}?again=")
    raise AssertionError("it was never counted")


@contextmanager
def no_threads() -> Iterator[None]:
    """Let no thread start: each would need more memory than there can be."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_a_look_begins_later_if_no_thread_could_be_had() -> None:
    look = BackgroundLook(lambda _: "found", HandClock(), timedelta(minutes=1))
    with no_threads():
        assert look.newest() is None
    wait_until(lambda: look.newest() == "found", "it was looked for")
    look.close()


def test_numbers_say_that_nothing_happened_yet(office: Office) -> None:
    seen = counted(office.signed_in())
    assert "No email was sent in the last 30 days." in seen
    assert "No lesson was finished in the last 12 weeks." in seen
    assert "Nobody is on a course yet." in seen


def test_numbers_count_emails_hours_and_members_of_courses(desk: Desk, office: Office) -> None:
    several(desk)
    browser = office.signed_in()
    seen = counted(browser)
    assert "4 emails were sent in the last 30 days, digests not counted." in seen
    assert "Most in one hour:" in seen
    assert "4 lessons." in seen
    # Enrolled, finished, under way, not started.
    assert "Freelance Finance 4 1 1 2 Lesson 1: 2" in seen
    course = counted(browser, f"/numbers/{COURSE_ID}")
    assert "4 members are on this course. Finished: 1. Under way: 1. Not started: 2." in course
    assert re.search(r"Lesson 1 2 Person 3 1 hour ago Person 4 just now", course)
    assert re.search(r"Lesson 2 1 Person 2 just now", course)
    assert "Person 1" not in course


def several(desk: Desk) -> None:
    """Let four members enrol: one finishes, one begins, two do nothing, one of them for long."""
    space = desk.space
    space.enrol(3)
    space.later(hours=1)
    done, begun = space.enrol(1), space.enrol(2)
    space.enrol(4)
    space.work()
    space.finish(done, *LESSONS)
    space.finish(begun, LESSONS[0])
    space.look_up()


def test_at_most_five_members_are_named_at_a_lesson(desk: Desk, office: Office) -> None:
    for number in range(1, 9):
        desk.space.enrol(number)
    desk.space.work()
    with writing(office.engine) as connection:
        accept_person(connection, coworker(1, full_name=ARABIC), office.clock.now())
    browser = office.signed_in(Role.LOOK)
    page = counted(browser, f"/numbers/{COURSE_ID}")
    assert f"Lesson 1 8 {ARABIC} just now" in page
    assert "and 3 others" in page
    assert "@" not in page


def test_a_picture_is_an_svg_of_its_own_without_script(desk: Desk, office: Office) -> None:
    several(desk)
    browser = office.signed_in()
    shown = counted(browser)
    assert shown
    addresses = re.findall(r'(?:src|srcset)="(/[^"]*)"', browser.get("/numbers").text)
    assert len(addresses) == 6
    for path in addresses:
        answer = browser.get(path)
        assert answer.mimetype == "image/svg+xml"
        policy = answer.headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; style-src 'unsafe-inline'"
        assert "prefers-color-scheme:dark" in answer.text
        assert "<script" not in answer.text
        assert 'style="' not in answer.text
        assert ET.fromstring(answer.text).tag.endswith("svg")  # noqa: S314 - our own
    assert browser.get("/numbers/pictures/none").status_code == 404
    assert office.browser().get(addresses[0]).status_code == 303


def test_a_picture_is_drawn_once_for_each_language_and_width() -> None:
    kept, now = KeptPictures(), HandClock().now()
    numbers = Numbers(now, (now.date(),), {"welcome": (1,)}, {(0, 9): 1}, ())
    shown = [Drawing(ui_language(None, code, FOLDER), numbers) for code in ("en", "de")]
    found = [
        kept.drawn("hours", one, is_narrow=is_narrow)
        for one in shown
        for is_narrow in (False, True)
        for _ in range(2)
    ]
    assert [one is other for one, other in pairwise(found)] == [True, False] * 3 + [True]
    newer = Drawing(shown[0].language, replace(numbers))
    assert kept.drawn("hours", newer, is_narrow=False) is not found[0]


def test_pages_of_numbers_survive_odd_addresses_and_titles(desk: Desk, office: Office) -> None:
    title = "<b>\x0bMo\uffffney</b> & " + "long " * 60 + ARABIC
    desk.space.source.have(Entity.COURSE, course(title=title))
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    counted(browser)
    assert "<b>" not in browser.get("/numbers").text
    ET.fromstring(browser.get("/numbers/pictures/courses").text)  # noqa: S314 - our own
    assert "Lesson 1: 1" in text_of(browser.get("/numbers"))
    assert browser.get("/numbers/77").status_code == 404
    for odd in ("/numbers?again=x", "/numbers?again=-1", "/numbers/pictures/emails?narrow=%00"):
        assert browser.get(odd).status_code == 200
    seen = counted(browser) + counted(browser, f"/numbers/{COURSE_ID}")
    assert not BANNED.search(seen)


def test_numbers_take_as_many_statements_for_many_as_for_few(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    paths = ("/numbers", f"/numbers/{COURSE_ID}", "/numbers/pictures/hours")
    counted(browser)
    few = [statements(office, browser, path) for path in paths]
    assert max(few) <= 8
    for number in range(2, 30):
        desk.space.enrol(number)
    desk.space.work()
    office.clock.time += timedelta(minutes=11)
    for _ in range(200):
        if "29 members are on this course." in counted(browser, paths[1]):
            break
    else:
        raise AssertionError("it was not counted again")
    assert [statements(office, browser, path) for path in paths] == few
