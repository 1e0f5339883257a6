"""The part of the request budget that is on the broker, counted for all processes together."""

import time
from collections.abc import Sequence

from limits.storage import RedisStorage
from redis import Redis

from workers.redis_pool import redis_pool
from workers.source.limits import Counting, Limits, Urgency, Usage, Window

_PREFIX = "coursebell:"  # the same as global_keyprefix of the tasks
_PATIENCE_S = 0.5

# Takes one request, or returns the rest of a back-off and the wait, both in milliseconds; 0 is now.
# It is one atomic script, so that processes together never exceed a limit, a request that has to
# wait uses nothing, and each request costs one exchange with the broker. A waiting person sets a
# mark that expires after a moment, and work lets the person go first. Windows are stored as the
# library stores them: a list of times, or from a day on two counters.
_TAKE = """
local pace, for_person, now = tonumber(ARGV[1]), ARGV[2] == 'person', tonumber(ARGV[3])
local calm_key, person_key, pace_key = KEYS[1], KEYS[2], KEYS[3]
local windows, at = {}, 4
for i = 4, #ARGV, 3 do
  local one = {key = KEYS[at], room = tonumber(ARGV[i]), ms = 1000 * tonumber(ARGV[i + 1])}
  if ARGV[i + 2] == '1' then
    at = at + 1
    one.previous = KEYS[at]
  end
  at = at + 1
  windows[#windows + 1] = one
end

local function count_of(key) return tonumber(redis.call('get', key) or 0) end
local function ttl_of(key) return math.max(redis.call('pttl', key), 0) end

local function wait_for(one)
  if not one.previous then
    local oldest = redis.call('lindex', one.key, one.room - 1)
    return oldest and 1000 * (tonumber(oldest) - now) + one.ms or -1
  end
  local ttl = ttl_of(one.key)
  if ttl > 0 and ttl < one.ms then
    redis.call('rename', one.key, one.previous)
    redis.call('set', one.key, 0, 'PX', ttl + one.ms)
  end
  local count, before = count_of(one.key), count_of(one.previous)
  local before_ttl = ttl_of(one.previous)
  if math.floor(before * before_ttl / one.ms) + count < one.room then return -1 end
  local wait = one.ms
  if before > 0 then wait = before_ttl % (one.ms / before) end
  if count > 0 then wait = math.min(wait, ttl_of(one.key) % one.ms) end
  return wait
end

local longest = -1
for _, one in ipairs(windows) do
  -- A clock that was ahead may have left times in the future.
  longest = math.max(longest, math.min(wait_for(one), one.ms))
end
if longest >= 0 then
  return {0, math.max(math.ceil(longest), 20)}
end

local calm = ttl_of(calm_key)
if calm > 0 then
  return {calm, calm}
end
local may_leave = for_person or redis.call('exists', person_key) == 0
if not may_leave or pace > 0 and not redis.call('set', pace_key, 1, 'NX', 'PX', pace) then
  if for_person then
    redis.call('set', person_key, 1, 'PX', 2 * pace + 100)
  end
  return {0, math.max(redis.call('pttl', pace_key), 20)}
end
if for_person then redis.call('del', person_key) end

for _, one in ipairs(windows) do
  if not one.previous then
    redis.call('lpush', one.key, ARGV[3])
    redis.call('ltrim', one.key, 0, one.room - 1)
    redis.call('pexpire', one.key, one.ms)
  elseif redis.call('exists', one.key) == 1 then
    redis.call('incr', one.key)
  else
    redis.call('set', one.key, 1, 'PX', 2 * one.ms)
  end
end
return {0, 0}
"""
# A shorter back-off never shortens a longer one. (PEXPIRE has GT only from Redis 7 on.)
_BACK_OFF = """
if redis.call('pttl', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('set', KEYS[1], 1, 'PX', ARGV[1])
end
"""


class _Storage(RedisStorage):
    """Counts on the broker. The library's own class also imports `valkey`, which takes 0.1 s."""

    DEPENDENCIES = {"redis": None}  # noqa: RUF012 - limits declares it so


def _numbers(windows: Sequence[Window], urgency: Urgency) -> list[int]:
    """Return what the script must know of each window."""
    return [
        number
        for one in windows
        for number in (one.room(urgency), one.seconds, int(one.is_estimated))
    ]


class SharedBudget:
    """The budget on the broker for all processes. Connects with the first request."""

    def __init__(self, limits: Limits, broker_url: str, space: str) -> None:
        place = _PREFIX + space
        # A command may be sent twice; that counts one request too many, which is harmless.
        self._pool = redis_pool(broker_url, timeout_s=_PATIENCE_S)
        client = Redis(connection_pool=self._pool)
        self._client = client
        self._take = client.register_script(_TAKE)
        # Each thread borrows one with a connection of its own: choosing a connection for each
        # command would cost half as much as the command.
        self._idle: list[Redis] = []
        self._back_off = client.register_script(_BACK_OFF)
        self._back_off_key = f"{place}calm"
        self._keys = [self._back_off_key, f"{place}person", f"{place}pace"]
        for window in limits.windows:
            estimated = (f"{place}{{{window.unit}}}", f"{place}{{{window.unit}}}/-1")
            self._keys += estimated if window.is_estimated else (f"{place}{window.unit}",)
        self._pace_ms = limits.pace_ms
        self._windows = {urgency: _numbers(limits.windows, urgency) for urgency in Urgency}
        # The storage gets the connections and not the URL, which may hold a password.
        storage = _Storage("redis://", connection_pool=self._pool, key_prefix=place[:-1])
        self._counting = Counting(limits.windows, storage)

    def attempt(self, urgency: Urgency) -> tuple[float, float]:
        """Take one request if it may leave now.

        Returns after how many seconds to retry (0.0 if taken), and how many of these are a
        back-off.
        """
        numbers = [self._pace_ms, urgency.value, time.time(), *self._windows[urgency]]
        try:
            client = self._idle.pop()
        except IndexError:
            client = Redis(connection_pool=self._pool, single_connection_client=True)
        back_off_ms, wait_ms = self._take(keys=self._keys, args=numbers, client=client)
        self._idle.append(client)
        return wait_ms / 1000, back_off_ms / 1000

    def back_off(self, seconds: float) -> None:
        """Stop all requests for so many seconds, or longer if a longer back-off is in force."""
        self._back_off(keys=[self._back_off_key], args=[round(seconds * 1000)])

    def back_off_s(self) -> float:
        """Return the rest of the back-off in seconds."""
        return max(0.0, float(self._client.pttl(self._back_off_key)) / 1000)

    def usage(self) -> tuple[Usage, ...]:
        """Return how much of each window all processes used."""
        return self._counting.usage()

    def close(self) -> None:
        """Close the connections."""
        self._pool.disconnect()
