"""The time, as an argument: tests hand in their own clock, also to other processes' code."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time as aware UTC."""
    return datetime.now(UTC)
