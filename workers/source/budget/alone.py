"""One program's share of the budget, for when nobody can be asked: never unlimited."""

import threading

from limits.storage import MemoryStorage

from ledger.clock import Clock
from workers.source.budget.counting import Counting
from workers.source.budget.values import Spent, Urgency
from workers.source.budget.windows import Limits


class LoneBudget:
    """What this program counts by itself; its threads share it."""

    def __init__(self, limits: Limits, shares: int, clock: Clock) -> None:
        self._clock = clock
        share = limits.share(shares)
        storage = MemoryStorage()
        self._counting = Counting(share.windows, storage)
        # Counted in the same place, but up to the limit of all: this program may have used more
        # than its share while the broker was there, and then has to wait when it is not.
        self._with_others = Counting(limits.windows, storage)
        self._pace_s = share.pace_ms / 1000
        self._lock = threading.Lock()
        self._next_at = 0.0  # by clock.monotonic(), as all here
        self._person_until = 0.0

    def attempt(self, urgency: Urgency) -> float:
        """Take one request if it may leave now; return in how many seconds to ask again, or 0.0."""
        with self._lock:
            wait_s = self._counting.wait_s(urgency) or self._gate(urgency)
            return wait_s or self._counting.hit(urgency)

    def remember(self) -> None:
        """Count a request that was taken from the shared budget, so that both do not add up."""
        with self._lock:
            self._next_at = self._clock.monotonic() + self._pace_s
            self._with_others.note()

    def spent(self) -> tuple[Spent, ...]:
        """Return how much of each window's share this program used."""
        with self._lock:
            return self._counting.spent()

    def _gate(self, urgency: Urgency) -> float:
        """Take the pace, in the same manner as the broker's gate does."""
        now = self._clock.monotonic()
        for_person = urgency is Urgency.PERSON
        if now >= self._next_at and (for_person or now >= self._person_until):
            self._next_at = now + self._pace_s
            if for_person:
                self._person_until = 0.0
            return 0.0
        if for_person:
            self._person_until = now + 2 * self._pace_s + 0.1
        return max(self._next_at - now, 0.001)
