"""The request budget for the source: one for all processes, stored on the broker.

While the broker is unreachable, each process uses its share of the limits and tries the broker
again every few seconds. Every request for records is counted; sign-ins are not, since they are rare
and `workers.source.auth` limits them itself.
"""

import threading
from dataclasses import dataclass

import structlog
from limits.storage import MemoryStorage
from redis import RedisError

from ledger.clock import Clock
from schemas.errors import SourceThrottled
from schemas.settings import Settings
from workers.broker import IN_MEMORY
from workers.shared_state import children_of
from workers.source.limits import (
    BudgetState,
    Counting,
    Limits,
    Patience,
    Urgency,
    Usage,
    read_limits,
)
from workers.source.shared_budget import SharedBudget


class LocalBudget:
    """The budget that one process counts by itself, shared by its threads."""

    def __init__(self, limits: Limits, shares: int, clock: Clock) -> None:
        self._clock = clock
        share = limits.share(shares)
        storage = MemoryStorage()
        self._counting = Counting(share.windows, storage)
        # Counted in the same place, but up to the common limit: this process may have used more
        # than its share while the broker was reachable, and then has to wait when it is not.
        self._with_others = Counting(limits.windows, storage)
        self._pace_s = share.pace_ms / 1000
        self._lock = threading.Lock()
        self._next_at = 0.0  # by clock.monotonic(), as all here
        self._person_until = 0.0

    def attempt(self, urgency: Urgency) -> float:
        """Take one request if it may leave now (0.0), or return after how many seconds to retry."""
        with self._lock:
            wait_s = self._counting.wait_s(urgency) or self._gate(urgency)
            return wait_s or self._counting.hit(urgency)

    def remember(self) -> None:
        """Count a request taken from the shared budget, so that both budgets do not add up."""
        with self._lock:
            self._next_at = self._clock.monotonic() + self._pace_s
            self._with_others.note()

    def usage(self) -> tuple[Usage, ...]:
        """Return how much of its share of each window this process used."""
        with self._lock:
            return self._counting.usage()

    def _gate(self, urgency: Urgency) -> float:
        """Wait for the pace, like the script on the broker."""
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


LONGEST_BACK_OFF_S = 3600.0  # a longer Retry-After is capped
_SLICE_S = 0.5  # the longest wait between two calls of `Patience.keep`
_JITTER_S = 0.02  # spreads requests that wait for the same moment
_AWAY_S = 5.0
_AWAY = (RedisError, OSError)

_log = structlog.get_logger("source")


@dataclass(slots=True)
class _Kept:
    """Made with the first request: a fork before would share connections."""

    alone: LocalBudget
    shared: SharedBudget | None


