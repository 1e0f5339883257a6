"""Stores deliveries and notifications, and makes a lookup due for each record they name.

Repeats of one record merge into one lookup. A notification that arrives while its record is being
read makes the lookup due again afterwards, so that no change is missed.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, and_, case, func, insert, or_, select

from ledger.clock import Clock
from ledger.engine import Insert, insert_for, repeat_write, writing
from ledger.tables import deliveries, lookups, notifications
from schemas.actions import LookupState
from schemas.errors import LedgerUnavailable, frames_of
from schemas.notification import Notification
from schemas.reasons import Reason

BEARER = "bearer"  # the signature form of a delivery by a relay
_RETRY_ON_NOTIFICATION = (
    Reason.NEXUDUS_DOWN,
    Reason.NEXUDUS_REFUSED,
    Reason.RECORD_STUCK,
    Reason.NOT_THERE_YET,
)


class Origin(StrEnum):
    """Where a notification came from."""

    HOOK = "hook"  # Nexudus itself
    RELAY = "relay"  # Zapier, Make, a customised portal
    CHECK = "check"  # our own poll or comparison
    BACKFILL = "backfill"
    PERSON = "person"  # a request that includes what happened before sending started
    REVIEW = "review"  # a request whose emails are held for a person


@dataclass(frozen=True, slots=True)
class Arrival:
    """One authentic delivery with its notifications; `error` if part of it is unreadable.

    `body` is None where it must not be stored; `size` is in bytes, `digest` is keyed by the
    sender's secret. With a `delivery_id`, these are more notifications of a stored delivery.
    """

    received_at: datetime
    route: str
    origin: Origin
    signature_form: str
    body: bytes | None
    size: int
    digest: str
    notifications: tuple[Notification, ...] = ()
    error: str | None = None
    delivery_id: int | None = None


def store_arrivals(connection: Connection, arrivals: Sequence[Arrival]) -> list[int]:
    """Store deliveries and their notifications, make lookups due, and return delivery ids."""
    delivery_ids = _keep_deliveries(connection, arrivals)
    _note(
        connection,
        [
            row
            for delivery_id, arrival in zip(delivery_ids, arrivals, strict=True)
            for row in _rows(
                arrival.notifications, arrival.origin, arrival.received_at, delivery_id
            )
        ],
    )
    _make_due(connection, [(arrival.notifications, arrival.received_at) for arrival in arrivals])
    return delivery_ids


def store_notifications(
    connection: Connection,
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
) -> None:
    """Store notifications without a delivery, and make the lookups of followed records due."""
    _note(connection, _rows(statements, origin, received_at, None))
    _make_due(connection, [(statements, received_at)])


_NEWEST = select(func.max(notifications.c.id))


def newest_notification(connection: Connection) -> int:
    """Return the id of the newest notification, or 0.

    A record read after this is at least as new as all notifications up to it, whatever the clocks
    say: a record changes before its notification is sent.
    """
    return connection.scalar(_NEWEST) or 0


def _keep_deliveries(connection: Connection, arrivals: Sequence[Arrival]) -> list[int]:
    rows = [
        {
            "received_at": arrival.received_at,
            "route": arrival.route,
            "signature_form": arrival.signature_form,
            "body": arrival.body,
            "size": arrival.size,
            "digest": arrival.digest,
            "error": arrival.error,
        }
        for arrival in arrivals
        if arrival.delivery_id is None
    ]
    kept: Iterator[int] = iter(())
    if rows:
        statement = insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True)
        kept = iter(connection.execute(statement, rows).scalars().all())
    return [
        next(kept) if arrival.delivery_id is None else arrival.delivery_id for arrival in arrivals
    ]


def _rows(
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
    delivery_id: int | None,
) -> list[dict[str, Any]]:
    return [
        {
            "delivery_id": delivery_id,
            "received_at": received_at,
            "origin": origin,
            "entity": statement.entity,
            "record_id": statement.record_id,
        }
        for statement in statements
    ]


def _note(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(notifications), rows)


def _make_due(
    connection: Connection, batches: Iterable[tuple[Sequence[Notification], datetime]]
) -> None:
    # Sorted, so that two transactions never deadlock. Repeats of a record within one delivery count
    # once.
    asked = {
        (statement.entity, statement.record_id, received_at, place)
        for place, (statements, received_at) in enumerate(batches)
        for statement in statements
        if statement.entity
    }
    if asked:
        connection.execute(
            _lookup_upsert(connection.dialect.name),
            [
                {
                    "entity": entity,
                    "record_id": record_id,
                    "state": LookupState.DUE,
                    "due_at": received_at,
                    "asked_at": received_at,
                    "asked": 1,
                }
                for entity, record_id, received_at, _ in sorted(asked)
            ],
        )


@cache
def _lookup_upsert(dialect: str) -> Insert:
    """Return the upsert that makes one lookup due. Cached: building it costs more than running."""
    # With `or` instead of IN, whose list is expanded again for each execution.
    at_rest = or_(lookups.c.state == LookupState.DONE, lookups.c.state == LookupState.FAILED)
    # A notification justifies another read even if the source was down, refused us or did not show
    # the record, as that may be fixed now. Not if the source asked us to wait.
    may_work = and_(
        lookups.c.state == LookupState.WAITING,
        or_(*(lookups.c.reason == reason for reason in _RETRY_ON_NOTIFICATION)),
    )
    wanted = or_(at_rest, may_work)
    statement = insert_for(dialect, lookups)
    now = statement.excluded.due_at
    return statement.on_conflict_do_update(
        index_elements=[lookups.c.entity, lookups.c.record_id],
        set_={
            "asked": lookups.c.asked + 1,
            "state": case((wanted, LookupState.DUE), else_=lookups.c.state),
            "due_at": case((wanted, now), else_=lookups.c.due_at),
            "asked_at": case((at_rest, now), else_=lookups.c.asked_at),
            "attempts": case((at_rest, 0), else_=lookups.c.attempts),
        },
    )


_MOST_TOGETHER = 1000
_PIECE = 1000  # notifications in one transaction, so that other writers are not blocked
MAX_RETRY_S = (
    8.0  # how long writes to a busy ledger are retried; the last attempt may begin just before
)
_LONGEST_WAIT_S = 15.0  # MAX_RETRY_S and one busy timeout of SQLite, and some

_log = structlog.get_logger("writer")


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    since: float
    settled: threading.Event = field(default_factory=threading.Event)
    delivery_id: int = 0
    error: LedgerUnavailable | None = None


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
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def keep(self, arrival: Arrival) -> None:
        """Commit `arrival` before returning; a very large one in several transactions.

        Raises:
            LedgerUnavailable: it may not be stored; the sender must retry.
        """
        statements = arrival.notifications
        first = (
            replace(arrival, notifications=statements[:_PIECE]) if statements[_PIECE:] else arrival
        )
        delivery_id = self._keep_piece(first)
        for start in range(_PIECE, len(statements), _PIECE):
            piece = statements[start : start + _PIECE]
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
        """Write what is queued and end the thread."""
        with self._lock:
            # Nothing may be queued after the end marker: its caller would wait forever.
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
        except Exception as error:  # noqa: BLE001 - the thread must survive any error, and no caller may hang
            for waiting in together:
                waiting.error = LedgerUnavailable(f"the writer failed with {type(error).__name__}")
            _log.error("writer.fault", error=frames_of(error))
        else:
            self._notify()
        finally:
            for waiting in together:
                waiting.settled.set()

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

    def _notify(self) -> None:
        try:
            self._after_commit()
        except Exception as error:  # noqa: BLE001 - the rows are committed, and the thread must survive any error
            _log.error("writer.fault", error=frames_of(error))
