"""Rings workers: "look, something is due". A bell nobody hears costs a second, never an event.

A message holds a task's name and nothing else. The caller never waits for the broker: ringing has
its own thread, rings for the same task merge, and after a failure it is silent for some seconds,
since the clock rings too.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable

import structlog
from celery import Celery
from redis import Redis, RedisError

from workers.broker.connecting import celery_broker, redis_pool
from workers.logs import RepeatedFault
from workers.names import QUEUE

_SILENT_AFTER_FAILURE_S = 5.0
_EXPIRES_S = 30  # an old ring is worth nothing: the clock has rung again since
_PATIENCE_S = 0.5

_log = structlog.get_logger("bell")


def make_ringer(broker_url: str) -> Celery:
    """Return a Celery app that only publishes, and gives up after half a second."""
    ringer = Celery("coursebell-bell", set_as_current=False, fixups=[])
    ringer.conf.update(
        celery_broker(broker_url),
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_publish_retry=False,
        broker_pool_acquire_timeout=1,
        broker_transport_options={
            "socket_timeout": _PATIENCE_S,
            "socket_connect_timeout": _PATIENCE_S,
            "max_retries": 0,
            "global_keyprefix": "coursebell:",
        },
    )
    return ringer


class Bell:
    """Rings from a thread of its own. `broker_url` None: there is nobody to ring.

    `look_up` returns the address anew; it is called after a failure, or while there is none.
    """

    def __init__(
        self, broker_url: str | None, *, look_up: Callable[[], str | None] | None = None
    ) -> None:
        self._broker_url = broker_url
        self._look_up = look_up
        self._ringer = None if broker_url is None else make_ringer(broker_url)
        self._has_failed = broker_url is None
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._ending = False
        self._silent_until = 0.0
        self._faults = RepeatedFault(_log, "bell.heard")
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def ring(self, *tasks: str) -> None:
        """Ask for these tasks to be started soon. Never waits and never raises."""
        with self._changed:
            self._wanted.update(tasks)
            self._changed.notify()

    def close(self) -> None:
        """Ring what was asked for, and end the thread."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout=3)
        if self._ringer is not None:
            self._ringer.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._ending)
                wanted, self._wanted = sorted(self._wanted), set()
                if not wanted:
                    return
            self._send(wanted)

    def _send(self, tasks: Iterable[str]) -> None:
        if time.monotonic() < self._silent_until:
            return
        if self._has_failed and self._look_up is not None:
            self._change_to(self._look_up())
        if self._ringer is None:
            return
        try:
            for task in tasks:
                self._ringer.send_task(task, expires=_EXPIRES_S)
            self._has_failed = False
        except Exception as error:  # noqa: BLE001 - a bell that fails is silent for a while, and lives on
            self._has_failed = True
            self._silent_until = time.monotonic() + _SILENT_AFTER_FAILURE_S
            self._faults.occurred(logging.WARNING, "bell.silent", type(error).__name__)
        else:
            self._faults.is_over()

    def _change_to(self, broker_url: str | None) -> None:
        if broker_url is None or broker_url == self._broker_url:
            return
        if self._ringer is not None:
            self._ringer.close()
        self._broker_url, self._ringer = broker_url, make_ringer(broker_url)


def broker_answers(broker_url: str) -> bool:
    """Return whether the broker answers a PING within half a second."""
    pool = redis_pool(broker_url, timeout_s=_PATIENCE_S)
    try:
        return bool(Redis(connection_pool=pool).ping())
    except (RedisError, OSError):
        return False
    finally:
        pool.disconnect()
