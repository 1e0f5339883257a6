"""A made-up month of study: who enrols where, learns when, and what the staff do.

The same seed gives the same month. People, courses and lessons are named by their place (0 is the
first), because the Ids of records are known only when the month is played.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import chain, cycle
from operator import attrgetter
from zoneinfo import ZoneInfo

# Polling every five minutes cannot see these two as webhooks do. They do not occur in a month, so
# that a month gives the same emails with both.
SHORTEST_LIFE = timedelta(minutes=10)  # a created record is not deleted sooner
NO_DEEDS = (time(19, 45), time(20))  # local time: emails are sent early before quiet hours

# The email about a sitting is sent 30 minutes after its last lesson. With webhooks it would include
# a lesson finished just then, with polling it would not; so sittings are this far apart.
APART = timedelta(hours=1)
LONGEST_PAUSE = timedelta(minutes=15)  # between two deeds of one sitting


class DeedKind(StrEnum):
    """What a learner or the staff do."""

    ENROL = "enrol"
    REQUEST = "request"  # an enrolment that waits for approval
    APPROVE = "approve"
    FINISH_LESSON = "finish-lesson"
    FINISH_COURSE = "finish-course"  # all lessons that are left, at once
    DELETE_COMPLETION = "delete-completion"
    FINISH_AGAIN = "finish-again"  # a lesson whose completion was deleted
    DELETE_ENROLMENT = "delete-enrolment"  # its completions go with it
    ENROL_AGAIN = "enrol-again"
    BLOCK = "block"
    UNBLOCK = "unblock"


# Done by the staff, not by the learner.
OF_STAFF = frozenset(
    {
        *(DeedKind.APPROVE, DeedKind.DELETE_COMPLETION, DeedKind.DELETE_ENROLMENT),
        *(DeedKind.BLOCK, DeedKind.UNBLOCK),
    }
)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing done, at an aware moment. `lesson` is its place among those that count."""

    at: datetime
    kind: DeedKind
    person: int
    course: int
    lesson: int | None = None


# The earliest start and the latest end of a sitting.
SLOTS = (
    (time(8, 30), time(10, 30)),
    (time(12), time(14)),
    (time(15, 30), time(17, 30)),
    (time(18, 30), time(19, 40)),
    (time(20, 40), time(22, 30)),
)
_SLOTS_OF_STAFF = 3  # they work in the first slots of a day
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
            if slot not in self.taken and not (for_staff and slot % len(SLOTS) >= _SLOTS_OF_STAFF):
                self.taken.add(slot)
                return slot
        return None

    def moments(self, slot: int, wanted: int, chance: random.Random) -> list[datetime]:
        """Return the wanted number of times of one sitting in the slot, in UTC."""
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


COURSES_EACH = 2
_LATEST_START = 10  # days after the start; a later learner would not get far


@dataclass(frozen=True, slots=True)
class _Sitting:
    """What is done in one slot: one kind of deed, for one lesson or several."""

    kind: DeedKind
    lessons: tuple[int | None, ...] = (None,)


def a_month(
    seed: int,
    *,
    people: Sequence[ZoneInfo],
    courses: Sequence[int],
    begins: datetime,
    days: int = 30,
) -> tuple[Deed, ...]:
    """Return what is done, in order of time.

    `people` are the zones they live in, `courses` how many lessons of each count (at least two);
    everyone is on `COURSES_EACH` of them. Nothing happens before `begins`, which is aware.
    """
    chance = random.Random(seed)  # noqa: S311 - chance, not secrecy
    turns = list(_TURNS)
    chance.shuffle(turns)
    turn = cycle(turns)
    deeds: list[Deed] = []
    for person, zone in enumerate(people):
        diary = Diary(zone, first_day(begins, zone), days)
        for course in sorted(chance.sample(range(len(courses)), COURSES_EACH)):
            story = next(turn)(courses[course], chance)
            deeds += _played(story, diary, (person, course), chance)
    return tuple(sorted(deeds, key=attrgetter("at", "person", "course")))


