"""Held, as operators see it: what waits for a person, by what it waits for, to send or to drop."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from werkzeug.test import TestResponse

from ledger.engine import reading, writing
from ledger.interventions import decisions
from ledger.pauses import PauseScope
from ledger.tables import actions, gaps
from schemas.actions import Mode
from schemas.roles import Role
from service.pausing import PauseWish, Resumed, Reviewed, begin, end, end_reviewed
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import on_both_engines
from tests.contract.operator_rig import Browser, Office, hidden_fields, over
from tests.contract.source_rig import HandClock
from tests.contract.test_operator_pages import statements, text_of
from workers.deliver.forecast import make_send_setup

pytestmark = pytest.mark.engines("sqlite")
OLD = "/held/too-old"


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    assert isinstance(desk.space.clock, HandClock)
    noon = desk.space.clock.now().replace(hour=12, minute=0) + timedelta(days=1)
    desk.space.clock.time = noon
    with over(desk, tmp_path) as found:
        yield found


def hold(desk: Desk, *numbers: int, reason: str = "too-old") -> None:
    """Let people enrol whose emails are held for this reason."""
    for number in numbers:
        desk.space.enrol(number)
    desk.space.look_up()
    with writing(desk.space.engine) as connection:
        waits = actions.c.state == "planned"
        connection.execute(actions.update().where(waits).values(state="held", reason=reason))


def copies(desk: Desk, number: int) -> None:
    """Hold so many more emails like the first."""
    with writing(desk.space.engine) as connection:
        row = connection.execute(select(actions).where(actions.c.id == 1)).one()._asdict()
        rows = [row | {"id": one, "key": f"copy:{one}"} for one in range(100, 100 + number)]
        connection.execute(insert(actions), rows)


def ask(browser: Browser, path: str, act: str, *ids: int) -> TestResponse:
    """Tick emails of a group and press one of its buttons."""
    page = browser.get(path)
    return browser.post(path, {**hidden_fields(page.text, path), "act": act, "id": list(ids)})


def confirm(browser: Browser, question: TestResponse, path: str = OLD) -> TestResponse:
    """Confirm, with all the emails that the question carries."""
    fields: dict[str, object] = dict(hidden_fields(question.text, f"{path}/decide"))
    ids = re.findall(r'name="id" value="(\d+)"', question.text)
    return browser.post(f"{path}/decide", {**fields, "id": ids})


def test_today_leads_to_what_an_operator_holds_although_it_needs_nobody(
    desk: Desk, office: Office
) -> None:
    hold(desk, 1, reason="on-hold")
    assert 'href="/held"' in office.signed_in().get("/").text


def test_held_emails_are_grouped_by_what_they_wait_for(desk: Desk, office: Office) -> None:
    desk.refuse(9)
    hold(desk, 1, 2)
    hold(desk, 3, reason="flood-guard")
    browser = office.signed_in()
    seen = text_of(browser.get("/held"))
    assert "2 emails: It happened too long ago to email about without asking. Look at them" in seen
    assert "1 email: Many emails at once look like an import; check before they go." in seen
    assert "Failed Person 9 , You're in: Freelance Finance. The mail server refused it" in seen
    assert 'href="/messages/1"' in browser.get("/held").text
    assert 'href="/held"' in browser.get("/").text


@on_both_engines
def test_ticked_emails_are_sent_after_a_question_that_names_them(
    desk: Desk, office: Office
) -> None:
    hold(desk, 1, 2, 3)
    browser = office.signed_in()
    question = ask(browser, OLD, "send", 1, 3)
    assert "Send 2 emails to 2 people?" in text_of(question)
    assert desk.space.outcomes() == [("held", "too-old")] * 3
    confirm(browser, question)
    assert "2 are checked and go out now." in text_of(browser.get("/held"))
    confirm(browser, question)
    assert "They were decided about already." in text_of(browser.get("/held"))
    desk.space.work()
    assert desk.space.outcomes() == [("done", None), ("held", "too-old"), ("done", None)]
    with reading(office.engine) as connection:
        logged = [(one.what, one.who) for one in decisions(connection) if one.what == "release"]
    assert logged == [("release", "Rita Sousa")]


@on_both_engines
def test_a_whole_group_is_dropped_and_no_other(desk: Desk, office: Office) -> None:
    hold(desk, 3, reason="flood-guard")
    hold(desk, 1, 2)
    browser = office.signed_in()
    question = ask(browser, OLD, "drop-all")
    assert "Drop 2 emails to 2 people?" in text_of(question)
    assert "This cannot be undone" in text_of(question)
    confirm(browser, question)
    left = desk.space.outcomes()
    assert left == [("held", "flood-guard"), ("skipped", "too-old"), ("skipped", "too-old")]


def test_a_group_that_changed_meanwhile_is_asked_about_again(desk: Desk, office: Office) -> None:
    hold(desk, 1, 2)
    browser = office.signed_in()
    question = ask(browser, OLD, "drop-all")
    with writing(office.engine) as connection:
        connection.execute(actions.update().where(actions.c.id == 1).values(state="done"))
    again = confirm(browser, question)
    assert again.status_code == 409
    assert "Other emails are held now than when you were asked." in again.text
    assert "Drop 1 email to 1 person?" in again.text
    hold(desk, 3)
    confirm(browser, again)
    assert [state for state, _ in desk.space.outcomes()] == ["done", "skipped", "held"]


def test_a_group_of_thousands_is_listed_and_dropped(desk: Desk, office: Office) -> None:
    hold(desk, 1)
    browser = office.signed_in()
    few = {path: statements(office, browser, path) for path in ("/held", OLD)}
    copies(desk, 4500)
    assert {path: statements(office, browser, path) for path in few} == few
    assert "These are the first 50 of 4,501." in text_of(browser.get(OLD))
    confirm(browser, ask(browser, OLD, "drop-all"))
    assert "4,501 are dropped." in text_of(browser.get("/held"))
    assert {state for state, _ in desk.space.outcomes()} == {"skipped"}


@pytest.mark.parametrize("reason", ["paused", "too-old"])
def test_what_cannot_be_sent_now_can_only_be_dropped(
    desk: Desk, office: Office, reason: str
) -> None:
    hold(desk, 1, reason=reason)
    browser = office.signed_in()
    page = browser.get(f"/held/{reason}")
    if reason == "too-old":
        desk.space.choose(Mode.OBSERVE)
        page = browser.get(f"/held/{reason}")
    assert 'value="send"' not in page.text
    token = hidden_fields(page.text, f"/held/{reason}")
    for act in ("send", "send-all"):
        sent = {**token, "act": act, "id": "1", "number": "1", "last_id": "1"}
        for path in (f"/held/{reason}", f"/held/{reason}/decide"):
            assert browser.post(path, sent).headers["Location"] == f"/held/{reason}"
    assert desk.space.outcomes() == [("held", reason)]


def test_emails_of_before_a_restore_are_warned_about(desk: Desk, office: Office) -> None:
    hold(desk, 1, reason="restored")
    hold(desk, 2)
    browser = office.signed_in()
    twice = "A member who received one will receive it twice."
    assert twice not in ask(browser, OLD, "send-all").text
    with writing(office.engine) as connection:
        restored_at = office.clock.now() + timedelta(minutes=1)
        connection.execute(insert(gaps).values(ended_at=restored_at, cause="restore"))
    for path in (OLD, "/held/restored"):
        assert twice in ask(browser, path, "send-all").text


def test_a_form_with_nothing_or_nonsense_in_it_changes_nothing(desk: Desk, office: Office) -> None:
    hold(desk, 1)
    browser = office.signed_in()
    token = hidden_fields(browser.get(OLD).text, OLD)
    for odd in ({}, {"act": "send"}, {"act": "send", "id": "x"}, {"act": "send", "id": "9" * 99}):
        answer = browser.post(OLD, {**token, **odd})
        assert answer.headers["Location"] == OLD
    for odd in ({"act": "send", "id": "77"}, {"act": "drop-all"}, {}):
        assert browser.post(f"{OLD}/decide", {**token, **odd}).headers["Location"] == "/held"
    for path in ("/held/nonsense", "/held/no-email", f"/held/{'a' * 900}"):
        assert browser.get(path).status_code == 404
        assert browser.post(path, token).status_code == 404
        assert browser.post(f"{path}/decide", token).status_code == 404
    assert desk.space.outcomes() == [("held", "too-old")]


def test_who_may_only_look_decides_nothing(desk: Desk, office: Office) -> None:
    hold(desk, 1)
    browser = office.signed_in(Role.LOOK)
    page = browser.get(OLD)
    assert "Person 1" in text_of(page)
    assert 'name="act"' not in page.text
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    sent = {"token": token, "act": "drop-all", "number": "1", "last_id": "1"}
    for path in (OLD, f"{OLD}/decide"):
        assert browser.post(path, sent).status_code == 403
    assert desk.space.outcomes() == [("held", "too-old")]


def test_words_of_engineers_are_not_on_these_pages(desk: Desk, office: Office) -> None:
    desk.refuse(9)
    hold(desk, 1)
    hold(desk, 2, reason="paused")
    browser = office.signed_in(Role.OPERATE)
    browser.press("/pause", "/pause", what="all")
    banned = re.compile(r"\b(webhook|payload|queue|job|retry policy|UUID|4\d\d)s?\b", re.IGNORECASE)
    for path in ("/held", OLD, "/held/paused", "/resume/1", "/upcoming", "/pause"):
        assert banned.findall(text_of(browser.get(path))) == [], path
    assert banned.findall(text_of(ask(browser, OLD, "drop-all"))) == []


def test_a_pause_that_was_resumed_meanwhile_is_not_resumed_twice(
    desk: Desk, office: Office
) -> None:
    wish = PauseWish(PauseScope.ALL, None)
    begun, _ = begin(office.engine, wish, "Rita", office.clock.now())
    hold(desk, 1, reason="paused")
    nothing = frozenset[int]()
    setup = make_send_setup(office.web.settings)
    of_all = Reviewed(nothing, nothing, sends_rest=True, sends_reports=True, drops=False)
    given = (office.engine, setup, begun, of_all)
    now = office.clock.now()
    assert end_reviewed(*given, who="Rita", now=now) == Resumed(1, 0, 0)
    hold(desk, 2, reason="paused")
    assert end_reviewed(*given, who="Rita", now=now) is None


@pytest.mark.parametrize("drops", [False, True])
def test_thousands_are_kept_or_dropped_some_at_a_time_until_all_are(
    desk: Desk, office: Office, *, drops: bool
) -> None:
    begun, _ = begin(office.engine, PauseWish(PauseScope.ALL, None), "Rita", office.clock.now())
    hold(desk, 1, reason="paused")
    copies(desk, 4_100)
    setup = make_send_setup(office.web.settings)
    one = frozenset({1})
    reviewed = Reviewed(one, one, sends_rest=False, sends_reports=True, drops=drops)

    def press() -> Resumed | None:
        now = office.clock.now()
        return end_reviewed(office.engine, setup, begun, reviewed, who="Rita", now=now, most=2_000)

    def of(number: int, sent: int = 0, *, is_whole: bool = False) -> Resumed:
        return Resumed(sent, *((0, number) if drops else (number, 0)), is_whole=is_whole)

    assert [press() for _ in range(4)] == [of(2_000), of(2_000), of(100, 1, is_whole=True), None]
    with reading(office.engine) as connection:
        log = [one for one in decisions(connection) if one.what in {"hold", "skip"}]
        states = connection.scalars(select(actions.c.state).where(actions.c.id > 1)).all()
    assert [len(one.detail["action_ids"]) for one in log] == [2_000, 2_000, 100]
    assert set(states) == {"skipped" if drops else "held"}


def test_a_resume_frees_all_of_thousands_some_at_a_time(desk: Desk, office: Office) -> None:
    now = office.clock.now()
    begun, _ = begin(office.engine, PauseWish(PauseScope.ALL, None), "Rita", now)
    hold(desk, 1, reason="paused")
    copies(desk, 2_100)
    freed, skipped = end(office.engine, [begun], "Rita", now, drops=False)
    assert (len(freed), skipped) == (2_101, [])
    with reading(office.engine) as connection:
        assert set(connection.scalars(select(actions.c.state))) == {"waiting"}
        log = [one for one in decisions(connection) if one.what == "resume"]
    assert [len(one.detail["action_ids"]) for one in log] == [2_000, 101]
