"""When to start a dead child again, and what counts as failing. Pure: it is handed the time."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a supervisor is. All times are in seconds."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    calm_after_s: float = 15.0  # alive this long, and the next delay is the first one again
    failing_after: int = 3  # so many short lives in a row, and the child is reported as failing
    deaths: int = 5  # so many of them ...
    deaths_within_s: float = 30.0  # ... within this time are a crash loop
    stop_wait_s: float = 15.0  # a child that is still there then is killed
    look_every_s: float = 0.1


@dataclass(slots=True)
class Restarts:
    """The deaths of one child, and the delay that follows from them."""

    pace: Pace
    short_lives: int = field(init=False, default=0)
    next_delay_s: float = field(init=False)
    died_at: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.next_delay_s = self.pace.first_delay_s
        self.died_at = deque(maxlen=self.pace.deaths)

    def delay_after_death(self, *, now: float, lived_s: float) -> float:
        """Note a death, and return how long to wait before the next start."""
        self.died_at.append(now)
        if self.is_calm(lived_s):
            self.reset()
        self.short_lives += 1
        delay_s = self.next_delay_s
        self.next_delay_s = min(delay_s * 2, self.pace.longest_delay_s)
        return delay_s

    def is_calm(self, lived_s: float) -> bool:
        """Return whether a child that has lived so long counts as working."""
        return lived_s >= self.pace.calm_after_s

    def reset(self) -> None:
        """Forget the short lives: the child works."""
        self.short_lives = 0
        self.next_delay_s = self.pace.first_delay_s

    @property
    def is_failing(self) -> bool:
        """Return whether the child has died several times in a row without having worked."""
        return self.short_lives >= self.pace.failing_after

    @property
    def is_crash_loop(self) -> bool:
        """Return whether the last deaths came so fast that starting again can hardly help."""
        is_full = len(self.died_at) == self.pace.deaths
        return is_full and self.died_at[-1] - self.died_at[0] <= self.pace.deaths_within_s
