"""Pause, Resume and Upcoming, as operators see them: what they say, and what can be done."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import literal, select
from werkzeug.test import TestResponse

from ledger.choices import choice_keys, store_choices
from ledger.engine import reading, writing
from ledger.interventions import decisions
from ledger.pauses import Pause, PauseScope, open_pauses
from ledger.people import accept_person
from ledger.tables import action_events, actions
from schemas.actions import Mode
from schemas.choices import ALL, Choice
from schemas.roles import Role
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import on_both_engines
from tests.contract.operator_rig import Browser, Office, hidden_fields, over
from tests.contract.study_rig import HASH_KEY, coworker
from tests.contract.test_operator_pages import statements, text_of

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    with over(desk, tmp_path) as found:
        yield found


@pytest.fixture
def shipped(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open them with the rules of this repository, by which events become too old."""
    with over(desk, tmp_path, Path("rules.yaml").resolve()) as found:
        yield found


def friday_noon(office: Office) -> None:
    """Move the clock to a Friday at noon, when most of a day and a weekend are to come."""
    now = office.clock.now()
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
    office.clock.time = noon + timedelta(days=(4 - noon.weekday()) % 7)


def pauses(office: Office) -> list[Pause]:
    with reading(office.engine) as connection:
        return open_pauses(connection)


def refused(browser: Browser, **fields: str) -> str:
    """Send the form to pause with something wrong; return the page that says so."""
    shown = browser.get("/pause")
    answer = browser.send(shown, "/pause", **fields)
    assert answer.status_code == 422
    return answer.text


def test_all_emails_are_paused_in_two_presses(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    browser = office.signed_in(Role.OPERATE)
    assert 'href="/pause"' in browser.get("/people").text
    shown = browser.get("/pause")
    assert "All emails (1 waits now)" in text_of(shown)
    for _ in range(2):
        browser.send(shown, "/pause", what="all", until="", note=" typo in the welcome ")
    [made] = pauses(office)
    assert (made.scope, made.until, made.note) == (PauseScope.ALL, None, "typo in the welcome")
    today = browser.get("/")
    assert "Paused: all emails. 1 waits now and is held when it is due." in text_of(today)
    assert "“typo in the welcome”" in today.text
    desk.space.work()
    assert desk.space.outcomes() == [("held", "paused")]
    with reading(office.engine) as connection:
        logged = [(one.what, one.who) for one in decisions(connection) if one.what == "pause"]
    assert logged == [("pause", "Rita Sousa")]


@pytest.mark.parametrize(
    ("fields", "target", "says"),
    [
        ({"what": "rule", "rule": "welcome"}, "welcome", "the emails “Welcome”"),
        (
            {"what": "course", "course": str(COURSE_ID)},
            str(COURSE_ID),
            "emails about Freelance Finance",
        ),
        ({"what": "person", "who": "person2@example.org"}, "2", "emails to Person 2"),
        ({"what": "person-2"}, "2", "emails to Person 2"),
    ],
)
def test_one_kind_one_course_or_one_person_is_paused(
    desk: Desk, office: Office, fields: dict[str, str], target: str, says: str
) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.look_up()
    browser = office.signed_in()
    done = browser.send(browser.get("/pause"), "/pause", **fields)
    scope = fields["what"].removesuffix("-2")
    assert [(one.scope, one.target) for one in pauses(office)] == [(scope, target)]
    assert f"Paused: {says}." in text_of(browser.get(done.headers["Location"]))


def test_a_pause_of_a_person_starts_at_their_page(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    browser = office.signed_in()
    assert 'href="/pause?person=1"' in browser.get("/people/1").text
    shown = browser.get("/pause?person=1")
    assert "Emails to Person 1 (person1@example.org) (1 waits now)" in text_of(shown)
    assert re.search(r'value="person-1" checked', shown.text)
    assert not re.search(r'value="all" checked', shown.text)


def test_a_pause_ends_tomorrow_or_on_monday_where_the_space_is(desk: Desk, office: Office) -> None:
    friday_noon(office)
    browser = office.signed_in()
    shown = browser.get("/pause")
    ends = re.findall(r'name="until" value="([^"]+)"> ([^<]+)', shown.text)
    assert [one[1].split()[0] for one in ends] == ["tomorrow", "Mon"]
    browser.send(shown, "/pause", what="all", until=ends[0][0])
    [made] = pauses(office)
    assert made.until is not None
    assert made.until.isoformat() == ends[0][0]
    assert made.until - desk.space.clock.now() == timedelta(hours=20)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"what": "all", "rule": "welcome"}, "You chose everything, and named something too."),
        ({"what": "rule"}, "Choose which kind of email to pause."),
        ({"what": "rule", "rule": "<b>"}, "Choose which kind of email to pause."),
        ({"what": "course", "course": "77"}, "Choose which course to pause."),
        ({"what": "course", "course": "9" * 90}, "Choose which course to pause."),
        ({"what": "person"}, "Type the name or address of the person."),
        ({"what": "person", "who": "nobody at all"}, "Nobody here matches “nobody at all”."),
        ({"what": "person", "who": "a\x00" * 900}, "Nobody here matches"),
        ({"what": "person-77"}, "Choose what to pause."),
        ({"what": "person-"}, "Choose what to pause."),
        ({}, "Choose what to pause."),
        ({"what": "all", "until": "2020-01-01T08:00+00:00"}, "That end has passed."),
        ({"what": "all", "until": "2099-01-01T08:00+00:00"}, "That end has passed."),
        ({"what": "all", "until": "2026-11-28"}, "That end has passed."),
        ({"what": "all", "until": "soon"}, "That end has passed."),
    ],
)
def test_a_pause_that_is_not_clear_is_asked_for_again(
    desk: Desk, office: Office, fields: dict[str, str], says: str
) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    page = refused(office.signed_in(), **fields, note="why we pause")
    assert says in page
    assert 'value="why we pause"' in page
    assert pauses(office) == []


