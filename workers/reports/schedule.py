"""The periods that summaries and digests are about, and when each is due. Pure.

A week is from Monday to Monday, a month from its first day, by the clock of the space. A report is
about what was recorded since the one before, so that consecutive reports miss nothing and repeat
nothing. After a standstill there is one report about all of it, up to two months; the first is
about the time since the report was wanted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from schemas.events import is_ahead
from schemas.rules import Every

_DUE = time(9)
_DAY = timedelta(days=1)
_SETTLED = timedelta(minutes=10)  # by then what was recorded before the end is in the ledger
_LONGEST = timedelta(days=62)
_SHORTEST = 2 * _DAY  # what a space that moves to another zone leaves over is shorter


@dataclass(frozen=True, slots=True)
class Period:
    """What a report is about: from one moment until before another."""

    begin: datetime
    end: datetime

    def days(self, zone: ZoneInfo) -> tuple[date, date]:
        """Return its first and its last day."""
        last = (self.end - timedelta(microseconds=1)).astimezone(zone).date()
        return self.begin.astimezone(zone).date(), last

    def due_at(self, zone: ZoneInfo) -> datetime:
        """Return the first nine o'clock of a reader's clock after its end, or soon after it."""
        local = self.end.astimezone(zone)
        day = local.date() if local.time() <= _DUE else local.date() + _DAY
        nine = datetime.combine(day, _DUE, zone).astimezone(self.end.tzinfo)
        return max(nine, self.end + _SETTLED)


@dataclass(frozen=True, slots=True)
class Progress:
    """Since when a report is wanted, and until when it was planned."""

    since: datetime
    upto: datetime

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None, now: datetime) -> "Progress":
        """Return what `plain` gave; a report that is new is wanted from now on."""
        if not stored:
            return cls(now, now)
        return cls(*(datetime.fromisoformat(stored[name]) for name in ("since", "upto")))

    @property
    def plain(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"since": self.since.isoformat(), "upto": self.upto.isoformat()}

    def next_period(self, every: Every, now: datetime, zone: ZoneInfo) -> Period | None:
        """Return the period that ended and was not planned yet, if there is one."""
        end = last_end(every, now, zone)
        if end <= self.upto or self._is_remainder(end):  # the former if a clock ahead planned it
            return None
        is_long = end - self.upto > _LONGEST
        return Period(_begin_of(every, end, zone) if is_long else self.upto, end)

    def planned(self, every: Every, now: datetime, zone: ZoneInfo) -> "Progress":
        """Return the progress once everything until now is planned."""
        end = last_end(every, now, zone)
        upto = self.upto if self._is_remainder(end) else max(self.upto, end)
        return Progress(min(self.since, now), end if self.is_ahead_of(now) else upto)

    def is_ahead_of(self, now: datetime) -> bool:
        """Return whether a clock that was ahead planned the last period."""
        return is_ahead(self.upto, now)

    def _is_remainder(self, end: datetime) -> bool:
        """Return whether only hours are left until this end, which the next period includes."""
        return self.upto != self.since and timedelta() < end - self.upto < _SHORTEST


def last_end(every: Every, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when the last period ended."""
    today = now.astimezone(zone).date()
    first = today.replace(day=1) if every is Every.MONTH else today - today.weekday() * _DAY
    return _midnight(first, zone, now)


def next_end(every: Every, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when the present period ends."""
    last = last_end(every, now, zone).astimezone(zone).date()
    following = last + 7 * _DAY
    if every is Every.MONTH:
        following = (last + 31 * _DAY).replace(day=1)
    return _midnight(following, zone, now)


def _begin_of(every: Every, end: datetime, zone: ZoneInfo) -> datetime:
    return last_end(every, end - timedelta(microseconds=1), zone)


def _midnight(day: date, zone: ZoneInfo, like: datetime) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(like.tzinfo)
