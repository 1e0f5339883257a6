"""The generated month: the same for the same seed, complete, and fair to polling."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from schemas.entity import Entity
from tests.month.month_delivery import (
    LATE,
    MOST_TIMES,
    SHUFFLED_WITHIN,
    Change,
    DeliveryMode,
    delivery_of,
)
from tests.month.month_study import (
    APART,
    COURSES_EACH,
    LONGEST_PAUSE,
    NO_DEEDS,
    OF_STAFF,
    SHORTEST_LIFE,
    Deed,
    DeedKind,
    a_month,
)

BEGINS = datetime(2026, 3, 2, tzinfo=UTC)
ZONES = tuple(
    map(
        ZoneInfo, ("Europe/Berlin", "Europe/London", "Asia/Dubai", "America/New_York", "Asia/Tokyo")
    )
)
LESSONS = (6, 5, 4)
SEEDS = range(20)
_BEGINS_A_LIFE = {
    DeedKind.DELETE_COMPLETION: {DeedKind.FINISH_LESSON, DeedKind.FINISH_AGAIN},
    DeedKind.DELETE_ENROLMENT: {DeedKind.ENROL, DeedKind.ENROL_AGAIN, DeedKind.REQUEST},
}


def month(seed: int) -> tuple[Deed, ...]:
    people = [ZONES[n % len(ZONES)] for n in range(12)]
    return a_month(seed, people=people, courses=LESSONS, begins=BEGINS)


def by_person(deeds: tuple[Deed, ...]) -> Iterator[tuple[ZoneInfo, list[Deed]]]:
    found: dict[int, list[Deed]] = defaultdict(list)
    for deed in deeds:
        found[deed.person].append(deed)
    for person, mine in found.items():
        yield ZONES[person % len(ZONES)], mine


def test_the_same_seed_gives_the_same_month_and_another_gives_another() -> None:
    assert month(1) == month(1)
    assert month(1) != month(2)


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_that_can_be_done_is_done_in_order_within_the_month(seed: int) -> None:
    deeds = month(seed)
    assert {deed.kind for deed in deeds} == set(DeedKind)
    assert [deed.at for deed in deeds] == sorted(deed.at for deed in deeds)
    assert deeds[0].at >= BEGINS
    assert deeds[-1].at < BEGINS + timedelta(days=31)
    assert 100 <= sum("finish" in deed.kind for deed in deeds) <= 150
    assert {len({deed.course for deed in mine}) for _, mine in by_person(deeds)} == {COURSES_EACH}


@pytest.mark.parametrize("seed", SEEDS)
def test_people_study_at_their_own_hours_also_in_the_evening_and_the_staff_by_day(
    seed: int,
) -> None:
    hours = set()
    for zone, mine in by_person(month(seed)):
        for deed in mine:
            local = deed.at.astimezone(zone)
            assert not NO_DEEDS[0] <= local.time() < NO_DEEDS[1]
            assert 8 <= local.hour < 23
            if deed.kind in OF_STAFF:
                assert 8 <= local.hour < 18
            hours.add(local.hour)
    assert {9, 13, 16, 19, 21} <= hours


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_deleted_soon_after_it_was_created(seed: int) -> None:
    made: dict[tuple[object, ...], datetime] = {}
    deleted = 0
    for deed in month(seed):
        place = (deed.person, deed.course, deed.lesson)
        begun = _BEGINS_A_LIFE.get(deed.kind)
        if begun is None:
            made[place] = deed.at
            continue
        deleted += 1
        assert deed.at - made[place] >= SHORTEST_LIFE
    assert deleted


@pytest.mark.parametrize("seed", SEEDS)
def test_a_person_pauses_shortly_or_for_long_and_never_just_until_an_email_goes(seed: int) -> None:
    for _, mine in by_person(month(seed)):
        for before, after in pairwise(mine):
            pause = after.at - before.at
            assert pause <= LONGEST_PAUSE or pause >= APART


def test_people_study_on_the_days_around_the_change_of_the_clock() -> None:
    days: set[date] = set()
    for zone, mine in by_person(month(1)):
        if zone in ZONES[:2]:
            days |= {deed.at.astimezone(zone).date() for deed in mine}
    assert min(days) < date(2026, 3, 29) <= max(days)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_story_makes_sense(seed: int) -> None:
    done: dict[tuple[int, int], set[int | None]] = {}
    for deed in month(seed):
        who = (deed.person, deed.course)
        if deed.kind in {DeedKind.ENROL, DeedKind.REQUEST, DeedKind.ENROL_AGAIN}:
            assert who not in done
            done[who] = set()
        elif deed.kind is DeedKind.DELETE_ENROLMENT:
            done.pop(who)
        elif deed.kind is DeedKind.DELETE_COMPLETION:
            done[who].remove(deed.lesson)
        elif deed.kind in {DeedKind.FINISH_LESSON, DeedKind.FINISH_AGAIN}:
            assert deed.lesson not in done[who]
            done[who].add(deed.lesson)
        elif deed.kind is DeedKind.FINISH_COURSE:
            assert len(done[who]) < LESSONS[deed.course]
        else:
            assert who in done


def changes() -> list[Change]:
    return [
        Change(Entity.COMPLETED_LESSON, number, BEGINS + timedelta(minutes=number))
        for number in range(1000)
    ]


def delays(way: DeliveryMode) -> list[timedelta]:
    found = [
        (delivery_of(way, one, seed=3, half_way=BEGINS + timedelta(days=400)), one)
        for one in changes()
    ]
    return [said.at - one.at for said, one in found if said is not None]


def test_changes_are_delivered_at_once_or_late_or_never_as_the_way_says() -> None:
    at_once = timedelta()
    assert delays(DeliveryMode.ON) == [at_once] * 1000
    assert delays(DeliveryMode.OFF) == []
    lossy = delays(DeliveryMode.LOSSY)
    assert set(lossy) == {at_once}
    assert 400 < len(lossy) < 600
    shuffled, late = delays(DeliveryMode.SHUFFLED), delays(DeliveryMode.LATE)
    assert len(shuffled) == len(late) == 1000
    assert at_once <= min(shuffled) < max(shuffled) <= SHUFFLED_WITHIN
    assert LATE[0] <= min(late) < max(late) <= LATE[1]
    assert any(after < before for before, after in pairwise(shuffled))


def test_duplicates_are_delivered_once_to_three_times() -> None:
    said = [delivery_of(DeliveryMode.DUPLICATED, one, seed=3, half_way=BEGINS) for one in changes()]
    assert {one.times for one in said if one is not None} == set(range(1, MOST_TIMES + 1))


def test_stopped_hooks_deliver_everything_before_and_nothing_after() -> None:
    half_way = BEGINS + timedelta(minutes=500)
    said = [delivery_of(DeliveryMode.STOPPED, one, seed=3, half_way=half_way) for one in changes()]
    assert [one is not None for one in said] == [True] * 500 + [False] * 500


def test_the_delivery_of_a_change_depends_only_on_the_change() -> None:
    for way in DeliveryMode:
        first, again = (
            [delivery_of(way, one, seed=seed, half_way=BEGINS) for one in reversed(changes())]
            for seed in (3, 3)
        )
        assert first == again
    assert delays(DeliveryMode.LATE) != [
        said.at - one.at
        for one in changes()
        if (said := delivery_of(DeliveryMode.LATE, one, seed=4, half_way=BEGINS)) is not None
    ]