def test_several_people_who_match_are_offered(desk: Desk, office: Office) -> None:
    for number in (1, 12):
        desk.space.enrol(number)
    desk.space.look_up()
    page = refused(office.signed_in(), what="person", who="person")
    assert "Several people match. Which one is it?" in page
    assert re.findall(r'value="(person-\d+)"', page) == ["person-1", "person-12"]


def test_upcoming_says_when_to_whom_what_and_why(desk: Desk, office: Office) -> None:
    friday_noon(office)
    desk.space.finish(desk.space.enrol(1), 1)
    desk.space.look_up()
    with writing(office.engine) as connection:
        due_at = office.clock.now() + timedelta(minutes=30)
        connection.execute(
            actions.update().values(due_at=due_at, state="waiting", reason="gathering")
        )
        linked = select(action_events.c.event_id, literal("another"), literal(2))
        one_more = linked.where(action_events.c.action_id == 1)
        connection.execute(
            action_events.insert().from_select(["event_id", "rule", "action_id"], one_more)
        )
        far = coworker(1, email="p@example.org")
        accept_person(connection, far, office.clock.now(), "Australia/Sydney")
    seen = text_of(office.signed_in().get("/upcoming"))
    assert re.search(r"Next 24 hours: \d emails to 1 person\.", seen)
    assert "12:30 23:30 in Sydney Person 1 Enrolled Freelance Finance" in seen
    assert "Finished 2 lessons Freelance Finance" in seen
    assert "Gathering Waiting for more lessons of the same sitting. See" in seen


