"""What the script of Today asks: how much happened since, without use of the session."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.engine import reading
from ledger.operators import IDLE, operator_named, sessions_of
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import RITA, Browser, Office, over
from tests.contract.test_operator_pages import statements, text_of

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with over(desk, tmp_path) as found:
        yield found


def asked_by(browser: Browser, page: str = "/") -> str:
    """Return what the script of a page asks."""
    [path] = re.findall(r'data-ask="([^"]*)"', browser.get(page).text)
    return str(path).replace("&amp;", "&")


def last_used(office: Office) -> object:
    with reading(office.engine) as connection:
        operator = operator_named(connection, RITA)
        assert operator
        return [
            one.seen_at for one in sessions_of(connection, operator.operator_id, office.clock.now())
        ]


def test_today_asks_how_much_happened_since_it_was_opened(desk: Desk, office: Office) -> None:
    browser = office.signed_in()
    at_first = asked_by(browser)
    assert browser.get(at_first).status_code == 204
    member = desk.space.enrol(1)
    desk.space.look_up()
    assert browser.get(at_first).text == "1 new, show it"
    path, enrolled = asked_by(browser), asked_by(browser, "/?kind=enrolled")
    desk.space.finish(member, 1)
    desk.space.enrol(2)
    desk.space.look_up()
    # The lesson, the start of the course and the enrolment.
    assert browser.get(path).text == "3 new, show them"
    assert browser.get(path).mimetype == "text/plain"
    assert browser.get(enrolled).text == "1 new, show it"
    for number in range(3, 103):
        desk.space.enrol(number)
    desk.space.look_up()
    assert browser.get(path).text == "More than 99 new, show them"
    assert statements(office, browser, path) <= 4
    for odd in ("after=x", "after=-1", "kind=none", ""):
        assert browser.get(f"/newer?{odd}").text == "More than 99 new, show them"
    assert browser.get("/newer?after=" + "9" * 18).status_code == 204


def test_what_was_noticed_late_stands_where_it_happened_and_is_counted_as_new(
    desk: Desk, office: Office
) -> None:
    before = office.clock.now() - timedelta(days=2)
    desk.space.enrol(1)
    desk.space.look_up()
    browser = office.signed_in()
    path = asked_by(browser)
    desk.space.enrol(2, created_at=before)
    desk.space.look_up()
    assert browser.get(path).text == "1 new, show it"
    today = browser.get("/")
    seen = text_of(today)
    assert seen.index("Person 1 Enrolled") < seen.index("Person 2 Enrolled")
    assert len(re.findall(r"noticed \d\d:\d\d", seen)) == 1
    assert browser.get(asked_by(browser)).status_code == 204
    for number in range(3, 30):
        desk.space.enrol(number, created_at=before + timedelta(minutes=number))
    desk.space.look_up()
    pages = [browser.get("/").text]
    [older] = re.findall(r'href="(/\?before=\d+)"', pages[0])
    pages.append(browser.get(older).text)
    found = [one for page in pages for one in re.findall(r'href="/people/(\d+)"', page)]
    assert sorted(map(int, found)) == list(range(1, 30))


def test_to_ask_is_no_use_of_the_session(office: Office) -> None:
    browser = office.signed_in()
    path, before = asked_by(browser), last_used(office)
    office.clock.time += timedelta(hours=1)
    assert browser.get(path).status_code == 204
    assert last_used(office) == before
    browser.get("/")
    assert last_used(office) != before
    office.clock.time += IDLE - timedelta(minutes=1)
    assert browser.get(path).status_code == 204
    office.clock.time += timedelta(minutes=2)
    ended = browser.get(path)
    assert ended.status_code == 401
    assert (ended.data, ended.headers.get("Location")) == (b"", None)
    assert office.browser().get(path).status_code == 401


def test_only_the_newest_page_of_today_has_a_script(desk: Desk, office: Office) -> None:
    for number in range(1, 28):
        desk.space.enrol(number)
    desk.space.look_up()
    browser = office.signed_in()
    today = browser.get("/")
    assert "script-src 'self'; connect-src 'self'" in today.headers["Content-Security-Policy"]
    [path] = re.findall(r'<script src="(/desk\.js\?v=\w+)" defer>', today.text)
    answer = browser.get(path)
    assert answer.mimetype == "text/javascript"
    assert "immutable" in answer.headers["Cache-Control"]
    for other in ("/?before=20", "/people", "/numbers"):
        assert "<script" not in browser.get(other).text
    assert "script-src" not in browser.get("/people").headers["Content-Security-Policy"]
