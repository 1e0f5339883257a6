"""Wakes workers through the broker: "look, something is due".

A message holds a task's name and nothing else, and a lost message costs a second: the scheduler
wakes workers too. Callers never wait for the broker. A thread of its own publishes, merges wake-ups
of the same task, and pauses for some seconds after a failure.

Messages have no expiry time: a worker would compare it with its own clock, and on a host whose
clock is half a minute ahead it would drop every message. Instead, a task that still waits in the
queue is not published again, so that no backlog grows while no worker runs or all are busy.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import ChannelError
from redis import Redis, RedisError

from ledger.clock import Clock
from workers.broker import IN_MEMORY, celery_broker
from workers.logs import RepeatedFault
from workers.queues import QUEUES, WORK, queue_of
from workers.redis_pool import redis_pool

_PAUSE_AFTER_FAILURE_S = 5.0
_PAUSE_S = 0.05  # between two publications; wake-ups in between are merged
_TIMEOUT_S = 0.5
_PREFIX = "coursebell:"
# A task counts as waiting until a worker starts it. A worker takes a few messages from the queue
# before it starts them, so the mark of one that is no longer there lasts this long, in case it was
# lost. The broker measures that time.
_MARKED_MS = 10_000
MOST_WAITING = 100  # messages in one queue, of all its tasks together

# Mark a task as waiting unless it is marked already, is in the queue, or the queue is full. Returns
# 1 if the task should be published.
_MARK = """
if redis.call('exists', KEYS[1]) == 1 then
  return 0
end
local waiting = redis.call('lrange', KEYS[2], 0, tonumber(ARGV[2]) - 1)
if #waiting >= tonumber(ARGV[2]) then
  return 0
end
for _, message in ipairs(waiting) do
  if string.find(message, ARGV[3], 1, true) then
    return 0
  end
end
redis.call('set', KEYS[1], 1, 'PX', ARGV[1])
return 1
"""

_log = structlog.get_logger("wakeup")


def celery_queues() -> dict[str, Any]:
    """Return Celery's queue settings, the same for publishers and workers."""
    return {
        "task_default_queue": WORK,
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
    }


def make_publisher(broker_url: str) -> Celery:
    """Return a Celery app that only publishes, and gives up after half a second."""
    app = Celery("coursebell-wakeup", set_as_current=False, fixups=[])
    app.conf.update(
        celery_broker(broker_url),
        **celery_queues(),
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_publish_retry=False,
        broker_pool_acquire_timeout=1,
        broker_transport_options={
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
            "max_retries": 0,
            "global_keyprefix": _PREFIX,
        },
    )
    return app


class _Publisher:
    """Publishes to one broker. Raises the errors of its libraries."""

    def __init__(self, broker_url: str) -> None:
        self._app = make_publisher(broker_url)
        is_redis = broker_url != IN_MEMORY
        self._pool = redis_pool(broker_url, timeout_s=_TIMEOUT_S) if is_redis else None
        self._marks = None if self._pool is None else Redis(connection_pool=self._pool)

    def send(self, task: str) -> None:
        """Publish this task, unless it waits in the queue already or the queue is full."""
        if self._is_wanted(task):
            self._app.send_task(task, queue=queue_of(task))

    def task_started(self, task: str) -> None:
        if self._marks is not None:
            self._marks.delete(_mark_of(task))

    def close(self) -> None:
        self._app.close()
        if self._pool is not None:
            self._pool.disconnect()

    def _is_wanted(self, task: str) -> bool:
        if self._marks is not None:
            mark = self._marks.register_script(_MARK)
            keys = [_mark_of(task), _PREFIX + queue_of(task)]
            return bool(mark(keys=keys, args=[_MARKED_MS, MOST_WAITING, _name_in_message(task)]))
        with self._app.connection_for_write() as connection:
            return _length(connection, queue_of(task)) < MOST_WAITING


def _mark_of(task: str) -> str:
    return f"{_PREFIX}waiting:{task}"


def _name_in_message(task: str) -> str:
    """Return how a Celery message in a queue, which is JSON, names its task."""
    return f'"task": {json.dumps(task)}'


def _length(connection: Connection, queue: str) -> int:
    """Return how many messages wait in a queue."""
    channel: Any = connection.default_channel
    try:
        declared = channel.queue_declare(queue, passive=True)
    except ChannelError:  # there is no queue before the first message
        return 0
    return int(declared.message_count)


class Wakeup:
    """Wakes workers from a thread of its own. With `broker_url` None there is no worker to wake.

    `find_broker` returns the current address; it is called after a failure or without an address.
    """

    def __init__(
        self,
        broker_url: str | None,
        clock: Clock,
        *,
        find_broker: Callable[[], str | None] | None = None,
    ) -> None:
        self._clock = clock
        self._broker_url = broker_url
        self._find_broker = find_broker
        self._publisher = None if broker_url is None else _Publisher(broker_url)
        self._has_failed = broker_url is None
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._ending = False
        self._paused_until = 0.0
        self._faults = RepeatedFault(_log, "wakeup.recovered", clock)
        self._thread = threading.Thread(target=self._run, name="wakeup", daemon=True)
        self._thread.start()

    def wake(self, *tasks: str) -> None:
        """Ask for these tasks to be started soon. Never waits and never raises."""
        with self._changed:
            if not self._wanted.issuperset(tasks):
                self._wanted.update(tasks)
                self._changed.notify()

    def task_started(self, task: str) -> None:
        """Note that a worker starts this task, so that work due from now on needs a new message.

        Call it before the task reads what is due. Never raises.
        """
        publisher = self._publisher
        if publisher is None:
            return
        try:
            publisher.task_started(task)
        except (RedisError, OSError) as error:
            self._faults.occurred(logging.WARNING, "wakeup.unmarked", type(error).__name__)

    def close(self) -> None:
        """Publish the pending wake-ups and end the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout=3)
        if self._publisher is not None:
            self._publisher.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._ending)
                wanted, self._wanted = sorted(self._wanted), set()
                if not wanted:
                    return
            self._send(wanted)
            with self._changed:
                self._changed.wait_for(lambda: self._ending, _PAUSE_S)

    def _send(self, tasks: Iterable[str]) -> None:
        if self._clock.monotonic() < self._paused_until:
            return
        if self._has_failed and self._find_broker is not None:
            self._change_to(self._find_broker())
        if self._publisher is None:
            return
        try:
            for task in tasks:
                self._publisher.send(task)
            self._has_failed = False
        except Exception as error:  # noqa: BLE001 - after any failure it pauses, and continues
            self._has_failed = True
            self._paused_until = self._clock.monotonic() + _PAUSE_AFTER_FAILURE_S
            self._faults.occurred(logging.WARNING, "wakeup.failed", type(error).__name__)
        else:
            self._faults.is_over()

    def _change_to(self, broker_url: str | None) -> None:
        if broker_url is None or broker_url == self._broker_url:
            return
        if self._publisher is not None:
            self._publisher.close()
        self._broker_url, self._publisher = broker_url, _Publisher(broker_url)