def test_an_email_of_upcoming_is_dropped_after_a_question(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    browser = office.signed_in()
    asked = browser.get("/upcoming/1/skip")
    assert "send Person 1 this email?" in text_of(asked)
    first = browser.send(asked, "/upcoming/1/skip")
    assert first.headers["Location"] == "/upcoming"
    assert "It will not be sent." in text_of(browser.get("/upcoming"))
    browser.send(asked, "/upcoming/1/skip")
    assert "It was not waiting any more." in text_of(browser.get("/upcoming"))
    assert "Nothing is due" in text_of(browser.get("/upcoming"))
    assert desk.space.outcomes() == [("skipped", "on-hold")]
    assert browser.get("/upcoming/1/skip").headers["Location"] == "/messages/1"
    assert browser.get("/upcoming/77/skip").status_code == 404


def test_who_may_only_look_sees_upcoming_and_cannot_pause(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    browser = office.signed_in(Role.LOOK)
    assert "/skip" not in browser.get("/upcoming").text
    assert "/pause" not in browser.get("/people/1").text
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    for path in ("/pause", "/upcoming/1/skip"):
        assert browser.get(path).status_code == 403
        assert browser.post(path, {"token": token, "what": "all"}).status_code == 403
    assert pauses(office) == []
    assert desk.space.outcomes() == [("planned", None)]


def test_upcoming_shows_the_first_50_with_as_many_statements_as_one(
    desk: Desk, office: Office
) -> None:
    desk.space.choose(Mode.SENDING)
    browser = office.signed_in()
    desk.space.enrol(1)
    desk.space.look_up()
    few = {path: statements(office, browser, path) for path in ("/upcoming", "/pause")}
    for number in range(2, 53):
        desk.space.enrol(number)
    desk.space.look_up()
    assert {path: statements(office, browser, path) for path in few} == few
    assert "These are the first 50 of 52." in text_of(browser.get("/upcoming"))


def paused_with(desk: Desk, office: Office, *numbers: int) -> Browser:
    """Return a browser of an operator who paused everything before these people enrolled."""
    friday_noon(office)
    browser = office.signed_in()
    browser.press("/pause", "/pause", what="all")
    for number in numbers:
        desk.space.enrol(number)
    desk.space.work()
    return browser


def finish(browser: Browser, page: TestResponse, **fields: list[int] | str) -> None:
    """Send the form of a review with these fields, several emails as a list."""
    sent: dict[str, object] = {**hidden_fields(page.text, "/resume/1"), **fields}
    browser.post("/resume/1", sent)


@on_both_engines
def test_resume_sends_what_is_ticked_and_keeps_the_others(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, 1, 2, 3)
    assert 'href="/resume/1"' in browser.get("/").text
    shown = browser.get("/resume/1")
    assert "Paused: all emails. Waited meanwhile: 3 emails." in text_of(shown)
    assert "Person 1 Enrolled Freelance Finance just now Still true" in text_of(shown)
    for _ in range(2):
        finish(browser, shown, act="send", shown=[1, 2, 3], tick=[1, 3], others="keep")
    desk.space.work()
    assert desk.space.outcomes() == [("done", None), ("held", "on-hold"), ("done", None)]
    assert pauses(office) == []
    assert "It was resumed already." in text_of(browser.get("/"))


@on_both_engines
def test_the_others_are_dropped_if_the_operator_says_so(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, 1, 2)
    shown = browser.get("/resume/1")
    finish(browser, shown, act="send", shown=[1, 2], tick=[2], others="drop")
    assert "Of what waited, 1 will be sent, 1 is dropped." in text_of(browser.get("/"))
    desk.space.work()
    assert desk.space.outcomes() == [("skipped", "paused"), ("done", None)]


def test_none_is_sent_if_the_operator_says_so(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, 1, 2)
    shown = browser.get("/resume/1")
    finish(browser, shown, act="none", shown=[1, 2], tick=[1, 2], rest="yes")
    desk.space.work()
    assert desk.space.outcomes() == [("held", "on-hold")] * 2


def test_what_is_no_longer_true_is_shown_so_and_dropped(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, 1)
    no = Choice(agreed=False, chosen_at=office.clock.now())
    with writing(office.engine) as connection:
        store_choices(connection, choice_keys(HASH_KEY, 1, None), {ALL: no})
    shown = browser.get("/resume/1")
    assert "No longer true They asked for no course emails." in text_of(shown)
    assert 'value="1" disabled' in shown.text
    finish(browser, shown, act="send", shown=[1], others="keep")
    desk.space.work()
    assert desk.space.outcomes() == [("skipped", "opted-out-all")]


def test_what_became_old_is_sent_only_if_it_is_ticked(desk: Desk, shipped: Office) -> None:
    browser = paused_with(desk, shipped, 1, 2)
    shipped.clock.move(96 * 3600)
    shown = browser.get("/resume/1")
    assert text_of(shown).count("4 days ago Look at it first It happened too long ago") == 2
    assert " checked>" not in shown.text.partition("<tbody>")[2].partition("</tbody>")[0]
    finish(browser, shown, act="send", shown=[1, 2], tick=[1], others="keep")
    with reading(shipped.engine) as connection:
        released = connection.execute(select(actions.c.id, actions.c.released_at)).all()
    assert [action_id for action_id, at in released if at] == [1]
    desk.space.work()
    assert desk.space.outcomes() == [("done", None), ("held", "on-hold")]


def test_only_what_was_shown_and_ticked_is_sent(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, 1)
    shown = browser.get("/resume/1")
    desk.space.enrol(2)
    desk.space.work()
    finish(browser, shown, act="send", shown=[1], tick=[1, 2, 77, -1, 10**40])
    desk.space.work()
    assert desk.space.outcomes() == [("done", None), ("held", "on-hold")]


def test_a_pause_that_ended_or_never_was_has_no_page(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, 1)
    browser.press("/resume/1", "/resume/1", act="none")
    assert browser.get("/resume/1").status_code == 404
    assert browser.get("/resume/77").status_code == 404
    assert browser.get(f"/resume/{'9' * 40}").status_code == 404


def test_many_that_waited_are_sent_without_being_shown(desk: Desk, office: Office) -> None:
    browser = paused_with(desk, office, *range(1, 53))
    shown = browser.get("/resume/1")
    assert "These are the first 50 of 52." in text_of(shown)
    ids = [int(one) for one in re.findall(r'name="shown" value="(\d+)"', shown.text)]
    finish(browser, shown, act="send", shown=ids, tick=ids[:1], rest="yes")
    seen = text_of(browser.get("/"))
    assert "Of what waited, 3 will be sent, 49 stay held." in seen
