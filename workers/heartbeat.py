"""Records that this process is alive, and notices a ledger that was replaced by an older copy.

A file in the data folder says which ledger this machine last used, and when. Every process updates
it right after its heartbeat in the ledger, so a ledger that knows less is an older copy. Whatever
may have been sent since that copy was made is then held (`ledger.heartbeats`).

The same processes hold a lock in the data folder, so that `coursebell restore` can tell whether any
of them runs, even when the ledger is lost.
"""

import contextlib
import fcntl
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ledger.clock import Clock
from ledger.controls import client_id_of
from ledger.engine import Connection, Engine, reading, writing
from ledger.heartbeats import LastAlive, detect_gap, record_heartbeat, remember_since
from ledger.interventions import held_by_reason
from ledger.skew import clock_ahead
from schemas.errors import LedgerUnavailable, frames_of
from schemas.events import TOLERANCE
from schemas.reasons import Reason
from workers.logs import RepeatedFault

_LAST_ALIVE = "last_alive"
_LOCK = "running.lock"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_log = structlog.get_logger("ledger")


def read_last_alive(folder: Path) -> LastAlive | None:
    """Return which ledger this machine last used, and when; None if unknown."""
    try:
        found = json.loads((folder / _LAST_ALIVE).read_text(encoding="utf-8"))
        at = datetime.fromisoformat(found["at"])
        return None if at.tzinfo is None else LastAlive(str(found["ledger"]), at)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_last_alive(folder: Path, last: LastAlive) -> bool:
    """Store when a ledger was last used here. Returns False if the folder cannot be written."""
    fresh = folder / f"{_LAST_ALIVE}.{os.getpid()}"
    try:
        fresh.touch(mode=0o600)
        fresh.write_text(
            json.dumps({"ledger": last.ledger_id, "at": last.at.isoformat()}), encoding="utf-8"
        )
        fresh.replace(folder / _LAST_ALIVE)
    except OSError:
        return False
    return True


class RollbackWatch:
    """Notices for one process that its ledger went back to an older state.

    Make it before the engine opens its first connection: a connection opened while
    `coursebell restore` replaces the file would keep using the replaced file.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._is_local = engine.dialect.name == "sqlite"
        self._folder = folder
        self._lock = shared_lock(folder)
        self._ledger_id: str | None = None
        self._seen: LastAlive | None = None

    def check(self, connection: Connection, now: datetime) -> None:
        """Hold actions that may have been sent already, if the ledger is older than it was.

        Call it in the transaction of the heartbeat, before the heartbeat is recorded.
        """
        is_first = self._seen is None
        if self._lock is None:
            self._lock = shared_lock(self._folder)
        seen = self._seen or read_last_alive(self._folder)
        gap = detect_gap(connection, seen, now, is_local=is_first and self._is_local)
        if gap is not None:
            held = held_by_reason(connection).get(Reason.RESTORED, 0)
            _log.error("ledger.restored", known_until=str(gap.began_at), held=held)
        self._ledger_id = client_id_of(connection)
        if is_first and self._ledger_id is not None:
            is_kept = seen is not None and seen.ledger_id == self._ledger_id
            # Written here before the ledger, or a process that starts now would miss it.
            if is_kept or write_last_alive(self._folder, LastAlive(self._ledger_id, _LONG_AGO)):
                remember_since(connection, now)

    def note(self, now: datetime) -> None:
        """Store the time of the last heartbeat. Call it once that is committed."""
        if self._ledger_id is not None:
            self._seen = LastAlive(self._ledger_id, now)
            write_last_alive(self._folder, self._seen)

    def close(self) -> None:
        """Release the lock, since this process ends."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def shared_lock(folder: Path) -> int | None:
    """Return a descriptor that marks this folder as in use by a process until it is closed.

    Waits while `coursebell restore` works on it. Returns None if the folder cannot be written.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


@contextlib.contextmanager
def exclusive_lock(folder: Path) -> Iterator[bool]:
    """Keep processes that use this folder from starting; yield False if one runs already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    except OSError:  # a file system without locks
        yield True
    else:
        yield True
    finally:
        os.close(descriptor)


