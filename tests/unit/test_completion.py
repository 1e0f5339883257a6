"""Which lessons count, how far a member is, and which lesson and course come next."""

import pytest

from schemas.entity import CompletionType, UnlockType, Visibility
from schemas.records import Lesson, Section
from tests.builders.records import NOON, course, lesson
from tests.builders.rules import COUNTS
from workers.decide.completion import (
    Progress,
    closed_among,
    counting_lessons,
    in_order,
    next_course,
    progress,
)

ONE, TWO, THREE = lesson(1), lesson(2), lesson(3)


def section(record_id: int, *, active: bool = True) -> Section:
    return Section(record_id, NOON, 1234, "Basics", active, 1, UnlockType.IMMEDIATE, 0)


def ids(lessons: list[Lesson]) -> list[int]:
    return [one.record_id for one in lessons]


def test_lessons_are_ordered_by_section_then_position_then_id() -> None:
    shuffled = [
        lesson(6, section_order=2, order=1),
        lesson(5, section_order=1, order=2),
        lesson(4, section_order=1, order=1),
        lesson(3, section_order=1, order=1),
        lesson(2, section_order=None, order=9),
        lesson(1, section_order=0, order=None),
    ]
    assert ids(in_order(shuffled)) == [1, 2, 3, 4, 5, 6]


def test_a_lesson_without_a_position_comes_first() -> None:
    assert ids(in_order([lesson(1, order=1), lesson(2, order=None)])) == [2, 1]


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        (CompletionType.NONE, False),
        (CompletionType.VISITED, True),
        (CompletionType.BUTTON, True),
        (CompletionType.VIDEO, True),
    ],
)
def test_lessons_that_the_portal_can_complete_count(kind: CompletionType, counted: bool) -> None:  # noqa: FBT001 - a column of the table
    assert bool(counting_lessons([lesson(1, completion_type=kind)], COUNTS)) is counted


def test_an_inactive_lesson_does_not_count() -> None:
    assert counting_lessons([lesson(1, active=False)], COUNTS) == []


