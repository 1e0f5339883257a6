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


def alerts_of(
    causes_at: list[list[Cause]], step: timedelta, *, arrive: bool = True
) -> list[timedelta]:
    """Return after how long each alert goes, if these causes are seen one step after another."""
    state, said = AlertState(), []
    for number, causes in enumerate(causes_at):
        now = NOON + number * step
        state = AlertState.read(state.seeing(causes).plain)
        new = state.new_among(causes)
        if new and state.may_speak(new, now):
            state = state.planned(new, state.number + 1, now).tried(new, now)
            state = state.after_saying(causes, now) if arrive else state
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


@pytest.mark.parametrize("is_urgent", [False, True])
def test_what_comes_and_goes_every_ten_minutes_is_said_ever_more_seldom(*, is_urgent: bool) -> None:
    cause = Cause("nexudus", is_urgent=is_urgent)
    flapping = [[cause] if number % 2 else [] for number in range(6 * 24 * 7)]
    said = alerts_of(flapping, timedelta(minutes=10))
    assert [one // HOUR for one in said[:6]] == [0, 1, 3, 7, 15, 39]
    assert len(said) == 11


def test_what_never_arrives_is_said_again_ever_more_seldom() -> None:
    said = alerts_of([[held(1)]] * (12 * 24 * 3), timedelta(minutes=5), arrive=False)
    assert [one // HOUR for one in said] == [0, 1, 3, 7, 15, 39, 63]


def test_an_urgent_trouble_does_not_wait_for_a_harmless_one_or_for_another_urgent_one() -> None:
    step, urgent = timedelta(minutes=10), [Cause(code, is_urgent=True) for code in ("a", "b", "c")]
    causes = [[held(1)] if number % 2 else [] for number in range(6 * 48)]
    quiet = alerts_of(causes, step)
    for hours, cause in zip((20, 21, 22), urgent, strict=True):
        causes[hours * 6 :] = [[*one, cause] for one in causes[hours * 6 :]]
    assert [one // HOUR for one in alerts_of(causes, step)[len(quiet) - 1 :]] == [20, 21, 22, 46]


def test_an_urgent_trouble_that_comes_and_goes_with_others_is_said_a_few_times_a_day() -> None:
    kinds = [Cause(code, is_urgent=True) for code in ("a", "b", "c")]
    causes = [[held(1), *kinds] if number % 2 else [] for number in range(6 * 24 * 7)]
    apart = [[one] for _ in range(6 * 24 * 2) for one in (*kinds, held(1))]
    assert len(alerts_of(causes, timedelta(minutes=10))) == 11
    assert len(alerts_of(apart, timedelta(minutes=10))) <= 7 * 8


def test_after_a_quiet_time_the_distances_are_short_again() -> None:
    growing = [[held(number)] for number in range(1, 9)]
    quiet = [[held(8)]] * 100
    later = [[held(number)] for number in range(9, 12)]
    said = [one // HOUR for one in alerts_of(growing + quiet + later, HOUR)]
    assert said == [0, 1, 3, 7, 108, 109]


def test_a_clock_that_was_a_year_ahead_does_not_silence_alerts() -> None:
    urgent = Cause("mail", is_urgent=True)
    state = AlertState().planned([urgent], 1, NOON + timedelta(days=365))
    assert state.may_speak([held(1)], NOON)
    assert state.pressing([urgent], NOON) == [urgent]
    # and the next is not counted as the second in a row
    assert state.planned([urgent], 2, NOON).may_speak([held(1)], NOON + HOUR)
    assert state.planned([urgent], 2, NOON).pressing([urgent], NOON + HOUR) == [urgent]


def test_a_state_that_earlier_code_noted_is_read() -> None:
    noted = {"known": {"held": 2}, "said_at": NOON.isoformat(), "streak": 2, "number": 7}
    state = AlertState.read(noted)
    assert (state.number, state.told_at, state.urgent) == (7, None, {})
    assert not state.may_speak([held(3)], NOON + HOUR)
    assert state.may_speak([held(3)], NOON + 2 * HOUR)
    assert state.untold_since(NOON, NOON + HOUR) == NOON


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
