"""Stops a worker between two steps of its event loop, and within a bounded time.

Celery handles the signal that stops a worker wherever the process happens to be. If that was in
the middle of giving a task to a child, it waited for ever for a child that had no task (1 of 80
stops, measured with 100 tasks a second). Its soft shutdown always takes all of its time. Here a
signal only asks Celery to stop at its next step; what still runs later is ended.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from types import FrameType

from celery.worker import state

from workers.shared_state import SharedState

_LONGEST_EMAIL_S = 108.0  # see `SmtpTimeouts`
_LONGEST_TASK_S = 10.0  # for tasks that send no email, and for Celery once nothing runs
_STEP_S = 5.0
_LOOK_EVERY_S = 0.2
_AGAIN_AFTER_S = 1.0
_EXIT_FAILED = 1


class Stopping:
    """Stops the worker of this process when a signal asks for it.

    `children` returns the process ids of the worker's children, if it has any. Emails that were
    begun are finished, and other tasks get `longest_task_s`. Then come three steps, with `step_s`
    between: SIGQUIT for the children, SIGKILL for them, and the end of this process. A second
    signal takes the next step at once, if it comes a second or more after the first.
    """

    def __init__(
        self,
        shared: SharedState,
        children: Callable[[], Iterable[int]],
        *,
        longest_task_s: float = _LONGEST_TASK_S,
        step_s: float = _STEP_S,
    ) -> None:
        self._shared = shared
        self._children = children
        self._longest_task_s = longest_task_s
        self._step_s = step_s
        self._harder = [signal.SIGQUIT, signal.SIGKILL]
        self._asked_at: float | None = None
        self._next_step_at = 0.0
        self._process, self._has_children = os.getpid(), False

    def listen(self) -> None:
        """Handle the signals that stop a worker. Call it in the main thread, with its children."""
        self._has_children = any(self._children())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._ask)
        # A timer, as a thread would also exist while later children are forked.
        signal.signal(signal.SIGALRM, self._look)

    @staticmethod
    def close() -> None:
        """End the timer, since the worker has stopped: a late one would kill this process."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ask(self, _: int, __: FrameType | None) -> None:
        if os.getpid() != self._process:  # a new child, which has not set its own handlers yet
            return
        now = time.monotonic()
        if self._asked_at is not None:
            if now >= self._asked_at + _AGAIN_AFTER_S:
                self._take_next_step(now)
            return
        self._shared.stop()
        _print_error(b"Stopping once the emails that were begun are finished.\n")
        self._asked_at, self._next_step_at = now, now + self._longest_task_s
        vars(state)["should_stop"] = os.EX_OK  # Celery looks at it between two steps
        signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY_S)

    def _look(self, _: int, __: FrameType | None) -> None:
        now, asked_at = time.monotonic(), self._asked_at or 0.0
        if now < asked_at + _LONGEST_EMAIL_S and self._shared.is_action_running():
            self._next_step_at = now + self._longest_task_s
        elif now >= self._next_step_at:
            self._take_next_step(now)
        # Last, so that one look never interrupts another.
        signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY_S)

    def _take_next_step(self, now: float) -> None:
        _print_error(b"Not stopped yet; what still runs is ended now.\n")
        children = list(self._children())
        if not (children and self._harder):
            os._exit(_EXIT_FAILED if self._has_children else os.EX_OK)
        self._next_step_at = now + self._step_s
        number = self._harder.pop(0)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _print_error(line: bytes) -> None:
    # Called in a signal handler, which may have interrupted one of Python's own streams.
    with contextlib.suppress(OSError):
        os.write(2, line)
