"""Stores deliveries in groups, so that one commit serves all that wait for it."""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from ledger.clock import Clock
from ledger.engine import Engine, repeat_write, writing
from ledger.intake import Arrival, store_arrivals
from schemas.errors import LedgerUnavailable, frames_of

_MOST_TOGETHER = 1000
MOST_NOTIFICATIONS = 1000  # of one arrival in a transaction, so that other writers are not blocked
MAX_RETRY_S = (
    8.0  # how long writes to a busy ledger are retried; the last attempt may begin just before
)
_LOG_PAUSE_S = 1.0  # between two lines about stored deliveries
LONGEST_WAIT_S = 15.0  # MAX_RETRY_S and one busy timeout of SQLite, and some

_log = structlog.get_logger("writer")


@dataclass(slots=True, eq=False)
class Pending:
    """An arrival that waits for its commit; afterwards, `error` says why it was not stored."""

    arrival: Arrival
    delivery_id: int = 0
    error: LedgerUnavailable | None = None


Batch = Sequence[Pending]
_Queued = tuple[Batch, Callable[[], object], float]  # and when it was queued


class GroupWriter:
    """Stores arrivals in groups. `after_commit` is called in the writer thread after each commit.

    While other transactions block it, a write is retried for `max_retry_s` seconds.
    """

    def __init__(
        self,
        engine: Engine,
        after_commit: Callable[[], None],
        clock: Clock,
        *,
        max_retry_s: float = MAX_RETRY_S,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._try_for_s = max_retry_s
        self._after_commit = after_commit
        self._queue: queue.SimpleQueue[_Queued | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._log = _KeptLog(clock)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch, on_settled: Callable[[], object]) -> None:
        """Queue arrivals of at most `MOST_NOTIFICATIONS` each, and return at once.

        They are committed together. `on_settled` is then called in the writer's thread; before
        that, nothing is stored.

        Raises:
            LedgerUnavailable: the writer is closed.
        """
        with self._lock:
            if self._closed:
                raise LedgerUnavailable("the writer is closed")
            self._queue.put((batch, on_settled, self._clock.monotonic()))

    def keep(self, arrival: Arrival) -> None:
        """Commit `arrival` before returning; a very large one in several transactions.

        Raises:
            LedgerUnavailable: it may not be stored; the sender must retry.
        """
        statements = arrival.notifications
        size = MOST_NOTIFICATIONS
        first = replace(arrival, notifications=statements[:size]) if statements[size:] else arrival
        delivery_id = self._keep_piece(first)
        for start in range(size, len(statements), size):
            piece = statements[start : start + size]
            self._keep_piece(replace(arrival, notifications=piece, delivery_id=delivery_id))

    def _keep_piece(self, arrival: Arrival) -> int:
        settled = threading.Event()
        pending = Pending(arrival)
        self.submit([pending], settled.set)
        if not settled.wait(LONGEST_WAIT_S):
            raise timed_out()
        if pending.error is not None:
            raise pending.error
        return pending.delivery_id

    def close(self) -> None:
        """Write what is queued and end the thread."""
        with self._lock:
            # Nothing may be queued after the end marker: its caller would wait forever.
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._next()) is not None:
            together, number = [first], len(first[0])
            ending = False
            while number < _MOST_TOGETHER and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    ending = True
                    break
                together.append(more)
                number += len(more[0])
            self._commit(together)
            if ending:
                break
        self._log.write()

    def _next(self) -> _Queued | None:
        """Wait for the next batch, and write the log line meanwhile when it is due."""
        while self._log.has_counts:
            try:
                return self._queue.get(timeout=_LOG_PAUSE_S)
            except queue.Empty:
                self._log.write()
        return self._queue.get()

    def _commit(self, together: list[_Queued]) -> None:
        group = [pending for batch, *_ in together for pending in batch]
        error = None
        try:
            kept = self._keep([pending.arrival for pending in group], together[0][2])
            for pending, delivery_id in zip(group, kept, strict=True):
                pending.delivery_id = delivery_id
        except LedgerUnavailable as failure:
            error = failure
        except Exception as fault:  # noqa: BLE001 - the thread must survive any error, and no caller may hang
            _log.error("writer.fault", error=frames_of(fault))
            error = LedgerUnavailable(f"the writer failed with {type(fault).__name__}")
        for pending in group:
            pending.error = error
        for _, on_settled, _ in together:
            self._guarded(on_settled)
        if error is None:
            self._guarded(self._after_commit)
            self._log.count([pending.arrival for pending in group])

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the rows are committed, and the thread must survive any error
            _log.error("writer.fault", error=frames_of(error))

    def _keep(self, arrivals: list[Arrival], since: float) -> list[int]:
        def write() -> list[int]:
            with writing(self._engine) as connection:
                return store_arrivals(connection, arrivals)

        # Retried only if it certainly rolled back, so that no delivery is stored twice.
        return repeat_write(
            write,
            clock=self._clock,
            give_up_at=since + self._try_for_s,
            on_failure=lambda error: _log.info("writer.again", error=str(error)),
            only_undone=True,
        )


def timed_out() -> LedgerUnavailable:
    """Return the error of an arrival that was not settled within `LONGEST_WAIT_S`."""
    return LedgerUnavailable("the ledger did not answer in time")


class _KeptLog:
    """Counts stored deliveries and logs one line a second at most, however many there are.

    Unreadable deliveries have lines of their own, and so have refused ones.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written_at = 0.0
        self._routes: Counter[str] = Counter()
        self._notifications = 0

    @property
    def has_counts(self) -> bool:
        """Return whether a line is to be written."""
        return bool(self._routes)

    def count(self, arrivals: Sequence[Arrival]) -> None:
        """Count what was committed, and write a line if the last one is a second old."""
        self._routes.update(one.route for one in arrivals if one.delivery_id is None)
        self._notifications += sum(len(one.notifications) for one in arrivals)
        if self._clock.monotonic() - self._written_at >= _LOG_PAUSE_S:
            self.write()

    def write(self) -> None:
        """Write a line with the counts since the last one."""
        if not self._routes:
            return
        _log.info(
            "deliveries.kept",
            deliveries=self._routes.total(),
            notifications=self._notifications,
            routes=dict(self._routes),
        )
        self._routes.clear()
        self._notifications, self._written_at = 0, self._clock.monotonic()
