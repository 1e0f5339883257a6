"""When operators get an alert: once for what is new, ever more seldom, and not at night."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workers.reports.alert_text import known_causes
from workers.reports.alerts import AlertState, Cause, after_night, when_to_say
from workers.reports.situation import _ALERT_OF, MODE, NEXUDUS

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LISBON, BERLIN = ZoneInfo("Europe/Lisbon"), ZoneInfo("Europe/Berlin")


def held(count: int) -> Cause:
    return Cause("held", count)


def alerts_of(causes_at: list[list[Cause]], step: timedelta) -> list[timedelta]:
    """Return after how long each alert goes, if these causes are seen one step after another."""
    state, said = AlertState(), []
    for number, causes in enumerate(causes_at):
        now = NOON + number * step
        state = AlertState.read(state.seeing(causes).plain)
        if state.new_among(causes) and state.may_speak(now):
            state = state.planned(now).after_saying(causes, now)
            said.append(now - NOON)
    return said


def test_what_was_said_is_not_said_again() -> None:
    assert alerts_of([[held(3)]] * 1_000, HOUR) == [timedelta()]


def test_one_more_is_said_an_hour_later_at_the_earliest() -> None:
    assert alerts_of([[held(1)], [held(2)], [held(2)], [held(2)]], HOUR / 2) == [timedelta(), HOUR]


def test_fewer_are_nothing_new_and_more_than_then_are() -> None:
    assert alerts_of([[held(5)], [held(1)], [held(1)], [held(2)]], HOUR) == [timedelta(), 3 * HOUR]


def test_two_hundred_at_once_are_one_alert() -> None:
    assert alerts_of([[held(1)], *([held(200)] for _ in range(50))], timedelta(minutes=1)) == [
        timedelta()
    ]
    assert len(alerts_of([[held(number)] for number in range(200)], timedelta(minutes=1))) == 3


def test_what_comes_and_goes_every_ten_minutes_is_said_ever_more_seldom() -> None:
    flapping = [[Cause("mail")] if number % 2 else [] for number in range(6 * 24 * 7)]
    said = alerts_of(flapping, timedelta(minutes=10))
    assert [one // HOUR for one in said[:6]] == [0, 1, 3, 7, 15, 39]
    assert len(said) == 11


def test_after_a_quiet_time_the_distances_are_short_again() -> None:
    growing = [[held(number)] for number in range(1, 9)]
    quiet = [[held(8)]] * 100
    later = [[held(number)] for number in range(9, 12)]
    said = [one // HOUR for one in alerts_of(growing + quiet + later, HOUR)]
    assert said == [0, 1, 3, 7, 108, 109]


def test_a_clock_that_was_a_year_ahead_does_not_silence_alerts() -> None:
    state = AlertState().planned(NOON + timedelta(days=365))
    assert state.may_speak(NOON)


@pytest.mark.parametrize(
    ("at", "zone", "goes"),
    [
        ("2026-11-27T21:00", LISBON, "2026-11-28T08:00"),
        ("2026-11-28T03:00", LISBON, "2026-11-28T08:00"),
        ("2026-11-28T07:59", LISBON, "2026-11-28T08:00"),
        ("2026-11-28T08:00", LISBON, "2026-11-28T08:00"),
        ("2026-11-28T19:59", LISBON, "2026-11-28T19:59"),
        ("2026-11-28T19:59", BERLIN, "2026-11-29T07:00"),
        ("2026-03-28T23:00", BERLIN, "2026-03-29T06:00"),  # the night the clocks change
    ],
)
def test_what_is_not_urgent_waits_for_the_morning(at: str, zone: ZoneInfo, goes: str) -> None:
    moment, expected = (datetime.fromisoformat(f"{one}+00:00") for one in (at, goes))
    assert after_night(moment, zone) == expected
    assert when_to_say([held(1)], moment, zone) == expected
    assert when_to_say([held(1), Cause("mail", is_urgent=True)], moment, zone) == moment


def test_every_cause_has_a_sentence() -> None:
    assert known_causes() == {*_ALERT_OF, MODE, NEXUDUS}
