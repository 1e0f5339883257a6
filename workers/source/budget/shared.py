"""The budget of all programs together, on the broker. Whoever asks must expect it to be away.

Its raised errors are the Redis client's and the system's own: the limiter then uses its share.
"""

from limits.storage import RedisStorage
from redis import Redis

from workers.broker.connecting import redis_pool
from workers.source.budget.counting import Counting
from workers.source.budget.values import Spent, Urgency
from workers.source.budget.windows import Limits

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
_CALM = """
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
        self._calm = client.register_script(_CALM)
        self._calm_key, self._person_key, self._pace_key = (
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
        keys = [self._calm_key, self._person_key, self._pace_key]
        calm_ms, wait_ms = self._gate(keys=keys, args=[self._pace_ms, urgency.value])
        if wait_ms > 0:
            return wait_ms / 1000, calm_ms / 1000
        return self._counting.hit(urgency), 0.0

    def calm(self, seconds: float) -> None:
        """Keep everybody quiet for so many seconds, or longer if that was already asked for."""
        self._calm(keys=[self._calm_key], args=[round(seconds * 1000)])

    def calm_s(self) -> float:
        """Return for how many seconds the source still wants quiet."""
        return max(0.0, float(self._client.pttl(self._calm_key)) / 1000)

    def spent(self) -> tuple[Spent, ...]:
        """Return how much of each window is used by all."""
        return self._counting.spent()

    def close(self) -> None:
        """Close the connections."""
        self._pool.disconnect()