EVERY_S = 5.0

_heartbeat_log = structlog.get_logger("heartbeat")


class Heartbeat:
    """Records heartbeats of one process under one kind, such as worker or clock. Thread-safe.

    With the data folder it also notices a ledger that went back to an older state.
    """

    def __init__(
        self,
        engine: Engine,
        kind: str,
        clock: Clock,
        data_folder: Path | None = None,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._engine = engine
        self._kind = kind
        self._clock = clock
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._rollback_watch = None if data_folder is None else RollbackWatch(engine, data_folder)
        self._faults = RepeatedFault(_heartbeat_log.bind(kind=kind), "heartbeat.written", clock)
        self._every_s = every_s
        self._lock = threading.Lock()
        self._next = 0.0
        self._has_begun = False

    @property
    def has_begun(self) -> bool:
        """Return whether the first heartbeat was recorded."""
        return self._has_begun

    def begin(self) -> None:
        """Record the first heartbeat. Send nothing before that: the ledger may be an old copy.

        Raises:
            LedgerUnavailable: the ledger could not be written.
        """
        with self._lock:
            if not self._has_begun:
                self._write()
                self._compare_clocks()

    def beat(self) -> None:
        """Record a heartbeat, unless the last is recent. Logs failures instead of raising."""
        with self._lock:
            if self._clock.monotonic() < self._next:
                return
            self._next = self._clock.monotonic() + self._every_s
            try:
                self._write()
            except LedgerUnavailable as error:
                self._faults.occurred(logging.WARNING, "heartbeat.unwritten", str(error))
            else:
                self._faults.is_over()

    def close(self) -> None:
        """Release what it holds, at the end of the process."""
        if self._rollback_watch is not None:
            self._rollback_watch.close()

    def _compare_clocks(self) -> None:
        """Warn if this clock differs too much from the database server's."""
        with reading(self._engine) as connection:
            ahead = clock_ahead(connection, self._clock.now())
        if ahead is not None and abs(ahead) > TOLERANCE:
            _heartbeat_log.warning(
                "clock.differs",
                ahead_of_database_s=round(ahead.total_seconds()),
                next_step="Set the clocks of all machines by NTP.",
            )

    def _write(self) -> None:
        now = self._clock.now()
        with writing(self._engine) as connection:
            if self._rollback_watch is not None:
                self._rollback_watch.check(connection, now)
            record_heartbeat(connection, self._kind, self._process, now)
        if self._rollback_watch is not None:
            self._rollback_watch.note(now)
        self._has_begun = True


class BusyHeartbeats:
    """Records heartbeats from a thread of its own while this process performs tasks.

    A task may wait for minutes for the request limits or for a slow source, and its process is
    alive meanwhile. Between tasks nothing is recorded here, so that a worker that gets no tasks is
    found silent; nor while only tasks run that are older than `longest_task_s`, which hang.
    """

    def __init__(
        self, heartbeat: Heartbeat, clock: Clock, *, every_s: float, longest_task_s: float
    ) -> None:
        self._heartbeat = heartbeat
        self._clock = clock
        self._pause_s = every_s / 2
        self._longest_task_s = longest_task_s
        self._started_at: dict[str, float] = {}  # by the id of a running task
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def task_started(self, task_id: str) -> None:
        """Note that this process began a task."""
        self._started_at[task_id] = self._clock.monotonic()

    def task_ended(self, task_id: str) -> None:
        """Note that a task ended, however it did."""
        self._started_at.pop(task_id, None)

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        self._thread.join(timeout=3)

    def _run(self) -> None:
        while not self._ending.wait(self._pause_s):
            if not (self._heartbeat.has_begun and self._is_busy()):
                continue
            try:
                self._heartbeat.beat()
            except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
                _heartbeat_log.error("heartbeat.fault", error=frames_of(error))

    def _is_busy(self) -> bool:
        earliest = self._clock.monotonic() - self._longest_task_s
        return any(started_at > earliest for started_at in list(self._started_at.values()))
