"""Is nothing happening, or do we not hear it? Judged by how people of this space usually study.

Nothing is held against a fixed time: a space that studies on weekday evenings is silent every
Sunday. What is counted are sittings, not lessons, since the lessons of one sitting come together.
Pure; whether our own checks get through is judged in `workers.decide.hearing`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

HISTORY = timedelta(weeks=8)  # how far back people's habits are learned
SHORTEST_HISTORY = timedelta(weeks=2)
FEWEST = 20  # sittings; with fewer no habit shows
# So many sittings were to be expected that silence by chance has a probability of 1 in 1000. It has
# then lasted for seven usual gaps.
UNUSUAL = math.log(1000)

_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)
_HOURS_OF_WEEK = 168


class Hearing(StrEnum):
    """What silence means."""

    QUIET = "quiet"  # as usual
    DEAF = "deaf"  # unusual: either nobody studies, or we do not hear of it
    UNKNOWN = "unknown"  # there is too little history to tell


@dataclass(frozen=True, slots=True)
class Silence:
    """How long nothing was heard, and what that means.

    `expected` is how many sittings were to be expected meanwhile; `usual_gap_h` how many hours back
    from this hour of the week one usually has to look for the last one. Both None where that is not
    known.
    """

    hearing: Hearing
    last_at: datetime | None
    expected: float | None = None
    usual_gap_h: float | None = None


def judge_silence(
    sittings: Mapping[datetime, int], last_at: datetime | None, now: datetime, zone: ZoneInfo
) -> Silence:
    """Judge the silence since `last_at`, when something last happened.

    `sittings` is how many there were in each hour with any, by the UTC time at which the hour
    began. `zone` is that of the business: habits follow its wall clock.
    """
    if last_at is None:
        return Silence(Hearing.UNKNOWN, None)
    begin = last_at - HISTORY
    learned = {hour: number for hour, number in sittings.items() if begin <= hour <= last_at}
    span = last_at - min(learned, default=last_at)
    if span < SHORTEST_HISTORY or sum(learned.values()) < FEWEST:
        return Silence(Hearing.UNKNOWN, last_at)
    rates = usual_rates(learned, last_at, zone)
    expected = _expected(rates, last_at, now, zone)
    hearing = Hearing.DEAF if expected > UNUSUAL else Hearing.QUIET
    return Silence(hearing, last_at, expected, _usual_gap_h(rates, now, zone))


def usual_rates(
    sittings: Mapping[datetime, int], upto: datetime, zone: ZoneInfo
) -> dict[int, float]:
    """Return how many sittings each hour of the week usually has; 0 is Monday 00:00 to 01:00.

    The busiest week of each hour does not count, and its place is kept: one odd week, such as a
    workshop, is no habit, and with a short history less is expected.
    """
    by_week: dict[int, dict[int, int]] = {}
    for hour, number in sittings.items():
        week = (upto - hour) // _WEEK
        weeks = by_week.setdefault(_slot(hour, zone), {})
        weeks[week] = weeks.get(week, 0) + number
    most = max((upto - hour) / _WEEK for hour in sittings)
    return {
        slot: (sum(weeks.values()) - max(weeks.values())) / max(1.0, most)
        for slot, weeks in by_week.items()
    }


def _expected(
    rates: Mapping[int, float], since: datetime, until: datetime, zone: ZoneInfo
) -> float:
    """Sum the rates of all hours between two moments, those cut off in part."""
    longest = timedelta(hours=_HOURS_OF_WEEK * 52)
    at, found = max(since, until - longest), 0.0
    while at < until:
        end = min(_hour(at) + _HOUR, until)
        found += rates.get(_slot(at, zone), 0.0) * ((end - at) / _HOUR)
        at = end
    return found


def _usual_gap_h(rates: Mapping[int, float], now: datetime, zone: ZoneInfo) -> float | None:
    """Go back from now until one sitting was to be expected."""
    gap_h, found, end = 0.0, 0.0, now
    while gap_h < 4 * _HOURS_OF_WEEK:
        begin = _hour(end) if end > _hour(end) else end - _HOUR
        hours = (end - begin) / _HOUR
        more = rates.get(_slot(begin, zone), 0.0) * hours
        if found + more >= 1:
            return gap_h + hours * (1 - found) / more
        found, gap_h, end = found + more, gap_h + hours, begin
    return None


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _slot(moment: datetime, zone: ZoneInfo) -> int:
    local = moment.astimezone(zone)
    return local.weekday() * 24 + local.hour
