"""One thread that commits what many requests bring, together: a group commit.

A commit on a disk that really keeps it costs milliseconds whatever its size, so waiting requests
share one. Each waits for its own answer: kept, or not kept.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ledger.engine import writing
from ledger.intake import Arrival, keep_arrivals
from schemas.errors import LedgerUnavailable, frames_of

_MOST_TOGETHER = 1000
_MOST_TRIES = 3
# Of two who wait for each other in a circle the server lets one go on and undoes the other.
_UNDONE = frozenset({"40P01", "40001"})  # deadlock_detected, serialization_failure
_LONGEST_WAIT_S = 15.0  # over the database's own busy timeout, twice

_log = structlog.get_logger("writer")


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    settled: threading.Event = field(default_factory=threading.Event)
    error: LedgerUnavailable | None = None


class GroupWriter:
    """Keeps arrivals. `after_commit` is called in the writer's thread once rows are safe."""

    def __init__(self, engine: Engine, after_commit: Callable[[], None]) -> None:
        self._engine = engine
        self._after_commit = after_commit
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def keep(self, arrival: Arrival) -> None:
        """Return when `arrival` is committed.

        Raises:
            LedgerUnavailable: it is not known to be kept; the sender must be told to come again.
        """
        waiting = _Waiting(arrival)
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the writer is closed")
            self._queue.put(waiting)
        if not waiting.settled.wait(_LONGEST_WAIT_S):
            raise LedgerUnavailable("the ledger did not answer in time")
        if waiting.error is not None:
            raise waiting.error

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        with self._lock:
            # Nothing may stand behind the end in the queue: nobody would ever answer it.
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            together = [first]
            ending = False
            while len(together) < _MOST_TOGETHER and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    ending = True
                    break
                together.append(more)
            self._commit(together)
            if ending:
                return

    def _commit(self, together: list[_Waiting]) -> None:
        try:
            self._keep([waiting.arrival for waiting in together])
        except LedgerUnavailable as error:
            for waiting in together:
                waiting.error = error
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault, and nobody may hang
            for waiting in together:
                waiting.error = LedgerUnavailable(f"the writer met {type(error).__name__}")
            _log.error("writer.fault", error=frames_of(error))
        else:
            self._say_so()
        finally:
            for waiting in together:
                waiting.settled.set()

    def _keep(self, arrivals: list[Arrival]) -> None:
        for tries in range(1, _MOST_TRIES + 1):
            try:
                with writing(self._engine) as connection:
                    keep_arrivals(connection, arrivals)
            except LedgerUnavailable as error:
                if tries == _MOST_TRIES or not _was_undone(error):
                    raise
                _log.info("writer.again", tries=tries, error=str(error))
            else:
                return

    def _say_so(self) -> None:
        try:
            self._after_commit()
        except Exception as error:  # noqa: BLE001 - the rows are safe, and the thread must outlive any fault
            _log.error("writer.fault", error=frames_of(error))


def _was_undone(error: LedgerUnavailable) -> bool:
    """Say whether the server undid a transaction as a whole, and says that it may be tried again.

    Only then is nothing kept twice: where a connection was lost, the commit may have been done.
    """
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in _UNDONE
