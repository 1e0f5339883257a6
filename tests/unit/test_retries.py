"""When to try again: how waits grow, where they end, and that a wish is never undercut."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.records import NOON
from workers.retries import lookup_again_at, refused_again_at, send_again_at

EVEN = 0.5  # the chance that changes nothing
CHANCES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 2), (2, 4), (3, 8), (9, 512), (10, 900), (11, 900), (10_000, 900)],
)
def test_a_look_up_waits_twice_as_long_each_time_up_to_a_quarter_of_an_hour(
    attempts: int, seconds: int
) -> None:
    again = lookup_again_at(NOON, attempts, retry_after_s=None, chance=EVEN)
    assert again - NOON == timedelta(seconds=seconds)


def test_chance_spreads_a_look_up_by_a_quarter() -> None:
    waits = [
        lookup_again_at(NOON, 2, retry_after_s=None, chance=chance) - NOON for chance in (0, 1)
    ]
    assert waits == [timedelta(seconds=3), timedelta(seconds=5)]


def test_a_look_up_waits_on_top_of_the_sources_wish() -> None:
    again = lookup_again_at(NOON, 1, retry_after_s=60, chance=EVEN)
    assert again - NOON == timedelta(seconds=62)


@given(st.integers(1, 10**6), st.floats(0, 3600), CHANCES)
def test_the_sources_wish_is_never_undercut(attempts: int, wish_s: float, chance: float) -> None:
    again = lookup_again_at(NOON, attempts, retry_after_s=wish_s, chance=chance)
    assert timedelta(seconds=wish_s) < again - NOON <= timedelta(seconds=wish_s + 1125)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 15), (2, 30), (3, 60), (5, 240), (6, 360), (99, 360)]
)
def test_a_refusal_is_asked_about_seldom(attempts: int, minutes: int) -> None:
    again = refused_again_at(NOON, attempts, chance=EVEN)
    assert again - NOON == timedelta(minutes=minutes)


def test_chance_spreads_a_refusal_by_a_quarter() -> None:
    assert refused_again_at(NOON, 1, chance=0) - NOON == timedelta(seconds=675)
    assert refused_again_at(NOON, 1, chance=1) - NOON == timedelta(seconds=1125)


@pytest.mark.parametrize(
    ("attempts", "minutes"), [(1, 1), (2, 10), (3, 60), (4, 240), (5, 840), (6, None), (7, None)]
)
def test_mail_is_tried_six_times(attempts: int, minutes: int | None) -> None:
    again = send_again_at(NOON, attempts, chance=EVEN)
    assert again == (None if minutes is None else NOON + timedelta(minutes=minutes))


@given(CHANCES)
def test_the_last_try_of_a_mail_is_within_a_day(chance: float) -> None:
    moment = NOON
    for attempts in range(1, 6):
        again = send_again_at(moment, attempts, chance=chance)
        assert again is not None
        moment = again
    assert timedelta(hours=14) < moment - NOON < timedelta(hours=24)
