"""Decides when operators get an alert: at once for what is new, then at growing distances. Pure.

What was said once is not said again while nothing is added to it. What stopped and begins again
counts as new, and so does what an alert said that may not have arrived; but the distances grow all
the same, so that an address never gets more than a few alerts a day. Each urgent cause has
distances of its own, so that it never waits for another.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from schemas.events import is_ahead, is_within

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
class Pace:
    """When there was an alert, planned or tried, and how many came in a row, each at its distance.

    A time that a clock left in the future counts as none.
    """

    said_at: datetime | None = None
    streak: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Pace":
        """Return the pace that `plain` gave."""
        said_at = stored["said_at"]
        return cls(None if said_at is None else datetime.fromisoformat(said_at), stored["streak"])

    @property
    def plain(self) -> dict[str, Any]:
        """The pace as JSON values."""
        said_at = None if self.said_at is None else self.said_at.isoformat()
        return {"said_at": said_at, "streak": self.streak}

    def allows(self, now: datetime) -> bool:
        """Return whether the last alert is long enough ago."""
        return not self._was_within(self._distance, now)

    def after(self, now: datetime) -> "Pace":
        """Return the pace after one more alert."""
        is_quick = self._was_within(2 * self._distance, now)
        return Pace(now, min(self.streak + 1, len(_DISTANCES)) if is_quick else 1)

    def again(self, now: datetime) -> "Pace":
        """Return the pace after another try of the same alert."""
        return Pace(now, max(self.streak, 1))

    def _was_within(self, length: timedelta, now: datetime) -> bool:
        return self.said_at is not None and is_within(self.said_at, now, length)

    @property
    def _distance(self) -> timedelta:
        return _DISTANCES[max(self.streak, 1) - 1]


@dataclass(frozen=True, slots=True)
class AlertState:
    """What one address knows, and how often it gets alerts.

    `known` has the count that was said of each cause that still lasts. `number` counts the alerts
    and `pace` is theirs; `urgent` has that of each urgent cause. `told_at` is when one last left,
    and before that when the first was planned.
    """

    known: Mapping[str, int] = field(default_factory=dict)
    pace: Pace = Pace()
    urgent: Mapping[str, Pace] = field(default_factory=dict)
    number: int = 0
    told_at: datetime | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> "AlertState":
        """Return the state that `plain` gave."""
        if not stored:
            return cls()
        told_at = stored.get("told_at")
        return cls(
            stored["known"],
            Pace.read(stored),
            {key: Pace.read(one) for key, one in stored.get("urgent", {}).items()},
            stored["number"],
            None if told_at is None else datetime.fromisoformat(told_at),
        )

    @property
    def plain(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "known": dict(self.known),
            **self.pace.plain,
            "urgent": {key: one.plain for key, one in self.urgent.items()},
            "number": self.number,
            "told_at": None if self.told_at is None else self.told_at.isoformat(),
        }

    def seeing(self, causes: Iterable[Cause]) -> "AlertState":
        """Return the state without what is over, and with lower counts where some are done."""
        now = {_key(one): one.count for one in causes}
        known = {key: min(count, now[key]) for key, count in self.known.items() if key in now}
        return replace(self, known=known)

    def new_among(self, causes: Iterable[Cause]) -> list[Cause]:
        """Return the causes that are new, or of which there are more than was said."""
        return [one for one in causes if one.count > self.known.get(_key(one), 0)]

    def may_speak(self, new: Iterable[Cause], now: datetime) -> bool:
        """Return whether an alert about what is new may be made now."""
        return self.pace.allows(now) or bool(self.pressing(new, now))

    def pressing(self, new: Iterable[Cause], now: datetime) -> list[Cause]:
        """Return the urgent causes that are to be said at once."""
        return [one for one in new if one.is_urgent and self._pace_of(one).allows(now)]

    def planned(self, new: Iterable[Cause], number: int, now: datetime) -> "AlertState":
        """Return the state once an alert with this number is planned."""
        state = self.hastened([one for one in new if one.is_urgent], now)
        told_at = self.told_at or now
        return replace(state, pace=self.pace.after(now), number=number, told_at=told_at)

    def hastened(self, urgent: Iterable[Cause], now: datetime) -> "AlertState":
        """Return the state once an alert that waited is to say these at once."""
        paces = {_key(one): self._pace_of(one).after(now) for one in urgent}
        return replace(self, urgent={**self.urgent, **paces})

    def tried(self, new: Iterable[Cause], now: datetime) -> "AlertState":
        """Return the state while an alert is being sent. Whether it arrives is not known yet."""
        paces = {_key(one): self._pace_of(one).again(now) for one in new if one.is_urgent}
        return replace(self, pace=self.pace.again(now), urgent={**self.urgent, **paces})

    def after_saying(self, causes: Collection[Cause], now: datetime) -> "AlertState":
        """Return the state once an alert with these causes was accepted by the mail server."""
        return replace(self, known={_key(one): one.count for one in causes}, told_at=now)

    def untold_since(self, planned_at: datetime, now: datetime) -> datetime:
        """Return from when on an alert says what is over by now."""
        told_at = self.told_at
        return planned_at if told_at is None or is_ahead(told_at, now) else told_at

    def _pace_of(self, cause: Cause) -> Pace:
        return self.urgent.get(_key(cause), Pace())


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
