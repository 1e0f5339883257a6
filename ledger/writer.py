"""One thread that commits what many requests bring, together: a group commit.

A commit on a disk that really keeps it costs milliseconds whatever its size, so waiting requests
share one. Each waits for its own answer: kept, or not kept.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ledger.clock import Clock
from ledger.engine import writing
from ledger.intake import Arrival, keep_arrivals
from schemas.errors import LedgerUnavailable, frames_of

_MOST_TOGETHER = 1000
_PIECE = 1000  # notifications of one delivery in one transaction, so that others get their turn
_MOST_TRIES = 3
# Of two transactions that wait for each other PostgreSQL undoes one.
_UNDONE = frozenset({"40P01", "40001"})  # deadlock_detected, serialization_failure
_BUSY = frozenset({5, 6})  # SQLITE_BUSY, SQLITE_LOCKED; the extended codes share the low byte
_BUSY_PAUSE_S = 0.05  # SQLite does not always wait for its own busy timeout
TRY_FOR_S = 8.0  # how long a busy ledger is tried again; the last try may begin just before
_LONGEST_WAIT_S = 15.0  # TRY_FOR_S and one busy timeout of SQLite, and some

_log = structlog.get_logger("writer")


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    since: float
    settled: threading.Event = field(default_factory=threading.Event)
    delivery_id: int = 0
    error: LedgerUnavailable | None = None


class GroupWriter:
    """Keeps arrivals. `after_commit` is called in the writer's thread once rows are safe.

    While another writer holds a SQLite ledger, writing is tried again for `try_for_s` seconds.
    """

    def __init__(
        self,
        engine: Engine,
        after_commit: Callable[[], None],
        clock: Clock,
        *,
        try_for_s: float = TRY_FOR_S,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._try_for_s = try_for_s
        self._after_commit = after_commit
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def keep(self, arrival: Arrival) -> None:
        """Return when `arrival` is committed, a very large one in several transactions.

        Raises:
            LedgerUnavailable: it is not known to be kept; the sender must be told to come again.
        """
        said = arrival.notifications
        first = replace(arrival, notifications=said[:_PIECE]) if said[_PIECE:] else arrival
        delivery_id = self._keep_piece(first)
        for start in range(_PIECE, len(said), _PIECE):
            piece = said[start : start + _PIECE]
            self._keep_piece(replace(arrival, notifications=piece, delivery_id=delivery_id))

    def _keep_piece(self, arrival: Arrival) -> int:
        waiting = _Waiting(arrival, self._clock.monotonic())
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the writer is closed")
            self._queue.put(waiting)
        if not waiting.settled.wait(_LONGEST_WAIT_S):
            raise LedgerUnavailable("the ledger did not answer in time")
        if waiting.error is not None:
            raise waiting.error
        return waiting.delivery_id

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
            kept = self._keep([waiting.arrival for waiting in together], together[0].since)
            for waiting, delivery_id in zip(together, kept, strict=True):
                waiting.delivery_id = delivery_id
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

    def _keep(self, arrivals: list[Arrival], since: float) -> list[int]:
        undone = 0
        while True:
            try:
                with writing(self._engine) as connection:
                    kept = keep_arrivals(connection, arrivals)
            except LedgerUnavailable as error:
                if _is_busy(error):
                    again = self._clock.monotonic() - since < self._try_for_s
                    self._clock.sleep(_BUSY_PAUSE_S)
                else:
                    undone += 1
                    again = _was_undone(error) and undone < _MOST_TRIES
                if not again:
                    raise
                _log.info("writer.again", error=str(error))
            else:
                return kept

    def _say_so(self) -> None:
        try:
            self._after_commit()
        except Exception as error:  # noqa: BLE001 - the rows are safe, and the thread must outlive any fault
            _log.error("writer.fault", error=frames_of(error))


def _was_undone(error: LedgerUnavailable) -> bool:
    """Say whether PostgreSQL undid a transaction as a whole, and says that it may be tried again.

    Only then is nothing kept twice: where a connection was lost, the commit may have been done.
    """
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) in _UNDONE


def _is_busy(error: LedgerUnavailable) -> bool:
    """Say whether another connection held the SQLite ledger. Nothing of the transaction is kept."""
    cause = error.__cause__
    code = getattr(cause.orig, "sqlite_errorcode", None) if isinstance(cause, DBAPIError) else None
    return code is not None and code & 0xFF in _BUSY