@pytest.mark.parametrize(
    ("section_id", "counted"),
    [(31, True), (32, False), (None, True), (99, True)],
    ids=["open", "closed", "none", "unknown"],
)
def test_a_lesson_in_a_closed_section_does_not_count(
    section_id: int | None,
    counted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    lessons = [lesson(1, section_id=section_id)]
    assert bool(counting_lessons(lessons, COUNTS, {32})) is counted


def test_an_inactive_lesson_does_not_count_in_an_open_section_either() -> None:
    assert counting_lessons([lesson(1, active=False, section_id=31)], COUNTS, {32}) == []


def test_a_section_is_closed_when_it_is_switched_off() -> None:
    sections = [section(31), section(32, active=False), section(33, active=False)]
    assert closed_among(sections) == {32, 33}
    assert closed_among([]) == frozenset()


def test_a_course_is_finished_without_its_closed_sections() -> None:
    lessons = [ONE, TWO, lesson(3, section_id=32)]
    assert progress(lessons, {1, 2}, COUNTS, {32}) == Progress(
        2, 2, finished=True, next_lesson=None
    )
    assert progress(lessons, {1, 3}, COUNTS, {32}) == Progress(
        1, 2, finished=False, next_lesson=TWO
    )


def test_a_course_whose_sections_are_all_closed_is_never_finished() -> None:
    lessons = [lesson(1, section_id=31), lesson(2, section_id=32)]
    assert progress(lessons, {1, 2}, COUNTS, {31, 32}) == Progress(
        0, 0, finished=False, next_lesson=None
    )


def test_the_rules_say_which_lessons_count() -> None:
    visited = lesson(2, completion_type=CompletionType.VISITED)
    assert ids(counting_lessons([visited, ONE], {CompletionType.VISITED})) == [2]
    assert progress([visited, ONE], {2}, {CompletionType.VISITED}).finished


def test_progress_begins_at_zero() -> None:
    assert progress([TWO, ONE], (), COUNTS) == Progress(0, 2, finished=False, next_lesson=ONE)


def test_the_next_lesson_is_the_first_open_one_whatever_was_done_after_it() -> None:
    assert progress([ONE, TWO, THREE], {1, 3}, COUNTS) == Progress(
        2, 3, finished=False, next_lesson=TWO
    )


def test_all_counting_lessons_finish_a_course() -> None:
    untracked = lesson(4, completion_type=CompletionType.NONE)
    switched_off = lesson(5, active=False)
    lessons = [ONE, TWO, untracked, switched_off]
    assert progress(lessons, {1, 2}, COUNTS) == Progress(2, 2, finished=True, next_lesson=None)


def test_lessons_that_do_not_count_or_no_longer_exist_are_not_counted_as_done() -> None:
    switched_off = lesson(5, active=False)
    assert progress([ONE, TWO, switched_off], {1, 5, 999}, COUNTS) == Progress(
        1, 2, finished=False, next_lesson=TWO
    )


@pytest.mark.parametrize(
    "lessons",
    [[], [lesson(1, active=False)], [lesson(1, completion_type=CompletionType.NONE)]],
    ids=["none", "inactive", "untracked"],
)
def test_a_course_without_counting_lessons_is_never_finished(lessons: list[Lesson]) -> None:
    assert progress(lessons, {1}, COUNTS) == Progress(0, 0, finished=False, next_lesson=None)


def test_a_lesson_added_later_makes_a_finished_course_unfinished() -> None:
    assert progress([ONE, TWO], {1, 2}, COUNTS).finished
    assert not progress([ONE, TWO, THREE], {1, 2}, COUNTS).finished


def test_a_timed_lesson_is_not_promised_as_the_next() -> None:
    timed = lesson(1, unlock_type=UnlockType.TIMED)
    assert progress([timed, TWO], (), COUNTS).next_lesson == TWO
    assert progress([timed, TWO], {2}, COUNTS) == Progress(1, 2, finished=False, next_lesson=None)
    sequential = lesson(1, unlock_type=UnlockType.SEQUENTIAL)
    assert progress([sequential, TWO], (), COUNTS).next_lesson == sequential


THIS = course(record_id=20, order=2)


def next_id(*others: tuple[int, dict[str, object]], enrolled: frozenset[int] = frozenset()) -> int:
    """Return the Id of the course after `THIS` among these; 0 for none."""
    among = [THIS, *(course(record_id=one, **different) for one, different in others)]
    found = next_course(THIS, among, enrolled)
    return found.record_id if found else 0


def test_the_next_course_is_the_nearest_later_one_in_the_portals_order() -> None:
    assert next_id((7, {"order": 4}), (8, {"order": 3}), (9, {"order": 1})) == 8
    assert next_id((30, {"order": 2}), (21, {"order": 2}), (19, {"order": 2})) == 21
    assert next_id((9, {"order": 1})) == 0
    assert next_id() == 0


def test_a_course_that_the_person_is_on_is_passed_over() -> None:
    others: list[tuple[int, dict[str, object]]] = [(7, {"order": 3}), (8, {"order": 4})]
    assert next_id(*others, enrolled=frozenset({20, 7})) == 8
    assert next_id(*others, enrolled=frozenset({20, 7, 8})) == 0


@pytest.mark.parametrize(
    ("different", "is_offered"),
    [
        ({}, True),
        ({"visibility": Visibility.PAID}, True),
        ({"visibility": Visibility.HIDDEN}, False),
        ({"visibility": Visibility.PRIVATE}, False),
        ({"visibility": None}, False),
        ({"active": False}, False),
        ({"group_name": "Workshops"}, False),
        ({"group_name": None}, False),
        ({"business_id": 501}, False),
        ({"order": None}, False),
    ],
)
def test_the_next_course_is_one_of_the_group_that_members_can_find(
    different: dict[str, object],
    is_offered: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert next_id((7, {"order": 3} | different)) == (7 if is_offered else 0)


@pytest.mark.parametrize("different", [{"group_name": None}, {"group_name": ""}, {"order": None}])
def test_a_course_without_a_group_or_a_place_has_no_next(different: dict[str, object]) -> None:
    this = course(record_id=20, **different)
    other = course(record_id=21, **({"order": 3} | different))
    assert next_course(this, [this, other], frozenset()) is None
