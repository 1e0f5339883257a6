"""Which lessons count, how far a member is, and which lesson comes next."""

import pytest

from schemas.entity import CompletionType, UnlockType
from schemas.records import Lesson, Section
from tests.builders.records import NOON, lesson
from tests.builders.rules import COUNTS
from workers.decide.completion import Progress, closed_among, counting_lessons, in_order, progress

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