def _played(
    story: Sequence[_Sitting], diary: Diary, who: tuple[int, int], chance: random.Random
) -> list[Deed]:
    """Return a story with its times; what does not fit into the month is left out."""
    deeds: list[Deed] = []
    person, course = who
    not_before = chance.randrange(_LATEST_START * len(SLOTS))
    step = (len(diary) - not_before) // len(story)
    earliest = 0
    for left, sitting in zip(range(len(story), 0, -1), story, strict=True):
        # Room is kept for the rest, which may need a day each.
        not_before = max(earliest, min(not_before, len(diary) - left * len(SLOTS)))
        slot = diary.take(not_before, for_staff=sitting.kind in OF_STAFF)
        if slot is None:
            break
        moments = diary.moments(slot, len(sitting.lessons), chance)
        deeds += [
            Deed(at, sitting.kind, person, course, lesson)
            for at, lesson in zip(moments, sitting.lessons, strict=True)
        ]
        earliest = slot + 1
        not_before = slot + chance.randint(step // 2, step * 3 // 2)
    return deeds


def _studies(lessons: Sequence[int], chance: random.Random) -> list[_Sitting]:
    return [
        _Sitting(DeedKind.FINISH_LESSON, tuple(together)) for together in sittings(lessons, chance)
    ]


def _to_the_end(lessons: int, chance: random.Random) -> list[_Sitting]:
    return [_Sitting(DeedKind.ENROL), *_studies(range(lessons), chance)]


def _out_of_order(lessons: int, chance: random.Random) -> list[_Sitting]:
    mixed = list(range(lessons))
    chance.shuffle(mixed)
    return [_Sitting(DeedKind.ENROL), *_studies(mixed, chance)]


def _half_way(lessons: int, chance: random.Random) -> list[_Sitting]:
    return [_Sitting(DeedKind.ENROL), *_studies(range(lessons - 1), chance)]


def _after_approval(lessons: int, chance: random.Random) -> list[_Sitting]:
    asked = [_Sitting(DeedKind.REQUEST), _Sitting(DeedKind.APPROVE)]
    return [*asked, *_studies(range(lessons), chance)]


def _in_one_go(lessons: int, chance: random.Random) -> list[_Sitting]:
    first = _studies(range(chance.randint(1, lessons - 1)), chance)
    return [_Sitting(DeedKind.ENROL), *first, _Sitting(DeedKind.FINISH_COURSE)]


def _with_one_again(lessons: int, chance: random.Random) -> list[_Sitting]:
    """Have a completion deleted, before the end or after it, and finish that lesson again."""
    before = _studies(range(chance.choice((lessons - 1, lessons))), chance)
    done = [lesson for sitting in before for lesson in sitting.lessons]
    lesson = chance.choice(done)
    again = [_Sitting(DeedKind.DELETE_COMPLETION, (lesson,))]
    again.append(_Sitting(DeedKind.FINISH_AGAIN, (lesson,)))
    left = _studies(range(len(done), lessons), chance)
    return [_Sitting(DeedKind.ENROL), *before, *again, *left]


def _enrolled_again(lessons: int, chance: random.Random) -> list[_Sitting]:
    before = _studies(range(chance.randint(1, lessons)), chance)
    between = [_Sitting(DeedKind.DELETE_ENROLMENT), _Sitting(DeedKind.ENROL_AGAIN)]
    return [_Sitting(DeedKind.ENROL), *before, *between, *_studies(range(lessons), chance)]


def _blocked_meanwhile(lessons: int, chance: random.Random) -> list[_Sitting]:
    studies = _studies(range(lessons), chance)
    blocked = [_Sitting(DeedKind.BLOCK), _Sitting(DeedKind.UNBLOCK)]
    return list(chain([_Sitting(DeedKind.ENROL)], studies[:1], blocked, studies[1:]))


_TURNS = (
    *(_to_the_end, _out_of_order, _half_way, _after_approval),
    *(_in_one_go, _with_one_again, _enrolled_again, _blocked_meanwhile),
)
