"""A clock that does not wait: its monotonic time passes only by `sleep`."""

from ledger.clock import Clock


class StillClock(Clock):
    """A clock whose `seconds` a test may set, and which remembers each sleep."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self.sleeps.append(seconds)
        self.seconds += seconds
