"""A silence is judged by the habits of a space, for each hour of the week."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from workers.decide.monitoring import Signal, SignalReport, judge_silence, usual_rates

LISBON, TOKYO = ZoneInfo("Europe/Lisbon"), ZoneInfo("Asia/Tokyo")
HOUR, MINUTE, WEEK = timedelta(hours=1), timedelta(minutes=1), timedelta(weeks=1)
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


def test_three_silent_hours_mean_nothing_in_a_small_space() -> None:
    assert judged(MONDAY_NIGHT, at(1, "21:00"), each=1).signal is Signal.SILENT
    assert judged(MONDAY_NIGHT, at(3, "12:00"), each=1).signal is Signal.STALE


def test_the_usual_gap_is_that_of_the_hour() -> None:
    in_the_evening = judged(MONDAY_NIGHT, at(1, "20:00")).usual_gap_h
    on_sunday = judged(FRIDAY_NIGHT, at(6, "22:00")).usual_gap_h
    assert in_the_evening == pytest.approx(0.3, abs=0.1)
    assert on_sunday == pytest.approx(48.3, abs=0.1)


def test_expected_sittings_are_summed_over_the_silence_only() -> None:
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
def test_with_little_history_the_result_is_unknown(
    sittings: dict[datetime, int], weeks: str
) -> None:
    silence = judge_silence(sittings, MONDAY_NIGHT, at(30, "12:00"), LISBON)
    assert silence == SignalReport(Signal.UNKNOWN, MONDAY_NIGHT), weeks


def test_without_any_activity_the_result_is_unknown() -> None:
    assert judge_silence({}, None, MONDAY_NIGHT, LISBON) == SignalReport(Signal.UNKNOWN, None)


def test_the_silence_itself_does_not_make_silence_usual() -> None:
    # Four weeks of silence after eight of study: the habit is that of the eight.
    assert judged(MONDAY_NIGHT, at(28, "12:00")).signal is Signal.STALE


def test_habits_follow_the_wall_clock() -> None:
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


LAST = at(0, "20:00")


def weekly(*numbers: int) -> dict[datetime, int]:
    """Make a space that studies in one hour of the week: so often in this one, and before it."""
    return {LAST - place * WEEK: number for place, number in enumerate(numbers)}


ONE_A_WEEK = weekly(20, 2, 1, 0, 1)  # without the busiest week, four in four weeks


@pytest.mark.parametrize("weeks", [2, 8])
def test_twenty_sittings_over_two_to_eight_weeks_are_enough(weeks: int) -> None:
    silence = judge_silence({LAST: 10, LAST - weeks * WEEK: 10}, LAST, LAST + HOUR, LISBON)
    assert silence.signal is Signal.SILENT


def test_without_sittings_in_the_last_eight_weeks_the_result_is_unknown() -> None:
    silence = judge_silence(weekly(*[0] * 9, 99), LAST, LAST + WEEK, LISBON)
    assert silence == SignalReport(Signal.UNKNOWN, LAST)
    assert judge_silence({}, LAST, LAST + WEEK, LISBON) == SignalReport(Signal.UNKNOWN, LAST)


def test_the_rate_of_an_hour_leaves_out_its_busiest_week() -> None:
    slot = 20  # Monday, 20:00
    assert usual_rates(ONE_A_WEEK, LAST, LISBON) == {slot: 1.0}
    assert usual_rates(weekly(3, 1), LAST, LISBON) == {slot: 1.0}


def test_an_hour_that_the_clock_repeats_is_one_hour_of_one_week() -> None:
    first = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)  # 01:00 in Lisbon, and an hour later again
    sittings = {first - WEEK: 5, first: 3, first + HOUR: 4}
    [rate] = usual_rates(sittings, first + 1.5 * WEEK, LISBON).values()
    assert rate == 5 / 2.5  # the night of the change was the busiest, with seven


@pytest.mark.parametrize("zone", [LISBON, TOKYO])
@pytest.mark.parametrize(
    ("after", "gap_h"),
    [
        (HOUR, 1.0),
        (90 * MINUTE, 1.5),
        (30 * MINUTE, 168.0),  # half of this week's hour, and half of the last one's
    ],
)
def test_the_usual_gap_reaches_back_until_one_sitting_is_usual(
    after: timedelta, gap_h: float, zone: ZoneInfo
) -> None:
    now = LAST + WEEK + after
    assert judge_silence(ONE_A_WEEK, LAST, now, zone).usual_gap_h == pytest.approx(gap_h, rel=1e-9)


def test_where_less_than_one_sitting_in_four_weeks_is_usual_there_is_no_usual_gap() -> None:
    sittings = {LAST - WEEK: 20, LAST - 2 * WEEK: 1, LAST - 4.5 * WEEK: 1}
    silence = judge_silence(sittings, LAST, LAST + HOUR, LISBON)
    assert silence == SignalReport(Signal.SILENT, LAST, 1 / 4.5, None)


def test_a_silence_of_years_is_judged_by_its_last_year() -> None:
    for weeks in (52, 60, 520):
        silence = judge_silence(ONE_A_WEEK, LAST, LAST + weeks * WEEK, TOKYO)
        assert silence.expected == pytest.approx(52)


@pytest.fixture
def server_in_nepal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this process a local zone in which no hour begins as one of UTC does."""
    monkeypatch.setenv("TZ", "NPT-5:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("server_in_nepal")
def test_hours_that_were_cut_off_count_in_part_whatever_the_servers_own_zone() -> None:
    last_at = LAST + timedelta(minutes=30, seconds=30, microseconds=500)
    rate = 4 / ((last_at - (LAST - 4 * WEEK)) / WEEK)
    silence = judge_silence(ONE_A_WEEK, last_at, LAST + WEEK + 90 * MINUTE, LISBON)
    silent = (LAST + HOUR - last_at) + HOUR
    assert silence.expected == pytest.approx(rate * (silent / HOUR), rel=1e-12, abs=0)
