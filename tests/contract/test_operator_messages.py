"""What operators see of members' texts, and what the server does if a page did not offer it."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from email.message import EmailMessage
from pathlib import Path

import pytest
from sqlalchemy import select

from ledger.engine import reading, writing
from ledger.interventions import decisions
from ledger.pauses import PauseScope
from ledger.people import accept_person
from ledger.tables import actions, copies
from schemas.actions import Mode
from schemas.roles import Role
from service.desk.shown_text import shown_text
from service.pausing import PauseWish, begin
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import on_both_engines
from tests.contract.operator_rig import Browser, Office, over
from tests.contract.study_rig import coworker
from tests.contract.test_operator_pages import statements, text_of
from tests.e2e.house import RULES

pytestmark = pytest.mark.engines("sqlite")
TOKEN = re.compile(r"/[pu]/[\w.-]{30,}")
ADDRESS = "person1@example.org"


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with public(desk, tmp_path, RULES) as found:
        yield found


def public(desk: Desk, folder: Path, rules: Path) -> AbstractContextManager[Office]:
    """Open the pages at an address where members open theirs."""
    return over(desk, folder, rules, COURSEBELL_PUBLIC_URL="https://courses.harbour.example")


def changed(office: Office, **values: object) -> None:
    with writing(office.engine) as connection:
        connection.execute(actions.update().values(**values))


def state(office: Office) -> tuple[str, str | None]:
    with reading(office.engine) as connection:
        row = connection.execute(select(actions.c.state, actions.c.reason)).one()
    return row.state, row.reason


def forced(browser: Browser, path: str, **fields: str) -> None:
    """Send a form that no page offers now."""
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    assert browser.post(path, {"token": token, **fields}).status_code == 303


@pytest.mark.parametrize("role", [Role.LOOK, Role.ENGINEER])
def test_no_operator_sees_a_link_that_acts_for_a_member(
    desk: Desk, office: Office, role: Role
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    link = f"https://courses.harbour.example/p/{'ab-_' * 20}.{'x' * 20}"
    with writing(office.engine) as connection:
        body = connection.scalar(select(copies.c.body))
        assert body is not None
        message = EmailMessage()
        message.set_content(f"Choose: {link}")
        message.add_alternative(f"<html><a href='{link}?lang=en'>x</a>{link}", subtype="html")
        kept = message.as_string()
        connection.execute(copies.update().values(body=kept.encode()))
    browser = office.signed_in(role)
    for path in ("/messages/1", "/messages/1/body"):
        assert not TOKEN.search(browser.get(path).text)
    assert "Choose: https://courses.harbour.example/p/…" in browser.get("/messages/1").text
    assert "/p/…?lang=en" in browser.get("/messages/1/body").text
    name = re.search(r'href="/emails/([^"]+)"', browser.get("/emails").text)
    assert name
    for rest in ("?form=text", "?form=html", "/body?person=1"):
        answer = browser.get(f"/emails/{name[1]}{rest}")
        assert answer.status_code == 200
        assert not TOKEN.search(answer.text)


def test_links_are_found_in_every_way_they_are_written() -> None:
    token = "a_-" * 30 + "." + "b" * 27
    for link in (f"x/p/{token}", f"x%2Fu%2F{token}", rf"x\/p\/{token}", f"x&#47;u&#47;{token}"):
        assert token not in shown_text(f'<a href="{link}">', is_masked=False)


def test_who_may_only_look_sees_no_address_in_any_text(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    with writing(office.engine) as connection:
        body = f'{{"to": "{ADDRESS}", "url": "https://x.example/?to=person1%40example.org"}}'
        connection.execute(copies.update().values(body=body.encode(), media_type="text/plain"))
        connection.execute(actions.update().values(kind="note"))
        accept_person(connection, coworker(1, full_name=ADDRESS), office.clock.now())
    look = office.signed_in(Role.LOOK)
    for path in ("/", "/people", "/people/1", "/messages/1"):
        shown = look.get(path).text
        assert "person1" not in shown.replace("p…@example.org", ""), path
    assert "p…%40example.org" in look.get("/messages/1").text
    assert ADDRESS in office.signed_in(Role.OPERATE, "Otto Lind").get("/messages/1").text


def test_an_address_without_its_at_sign_is_shortened_too(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    with writing(office.engine) as connection:
        accept_person(connection, coworker(1, email="secretname"), office.clock.now())
    assert "secretname" not in office.signed_in(Role.LOOK).get("/people/1").text


def test_who_may_only_look_finds_nobody_by_part_of_an_address(desk: Desk, office: Office) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.work()
    with writing(office.engine) as connection:
        for number in (1, 2):
            accept_person(
                connection,
                coworker(number, full_name=f"Tester {number}", email=f"zed{number}@example.org"),
                office.clock.now(),
            )
    look, operate = office.signed_in(Role.LOOK), office.signed_in(Role.OPERATE, "Otto Lind")
    for typed in ("zed", "zed1", "@example", "zed1@ex"):
        assert "Nobody here matches" in text_of(look.get(f"/people?q={typed}")), typed
        assert operate.get(f"/people?q={typed}").text.count("Nobody here") == 0
    for typed in ("zed1@example.org", "tester 1", "1"):
        assert look.get(f"/people?q={typed}").headers["Location"] == "/people/1"


def test_observing_nothing_is_released_or_sent_again_by_any_form(
    desk: Desk, office: Office
) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    forced(browser, "/messages/1/release")
    assert "Sending has not been started, so nothing is sent." in browser.get("/messages/1").text
    assert state(office) == ("held", "observe")
    changed(office, state="failed", reason="mail-rejected")
    forced(browser, "/messages/1/again", checked="yes")
    assert "Sending has not been started, so nothing is sent." in browser.get("/messages/1").text
    assert state(office) == ("failed", "mail-rejected")


def test_what_a_pause_holds_is_not_released_one_by_one(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    changed(office, state="held", reason="paused")
    browser = office.signed_in()
    forced(browser, "/messages/1/release")
    assert "Sending to them is paused: resume first." in browser.get("/messages/1").text
    assert state(office) == ("held", "paused")


@on_both_engines
def test_a_failed_email_is_closed_and_then_needs_nobody(desk: Desk, office: Office) -> None:
    desk.refuse(1)
    browser = office.signed_in()
    forced(browser, "/messages/1/skip")
    forced(browser, "/upcoming/1/skip")
    assert "Nothing more to do" in browser.get("/messages/1").text
    browser.press("/messages/1", "/messages/1/skip")
    seen = browser.get("/messages/1").text
    assert "Closed. It stays as it is." in seen
    assert "Nothing more to do" not in seen
    assert 'class="badge failed"' not in seen
    assert "Closed: nothing more is to be done." in text_of(browser.get("/people/1"))
    with reading(office.engine) as connection:
        assert [one.what for one in decisions(connection)].count("close") == 1
    changed(office, state="unknown", reason="handover-unknown")
    assert "Needs you" not in browser.get("/messages/1").text.partition("<main")[2]


@pytest.mark.parametrize("pauses", [0, 1])
def test_the_page_of_a_person_takes_no_longer_for_many_held_emails(
    desk: Desk, office: Office, pauses: int
) -> None:
    space, browser = desk.space, office.signed_in()
    space.choose(Mode.OBSERVE)
    for _ in range(pauses):
        wish = PauseWish(PauseScope.ALL, None, None, "", None)
        begin(office.engine, wish, "x", space.clock.now())
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    few = statements(office, browser, "/people/1")
    for number in (2, 3):
        space.finish(member, number)
        space.work()
    assert statements(office, browser, "/people/1") == few


def test_pages_that_need_no_rules_work_while_the_file_is_broken(desk: Desk, tmp_path: Path) -> None:
    desk.space.enrol(1)
    desk.space.work()
    desk.space.enrol(2)
    desk.space.look_up()
    broken = tmp_path / "rules.yaml"
    broken.write_text("rules: [", encoding="utf-8")
    with public(desk, tmp_path, broken) as office:
        browser = office.signed_in()
        for path in ("/", "/people", "/people/1", "/people/2", "/messages/1", "/pause", "/held"):
            assert browser.get(path).status_code == 200, path
        assert "the rules file has a mistake" in browser.get("/messages/1").text
        for path in ("/messages/1/body", "/emails"):
            answer = browser.get(path)
            assert answer.status_code == 503
            assert "The rules file has a mistake" in answer.text
            assert "database" not in answer.text
        assert browser.press("/pause", "/pause", what="all").headers["Location"] == "/"
        assert "Paused: all emails." in browser.get("/").text


def test_impossible_numbers_moments_and_characters_are_clear_pages(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    for path in ("people/{}", "messages/{}", "messages/{}/body", "messages/{}/again", "events/{}"):
        assert browser.get("/" + path.format(2**63)).status_code == 404
    for until in ("0001-01-01T00:00+10:00", "9999-12-31T23:59-10:00"):
        asked = browser.press("/pause", "/pause", what="all", until=until)
        assert asked.status_code == 422
        assert "That end has passed." in asked.text
    assert browser.get("/people?q=Person%00 1").headers["Location"] == "/people/1"
    named = browser.press("/pause", "/pause", what="person", who="Person\0 1", note="a\0b")
    assert named.headers["Location"] == "/people/1"


def test_a_member_without_a_name_is_called_by_their_number(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    with writing(office.engine) as connection:
        accept_person(connection, coworker(1, full_name=""), office.clock.now())
    browser = office.signed_in()
    for path in ("/", "/people", f"/people?q={ADDRESS[:8]}", "/people/1", "/messages/1"):
        answer = browser.get(path, follow_redirects=True)
        assert "Member 1" in answer.text, path
    assert re.search(r"<h1[^>]*>.*Member 1.*</h1>", browser.get("/people/1").text)
    assert "Member 1" in browser.get("/people/1/asked").text
    assert "Member 1" in browser.get("/pause?person=1").text
