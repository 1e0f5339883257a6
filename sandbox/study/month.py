"""Makes up a month of study: who enrols where, studies when, and what the staff do. Pure.

The same seed gives the same month.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, cycle
from operator import attrgetter
from zoneinfo import ZoneInfo

from sandbox.study.deeds import OF_STAFF, Deed, DeedKind
from sandbox.study.hours import SLOTS, Diary, first_day, sittings

COURSES_EACH = 2
_LATEST_START = 10  # days after the beginning; who begins later would not get far


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
    everybody is on `COURSES_EACH` of them. Nothing happens before `begins`, which is aware.
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
