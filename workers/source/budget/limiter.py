"""The limiter: one request may leave, or wait, or not within one's patience.

It asks the broker, so that all programs keep the limits together. While the broker is away, this
program uses its share of them, and looks for the broker again every few seconds.
"""

import threading
from dataclasses import dataclass

import structlog
from redis import RedisError

from ledger.clock import Clock
from schemas.errors import SourceThrottled
from workers.source.budget.alone import LoneBudget
from workers.source.budget.shared import SharedBudget
from workers.source.budget.values import BudgetState, Patience, Urgency
from workers.source.budget.windows import read_limits

LONGEST_CALM_S = 3600.0  # what the source may ask for; more is taken for a mistake
_SLICE_S = 0.5  # how long is waited at once, before the one who waits is told
_JITTER_S = 0.02  # those who wait for the same moment come apart
_AWAY_S = 5.0
_AWAY = (RedisError, OSError)

_log = structlog.get_logger("source")


@dataclass(slots=True)
class _Kept:
    """What a program makes when it first asks: a fork would share its connections."""

    alone: LoneBudget
    shared: SharedBudget | None


class Budget:
    """The limits of `COURSEBELL_NEXUDUS_LIMITS`, kept by all programs. One per program.

    `shares` says among how many programs they are divided while the broker is away; `broker_url`
    None (or memory://) means that this one is alone from the start. Safe for threads.
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
        self._calm_until = 0.0  # by clock.monotonic()
        self._ask_again_at = 0.0  # same; the broker is not asked before
        self._is_shared = self._broker_url is not None

    def take(self, patience: Patience) -> None:
        """Return when one request may leave.

        A person goes ahead of work: a small part of each window is theirs alone, and work lets a
        waiting person take the next turn.

        Raises:
            SourceThrottled: not within this patience; `retry_after_s` says when to ask again.
            Whatever `patience.keep` raises.
        """
        kept_at = self._clock.monotonic()
        patience.keep()
        while (wait_s := self._attempt(patience.urgency)) > 0:
            if self._clock.monotonic() + wait_s > patience.until:
                raise SourceThrottled(
                    "the requests that the source allows us are used up for now",
                    retry_after_s=wait_s,
                )
            kept_at = _wait(self._clock, wait_s, patience, kept_at)

    def calm(self, seconds: float) -> None:
        """Keep everybody quiet for so many seconds, because the source asked for it (Retry-After).

        At most an hour is believed. A shorter wish never shortens a longer one.
        """
        if not seconds > 0:
            return
        believed = min(seconds, LONGEST_CALM_S)
        self._learn_calm(believed)
        shared = self._askable()
        if shared is not None:
            try:
                shared.calm(believed)
            except _AWAY as error:
                self._lose(error)
            else:
                self._find()

    def state(self) -> BudgetState:
        """Return how the budget stands now; it takes nothing and waits for nobody."""
        shared = self._askable()
        if shared is not None:
            try:
                self._learn_calm(shared.calm_s())
                spent = shared.spent()
            except _AWAY as error:
                self._lose(error)
            else:
                self._find()
                return BudgetState(shared=True, calm_s=self._calm_s(), spent=spent)
        return BudgetState(shared=False, calm_s=self._calm_s(), spent=self._keep().alone.spent())

    def close(self) -> None:
        """Close the connections to the broker; a later request makes new ones."""
        with self._lock:
            kept = self._kept
        if kept is not None and kept.shared is not None:
            kept.shared.close()

    def _attempt(self, urgency: Urgency) -> float:
        """Take one request if it may leave now; return in how many seconds to ask again, or 0.0."""
        if (calm_s := self._calm_s()) > 0:
            return calm_s
        shared = self._askable()
        if shared is not None:
            try:
                wait_s, calm_s = shared.attempt(urgency)
            except _AWAY as error:
                self._lose(error)
            else:
                self._find()
                self._learn_calm(calm_s)
                if wait_s == 0:
                    self._keep().alone.remember()
                return wait_s
        return self._keep().alone.attempt(urgency)

    def _keep(self) -> _Kept:
        with self._lock:
            if self._kept is None:
                url = self._broker_url
                self._kept = _Kept(
                    LoneBudget(self._limits, self._shares, self._clock),
                    None if url is None else SharedBudget(self._limits, url, self._space),
                )
            return self._kept

    def _calm_s(self) -> float:
        return max(0.0, self._calm_until - self._clock.monotonic())

    def _learn_calm(self, seconds: float) -> None:
        """Remember here too that the source wants quiet, for when the broker is away."""
        with self._lock:
            self._calm_until = max(self._calm_until, self._clock.monotonic() + seconds)

    def _askable(self) -> SharedBudget | None:
        """Return the shared budget, unless it was away a moment ago. Then one thread looks."""
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
    """Wait, and call `keep` each half second; return when it was last called."""
    end = clock.monotonic() + wait_s + clock.random() * _JITTER_S
    while (now := clock.monotonic()) < end:
        if now - kept_at >= _SLICE_S:
            patience.keep()
            kept_at = now
        clock.sleep(max(0.0, min(end - now, kept_at + _SLICE_S - now)))
    return kept_at
