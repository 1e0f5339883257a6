"""What a worker process and its children share: the request to stop, and slots that limit them.

Everything is made before the children are forked, and a killed child leaves nothing locked.
"""

import contextlib
import fcntl
import mmap
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from workers.queues import SOURCE_CHECK, UPKEEP_TASKS

_BYTE = 1
_STOPPING, _FAILED, _REFUSED = 0, 1, 2  # bytes of the shared memory; from the last on, one per task
_MOST_COUNTED = 255


def children_of(workers: int) -> int:
    """Return how many children a worker has: COURSEBELL_WORKERS, plus one for upkeep."""
    return workers + 1


class SharedState:
    """What the children of one worker share. `workers` is COURSEBELL_WORKERS.

    A slow mail server or a slow list occupies a child for minutes, so the number of children that
    perform actions, or do upkeep, at the same time is limited: with two workers (three children)
    one child can send email, one can poll, and one remains for lookups. Polling has a slot of its
    own, since it finds most changes; with one worker it shares the only slot.
    """

    def __init__(self, workers: int) -> None:
        self._action_slots = range(max(1, workers - 1))
        upkeep_at = len(self._action_slots)
        self._upkeep_slot, self._poll_slot = upkeep_at, upkeep_at + min(1, workers - 1)
        self._report_slot = upkeep_at + 2
        # Anonymous, so the same memory in every child.
        self._memory = mmap.mmap(-1, (_REFUSED + len(UPKEEP_TASKS)) * _BYTE)
        # One byte a slot: the system releases a process's locks however it ends.
        self._slots, path = tempfile.mkstemp(prefix="coursebell-")
        Path(path).unlink()  # the children inherit the open file
        self._held: set[int] = set()  # by threads of this process, which share the system's locks
        self._mutex = threading.Lock()
        self._asked = False

    def stop(self) -> None:
        """Ask this process and all children to start no more work."""
        self._memory[_STOPPING] = 1

    def is_stopping(self) -> bool:
        """Return whether this process was asked to start no more work."""
        return self._asked or self._memory[_STOPPING] == 1

    def count_failure(self) -> int:
        """Count a child that could not initialise; return how many in a row, up to 255.

        Two that fail at the same moment may count as one.
        """
        count = min(self._memory[_FAILED] + 1, _MOST_COUNTED)
        self._memory[_FAILED] = count
        return count

    def forget_failures(self) -> int:
        """Reset the count, because a child is ready; return how many had failed."""
        count = self._memory[_FAILED]
        self._memory[_FAILED] = 0
        return count

    def is_action_running(self) -> bool:
        """Return whether a child performs actions or sends reports."""
        for slot in (*self._action_slots, self._report_slot):
            if not self._lock(slot):
                return True
            self._unlock(slot)
        return False

    @contextlib.contextmanager
    def action_slot(self) -> Iterator[bool]:
        """Yield whether this child may perform actions; if so, hold a slot while inside."""
        slot = next(filter(self._lock, self._action_slots), None)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                self._unlock(slot)

    @contextlib.contextmanager
    def report_slot(self) -> Iterator[None]:
        """Hold the slot of reports, which only one child sends, so that a stop waits for them."""
        self._lock(self._report_slot)
        try:
            yield
        finally:
            self._unlock(self._report_slot)

    @contextlib.contextmanager
    def upkeep_slot(self, task: str) -> Iterator[bool]:
        """Yield whether this child may do this upkeep; if so, hold the slot while inside.

        A refused task is remembered until `take_refused` returns it.
        """
        slot = self._poll_slot if task == SOURCE_CHECK else self._upkeep_slot
        if not self._lock(slot):
            self._memory[_REFUSED + UPKEEP_TASKS.index(task)] = 1
            yield False
            return
        try:
            yield True
        finally:
            self._unlock(slot)

    def take_refused(self) -> list[str]:
        """Return the upkeep tasks that were refused since the last call."""
        refused = []
        for at, task in enumerate(UPKEEP_TASKS, start=_REFUSED):
            if self._memory[at]:
                self._memory[at] = 0
                refused.append(task)
        return refused

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Delay a SIGTERM sent to this child until the work inside has ended.

        Some process managers signal every process at once. The signal stops new work, and takes
        effect afterwards. Threads get no signals, so for them this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        came = False

        def later(_: int, __: FrameType | None) -> None:
            nonlocal came
            came = self._asked = True

        before = signal.signal(signal.SIGTERM, later)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
            if came:
                os.kill(os.getpid(), signal.SIGTERM)

    def _lock(self, slot: int) -> bool:
        with self._mutex:
            if slot in self._held:
                return False
            try:
                fcntl.lockf(self._slots, fcntl.LOCK_EX | fcntl.LOCK_NB, _BYTE, slot)
            except OSError:
                return False
            self._held.add(slot)
            return True

    def _unlock(self, slot: int) -> None:
        with self._mutex:
            self._held.discard(slot)
            fcntl.lockf(self._slots, fcntl.LOCK_UN, _BYTE, slot)
