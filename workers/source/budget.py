"""The budget of requests to the source: one for all programs, kept on the broker.

While the broker is away, each program uses its share of the limits and looks for the broker again
every few seconds. The source is never asked without a limit.
"""

import threading
from dataclasses import dataclass

import structlog
from limits.storage import MemoryStorage, RedisStorage
from redis import Redis, RedisError

from ledger.clock import Clock
from schemas.errors import SourceThrottled
from workers.broker import redis_pool
from workers.source.limits import (
    BudgetState,
    Counting,
    Limits,
    Patience,
    Urgency,
    Usage,
    read_limits,
)


class LocalBudget:
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

    def usage(self) -> tuple[Usage, ...]:
        """Return how much of each window's share this program used."""
        with self._lock:
            return self._counting.usage()

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


_PREFIX = "coursebell:"  # as global_keyprefix has it for the tasks
_PATIENCE_S = 0.5

# One step on the broker, so that two programs cannot both be first. It answers for how many
# milliseconds the source wants quiet, and in how many the pace allows a request: 0 is now.
# A person who is not yet first leaves a mark that dies within moments, and work lets it pass.
_GATE = """
local calm = math.max(redis.call('pttl', KEYS[1]), 0)
if calm > 0 then
  return {calm, calm}
end
local pace = tonumber(ARGV[1])
local for_person = ARGV[2] == 'person'
if for_person or redis.call('exists', KEYS[2]) == 0 then
  if pace == 0 or redis.call('set', KEYS[3], 1, 'NX', 'PX', pace) then
    if for_person then redis.call('del', KEYS[2]) end
    return {0, 0}
  end
end
if for_person then
  redis.call('set', KEYS[2], 1, 'PX', 2 * pace + 100)
end
return {0, math.max(redis.call('pttl', KEYS[3]), 20)}
"""
# A shorter wish never shortens a longer one. (PEXPIRE has GT for this from Redis 7 on only.)
_BACK_OFF = """
if redis.call('pttl', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('set', KEYS[1], 1, 'PX', ARGV[1])
end
"""


class SharedBudget:
    """What the broker remembers for everybody. Nothing is connected before the first question."""

    def __init__(self, limits: Limits, broker_url: str, space: str) -> None:
        place = _PREFIX + space
        # A command is tried twice; what is counted twice thereby is one request too few.
        self._pool = redis_pool(broker_url, timeout_s=_PATIENCE_S)
        client = Redis(connection_pool=self._pool)
        self._client = client
        self._gate = client.register_script(_GATE)
        self._back_off = client.register_script(_BACK_OFF)
        self._back_off_key, self._person_key, self._pace_key = (
            f"{place}{name}" for name in ("calm", "person", "pace")
        )
        self._pace_ms = limits.pace_ms
        # The storage gets the connections and not the URL, which may hold a password.
        storage = RedisStorage("redis://", connection_pool=self._pool, key_prefix=place[:-1])
        self._counting = Counting(limits.windows, storage)

    def attempt(self, urgency: Urgency) -> tuple[float, float]:
        """Take one request if it may leave now.

        Returns in how many seconds to ask again, 0.0 if it was taken; and how many of these the
        source wants quiet. Windows are looked at before the pace is taken, and hit after it, so
        that a request that has to wait uses up nothing.
        """
        wait_s = self._counting.wait_s(urgency)
        if wait_s > 0:
            return wait_s, 0.0
        keys = [self._back_off_key, self._person_key, self._pace_key]
        back_off_ms, wait_ms = self._gate(keys=keys, args=[self._pace_ms, urgency.value])
        if wait_ms > 0:
            return wait_ms / 1000, back_off_ms / 1000
        return self._counting.hit(urgency), 0.0

    def back_off(self, seconds: float) -> None:
        """Keep everybody quiet for so many seconds, or longer if that was already asked for."""
        self._back_off(keys=[self._back_off_key], args=[round(seconds * 1000)])

    def back_off_s(self) -> float:
        """Return for how many seconds the source still wants quiet."""
        return max(0.0, float(self._client.pttl(self._back_off_key)) / 1000)

    def usage(self) -> tuple[Usage, ...]:
        """Return how much of each window is used by all."""
        return self._counting.usage()

    def close(self) -> None:
        """Close the connections."""
        self._pool.disconnect()


LONGEST_BACK_OFF_S = 3600.0  # what the source may ask for; more is taken for a mistake
_SLICE_S = 0.5  # the longest wait between two calls of `Patience.keep`
_JITTER_S = 0.02  # those who wait for the same moment come apart
_AWAY_S = 5.0
_AWAY = (RedisError, OSError)

_log = structlog.get_logger("source")


@dataclass(slots=True)
class _Kept:
    """What a program makes when it first asks: a fork would share its connections."""

    alone: LocalBudget
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
        self._back_off_until = 0.0  # by clock.monotonic()
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

    def back_off(self, seconds: float) -> None:
        """Let no process ask for so many seconds, because the source asked for it (Retry-After).

        At most an hour is waited. A shorter wish never shortens a longer one.
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
        """Return how the budget stands now, without taking anything from it or waiting."""
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
        """Close the connections to the broker; a later request makes new ones."""
        with self._lock:
            kept = self._kept
        if kept is not None and kept.shared is not None:
            kept.shared.close()

    def _attempt(self, urgency: Urgency) -> float:
        """Take one request if it may leave now; return in how many seconds to ask again, or 0.0."""
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
        """Remember here too that the source wants quiet, for when the broker is away."""
        with self._lock:
            self._back_off_until = max(self._back_off_until, self._clock.monotonic() + seconds)

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
