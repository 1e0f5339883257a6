"""Time, randomness and new ids as one argument, which a test or a simulation can replace."""

import random
import secrets
import time
from datetime import UTC, datetime

_random = random.SystemRandom()


class Clock:
    """Tells the time, waits, and draws random numbers and new ids.

    Code takes a clock as an argument instead of calling `time`, `datetime.now`, `random` or
    `secrets` itself. A subclass may replace some of these methods (a fixed time in a test) or all
    of them (virtual time from one seed).
    """

    def now(self) -> datetime:
        """Return the time as aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards, for measuring how long something takes."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(seconds)

    def random(self) -> float:
        """Return a random number from 0 up to but not including 1."""
        return _random.random()

    def random_bytes(self, size: int) -> bytes:
        """Return `size` bytes that nobody can guess, for keys and passwords."""
        return secrets.token_bytes(size)

    def new_id(self) -> str:
        """Return 32 hexadecimal digits that no other call returns, for leases and messages."""
        return self.random_bytes(16).hex()


SYSTEM_CLOCK = Clock()
