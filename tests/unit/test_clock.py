"""The system's clock, and one whose answers all follow from a seed."""

import random
from datetime import UTC, datetime, timedelta

from ledger.clock import SYSTEM_CLOCK, Clock


class SeededClock(Clock):
    """A clock whose ids follow from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret

    def random_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)


def test_the_systems_clock_tells_the_time_in_utc() -> None:
    assert SYSTEM_CLOCK.now().utcoffset() == timedelta()
    assert abs(SYSTEM_CLOCK.now() - datetime.now(UTC)) < timedelta(hours=1)


def test_ids_and_numbers_differ_from_call_to_call() -> None:
    ids = {SYSTEM_CLOCK.new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(one) for one in ids} == {32}
    numbers = [SYSTEM_CLOCK.random() for _ in range(1000)]
    assert len(set(numbers)) > 990
    assert all(0 <= one < 1 for one in numbers)


def test_ids_follow_from_the_seed_of_a_clock_that_has_one() -> None:
    assert SeededClock(7).new_id() == SeededClock(7).new_id() != SeededClock(8).new_id()
