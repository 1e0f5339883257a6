"""Quiet or deaf: a silence is judged by the habits of a space, by the week and its hours."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workers.decide.monitoring import Signal, SignalReport, judge_silence, usual_rates

LISBON = ZoneInfo("Europe/Lisbon")
MONDAY = datetime(2026, 3, 2, tzinfo=LISBON)  # the week that is judged
EVENING = (18, 19, 20, 21)
WORKDAYS = range(5)


def at(day: int, clock: str) -> datetime:
    """Return a moment of the week that is judged, or, from day 7 on, of those after it."""
    hour, minute = (int(part) for part in clock.split(":"))
    return (MONDAY + timedelta(days=day)).replace(hour=hour, minute=minute).astimezone(UTC)


def evenings(each: int = 4, weeks: int = 8, upto: datetime | None = None) -> dict[datetime, int]:
    """Make a space that studies on weekday evenings only, up to a moment."""
    found = {}
    for week in range(-weeks, 3):
        for day in WORKDAYS:
            for hour in EVENING:
                local = (MONDAY + timedelta(weeks=week, days=day)).replace(hour=hour)
                if upto is None or local < upto:
                    found[local.astimezone(UTC)] = each
    return found


def judged(since: datetime, now: datetime, **space: int) -> SignalReport:
    return judge_silence(evenings(upto=since, **space), since, now, LISBON)


FRIDAY_NIGHT, MONDAY_NIGHT, TUESDAY = at(4, "21:59"), at(0, "21:59"), at(1, "17:59")


@pytest.mark.parametrize(
    ("since", "now", "expected"),
    [
        (FRIDAY_NIGHT, at(6, "15:00"), Signal.SILENT),  # Sunday afternoon
        (FRIDAY_NIGHT, at(7, "17:59"), Signal.SILENT),  # Monday, just before they begin
        (FRIDAY_NIGHT, at(7, "18:30"), Signal.SILENT),  # they may be late for once
        (FRIDAY_NIGHT, at(7, "21:00"), Signal.STALE),
        (MONDAY_NIGHT, at(1, "17:00"), Signal.SILENT),
        (MONDAY_NIGHT, at(1, "21:00"), Signal.STALE),  # three hours of an evening
        (at(1, "18:05"), at(1, "18:50"), Signal.SILENT),
        (MONDAY_NIGHT, at(2, "03:00"), Signal.STALE),  # it stays so after the evening
    ],
)
def test_a_space_of_weekday_evenings(since: datetime, now: datetime, expected: Signal) -> None:
    assert judged(since, now).signal is expected


def test_three_silent_hours_of_a_day_say_nothing_where_few_study() -> None:
    assert judged(MONDAY_NIGHT, at(1, "21:00"), each=1).signal is Signal.SILENT
    assert judged(MONDAY_NIGHT, at(3, "12:00"), each=1).signal is Signal.STALE


def test_the_usual_gap_is_that_of_the_hour() -> None:
    in_the_evening = judged(MONDAY_NIGHT, at(1, "20:00")).usual_gap_h
    on_sunday = judged(FRIDAY_NIGHT, at(6, "22:00")).usual_gap_h
    assert in_the_evening == pytest.approx(0.3, abs=0.1)
    assert on_sunday == pytest.approx(48.3, abs=0.1)


def test_what_was_to_be_expected_is_summed_over_the_silence_only() -> None:
    silence = judged(MONDAY_NIGHT, at(1, "20:00"))
    assert silence.expected == pytest.approx(2 * 4 * 7 / 8, rel=0.1)
    assert judged(FRIDAY_NIGHT, at(6, "22:00")).expected == pytest.approx(0, abs=0.1)


def test_one_odd_week_is_no_habit() -> None:
    sittings = evenings(each=1, upto=FRIDAY_NIGHT)
    context = {at(-15, f"{hour}:00"): 40 for hour in range(10, 17)}  # on a Sunday, once
    silence = judge_silence(sittings | context, FRIDAY_NIGHT, at(6, "23:00"), LISBON)
    assert silence.signal is Signal.SILENT


@pytest.mark.parametrize(
    ("sittings", "weeks"),
    [(evenings(weeks=1, upto=MONDAY_NIGHT), "one week"), ({at(-20, "18:00"): 19}, "19 sittings")],
    ids=["too short", "too few"],
)
def test_with_little_history_nothing_is_said(sittings: dict[datetime, int], weeks: str) -> None:
    silence = judge_silence(sittings, MONDAY_NIGHT, at(30, "12:00"), LISBON)
    assert silence == SignalReport(Signal.UNKNOWN, MONDAY_NIGHT), weeks


def test_where_nothing_ever_happened_nothing_is_said() -> None:
    assert judge_silence({}, None, MONDAY_NIGHT, LISBON) == SignalReport(Signal.UNKNOWN, None)


def test_the_silence_itself_does_not_make_silence_usual() -> None:
    # Four weeks of silence after eight of study: the habit is that of the eight.
    assert judged(MONDAY_NIGHT, at(28, "12:00")).signal is Signal.STALE


def test_habits_follow_the_wall_clock_and_not_the_sun() -> None:
    # Clocks in Lisbon go forward on 29 March 2026: evenings begin an hour earlier in UTC.
    since, monday = at(25, "21:59"), at(28, "20:29")
    sittings = evenings(upto=since)
    assert {slot % 24 for slot in usual_rates(sittings, since, LISBON)} == set(EVENING)
    assert judge_silence(sittings, since, at(28, "17:59"), LISBON).signal is Signal.SILENT
    assert judge_silence(sittings, since, monday, LISBON).signal is Signal.STALE
    assert judge_silence(sittings, since, monday, ZoneInfo("UTC")).signal is Signal.SILENT


def test_a_clock_that_was_set_back_is_no_silence() -> None:
    silence = judged(MONDAY_NIGHT, MONDAY_NIGHT - timedelta(hours=2))
    assert (silence.signal, silence.expected) == (Signal.SILENT, 0.0)