class Budget:
    """The limits of `COURSEBELL_NEXUDUS_LIMITS` for all processes. One per process; thread-safe.

    `shares` is the number of processes that divide them while the broker is unreachable.
    `broker_url` None (or memory://) means that there is no broker.
    """

    def __init__(  # noqa: PLR0913 - all but two are rarely given
        self,
        limits: str,
        broker_url: str | None,
        *,
        shares: int,
        clock: Clock,
        space: str = "budget:",
        away_s: float = _AWAY_S,
    ) -> None:
        self._clock = clock
        self._limits = read_limits(limits)
        self._shares = max(1, shares)
        self._broker_url = None if (broker_url or "memory:").startswith("memory:") else broker_url
        self._space = space
        self._away_s = away_s
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._back_off_until = 0.0  # by clock.monotonic()
        self._ask_again_at = 0.0  # same; the broker is not tried before
        self._is_shared = self._broker_url is not None

    def take(self, patience: Patience) -> None:
        """Return when one request may leave.

        A person goes ahead of work: a small part of each window is reserved for people, and work
        lets a waiting person go first.

        Raises:
            SourceThrottled: not within this patience; `retry_after_s` says when to retry.
            Whatever `patience.keep` raises.
        """
        kept_at = self._clock.monotonic()
        patience.keep()
        while (wait_s := self._attempt(patience.urgency)) > 0:
            if self._clock.monotonic() + wait_s > patience.until:
                raise SourceThrottled(
                    "the request limit of the source is used up for now",
                    retry_after_s=wait_s,
                )
            kept_at = _wait(self._clock, wait_s, patience, kept_at)

    def back_off(self, seconds: float) -> None:
        """Stop the requests of all processes for so many seconds (Retry-After), an hour at most.

        A shorter back-off never shortens a longer one.
        """
        if not seconds > 0:
            return
        believed = min(seconds, LONGEST_BACK_OFF_S)
        self._learn_back_off(believed)
        shared = self._askable()
        if shared is not None:
            try:
                shared.back_off(believed)
            except _AWAY as error:
                self._lose(error)
            else:
                self._find()

    def state(self) -> BudgetState:
        """Return the current state, without taking a request or waiting."""
        shared = self._askable()
        if shared is not None:
            try:
                self._learn_back_off(shared.back_off_s())
                usage = shared.usage()
            except _AWAY as error:
                self._lose(error)
            else:
                self._find()
                return BudgetState(shared=True, back_off_s=self._back_off_s(), usage=usage)
        return BudgetState(
            shared=False, back_off_s=self._back_off_s(), usage=self._keep().alone.usage()
        )

    def close(self) -> None:
        """Close the connections to the broker; the next request reconnects."""
        with self._lock:
            kept = self._kept
        if kept is not None and kept.shared is not None:
            kept.shared.close()

    def _attempt(self, urgency: Urgency) -> float:
        """Take one request if it may leave now (0.0), or return after how many seconds to retry."""
        if (back_off_s := self._back_off_s()) > 0:
            return back_off_s
        shared = self._askable()
        if shared is not None:
            try:
                wait_s, back_off_s = shared.attempt(urgency)
            except _AWAY as error:
                self._lose(error)
            else:
                self._find()
                self._learn_back_off(back_off_s)
                if wait_s == 0:
                    self._keep().alone.remember()
                return wait_s
        return self._keep().alone.attempt(urgency)

    def _keep(self) -> _Kept:
        with self._lock:
            if self._kept is None:
                url = self._broker_url
                self._kept = _Kept(
                    LocalBudget(self._limits, self._shares, self._clock),
                    None if url is None else SharedBudget(self._limits, url, self._space),
                )
            return self._kept

    def _back_off_s(self) -> float:
        return max(0.0, self._back_off_until - self._clock.monotonic())

    def _learn_back_off(self, seconds: float) -> None:
        """Remember a back-off locally, for when the broker is unreachable."""
        with self._lock:
            self._back_off_until = max(self._back_off_until, self._clock.monotonic() + seconds)

    def _askable(self) -> SharedBudget | None:
        """Return the shared budget; while unreachable, only to one thread every few seconds."""
        shared = self._keep().shared
        with self._lock:
            now = self._clock.monotonic()
            if self._is_shared or now >= self._ask_again_at:
                self._ask_again_at = now + self._away_s
                return shared
            return None

    def _lose(self, error: Exception) -> None:
        with self._lock:
            was_shared, self._is_shared = self._is_shared, False
            self._ask_again_at = self._clock.monotonic() + self._away_s
        if was_shared:
            _log.warning("budget.alone", error=type(error).__name__)

    def _find(self) -> None:
        with self._lock:
            was_shared, self._is_shared = self._is_shared, True
        if not was_shared:
            _log.warning("budget.shared")


def _wait(clock: Clock, wait_s: float, patience: Patience, kept_at: float) -> float:
    """Wait, calling `keep` every half second; return when it was last called."""
    end = clock.monotonic() + wait_s + clock.random() * _JITTER_S
    while (now := clock.monotonic()) < end:
        if now - kept_at >= _SLICE_S:
            patience.keep()
            kept_at = now
        clock.sleep(max(0.0, min(end - now, kept_at + _SLICE_S - now)))
    return kept_at


def make_budget(settings: Settings, clock: Clock) -> Budget:
    """Return this process's share of the source's limits."""
    # Without a broker the limits are divided among the children and one command.
    programs = 1 if settings.broker_url == IN_MEMORY else children_of(settings.workers)
    return Budget(settings.nexudus_limits, settings.broker_url, shares=programs + 1, clock=clock)
