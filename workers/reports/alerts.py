"""Decides when operators get an alert: at once for what is new, then at growing distances. Pure.

What was said once is not said again while nothing is added to it. What stopped and begins again
counts as new, but the distances grow all the same, so that an address never gets more than a few
alerts a day.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from schemas.events import is_ahead

_DISTANCES = tuple(timedelta(hours=hours) for hours in (1, 2, 4, 8, 24))
_MORNING, _EVENING = time(8), time(20)


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that an operator should know. `code` is fixed, `count` is how many there are.

    `since` is when it began, if that is known. An urgent one is also said at night. `place` is the
    location that it is about.
    """

    code: str
    count: int = 1
    since: datetime | None = None
    is_urgent: bool = False
    place: str | None = None


@dataclass(frozen=True, slots=True)
class AlertState:
    """What was said to one address: the count of each cause that still lasts, and when.

    `streak` is how many alerts came in a row, each as soon as its distance allowed. `number` counts
    all.
    """

    known: Mapping[str, int] = field(default_factory=dict)
    said_at: datetime | None = None
    streak: int = 0
    number: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> "AlertState":
        """Return the state that `plain` gave."""
        if not stored:
            return cls()
        said_at = stored["said_at"]
        return cls(
            stored["known"],
            None if said_at is None else datetime.fromisoformat(said_at),
            stored["streak"],
            stored["number"],
        )

    @property
    def plain(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "known": dict(self.known),
            "said_at": None if self.said_at is None else self.said_at.isoformat(),
            "streak": self.streak,
            "number": self.number,
        }

    def seeing(self, causes: Iterable[Cause]) -> "AlertState":
        """Return the state without what is over, and with lower counts where some are done."""
        now = {_key(one): one.count for one in causes}
        known = {key: min(count, now[key]) for key, count in self.known.items() if key in now}
        return replace(self, known=known)

    def after_saying(self, causes: Collection[Cause], now: datetime) -> "AlertState":
        """Return the state once these causes are in an alert."""
        known = {_key(one): one.count for one in causes}
        return replace(self, known=known, said_at=now)

    def new_among(self, causes: Iterable[Cause]) -> list[Cause]:
        """Return the causes that are new, or of which there are more than was said."""
        return [one for one in causes if one.count > self.known.get(_key(one), 0)]

    def may_speak(self, now: datetime) -> bool:
        """Return whether the last alert is long enough ago."""
        if self.said_at is None or is_ahead(self.said_at, now):
            return True  # a clock that was ahead must not silence us
        return now - self.said_at >= self._distance

    def planned(self, now: datetime) -> "AlertState":
        """Return the state once an alert is planned."""
        is_quick = self.said_at is not None and now - self.said_at < 2 * self._distance
        streak = min(self.streak + 1, len(_DISTANCES)) if is_quick else 1
        return replace(self, said_at=now, streak=streak, number=self.number + 1)

    @property
    def _distance(self) -> timedelta:
        return _DISTANCES[max(self.streak, 1) - 1]


def when_to_say(causes: Iterable[Cause], now: datetime, zone: ZoneInfo) -> datetime:
    """Return when an alert about these causes goes: now, or in the morning if none is urgent."""
    if any(one.is_urgent for one in causes):
        return now
    return after_night(now, zone)


def after_night(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment itself, or the end of the night that it is in."""
    local = moment.astimezone(zone)
    if _MORNING <= local.time() < _EVENING:
        return moment
    day = local.date() + timedelta(days=local.time() >= _EVENING)
    return datetime.combine(day, _MORNING, zone).astimezone(moment.tzinfo)


def _key(cause: Cause) -> str:
    return cause.code if cause.place is None else f"{cause.code} {cause.place}"
