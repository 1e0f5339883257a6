"""Tells silent from stale: is nothing happening, or does nothing reach us? Pure.

Is nothing happening, or do we not hear it? Judged by how people of this space usually study.

Nothing is held against a fixed time: a space that studies on weekday evenings is silent every
Sunday. What is counted are sittings, not lessons, since the lessons of one sitting come together.
Pure; whether our own checks get through is judged in `workers.decide.monitoring`.

Do our own checks get through, and do others still tell us? Pure.

Unlike silence, which may only be unusual, a check that does not get through is deaf for certain.
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

HISTORY = timedelta(weeks=8)  # how far back people's habits are learned
SHORTEST_HISTORY = timedelta(weeks=2)
FEWEST = 20  # sittings; with fewer no habit shows
# So many sittings were to be expected that silence by chance has a probability of 1 in 1000. It has
# then lasted for seven usual gaps.
UNUSUAL = math.log(1000)

_HOUR = timedelta(hours=1)
_WEEK = timedelta(weeks=1)
_HOURS_OF_WEEK = 168


class Signal(StrEnum):
    """What silence means."""

    SILENT = "quiet"  # as usual
    STALE = "deaf"  # unusual: either nobody studies, or we do not hear of it
    UNKNOWN = "unknown"  # there is too little history to tell


@dataclass(frozen=True, slots=True)
class SignalReport:
    """How long nothing was heard, and what that means.

    `expected` is how many sittings were to be expected meanwhile; `usual_gap_h` how many hours back
    from this hour of the week one usually has to look for the last one. Both None where that is not
    known.
    """

    signal: Signal
    last_at: datetime | None
    expected: float | None = None
    usual_gap_h: float | None = None


def judge_silence(
    sittings: Mapping[datetime, int], last_at: datetime | None, now: datetime, zone: ZoneInfo
) -> SignalReport:
    """Judge the silence since `last_at`, when something last happened.

    `sittings` is how many there were in each hour with any, by the UTC time at which the hour
    began. `zone` is that of the business: habits follow its wall clock.
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


LATE_AFTER = 3  # times the time between two checks
LONGEST_FIRST_LOOK = timedelta(hours=1)  # it reads all there is
FEWEST_LATELY = 5  # records; of fewer nothing is concluded

_OTHERS = (Origin.HOOK, Origin.RELAY)
# A moment's trouble, which counts once it lasts.
_MAY_PASS = (Reason.NEXUDUS_DOWN, Reason.NEXUDUS_BUSY)


class PollTrouble(StrEnum):
    """What is wrong with our own check of one kind of record."""

    LATE = "late"
    FAILING = "failing"
    STUMBLED = "stumbled"  # failed just now, in a way that may pass


@dataclass(frozen=True, slots=True)
class Loss:
    """Hooks or a relay that told of most records before, and lately of few."""

    told: ReportCounts
    by: Origin
    heard: int  # of the records made lately
    of: int


def judge_poll(
    last: Run | None, under_way: Run | None, every_s: float, now: datetime
) -> PollTrouble | None:
    """Judge our own check of one kind by its last run that ended, and the one that did not yet.

    None: all is well, or checks are off, or the first had no time to run yet.
    """
    if not every_s:
        return None
    moments = [run.ended_at or run.begun_at for run in (last, under_way) if run is not None]
    newest = max((at for at in moments if not is_ahead(at, now)), default=None)
    patience = LATE_AFTER * timedelta(seconds=every_s)
    if last is None and under_way is not None and under_way.kind is CheckKind.BASELINE:
        patience = max(patience, LONGEST_FIRST_LOOK)
    # Nothing but times in the future says nothing; no run at all is one that had no time yet.
    is_late = bool(moments) if newest is None else now - newest > patience
    if under_way is not None and under_way.reason is not None:
        may_pass = under_way.reason in _MAY_PASS and not is_late
        return PollTrouble.STUMBLED if may_pass else PollTrouble.FAILING
    return PollTrouble.LATE if is_late else None


def judge_reports(told: ReportCounts) -> Loss | None:
    """Judge whether hooks or relays of a location arrive no more; None: no reason to think so.

    Where nobody ever told us anything there is nothing to lose: we look for ourselves.
    """
    before, lately = _by_others(told.before), _by_others(told.lately)
    heard, of = sum(lately.values()), sum(told.lately.values())
    was_most = 2 * sum(before.values()) > sum(told.before.values())
    if not was_most or of < FEWEST_LATELY or 2 * heard >= of:
        return None
    return Loss(told, max(before, key=lambda origin: before[origin]), heard, of)


def _by_others(told: Mapping[Origin, int]) -> dict[Origin, int]:
    return {origin: told.get(origin, 0) for origin in _OTHERS}
