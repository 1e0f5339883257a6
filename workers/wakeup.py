"""Rings workers: "look, something is due". A bell nobody hears costs a second, never an event.

A message holds a task's name and nothing else. The caller never waits for the broker: ringing has
its own thread, rings for the same task merge, and after a failure it is silent for some seconds,
since the clock rings too.

Messages have no expiry time: workers would compare it with their own clocks, and a host whose
clock is half a minute ahead would drop every message. Instead, a task that still waits in the
queue is not sent again, so that no backlog builds up while no worker runs.
"""

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
from workers.broker import IN_MEMORY, celery_broker, redis_pool
from workers.logs import RepeatedFault
from workers.queues import QUEUES, WORK, queue_of

_SILENT_AFTER_FAILURE_S = 5.0
_PATIENCE_S = 0.5
_PREFIX = "coursebell:"
# A task counts as waiting in the queue until a worker starts it, or for so long: its message may
# have been lost. The broker keeps that time.
_MARKED_MS = 10_000
MOST_WAITING = 100  # messages in one queue, of all its tasks together

# Mark a task as waiting unless it is marked already or the queue is full; return 1 if it is to be
# sent.
_MARK = """
if redis.call('llen', KEYS[2]) >= tonumber(ARGV[2]) then
  return 0
end
if redis.call('set', KEYS[1], 1, 'NX', 'PX', ARGV[1]) then
  return 1
end
return 0
"""

_log = structlog.get_logger("bell")


def celery_queues() -> dict[str, Any]:
    """Return Celery's settings of the queues, the same for publishers and workers."""
    return {
        "task_default_queue": WORK,
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
    }


def make_publisher(broker_url: str) -> Celery:
    """Return a Celery app that only publishes, and gives up after half a second."""
    publisher = Celery("coursebell-bell", set_as_current=False, fixups=[])
    publisher.conf.update(
        celery_broker(broker_url),
        **celery_queues(),
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_publish_retry=False,
        broker_pool_acquire_timeout=1,
        broker_transport_options={
            "socket_timeout": _PATIENCE_S,
            "socket_connect_timeout": _PATIENCE_S,
            "max_retries": 0,
            "global_keyprefix": _PREFIX,
        },
    )
    return publisher


class _Line:
    """Sends messages to one broker. Raises the errors of its libraries."""

    def __init__(self, broker_url: str) -> None:
        self._ringer = make_publisher(broker_url)
        is_redis = broker_url != IN_MEMORY
        self._pool = redis_pool(broker_url, timeout_s=_PATIENCE_S) if is_redis else None
        self._marks = None if self._pool is None else Redis(connection_pool=self._pool)

    def send(self, task: str) -> None:
        """Send a message, unless one for this task waits already or the queue is full."""
        if self._is_wanted(task):
            self._ringer.send_task(task, queue=queue_of(task))

    def task_started(self, task: str) -> None:
        if self._marks is not None:
            self._marks.delete(_mark_of(task))

    def close(self) -> None:
        self._ringer.close()
        if self._pool is not None:
            self._pool.disconnect()

    def _is_wanted(self, task: str) -> bool:
        if self._marks is not None:
            mark = self._marks.register_script(_MARK)
            keys = [_mark_of(task), _PREFIX + queue_of(task)]
            return bool(mark(keys=keys, args=[_MARKED_MS, MOST_WAITING]))
        with self._ringer.connection_for_write() as connection:
            return _length(connection, queue_of(task)) < MOST_WAITING


def _mark_of(task: str) -> str:
    return f"{_PREFIX}waiting:{task}"


def _length(connection: Connection, queue: str) -> int:
    """Return how many messages wait in a queue."""
    channel: Any = connection.default_channel
    try:
        declared = channel.queue_declare(queue, passive=True)
    except ChannelError:  # there is no queue before the first message
        return 0
    return int(declared.message_count)


class Wakeup:
    """Rings from a thread of its own. `broker_url` None: there is nobody to ring.

    `look_up` returns the address anew; it is called after a failure, or while there is none.
    """

    def __init__(
        self,
        broker_url: str | None,
        clock: Clock,
        *,
        look_up: Callable[[], str | None] | None = None,
    ) -> None:
        self._clock = clock
        self._broker_url = broker_url
        self._look_up = look_up
        self._line = None if broker_url is None else _Line(broker_url)
        self._has_failed = broker_url is None
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._ending = False
        self._silent_until = 0.0
        self._faults = RepeatedFault(_log, "bell.heard", clock)
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def wake(self, *tasks: str) -> None:
        """Ask for these tasks to be started soon. Never waits and never raises."""
        with self._changed:
            self._wanted.update(tasks)
            self._changed.notify()

    def task_started(self, task: str) -> None:
        """Note that a worker starts this task: what comes up from now on needs a new message.

        Call it before the task reads what is due. Never raises.
        """
        line = self._line
        if line is None:
            return
        try:
            line.task_started(task)
        except (RedisError, OSError) as error:
            self._faults.occurred(logging.WARNING, "bell.unmarked", type(error).__name__)

    def close(self) -> None:
        """Ring what was asked for, and end the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout=3)
        if self._line is not None:
            self._line.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._ending)
                wanted, self._wanted = sorted(self._wanted), set()
                if not wanted:
                    return
            self._send(wanted)

    def _send(self, tasks: Iterable[str]) -> None:
        if self._clock.monotonic() < self._silent_until:
            return
        if self._has_failed and self._look_up is not None:
            self._change_to(self._look_up())
        if self._line is None:
            return
        try:
            for task in tasks:
                self._line.send(task)
            self._has_failed = False
        except Exception as error:  # noqa: BLE001 - a bell that fails is silent for a while, and lives on
            self._has_failed = True
            self._silent_until = self._clock.monotonic() + _SILENT_AFTER_FAILURE_S
            self._faults.occurred(logging.WARNING, "bell.silent", type(error).__name__)
        else:
            self._faults.is_over()

    def _change_to(self, broker_url: str | None) -> None:
        if broker_url is None or broker_url == self._broker_url:
            return
        if self._line is not None:
            self._line.close()
        self._broker_url, self._line = broker_url, _Line(broker_url)


def broker_answers(broker_url: str) -> bool:
    """Return whether the broker answers a PING within half a second."""
    pool = redis_pool(broker_url, timeout_s=_PATIENCE_S)
    try:
        return bool(Redis(connection_pool=pool).ping())
    except (RedisError, OSError):
        return False
    finally:
        pool.disconnect()
