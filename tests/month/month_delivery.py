"""When and how often each change of a month is delivered: the ways in which webhooks work or fail.

Each change has its own random numbers, drawn from the seed and from what changed, so that one more
change elsewhere in the month alters nothing here.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.entity import Entity

_HALF = 0.5
MOST_TIMES = 3
SOON = timedelta(minutes=4)
SHUFFLED_WITHIN = timedelta(minutes=30)
LATE = (timedelta(minutes=5), timedelta(hours=3))


class DeliveryMode(StrEnum):
    """How the changes of a month are delivered."""

    ON = "on"
    OFF = "off"
    LOSSY = "lossy"  # half of it is lost
    DUPLICATED = "duplicated"  # once to three times each
    SHUFFLED = "shuffled"  # out of order: half of it within minutes, the rest within half an hour
    LATE = "late"  # after 5 minutes to 3 hours, when polling has already found it
    STOPPED = "stopped"  # the webhooks are switched off half-way


@dataclass(frozen=True, slots=True)
class Change:
    """One record that changed, at an aware moment."""

    entity: Entity
    record_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ChangeDelivery:
    """One change that is delivered `times` times, at its own time."""

    at: datetime
    change: Change
    times: int = 1


def delivery_of(
    way: DeliveryMode, change: Change, *, seed: int, half_way: datetime
) -> ChangeDelivery | None:
    """Return the delivery of a change, or None. `STOPPED` ends deliveries at `half_way`."""
    name = f"{seed}/{way}/{change.entity}/{change.record_id}/{change.at.isoformat()}"
    chance = random.Random(name)  # noqa: S311 - chance, not secrecy
    if way is DeliveryMode.OFF or (way is DeliveryMode.STOPPED and change.at >= half_way):
        return None
    if way is DeliveryMode.LOSSY and chance.random() < _HALF:
        return None
    if way is DeliveryMode.SHUFFLED:
        within = SOON if chance.random() < _HALF else SHUFFLED_WITHIN
        return ChangeDelivery(_later(change, (timedelta(), within), chance), change)
    if way is DeliveryMode.LATE:
        return ChangeDelivery(_later(change, LATE, chance), change)
    times = chance.randint(1, MOST_TIMES) if way is DeliveryMode.DUPLICATED else 1
    return ChangeDelivery(change.at, change, times)


def _later(change: Change, between: tuple[timedelta, timedelta], chance: random.Random) -> datetime:
    least, most = (int(one.total_seconds()) for one in between)
    return change.at + timedelta(seconds=chance.randint(least, most))
