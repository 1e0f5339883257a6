"""What the pages answer after an act, about posts and pauses, and where there is no page."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from ledger.choices import choice_keys, store_choices
from ledger.engine import reading, writing
from ledger.mail_reports import ReportView
from ledger.pauses import PauseScope
from ledger.stories import events_of
from ledger.tables import actions, copies
from schemas.choices import Choice
from schemas.mail_reports import Provider, ReportKind
from schemas.reasons import EXPLANATIONS, Reason
from schemas.roles import Role
from schemas.rules import Stream
from service.desk.languages import Times, ui_language
from service.desk.wording import Holding, number_words, rule_titles, shown_email
from service.pausing import PauseWish, begin
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Browser, Office, over
from tests.contract.study_rig import HASH_KEY, rules_of
from tests.contract.test_operator_pages import statements, text_of

pytestmark = pytest.mark.engines("sqlite")
A_BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
RULES = """\
version: 1
rules:
  - {name: hello, event: enrolled, action: email, template: welcome}
  - {name: hello-again, event: enrolment_approved, action: email, template: welcome}
  - {name: note-it, event: enrolled, action: nexudus-note, text: "{member} is here"}
  - {name: done, event: course_completed, action: email, template: course-finished}
digests:
  - {name: monday, to: host, every: week}
"""
SERIES = """\
version: 1
timing: {quiet_hours: none}
rules:
  - name: first-week
    event: enrolled
    action: email
    steps: [0d, 3d]
    template: [welcome, not-started]
