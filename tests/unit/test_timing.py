"""When emails may go: gathering, quiet hours and caps, on the wall clock where the person is."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.rules import QuietHours, Rule, SendWindow, Timing
from tests.builders.rules import ANY_TIME, event, gathering_rule, rule
from workers.decide.timing import (
    day_began,
    day_cap_until,
    gather_due,
    gather_until,
    most_per_day,
    opens_at,
    quiet_until,
    spread,
    week_cap_until,
)

LONDON = ZoneInfo("Europe/London")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clock changes by half an hour
TOKYO = ZoneInfo("Asia/Tokyo")
NIGHT = QuietHours(time(20), time(8))
EARLY = QuietHours(time(0, 30), time(6))
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def at(clock: str, day: int = 14, month: int = 7, zone: ZoneInfo = LONDON) -> datetime:
    """Return a moment of 2026 by its wall clock, as UTC; the first one of a repeated hour."""
    hour, minute = (int(part) for part in clock.split(":"))
    return datetime(2026, month, day, hour, minute, tzinfo=zone).astimezone(UTC)


def gathered(
    *clocks: str, by: Rule | None = None, zone: ZoneInfo = LONDON, month: int = 7
) -> datetime:
    events = [event(at=at(clock, zone=zone, month=month)) for clock in clocks]
    return gather_due(events, by or gathering_rule(), zone)


def test_lessons_of_one_sitting_make_one_email_half_an_hour_after_the_last() -> None:
    assert gathered("14:02", "14:15", "14:32") == at("15:02")


def test_an_evenings_lessons_are_sent_just_before_quiet_hours() -> None:
    assert gathered("18:50", "19:05", "19:20", "19:35", "19:50") == at("19:59")


def test_the_order_of_lessons_does_not_matter() -> None:
    assert gathered("14:32", "14:02") == at("15:02")


def test_gathering_ends_three_hours_after_the_first_lesson() -> None:
    assert gathered("09:00", "09:25", "11:45") == at("12:00")
    assert gathered("09:00", "11:30") == at("12:00")


def test_gathering_without_an_end_goes_on_as_long_as_lessons_come() -> None:
    endless = gathering_rule(gather_at_most_s=None)
    assert gathered("09:00", "13:00", "17:00", by=endless) == at("17:30")
    first = at("09:00")
    assert gather_until(first, endless) - first > timedelta(days=365)


def test_the_latest_end_is_counted_from_the_first() -> None:
    assert gather_until(at("09:00"), gathering_rule()) == at("12:00")


@pytest.mark.parametrize(
    ("last", "due"),
    [
        ("19:29", "19:59"),  # its half hour ends before quiet hours
        ("19:30", "19:59"),  # and here with them
        ("19:58", "19:59"),
        ("19:59", "19:59"),
    ],
)
def test_gathering_never_waits_into_the_night(last: str, due: str) -> None:
    assert gathered(last) == at(due)


def test_a_lesson_in_the_last_minute_or_in_the_night_is_gathered_as_usual() -> None:
    late = event(at=at("19:59") + timedelta(seconds=1))
    assert gather_due([late], gathering_rule(), LONDON) == late.happened_at + 30 * MINUTE
    assert gathered("22:00") == at("22:30")
    assert gathered("03:00") == at("03:30")


def test_lessons_from_evening_into_the_night_share_an_email() -> None:
    assert gathered("19:40", "20:05") == at("20:35")


def test_gathering_past_midnight_goes_before_the_evenings_quiet_hours() -> None:
    long_one = gathering_rule(gather_s=6 * 3600, gather_at_most_s=9 * 3600)
    assert gathered("19:00", by=long_one) == at("19:59")


def test_gathering_over_the_whole_night_goes_when_it_is_due() -> None:
    long_one = gathering_rule(gather_s=14 * 3600, gather_at_most_s=14 * 3600)
    assert gathered("19:00", by=long_one) == at("09:00", day=15)


def test_gathering_without_quiet_hours_goes_at_any_hour() -> None:
    assert gathered("19:50", by=gathering_rule(timing=ANY_TIME)) == at("20:20")


def test_quiet_hours_of_one_day_also_end_gathering_early() -> None:
    siesta = gathering_rule(timing=Timing(quiet_hours=QuietHours(time(13), time(15))))
    assert gathered("12:45", by=siesta) == at("12:59")
    assert gathered("13:10", by=siesta) == at("13:40")


def test_gathering_goes_by_the_clock_where_the_person_is() -> None:
    assert gathered("19:50", zone=TOKYO) == at("19:59", zone=TOKYO)
    assert gather_due([event(at=at("19:50"))], gathering_rule(), TOKYO) == at("20:20")


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        (at("19:59"), None),
        (at("20:00"), at("08:00", day=15)),
        (at("23:59"), at("08:00", day=15)),
        (at("00:00"), at("08:00")),
        (at("07:59"), at("08:00")),
        (at("08:00"), None),
        (at("12:00"), None),
    ],
)
def test_quiet_hours_go_past_midnight(moment: datetime, until: datetime | None) -> None:
    assert quiet_until(moment, NIGHT, LONDON) == until


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        (at("00:29"), None),
        (at("00:30"), at("06:00")),
        (at("05:59"), at("06:00")),
        (at("06:00"), None),
        (at("23:00"), None),
    ],
)
def test_quiet_hours_may_lie_within_one_day(moment: datetime, until: datetime | None) -> None:
    assert quiet_until(moment, EARLY, LONDON) == until


def test_it_is_night_where_the_person_is() -> None:
    moment = datetime(2026, 7, 14, 12, 0, tzinfo=UTC)
    assert quiet_until(moment, NIGHT, LONDON) is None
    assert quiet_until(moment, NIGHT, TOKYO) == datetime(2026, 7, 14, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("evening", "hours"),
    [
        (at("20:00", 27, 3), 12),
        (at("20:00", 28, 3), 11),  # the clock goes forward in this night
        (at("20:00", 24, 10), 13),  # and back in this one
        (at("20:00", 3, 10, LORD_HOWE), 11.5),
        (at("20:00", 4, 4, LORD_HOWE), 12.5),
    ],
)
def test_a_night_in_which_the_clock_changes_ends_by_the_clock(
    evening: datetime, hours: float
) -> None:
    zone = LONDON if evening.astimezone(LONDON).hour == 20 else LORD_HOWE
    until = quiet_until(evening, NIGHT, zone)
    assert until is not None
    assert until - evening == timedelta(hours=hours)


def test_quiet_hours_that_end_in_a_repeated_hour_end_again_in_the_second() -> None:
    quiet = QuietHours(time(20), time(1, 30))
    first = datetime(2026, 10, 25, 0, 10, tzinfo=UTC)  # 01:10, summer time
    second = first + HOUR  # 01:10 again
    assert quiet_until(first, quiet, LONDON) == first + 20 * MINUTE
    assert quiet_until(first + 30 * MINUTE, quiet, LONDON) is None
    assert quiet_until(second, quiet, LONDON) == second + 20 * MINUTE


def test_quiet_hours_that_begin_in_a_repeated_hour_end_gathering_before_the_second_beginning() -> (
    None
):
    timing = Timing(quiet_hours=QuietHours(time(1, 45), time(8)))
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # 01:30 for the second time
    due = gather_due([event(at=second)], gathering_rule(timing=timing), LONDON)
    assert due == second + 14 * MINUTE


def test_gathering_that_would_end_as_quiet_hours_begin_again_ends_a_minute_before() -> None:
    timing = Timing(quiet_hours=QuietHours(time(1, 45), time(8)))
    second = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 01:15 for the second time
    due = gather_due([event(at=second)], gathering_rule(timing=timing), LONDON)
    assert due == second + 29 * MINUTE


def test_quiet_hours_that_begin_in_a_repeated_hour_end_gathering_before_the_first_beginning() -> (
    None
):
    timing = Timing(quiet_hours=QuietHours(time(1, 20), time(8)))
    last = datetime(2026, 10, 24, 23, 55, tzinfo=UTC)  # 00:55, summer time
    due = gather_due([event(at=last)], gathering_rule(timing=timing), LONDON)
    assert due == last + 24 * MINUTE


def test_quiet_hours_that_begin_in_an_hour_that_is_left_out_end_gathering_before_it() -> None:
    quiet = QuietHours(time(1, 30), time(8))
    last = datetime(2026, 3, 29, 0, 20, tzinfo=UTC)  # forty minutes later it is 02:00
    by = gathering_rule(timing=Timing(quiet_hours=quiet), gather_s=3600)
    due = gather_due([event(at=last)], by, LONDON)
    assert due == last + 9 * MINUTE
    assert quiet_until(due, quiet, LONDON) is None


def test_quiet_hours_that_end_in_an_hour_that_is_left_out_end_after_it() -> None:
    quiet = QuietHours(time(20), time(1, 30))
    before = datetime(2026, 3, 29, 0, 50, tzinfo=UTC)  # ten minutes later it is 02:00
    until = quiet_until(before, quiet, LONDON)
    assert until is not None
    assert until > before
    assert quiet_until(until, quiet, LONDON) is None


ZONES = st.sampled_from(
    ["Europe/London", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo", "Asia/Kathmandu"]
).map(ZoneInfo)
CLOCKS = st.integers(0, 24 * 12 - 1).map(lambda five: time(five // 12, five % 12 * 5))
# The nights about the changes of these clocks, and any other.
NEAR_CHANGES = st.builds(
    lambda change, minutes: change + minutes * MINUTE,
    st.sampled_from(
        [
            datetime(2026, 3, 29, 1, tzinfo=UTC),
            datetime(2026, 10, 25, 1, tzinfo=UTC),
            datetime(2026, 4, 4, 15, tzinfo=UTC),
            datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
            datetime(2026, 3, 8, 5, 30, tzinfo=UTC),
            datetime(2026, 11, 1, 4, 30, tzinfo=UTC),
        ]
    ),
    st.integers(-300, 300),
)
MOMENTS = NEAR_CHANGES | st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2030, 1, 1),  # noqa: DTZ001 - same
    timezones=st.just(UTC),
)


@given(MOMENTS, CLOCKS, CLOCKS, ZONES)
def test_quiet_hours_end_later_and_then_it_is_not_quiet(
    moment: datetime, start: time, end: time, zone: ZoneInfo
) -> None:
    quiet = QuietHours(start, end)
    until = quiet_until(moment, quiet, zone)
    if until is not None:
        assert moment < until <= moment + timedelta(hours=25)
        assert quiet_until(until, quiet, zone) is None


@given(MOMENTS, st.lists(st.integers(0, 600), min_size=1, max_size=4), CLOCKS, CLOCKS, ZONES)
def test_gathering_ends_between_the_last_lesson_and_the_latest_end(
    first: datetime, minutes: list[int], start: time, end: time, zone: ZoneInfo
) -> None:
    moments = [first + one * MINUTE for one in minutes]
    events = [event(at=moment) for moment in moments]
    timing = Timing(quiet_hours=QuietHours(start, end))
    endless = gathering_rule(timing=timing, gather_at_most_s=None)
    due = gather_due(events, endless, zone)
    assert max(moments) <= due <= max(moments) + 30 * MINUTE
    bounded = gathering_rule(timing=timing)
    assert gather_due(events, bounded, zone) <= gather_until(min(moments), bounded)


def test_the_daily_cap_waits_for_the_next_morning() -> None:
    now = at("15:00")
    sent = [at("09:00"), at("14:00")]
    assert day_cap_until(now, sent, rule(), LONDON) == at("08:00", day=15)
    assert day_cap_until(now, sent[:1], rule(), LONDON) is None
    assert day_cap_until(now, [], rule(), LONDON) is None


def test_a_day_is_the_calendar_day_where_the_person_is() -> None:
    now = at("08:30")
    late = [at("23:58", day=13), at("23:59", day=13)]
    assert day_cap_until(now, late, rule(), LONDON) is None
    midnight = [at("00:00"), at("00:01")]
    assert day_cap_until(now, midnight, rule(), LONDON) == at("08:00", day=15)
    # The same moments are two days for one person, and one day for another.
    now, sent = at("23:30"), [at("15:30"), at("16:30")]
    assert day_cap_until(now, sent, rule(), LONDON) == at("08:00", day=15)
    assert day_cap_until(now, sent, rule(), TOKYO) is None
    assert day_cap_until(now, [at("17:30"), *sent], rule(), TOKYO) == at(
        "08:00", day=16, zone=TOKYO
    )


def test_without_quiet_hours_the_next_day_begins_at_eight() -> None:
    timing = Timing(quiet_hours=None, cap_per_day=1)
    until = day_cap_until(at("15:00"), [at("09:00")], rule(timing=timing), LONDON)
    assert until == at("08:00", day=15)


def test_the_next_day_begins_when_quiet_hours_end() -> None:
    timing = Timing(quiet_hours=QuietHours(time(21), time(9, 30)), cap_per_day=1)
    until = day_cap_until(at("15:00"), [at("10:00")], rule(timing=timing), LONDON)
    assert until == at("09:30", day=15)


@pytest.mark.parametrize(
    ("now", "zone", "hours"),
    [
        (at("12:00", 28, 3), LONDON, 19),
        (at("12:00", 24, 10), LONDON, 21),
        (at("12:00", 3, 10, LORD_HOWE), LORD_HOWE, 19.5),
        (at("12:00", 4, 4, LORD_HOWE), LORD_HOWE, 20.5),
    ],
)
def test_the_next_morning_comes_by_the_clock_when_the_clock_changes(
    now: datetime, zone: ZoneInfo, hours: float
) -> None:
    until = day_cap_until(now, [now, now], rule(), zone)
    assert until is not None
    assert until - now == timedelta(hours=hours)


@pytest.mark.parametrize("timing", [Timing(cap_per_day=None), ANY_TIME])
def test_without_a_daily_cap_nothing_waits(timing: Timing) -> None:
    now = at("15:00")
    assert day_cap_until(now, [now] * 99, rule(timing=timing), LONDON) is None


def test_the_weekly_cap_waits_until_the_person_is_below_it() -> None:
    now = at("15:00")
    sent = [now - timedelta(days=days) for days in (1, 2, 6, 5)]
    assert week_cap_until(now, sent, 4) == now + timedelta(days=1)
    assert week_cap_until(now, sent[:3], 4) is None


def test_a_week_is_any_seven_days_and_not_a_moment_more() -> None:
    now = at("15:00")
    within = [now - timedelta(days=1)] * 3
    week = timedelta(days=7)
    assert week_cap_until(now, [*within, now - week], 4) is None
    assert week_cap_until(now, [*within, now - week + MINUTE], 4) == now + MINUTE


def test_above_the_weekly_cap_the_wait_ends_when_one_more_is_allowed() -> None:
    now = at("15:00")
    sent = [now - timedelta(days=days) for days in (6, 5, 4, 3, 2, 1)]
    until = week_cap_until(now, sent, 4)
    assert until == now + timedelta(days=3)
    assert week_cap_until(until, sent, 4) is None
    assert week_cap_until(until - MINUTE, sent, 4) == until


def test_a_week_may_have_no_cap() -> None:
    now = at("15:00")
    assert week_cap_until(now, [now] * 99, None) is None


def test_a_rule_that_does_not_gather_waits_for_nothing() -> None:
    assert gathered("14:02", by=rule()) == at("14:02")


def test_moments_stay_in_utc() -> None:
    early = gathered("19:50")
    until = quiet_until(at("22:00"), NIGHT, LONDON)
    tomorrow = day_cap_until(at("15:00"), [at("09:00")] * 2, rule(), LONDON)
    assert until is not None
    assert tomorrow is not None
    assert all(moment.tzinfo is UTC for moment in (early, until, tomorrow))


CLOCKS = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))
ZONES = st.sampled_from(
    [
        *("Europe/London", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Tehran"),
        *("America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia", "America/St_Johns"),
    ]
).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(  # noqa: DTZ001 - UTC follows
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    """Make a timing in which some minute of the week is left to send in."""
    start, end = sorted(draw(st.sets(CLOCKS, min_size=2, max_size=2)))
    window = SendWindow(start, end, draw(st.frozensets(st.integers(0, 6), min_size=1)))
    quiet = QuietHours(
        *draw(st.permutations(sorted(draw(st.sets(CLOCKS, min_size=2, max_size=2)))))
    )
    timing = Timing(
        quiet_hours=draw(st.sampled_from([None, quiet])),
        send=draw(st.sampled_from([None, window])),
        holidays=tuple(draw(st.lists(st.dates(date(2026, 1, 1), date(2027, 12, 31)), max_size=4))),
        spread_s=draw(st.sampled_from([None, 60, 2_700, 86_400])),
    )
    assume(timing.leaves_time())
    return timing


@given(MOMENTS, timings(), ZONES, st.integers(1, 2**31))
def test_an_email_that_must_wait_gets_a_moment_at_which_it_may_go(
    moment: datetime, timing: Timing, zone: ZoneInfo, coworker_id: int
) -> None:
    opens = opens_at(moment, timing, zone, coworker_id)
    at = moment if opens is None else opens[0]
    local = at.astimezone(zone)
    assert at >= moment
    assert at - moment <= timedelta(days=8 + len(timing.holidays) * 7)
    assert local.date() not in timing.holidays
    assert timing.quiet_hours is None or not timing.quiet_hours.covers(local.time())
    assert timing.send is None or (
        local.weekday() in timing.send.days and timing.send.is_open(local.time())
    )
    assert opens_at(at, timing, zone, coworker_id) is None


def test_the_spread_is_the_same_for_a_person_and_different_for_others() -> None:
    timing = Timing(spread_s=2_700)
    eight = at("08:00")
    moments = [spread(eight, timing, LONDON, coworker_id) for coworker_id in range(1, 201)]
    assert moments == [spread(eight, timing, LONDON, one) for one in range(1, 201)]
    assert all(eight <= moment < eight + timedelta(minutes=45) for moment in moments)
    quarters = Counter((moment - eight) // timedelta(minutes=15) for moment in moments)
    assert set(quarters) == {0, 1, 2}
    assert min(quarters.values()) > 40


@pytest.mark.parametrize(
    ("brake", "busiest_day", "most"),
    [("2", 3, 6), ("1", 7, 7), ("1.5", 7, 10), ("1.1", 70, 77), ("100", 999, 99_900)],
)
def test_a_brake_counts_whole_emails(brake: str, busiest_day: int, most: int) -> None:
    assert most_per_day(Decimal(brake), busiest_day) == most


@pytest.mark.parametrize("busiest_day", [0, 1, 2])
def test_five_emails_a_day_are_always_allowed(busiest_day: int) -> None:
    assert most_per_day(Decimal(2), busiest_day) == 5


@pytest.mark.parametrize(
    ("zone", "month", "day", "began"),
    [
        ("Europe/London", 7, 14, datetime(2026, 7, 13, 23, tzinfo=UTC)),
        ("Africa/Cairo", 4, 24, datetime(2026, 4, 23, 22, tzinfo=UTC)),  # 00:00 becomes 01:00
        ("America/Havana", 11, 1, datetime(2026, 11, 1, 4, tzinfo=UTC)),  # 01:00 becomes 00:00
    ],
)
def test_a_day_begins_at_midnight_also_where_the_clock_changes_then(
    zone: str, month: int, day: int, began: datetime
) -> None:
    here = ZoneInfo(zone)
    assert day_began(at("12:00", day, month, here), here) == began
    assert day_began(began, here) == began
    assert day_began(began - timedelta(seconds=1), here) < began


def test_a_window_that_opens_within_a_repeated_hour_is_open_when_it_is_said_to_open() -> None:
    zone = ZoneInfo("Europe/Lisbon")  # 02:00 becomes 01:00 again at 01:00 UTC
    quiet = QuietHours(time(1, 30), time(2))
    window = SendWindow(time(1, 30), time(4), frozenset(range(7)))
    timing = Timing(quiet_hours=quiet, send=window, spread_s=None)
    opens = opens_at(datetime(2026, 10, 25, 1, 4, tzinfo=UTC), timing, zone, 1)
    assert opens is not None
    assert opens[0] == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)
    assert opens_at(opens[0], timing, zone, 1) is None
