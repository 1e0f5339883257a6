"""What another value would have done: an operator tries one, and nothing is changed by it."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from ledger.engine import open_engine
from schemas.roles import Role
from schemas.rules import Timing
from schemas.rules.form import TimingSchema
from service.desk.past_player import PastPlayer, Played, Question
from service.desk.what_if import present_values, usual_timing, with_timing
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Browser, Office, over
from tests.contract.study_rig import SHIPPED, rules_of
from tests.contract.test_operator_numbers import no_threads
from tests.contract.test_operator_pages import text_of
from tests.servers.programs import wait_until

pytestmark = pytest.mark.engines("sqlite")
RULES = """\
version: 1
timing: {quiet_hours: none, cap_per_day: 9, cap_per_week: 9}
rules:
  - {name: hello, event: enrolled, action: email, template: welcome}
  - {name: done, event: course_started, action: email, template: notice, to: host}
  - name: often
    event: lesson_completed
    action: email
    template: lesson-finished
    cap_per_day: 8
  - name: end
    event: course_completed
    action: email
    template: course-finished
    send: "10:00-12:00"
courses:
  - {course: 77, quiet_hours: "20:00-21:00"}
"""
ODD = """\
version: 1
timing:
  quiet_hours: none
  stale_after: 90m
  flood: 3/45s
  send: "12:30-24:00 mon,wed,sun"
  spread: none
rules:
  - {name: hello, event: enrolled, action: email, template: welcome}
"""


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over a space in which two enrolled, by rules that limit little."""
    rules = tmp_path / "own.yaml"
    rules.write_text(RULES, encoding="utf-8")
    for number in (1, 2):
        desk.space.finish(desk.space.enrol(number), 1)
    desk.space.work()
    with over(desk, tmp_path, rules) as found:
        yield found


def tried(browser: Browser, **fields: str) -> TestResponse:
    """Try a value, and return the page with the answer."""
    begun = browser.press("/settings/try", "/settings/try", **fields)
    if begun.status_code != 303:
        return begun
    path = begun.headers["Location"]
    wait_until(lambda: "Refresh" not in browser.get(path).headers, "the past was played")
    return browser.get(path)


def answered(player: PastPlayer, question: Question) -> Played:
    """Wait until a question was played, and return what came of it."""

    def is_answered() -> bool:
        found = player.of(question)
        return found is not None and not found.is_open

    wait_until(is_answered, "the past was played")
    found = player.of(question)
    assert found is not None
    return found


def test_another_value_is_played_and_nothing_is_changed(desk: Desk, office: Office) -> None:
    browser = office.signed_in(Role.OPERATE)
    assert 'href="/settings/try"' in browser.get("/settings").text
    before = desk.space.outcomes()
    seen = text_of(tried(browser, key="send", value="09:00-09:01 sun"))
    assert "would have gone at another time." in seen
    assert re.search(r"Played from .+ on: \d+ events\.", seen)
    same = text_of(tried(browser, key="cap_per_day", value="9"))
    assert "It would have changed no email." in same
    assert desk.space.outcomes() == before
    assert "At most 9 emails a day per person." in text_of(browser.get("/settings"))


def test_the_present_value_is_shown_and_the_emails_that_would_differ_are_named(
    office: Office,
) -> None:
    browser = office.signed_in(Role.OPERATE)
    assert 'href="/settings/try?key=cap_per_day">Try another value' in browser.get("/settings").text
    form = browser.get("/settings/try?key=cap_per_day").text
    assert '<option value="cap_per_day" selected>Most emails a day per person (now 9)' in form
    assert "(now none)</option>" in form
    assert '<input id="value" name="value" value="9"' in form
    seen = text_of(tried(browser, key="flood", value="1/10m"))
    assert "25/10m → 1/10m" in seen
    row = r"Person \d Welcome [\w ,]*\d\d:\d\d waits, or is held"
    assert re.search(row, seen)
    assert "not sent " not in seen.partition("Who What")[2].partition("Setting")[0]
    assert len(re.findall(r"waits, or is held", seen)) == int(
        re.findall(r"(\d) emails? would", seen)[0]
    )