"""


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with over(desk, tmp_path) as found:
        yield found


def changed(office: Office, **values: object) -> None:
    with writing(office.engine) as connection:
        connection.execute(actions.update().where(actions.c.id == 1).values(**values))


def paused(office: Office, scope: PauseScope, target: str | None) -> None:
    begin(office.engine, PauseWish(scope, target), "Otto Lind", office.clock.now())


@pytest.mark.parametrize("path", ["/nothing", "/people/1/nothing", "/sign-out", "/messages/x"])
def test_a_browser_that_asks_for_no_page_gets_a_page_and_a_stranger_learns_nothing(
    office: Office, path: str
) -> None:
    stranger, browser = office.browser(), office.signed_in()
    seen = browser.get(path, headers=A_BROWSER)
    assert seen.status_code == 404
    assert "There is no such page." in seen.text
    assert 'href="/health"' in seen.text
    answer = stranger.get(path, headers=A_BROWSER)
    if path == "/nothing":
        assert answer.status_code == 404
        assert "There is no such page." in answer.text
        assert "<nav" not in answer.text
    else:
        known = stranger.get("/people/1", headers=A_BROWSER)
        assert answer.status_code == known.status_code == 303
        assert answer.headers["Location"].startswith("/sign-in?next=")


def test_programs_are_answered_as_before(office: Office) -> None:
    browser = office.signed_in()
    assert browser.get("/nothing").json == {"error": "not found"}
    hook = browser.get("/hooks/nothing", headers=A_BROWSER)
    assert hook.is_json
    assert hook.status_code == 404


def test_who_signs_in_again_in_a_browser_ends_the_session_it_had(office: Office) -> None:
    office.add()
    browser, other = office.browser(), office.browser()
    for one in (browser, other, browser):
        assert one.sign_in().status_code == 303
    seen = text_of(browser.get("/account"))
    assert seen.count("last used") == 2
    assert "Sign out there" in text_of(other.get("/account"))


def test_a_pause_names_whom_it_is_about_and_their_page_offers_to_resume(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    before = statements(office, browser, "/account")
    paused(office, PauseScope.PERSON, "1")
    paused(office, PauseScope.COURSE, str(COURSE_ID))
    one = statements(office, browser, "/account")
    paused(office, PauseScope.PERSON, "77")
    paused(office, PauseScope.RULE, "welcome")
    seen = browser.get("/people/1")
    for words in ("Emails to Person 1 are paused by Otto Lind", "Emails to Member 77 are paused"):
        assert words in seen.text
    assert "Emails about Freelance Finance are paused by Otto Lind" in seen.text
    assert "The emails “Welcome” are paused by Otto Lind" in seen.text
    assert '<a class="second" href="/resume/1">Resume emails to this person</a>' in seen.text
    assert "/pause?person=1" not in seen.text
    assert statements(office, browser, "/account") == one < before + 4


def test_a_person_whom_nobody_knows_can_be_asked_about(office: Office) -> None:
    browser, looks = office.signed_in(Role.OPERATE), office.signed_in(Role.LOOK, "Otto Lind")
    assert browser.get("/people?q=4711").headers["Location"] == "/people/4711"
    shown = browser.get("/people/4711")
    assert shown.status_code == 404
    assert "Nexudus can be asked whether it has them." in shown.text
    assert "Ask Nexudus now" not in looks.get("/people/4711").text
    asked = browser.send(shown, "/people/4711/ask")
    assert asked.headers["Location"] == "/people/4711/asked"


def test_the_page_after_an_email_is_sent_again_loads_itself_until_it_is_sent(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    after = browser.press("/messages/1/again", "/messages/1/again").headers["Location"]
    seen = browser.get(after)
    assert "It is checked and goes out again now." in seen.text
    assert "This page loads itself again." in seen.text
    assert seen.headers["Refresh"] == "3; url=/messages/2?look=2"
    last = browser.get("/messages/2?look=8")
    assert "Refresh" not in last.headers
    assert 'href="/messages/2?look=1">Look again' in last.text
    assert "Refresh" not in browser.get("/messages/2").headers
    desk.space.work()
    done = browser.get("/messages/2?look=2")
    assert "Refresh" not in done.headers
    assert "on its way" not in done.text


def test_a_badge_and_what_stands_beside_it_say_each_thing_once(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    for path in ("/", "/people/1", "/messages/1"):
        assert "Sent Sent" not in text_of(browser.get(path)), path
    now = office.clock.now()
    arrived = ReportView(ReportKind.DELIVERED, Provider.SES, now, None, None)
    with reading(office.engine) as connection:
        [action] = events_of(connection, 1)[0].event.actions
    times = Times(ui_language("en"), browser_zone(office), now)
    shown = shown_email(times, action, Holding(), [arrived])
    assert (shown.word, shown.beside) == ("Delivered", times.words(now))
    assert shown.sentence == f"Delivered {times.words(now)}."


def browser_zone(office: Office) -> ZoneInfo:
    """Return the zone of the pages."""
    return ZoneInfo(office.web.settings.zone)


def test_a_post_is_shown_as_people_read_it_and_as_programs_do_to_engineers(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    body = json.dumps({"type": "enrolment.created", "data": {"member": {"id": 1}}})
    with writing(office.engine) as connection:
        connection.execute(
            copies.update().values(
                body=body.encode(), media_type="application/json", title="Ana is on Finance now."
            )
        )
    changed(office, kind="webhook", audience="endpoint:slack")
    seen = office.signed_in(Role.OPERATE).get("/messages/1").text
    assert "Ana is on Finance now." in seen.partition('id="text"')[2]
    assert "enrolment.created" not in seen
    assert "application/json" not in seen
    whole = office.signed_in(Role.ENGINEER, "Otto Lind").get("/messages/1").text
    assert "As programs read it" in whole.partition("enrolment.created")[0]


def test_posts_are_counted_apart_from_emails(desk: Desk, office: Office) -> None:
    for number in (1, 2, 3):
        desk.space.enrol(number)
    desk.space.look_up()
    changed(office, kind="nexudus-note", audience="record")
    browser = office.signed_in()
    assert "2 emails and 1 post or note about 3 people" in text_of(browser.get("/upcoming"))
    assert "Waiting for their time: 2 emails and 1 post or note." in text_of(browser.get("/health"))
    with writing(office.engine) as connection:
        connection.execute(actions.update().values(state="held", reason="too-old"))
    assert "2 emails and 1 post or note: " in text_of(browser.get("/held"))
    group = browser.get("/held/too-old")
    assert "Held: 2 emails and 1 post or note" in text_of(group)
    asked = browser.send(group, "/held/too-old", act="send-all")
    assert "Send 2 emails and 1 post or note about 3 people?" in text_of(asked)
    say = ui_language("en")
    assert number_words(say, {}) == "0 emails"
    assert number_words(say, {"webhook": 1}) == "1 post or note"


def test_what_goes_out_next_gives_a_reason_that_does_not_repeat_the_time(
    desk: Desk, office: Office
) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.look_up()
    later = office.clock.now() + timedelta(hours=2)
    changed(office, state="waiting", reason="quiet-hours", due_at=later)
    with writing(office.engine) as connection:
        connection.execute(actions.update().where(actions.c.id == 2).values(due_at=later))
    seen = text_of(office.signed_in().get("/upcoming"))
    assert EXPLANATIONS[Reason.QUIET_HOURS].sentence in seen
    assert seen.count("Scheduled") == 2
    assert "Goes " not in seen


def test_reminders_that_go_although_reminders_are_off_say_so(desk: Desk, tmp_path: Path) -> None:
    desk.space.rules = rules_of(SERIES)
    rules = tmp_path / "series.yaml"
    rules.write_text(SERIES, encoding="utf-8")
    desk.space.enrol(1)
    desk.space.work()
    nevertheless = "It is a course email, so it goes although reminders are off."
    no, yes = (Choice(agreed=one, chosen_at=desk.space.clock.now()) for one in (False, True))
    with over(desk, tmp_path, rules) as office:
        browser = office.signed_in()
        seen = text_of(browser.get("/people/1"))
        assert "reminders off" in seen
        assert seen.count(nevertheless) == 1
        choose(office, {Stream.REMINDER: yes})
        seen = text_of(browser.get("/people/1"))
        assert "reminders on" in seen
        assert nevertheless not in seen
        assert "Scheduled" in seen
        choose(office, {Stream.SERVICE: no})
        seen = text_of(browser.get("/people/1"))
        assert f"Not sent on purpose Reminder to start {stopped()}" in seen
        assert "Scheduled" not in seen
        seen = text_of(browser.get("/messages/2"))
        assert "Not sent on purpose" in seen
        assert stopped() in seen
        assert "Goes " not in seen


def choose(office: Office, chosen: dict[str, Choice]) -> None:
    with writing(office.engine) as connection:
        store_choices(connection, choice_keys(HASH_KEY, 1, None), chosen)


def stopped() -> str:
    return EXPLANATIONS[Reason.OPTED_OUT_KIND].sentence


def test_a_rule_has_one_name_on_all_pages(desk: Desk, tmp_path: Path) -> None:
    assert list(rule_titles(ui_language("en"), rules_of(RULES)).values()) == [
        "Welcome (Hello)",
        "Welcome (Hello again)",
        "Note it",
        "Course finished",
        "Digest",
        "Weekly summary",
    ]
    rules = tmp_path / "own.yaml"
    rules.write_text(RULES, encoding="utf-8")
    with over(desk, tmp_path, rules) as office:
        browser: Browser = office.signed_in()
        for path in ("/emails", "/settings", "/pause", "/start", "/emails/hello"):
            assert "Welcome (Hello)" in text_of(browser.get(path)), path


def test_the_list_of_emails_says_from_when_its_numbers_are(desk: Desk, office: Office) -> None:
    browser = office.signed_in()
    at = Times(ui_language("en"), browser_zone(office), office.clock.now())
    counted = f"sent in 30 days, as of {at.words(office.clock.now())}."
    assert counted in text_of(browser.get("/emails"))
    desk.space.enrol(1)
    desk.space.work()
    assert counted in text_of(browser.get("/emails"))
    with reading(office.engine) as connection:
        assert connection.scalar(select(actions.c.state)) == "done"
