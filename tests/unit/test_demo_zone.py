"""The demo's reports wait for no morning, at whatever hour it is tried."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from service.cli.demo_reports import zone_by_day
from workers.reports.alerts import after_night


@pytest.mark.parametrize("day", [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 3, 7, 11)])
def test_it_is_day_in_the_zone_of_the_demo_for_half_an_hour_more(day: datetime) -> None:
    for minutes in range(0, 24 * 60, 10):
        now = day + timedelta(minutes=minutes)
        later = now + timedelta(minutes=30)
        assert after_night(later, ZoneInfo(zone_by_day(now))) == later