def test_at_most_twenty_emails_are_named_with_how_many_more_there_are(
    desk: Desk, office: Office
) -> None:
    for number in range(3, 28):
        desk.space.enrol(number)
    desk.space.work()
    page = tried(office.signed_in(Role.OPERATE), key="send", value="09:00-09:01 sun")
    rows = re.findall(r'<tr>\s*<td><a href="/people/(\d+)">', page.text)
    assert len(rows) == 20
    found = re.findall(r"(\d+) emails? would", text_of(page))
    assert f"and {sum(map(int, found)) - 20} others" in text_of(page)
    assert "Person " in text_of(page)


@pytest.mark.parametrize("rules", [RULES, SHIPPED, ODD])
def test_the_present_values_are_written_as_the_rules_file_has_them(rules: str) -> None:
    these = rules_of(rules)
    usual, shown = usual_timing(these), present_values(these)
    assert {"quiet_hours", "cap_per_day", "flood", "send", "spread"} <= shown.keys()
    for key, written in shown.items():
        name = TimingSchema().fields[key].attribute or key
        assert getattr(TimingSchema().load({key: written}), name) == usual[name]


def test_what_would_be_held_is_not_counted_as_never_sent(office: Office) -> None:
    seen = text_of(tried(office.signed_in(Role.OPERATE), key="flood", value="1/10m"))
    assert re.search(r"\d emails would still wait, or be held\.", seen)
    assert "would not have been sent" not in seen


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("cap_per_day", "many", "expected a whole number"),
        ("quiet_hours", "09:00-13:00", "this leaves no time to send in;"),
        ("send", "20:15-20:45", "this leaves no time to send in;"),
        ("holidays", "2026-12-25", "Choose a setting."),
        ("", "", "Choose a setting."),
        ("<b>", "9" * 3000, "Choose a setting."),
    ],
)
def test_a_value_that_cannot_be_is_refused(office: Office, key: str, value: str, says: str) -> None:
    answer = tried(office.signed_in(Role.OPERATE), key=key, value=value)
    assert answer.status_code == 422
    assert says in answer.text


def test_who_may_only_look_cannot_try(office: Office) -> None:
    looks = office.signed_in(Role.LOOK)
    assert looks.get("/settings/try").status_code == 403
    assert "/settings/try" not in looks.get("/settings").text


def test_a_play_is_short_and_says_what_it_could_not_do(desk: Desk, office: Office) -> None:
    setup, question = desk.space.delivery.setup, ("rules", "cap_per_day", "1")
    engine, clock = office.engine, office.clock
    for error, player in (
        ("many", PastPlayer(engine, clock, most_events=1)),
        ("long", PastPlayer(engine, clock, longest_s=-1)),
    ):
        assert player.ask(question, setup, setup)
        assert answered(player, question).error == error
        office.clock.move(16 * 60)
        assert player.of(question) is None


def test_a_play_ends_when_the_service_stops(desk: Desk, office: Office) -> None:
    setup, question = desk.space.delivery.setup, ("rules", "cap_per_day", "1")
    player = PastPlayer(office.engine, office.clock, longest_s=math.inf)
    player.close()
    assert player.ask(question, setup, setup)
    assert answered(player, question).error == "fault"


def test_what_could_not_be_played_can_be_tried_again(
    desk: Desk, office: Office, tmp_path: Path
) -> None:
    setup, question = desk.space.delivery.setup, ("rules", "cap_per_day", "1")
    away = open_engine(f"sqlite:///{tmp_path}/none/ledger.db")
    player = PastPlayer(away, office.clock)
    for engine, error in ((away, "fault"), (office.engine, "")):
        player.engine = engine
        assert player.ask(question, setup, setup)
        assert answered(player, question).error == error
    away.dispose()


def test_a_play_can_be_tried_again_if_no_thread_could_be_had(desk: Desk, office: Office) -> None:
    setup, question = desk.space.delivery.setup, ("rules", "cap_per_day", "1")
    player = PastPlayer(office.engine, office.clock)
    with no_threads(), pytest.raises(RuntimeError):
        player.ask(question, setup, setup)
    assert player.of(question) is None
    assert player.ask(question, setup, setup)
    assert not answered(player, question).error


def test_what_a_rule_sets_itself_stays_as_it_is() -> None:
    rules = with_timing(rules_of(RULES), "cap_per_day", 1)
    caps = {one.name: one.timing.cap_per_day for one in rules.rules}
    assert (caps["hello"], caps["often"]) == (1, 8)
    assert Timing().cap_per_day == 2
