"""When to start a dead child again, and when to give up. Pure: it is handed the time."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a supervisor is. All times are in seconds."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 10.0
    calm_after_s: float = 60.0  # alive this long, and the next delay is the first one again
    deaths: int = 5  # so many of them ...
    deaths_within_s: float = 30.0  # ... within this time mean that starting again cannot help
    stop_wait_s: float = 15.0  # a child that is still there then is killed
    look_every_s: float = 0.1


@dataclass(slots=True)
class Restarts:
    """The deaths of one child, and the delay that follows from them."""

    pace: Pace
    next_delay_s: float = field(init=False)
    died_at: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.next_delay_s = self.pace.first_delay_s
        self.died_at = deque(maxlen=self.pace.deaths)

    def delay_after_death(self, *, now: float, lived_s: float) -> float | None:
        """Return how long to wait before the next start, or `None` to give up."""
        self.died_at.append(now)
        is_full = len(self.died_at) == self.pace.deaths
        if is_full and now - self.died_at[0] <= self.pace.deaths_within_s:
            return None
        if lived_s >= self.pace.calm_after_s:
            self.next_delay_s = self.pace.first_delay_s
        delay_s = self.next_delay_s
        self.next_delay_s = min(delay_s * 2, self.pace.longest_delay_s)
        return delay_s
