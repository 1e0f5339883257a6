"""What a worker process and its children share: the request to stop, and who may do what.

Both are made before the children are forked, and neither can be left locked by one that is killed.
"""

import contextlib
import fcntl
import mmap
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from workers.queues import SOURCE_CHECK, UPKEEP_TASKS

_BYTE = 1
_STOPPING, _FAILED, _REFUSED = 0, 1, 2  # the bytes of the shared memory; the last is one a task
_MOST_COUNTED = 255
_LONGEST_EMAIL_S = (
    108.0  # a session and the answer to its end; see `workers.actions.email.connection`
)
_LOOK_EVERY_S = 0.1


def children_of(workers: int) -> int:
    """Return how many children a worker has: COURSEBELL_WORKERS, and one more for upkeep."""
    return workers + 1


class SharedState:
    """What the children of one worker share. `workers` is COURSEBELL_WORKERS.

    A slow mail server, like a slow list, occupies a child for minutes. So the number of children
    that may perform actions, or do upkeep, at the same time is limited: with two workers (three
    children) one child can send email, one can poll, and one remains for lookups. Polling has a
    slot of its own, because most changes are found that way; with one worker it shares the only
    slot.
    """

    def __init__(self, workers: int) -> None:
        self._mail_slots = range(max(1, workers - 1))
        upkeep_at = len(self._mail_slots)
        self._upkeep_slot, self._poll_slot = upkeep_at, upkeep_at + min(1, workers - 1)
        # Anonymous, so the same memory in every child.
        self._memory = mmap.mmap(-1, (_REFUSED + len(UPKEEP_TASKS)) * _BYTE)
        # Locked by byte: the system unlocks what a process held when it ends, however that is.
        self._slots, path = tempfile.mkstemp(prefix="coursebell-")
        Path(path).unlink()  # the children inherit the open file, and it ends with them
        self._held: set[int] = set()  # by threads of this process, whom the system does not part
        self._mutex = threading.Lock()
        self._asked = False

    def stop(self) -> None:
        """Ask this process and all children to begin nothing more."""
        self._memory[_STOPPING] = 1

    def is_stopping(self) -> bool:
        """Whether this process has been asked to begin nothing more."""
        return self._asked or self._memory[_STOPPING] == 1

    def count_failure(self) -> int:
        """Count a child that could not get ready; return how many there were in a row, up to 255.

        Two that fail at the same moment may count as one.
        """
        count = min(self._memory[_FAILED] + 1, _MOST_COUNTED)
        self._memory[_FAILED] = count
        return count

    def forget_failures(self) -> int:
        """Begin the count again, because a child is ready; return how many had failed."""
        count = self._memory[_FAILED]
        self._memory[_FAILED] = 0
        return count

    def finish_actions_before(self, number: signal.Signals) -> None:
        """Let this signal first ask the children to begin nothing more, and wait for their emails.

        What the signal did so far happens then. One that comes meanwhile takes effect at once.
        """
        before = signal.getsignal(number)

        def stop(came: int, frame: FrameType | None) -> None:
            if not self.is_stopping():
                self.stop()
                _say(b"Stopping once the emails that were begun are finished.\n")
                give_up_at = time.monotonic() + _LONGEST_EMAIL_S
                while self._is_mail_busy() and time.monotonic() < give_up_at:
                    time.sleep(_LOOK_EVERY_S)
            if callable(before):
                before(came, frame)

        signal.signal(number, stop)

    def _is_mail_busy(self) -> bool:
        for slot in self._mail_slots:
            if not self._lock(slot):
                return True
            self._unlock(slot)
        return False

    @contextlib.contextmanager
    def action_slot(self) -> Iterator[bool]:
        """Give whether this child may perform actions now; if so, it may for as long as inside."""
        slot = next(filter(self._lock, self._mail_slots), None)
        try:
            yield slot is not None
        finally:
            if slot is not None:
                self._unlock(slot)

    @contextlib.contextmanager
    def upkeep_slot(self, task: str) -> Iterator[bool]:
        """Give whether this child may do this upkeep now; if so, it may for as long as inside.

        A task that is refused is remembered until `take_refused` returns it.
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
        """Let a SIGTERM to this child alone wait until the work inside has come to its next end.

        Some process managers signal every process at once. The signal asks for no more to be begun,
        and takes effect afterwards. Where the work is done in threads, there is no such child.
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


def _say(line: bytes) -> None:
    # Inside a signal handler: no stream of Python's, which the signal may have interrupted.
    with contextlib.suppress(OSError):
        os.write(2, line)
