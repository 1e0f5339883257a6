"""The demo works at whatever hour it is tried."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from service.cli.demo_history import LATE, STEPS, WEEK, PastDeed
from service.cli.demo_reports import zone_by_day
from workers.reports.alerts import after_night


@pytest.mark.parametrize("day", [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 3, 7, 11)])
def test_it_is_day_in_the_zone_of_the_demo_for_half_an_hour_more(day: datetime) -> None:
    for minutes in range(0, 24 * 60, 10):
        now = day + timedelta(minutes=minutes)
        later = now + timedelta(minutes=30)
        assert after_night(later, ZoneInfo(zone_by_day(now))) == later


def test_nobody_in_the_week_of_the_demo_studies_before_they_enrol_or_in_the_future() -> None:
    for hour in range(24):
        now = datetime(2026, 3, 31, hour, tzinfo=UTC)  # the clocks changed within the week
        zone = ZoneInfo(zone_by_day(now))
        enrolled: dict[tuple[str, int], datetime] = {}
        for step in STEPS:
            moment = step.moment(now, zone)
            assert now - WEEK < moment < now
            if step.deed is PastDeed.ENROL:
                enrolled[step.who, step.course] = moment
            elif step.deed in {PastDeed.LESSON, PastDeed.LATE_LESSON, PastDeed.FINISH}:
                finished_at = moment - LATE if step.deed is PastDeed.LATE_LESSON else moment
                assert finished_at > enrolled[step.who, step.course]
