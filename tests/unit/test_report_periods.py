"""Which period a summary or digest is about, and when it is due, whatever the clock did."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from schemas.rules import Every
from workers.reports.schedule import Period, Progress, last_end, next_end

BERLIN, SYDNEY, CAIRO, TOKYO = (
    ZoneInfo(name) for name in ("Europe/Berlin", "Australia/Sydney", "Africa/Cairo", "Asia/Tokyo")
)
WEEK, MONTH = Every.WEEK, Every.MONTH
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def periods(every: Every, since: datetime, until: datetime, step: timedelta) -> list[Period]:
    """Return the periods that are planned, looking again after each step."""
    now, found, stored = since, [], None
    while now <= until:
        progress = Progress.read(stored, now)
        period = progress.next_period(every, now, BERLIN)
        found += [period] if period else []
        stored = progress.planned(every, now, BERLIN).plain
        now += step
    return found


def test_the_first_week_begins_when_the_report_was_wanted_and_the_next_follow() -> None:
    found = periods(WEEK, at("2026-03-04T10:00"), at("2026-04-08T10:00"), timedelta(minutes=17))
    assert found[0] == Period(at("2026-03-04T10:00"), at("2026-03-08T23:00"))
    assert all(one.end == other.begin for one, other in pairwise(found))
    # In the night to 29 March clocks go forward, and the week has an hour less.
    assert found[-1] == Period(at("2026-03-29T22:00"), at("2026-04-05T22:00"))
    assert found[-2].end - found[-2].begin == 7 * DAY - timedelta(hours=1)


def test_months_end_at_their_ends() -> None:
    found = periods(MONTH, at("2026-01-15T10:00"), at("2026-05-02T00:00"), timedelta(hours=1))
    assert [one.days(BERLIN)[1].isoformat() for one in found] == [
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
    ]


@pytest.mark.parametrize(
    ("days", "period"),
    [
        (40, Period(at("2026-03-04T10:00"), at("2026-04-12T22:00"))),
        (69, Period(at("2026-05-03T22:00"), at("2026-05-10T22:00"))),
    ],
)
def test_after_a_standstill_one_report_is_about_all_of_it_unless_that_is_months(
    days: int, period: Period
) -> None:
    begun = at("2026-03-04T10:00")
    assert periods(WEEK, begun, begun + days * DAY, days * DAY) == [period]


def test_a_clock_that_was_a_year_ahead_does_not_end_reports() -> None:
    now = at("2026-03-04T10:00")
    ahead = Progress(now, now).planned(WEEK, now + 365 * DAY, BERLIN)
    assert ahead.next_period(WEEK, now, BERLIN) is None
    # Also if no worker looked between the moment it was set right and the next Monday.
    monday = now + 7 * DAY
    assert ahead.next_period(WEEK, monday, BERLIN) is None
    assert ahead.planned(WEEK, monday, BERLIN).next_period(WEEK, monday + 7 * DAY, BERLIN)
    back = ahead.planned(WEEK, now, BERLIN)
    assert back.next_period(WEEK, now + 7 * DAY, BERLIN) == Period(
        at("2026-03-01T23:00"), at("2026-03-08T23:00")
    )


def test_a_clock_that_is_set_back_plans_no_period_twice() -> None:
    monday = at("2026-03-08T23:30")
    planned = Progress(monday - 3 * DAY, monday - 3 * DAY).planned(WEEK, monday, BERLIN)
    for hours in range(48):
        assert planned.next_period(WEEK, monday - timedelta(hours=hours / 24), BERLIN) is None


def test_a_space_that_moves_west_leaves_some_hours_to_the_next_period() -> None:
    monday, west = at("2026-03-08T23:00"), ZoneInfo("America/New_York")
    planned = Progress(monday - 30 * DAY, monday - 7 * DAY).planned(WEEK, monday, BERLIN)
    later = monday + timedelta(hours=12)
    assert planned.next_period(WEEK, later, west) is None
    assert planned.planned(WEEK, later, west) == planned
    following = planned.next_period(WEEK, monday + 8 * DAY, west)
    assert following == Period(monday, at("2026-03-16T04:00"))


def test_the_first_period_may_be_a_few_hours() -> None:
    sunday = at("2026-03-08T20:00")
    found = Progress(sunday, sunday).next_period(WEEK, sunday + DAY, BERLIN)
    assert found == Period(sunday, at("2026-03-08T23:00"))


@pytest.mark.parametrize(
    ("end", "zone", "due"),
    [
        ("2026-03-08T23:00", BERLIN, "2026-03-09T08:00"),
        ("2026-03-08T23:00", SYDNEY, "2026-03-09T22:00"),  # it is ten there; nine has passed
        ("2026-10-25T23:00", BERLIN, "2026-10-26T08:00"),
        ("2026-03-09T00:00", TOKYO, "2026-03-09T00:10"),  # once everything is recorded
    ],
)
def test_it_is_due_at_nine_where_the_reader_is(end: str, zone: ZoneInfo, due: str) -> None:
    assert Period(at(end) - 7 * DAY, at(end)).due_at(zone) == at(due)


def test_a_day_without_midnight_has_a_beginning() -> None:
    # Where clocks go forward at midnight, Friday 24 April 2026 begins at one.
    assert next_end(MONTH, at("2026-04-24T12:00"), CAIRO) == at("2026-04-30T21:00")
    assert last_end(WEEK, at("2026-04-24T12:00"), CAIRO) == at("2026-04-19T22:00")
