"""The hours of a month in which people study, each where they are. Pure.

A person's day has a few slots, far enough from each other that one sitting in each keeps `APART`.
None begins around the end of quiet hours, when the emails of the night go out.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sandbox.study.deeds import LONGEST_PAUSE

# From when on a sitting may begin, and until when it has ended.
SLOTS = (
    (time(8, 30), time(10, 30)),
    (time(12), time(14)),
    (time(15, 30), time(17, 30)),
    (time(18, 30), time(19, 40)),
    (time(20, 40), time(22, 30)),
)
_OF_STAFF = 3  # they work in the first slots of a day
MOST_AT_ONCE = 4  # deeds of one sitting
_SHORTEST_PAUSE_S = 120


@dataclass(slots=True)
class Diary:
    """The slots of one person's month that are taken, counted from the first morning."""

    zone: ZoneInfo
    first_day: date
    days: int
    taken: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return self.days * len(SLOTS)

    def take(self, not_before: int, *, for_staff: bool) -> int | None:
        """Take the first slot that is free from there on; None when the month is over."""
        for slot in range(not_before, len(self)):
            if slot not in self.taken and not (for_staff and slot % len(SLOTS) >= _OF_STAFF):
                self.taken.add(slot)
                return slot
        return None

    def moments(self, slot: int, wanted: int, chance: random.Random) -> list[datetime]:
        """Return so many moments of one sitting in the slot, in UTC."""
        day = self.first_day + timedelta(days=slot // len(SLOTS))
        begins, ends = (
            datetime.combine(day, at, self.zone).astimezone(UTC) for at in SLOTS[slot % len(SLOTS)]
        )
        pauses = [_pause(chance) for _ in range(wanted - 1)]
        room_s = int((ends - begins - sum(pauses, timedelta())).total_seconds())
        moments = [begins + timedelta(seconds=chance.randint(0, room_s))]
        for pause in pauses:
            moments.append(moments[-1] + pause)
        return moments


def first_day(begins: datetime, zone: ZoneInfo) -> date:
    """Return the first day that has all its slots after that moment."""
    day = begins.astimezone(zone).date()
    is_over = datetime.combine(day, SLOTS[0][0], zone) < begins
    return day + timedelta(days=1) if is_over else day


def _pause(chance: random.Random) -> timedelta:
    return timedelta(seconds=chance.randint(_SHORTEST_PAUSE_S, int(LONGEST_PAUSE.total_seconds())))


def sittings(lessons: Iterable[int], chance: random.Random) -> list[list[int]]:
    """Return the lessons, in their order, as they are finished together."""
    left, found = list(lessons), []
    while left:
        together = chance.randint(1, min(MOST_AT_ONCE, len(left)))
        found.append(left[:together])
        left = left[together:]
    return found
