"""Judges whether a silence is usual or stale data, and whether polls and notifications get through.

Silence is not measured against a fixed time, since a space that studies on weekday evenings is
silent every Sunday, but against how its members usually study. It counts sittings, not lessons,
because the lessons of one sitting come together. A silence may be merely unusual; a poll that does
not get through is a certain fault. Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from ledger.checks import CheckKind, Run
from ledger.intake import Origin
from ledger.monitoring import ReportCounts
from schemas.events import is_ahead
from schemas.reasons import Reason

HISTORY = timedelta(weeks=8)  # how far back habits are learned from
SHORTEST_HISTORY = timedelta(weeks=2)
FEWEST = 20  # sittings; fewer show no habit
# With this many expected sittings, silence by chance has a probability of 1 in 1000: about seven
# usual gaps.
UNUSUAL = math.log(1000)

_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)
_HOURS_OF_WEEK = 168


class Signal(StrEnum):
    """What silence means."""

    SILENT = "quiet"  # as usual
    STALE = "deaf"  # unusual: either no member studies, or we do not receive it
    UNKNOWN = "unknown"  # there is too little history to tell


@dataclass(frozen=True, slots=True)
class SignalReport:
    """How long nothing happened, and what that means.

    `expected` is how many sittings were expected meanwhile. `usual_gap_h` is how many hours before
    this hour of the week the last sitting usually was. Both are None if unknown.
    """

    signal: Signal
    last_at: datetime | None
    expected: float | None = None
    usual_gap_h: float | None = None


def judge_silence(
    sittings: Mapping[datetime, int], last_at: datetime | None, now: datetime, zone: ZoneInfo
) -> SignalReport:
    """Judge the silence since `last_at`, when something last happened.

    `sittings` counts them by the UTC time at which their hour began. `zone` is the business's:
    habits follow its wall clock.
    """
    if last_at is None:
        return SignalReport(Signal.UNKNOWN, None)
    begin = last_at - HISTORY
    learned = {hour: number for hour, number in sittings.items() if begin <= hour <= last_at}
    span = last_at - min(learned, default=last_at)
    if span < SHORTEST_HISTORY or sum(learned.values()) < FEWEST:
        return SignalReport(Signal.UNKNOWN, last_at)
    rates = usual_rates(learned, last_at, zone)
    expected = _expected(rates, last_at, now, zone)
    signal = Signal.STALE if expected > UNUSUAL else Signal.SILENT
    return SignalReport(signal, last_at, expected, _usual_gap_h(rates, now, zone))


def usual_rates(
    sittings: Mapping[datetime, int], upto: datetime, zone: ZoneInfo
) -> dict[int, float]:
    """Return how many sittings each hour of the week usually has; 0 is Monday 00:00 to 01:00.

    The busiest week of each hour counts as zero, so that one odd week, such as a workshop, is no
    habit, and a short history expects less.
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
    """Sum the rates of all hours between two moments, partial hours in part."""
    longest = timedelta(hours=_HOURS_OF_WEEK * 52)
    at, found = max(since, until - longest), 0.0
    while at < until:
        end = min(_hour(at) + _HOUR, until)
        found += rates.get(_slot(at, zone), 0.0) * ((end - at) / _HOUR)
        at = end
    return found


def _usual_gap_h(rates: Mapping[int, float], now: datetime, zone: ZoneInfo) -> float | None:
    """Return how many hours back from now one sitting is expected."""
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


LATE_AFTER = 3  # times the interval of polls
LONGEST_BASELINE = timedelta(hours=1)  # the baseline reads everything
FEWEST_LATELY = 5  # records; fewer are no evidence

_OTHERS = (Origin.HOOK, Origin.RELAY)
# Short failures, which count only if they last.
_MAY_PASS = (Reason.NEXUDUS_DOWN, Reason.NEXUDUS_BUSY)


class PollTrouble(StrEnum):
    """What is wrong with our polls of one kind of record."""

    LATE = "late"
    FAILING = "failing"
    STUMBLED = "stumbled"  # failed just now, perhaps for a moment


@dataclass(frozen=True, slots=True)
class Loss:
    """Hooks or a relay that reported most records before, and few lately."""

    counts: ReportCounts
    by: Origin
    reported: int  # how many of the `of` records created lately it reported
    of: int


def judge_poll(
    last: Run | None, under_way: Run | None, every_s: float, now: datetime
) -> PollTrouble | None:
    """Judge our polls of one kind by the last run that ended and the one under way.

    Returns None if all is well, if polling is off, or if the first run had no time yet.
    """
    if not every_s:
        return None
    moments = [run.ended_at or run.begun_at for run in (last, under_way) if run is not None]
    newest = max((at for at in moments if not is_ahead(at, now)), default=None)
    patience = LATE_AFTER * timedelta(seconds=every_s)
    if last is None and under_way is not None and under_way.kind is CheckKind.BASELINE:
        patience = max(patience, LONGEST_BASELINE)
    # Without any run, the first had no time yet. With times in the future only, it counts as late.
    is_late = bool(moments) if newest is None else now - newest > patience
    if under_way is not None and under_way.reason is not None:
        may_pass = under_way.reason in _MAY_PASS and not is_late
        return PollTrouble.STUMBLED if may_pass else PollTrouble.FAILING
    return PollTrouble.LATE if is_late else None


def judge_reports(counts: ReportCounts) -> Loss | None:
    """Return evidence that a location's hooks or relay stopped arriving, or None.

    A location that never had any loses nothing: our polls find its changes.
    """
    before, lately = _by_others(counts.before), _by_others(counts.lately)
    reported, of = sum(lately.values()), sum(counts.lately.values())
    was_most = 2 * sum(before.values()) > sum(counts.before.values())
    if not was_most or of < FEWEST_LATELY or 2 * reported >= of:
        return None
    return Loss(counts, max(before, key=lambda origin: before[origin]), reported, of)


def _by_others(counts: Mapping[Origin, int]) -> dict[Origin, int]:
    return {origin: counts.get(origin, 0) for origin in _OTHERS}
