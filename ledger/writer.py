"""Commits what many requests bring in one transaction, in one thread: a group commit.

A commit to a durable disk takes milliseconds whatever its size, so waiting requests share one.
Each request gets its own answer: kept, or not kept.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Engine

from ledger.clock import Clock
from ledger.engine import repeat_write, writing
from ledger.intake import Arrival, keep_arrivals
from schemas.errors import LedgerUnavailable, frames_of

_MOST_TOGETHER = 1000
_PIECE = 1000  # notifications of one delivery in one transaction, so that others get their turn
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

    While other transactions are in the way, writing is tried again for `try_for_s` seconds.
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
        def write() -> list[int]:
            with writing(self._engine) as connection:
                return keep_arrivals(connection, arrivals)

        # Only what is known not to be kept is written again: no delivery may be there twice.
        return repeat_write(
            write,
            clock=self._clock,
            give_up_at=since + self._try_for_s,
            on_failure=lambda error: _log.info("writer.again", error=str(error)),
            only_undone=True,
        )

    def _say_so(self) -> None:
        try:
            self._after_commit()
        except Exception as error:  # noqa: BLE001 - the rows are safe, and the thread must outlive any fault
            _log.error("writer.fault", error=frames_of(error))
