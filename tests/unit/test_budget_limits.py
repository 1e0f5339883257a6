"""The limits of the setting are read as a pace and as windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.settings.values import limits
from workers.source.limits import Limits, Urgency, Window, read_limits, threads_for

PERSON, WORK = Urgency.PERSON, Urgency.WORK
UNITS = ("second", "minute", "hour", "day")


def test_the_limits_of_the_source_are_a_pace_and_three_windows() -> None:
    assert read_limits("10/second;120/minute;5000/hour;200000/day") == Limits(
        110,
        (
            Window("minute", "120/minute", 61, 120),
            Window("hour", "5000/hour", 3601, 5000),
            Window("day", "200000/day", 86_401, 200_000),
        ),
    )


def test_a_window_is_counted_a_second_longer_than_the_source_counts_it() -> None:
    windows = read_limits("9/minute;9/hour;9/day").windows
    assert [window.seconds for window in windows] == [61, 3601, 86_401]


def test_the_shortest_window_comes_first_however_it_was_written() -> None:
    windows = read_limits("9/day;9/minute;9/hour").windows
    assert [window.unit for window in windows] == ["minute", "hour", "day"]


def test_of_two_limits_for_one_unit_the_smaller_one_is_kept() -> None:
    assert read_limits("50/minute;40/minute;60/minute").windows == (
        Window("minute", "40/minute", 61, 40),
    )
    assert read_limits("9/second;2/second").pace_ms == 550


def test_without_a_limit_per_second_there_is_no_pace() -> None:
    assert read_limits("120/minute").pace_ms == 0


def test_a_limit_per_second_alone_has_no_window() -> None:
    assert read_limits("10/second").windows == ()


@pytest.mark.parametrize(
    ("per_second", "pace_ms"), [(1, 1100), (3, 367), (10, 110), (20, 55), (1000, 2), (10**9, 1)]
)
def test_requests_leave_a_tenth_further_apart_than_they_may(per_second: int, pace_ms: int) -> None:
    assert read_limits(f"{per_second}/second").pace_ms == pace_ms


@pytest.mark.parametrize(
    ("most", "for_work"),
    [(1, 1), (19, 19), (20, 19), (30, 29), (59, 58), (60, 58), (120, 116), (5000, 4834)],
)
def test_work_leaves_a_part_of_each_window_to_people(most: int, for_work: int) -> None:
    window = Window("minute", f"{most}/minute", 61, most)
    assert (window.room(WORK), window.room(PERSON)) == (for_work, most)


def test_a_share_is_the_whole_divided_and_a_slower_pace() -> None:
    share = read_limits("10/second;120/minute;5/hour").share(8)
    assert share.pace_ms == 880
    assert [window.most for window in share.windows] == [15, 1]
    assert [window.written for window in share.windows] == ["120/minute", "5/hour"]


@given(
    st.lists(st.tuples(st.integers(1, 999_999_999), st.sampled_from(UNITS)), min_size=1, max_size=6)
)
def test_whatever_the_setting_allows_is_read_and_never_more_is_allowed(
    written: list[tuple[int, str]],
) -> None:
    read = read_limits(limits(";".join(f"{amount}/{unit}" for amount, unit in written)))
    for window in read.windows:
        assert window.most == min(amount for amount, unit in written if unit == window.unit)
        assert 1 <= window.room(WORK) <= window.room(PERSON) == window.most
    for amount, unit in written:
        assert unit != "second" or read.pace_ms * amount >= 1000


def test_as_many_threads_ask_as_the_narrowest_limit_lets_through() -> None:
    # More would wait for each other until their patience ends.
    assert threads_for(read_limits("10/second;120/minute;5000/hour;200000/day")) == 4
    assert threads_for(read_limits("100/second;1000000/hour")) == 5
    assert threads_for(read_limits("100000000/day")) == 16
