"""Stores deliveries and notifications, and makes a lookup due for each record they name.

Repeats of one record merge into one lookup. A notification that arrives while its record is being
read makes the lookup due again afterwards, so that no change is missed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import registry

from ledger.tables import deliveries, lookups, notifications
from schemas.actions import LookupState
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
    TIMER = "timer"  # a timer of ours is due


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
    """Store deliveries and their notifications, make lookups due, and return delivery ids.

    Three statements, whatever the number of arrivals: this is what each delivery waits for.
    """
    write = _Statements(connection)
    new_ids = iter(write.new_delivery_ids(sum(one.delivery_id is None for one in arrivals)))
    delivery_ids, new_rows, notes, asked = [], [], [], _Asked()
    for arrival in arrivals:
        received_at = write.instant(arrival.received_at)
        delivery_id = arrival.delivery_id
        if delivery_id is None:
            delivery_id = next(new_ids)
            new_rows.append(
                (
                    *(delivery_id, received_at, arrival.route, arrival.signature_form),
                    *(arrival.body, arrival.size, arrival.digest, arrival.error),
                )
            )
        delivery_ids.append(delivery_id)
        notes += _rows(arrival.notifications, arrival.origin, received_at, delivery_id)
        asked.add(arrival.notifications, received_at)
    write.insert(_DELIVERY, new_rows)
    write.insert(_NOTIFICATION, notes)
    write.insert(_LOOKUP, asked.rows())
    return delivery_ids


def store_notifications(
    connection: Connection,
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
) -> None:
    """Store notifications without a delivery, and make the lookups of followed records due."""
    write, asked = _Statements(connection), _Asked()
    instant = write.instant(received_at)
    write.insert(_NOTIFICATION, _rows(statements, origin, instant, None))
    asked.add(statements, instant)
    write.insert(_LOOKUP, asked.rows())


_NEWEST = select(func.max(notifications.c.id))


def newest_notification(connection: Connection) -> int:
    """Return the id of the newest notification, or 0.

    A record read after this is at least as new as all notifications up to it, whatever the clocks
    say: a record changes before its notification is sent.
    """
    return connection.scalar(_NEWEST) or 0


_Row = tuple[Any, ...]
_Moment = Any  # as the database's driver takes it


def _rows(
    statements: Sequence[Notification],
    origin: Origin,
    received_at: _Moment,
    delivery_id: int | None,
) -> list[_Row]:
    return [
        (delivery_id, received_at, origin.value, _name(statement), statement.record_id)
        for statement in statements
    ]


def _name(statement: Notification) -> str | None:
    return None if statement.entity is None else statement.entity.value


class _Asked:
    """Counts for which records a lookup is asked, and since when.

    Repeats of a record within one delivery count once.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[str, int], tuple[_Moment, int]] = {}

    def add(self, statements: Sequence[Notification], received_at: _Moment) -> None:
        """Add the statements of one delivery. `received_at` is as the database takes it."""
        for key in {(one.entity.value, one.record_id) for one in statements if one.entity}:
            first_at, times = self._records.get(key, (received_at, 0))
            self._records[key] = min(first_at, received_at), times + 1

    def rows(self) -> list[_Row]:
        """Return rows for `_LOOKUP`, sorted, so that two transactions never deadlock."""
        return [
            (*key, LookupState.DUE.value, first_at, first_at, times)
            for key, (first_at, times) in sorted(self._records.items())
        ]


@dataclass(frozen=True, slots=True)
class _Insert:
    """An INSERT of many rows: the columns and what follows the values.

    Its text is written once per database. Building it for each group, as SQLAlchemy would, costs
    more than all else that a delivery needs.
    """

    table: Table
    columns: tuple[str, ...]
    conflict: str = ""

    def for_rows(self) -> str:
        """Return the statement for SQLite, which is executed once for each row."""
        return f"{self._head()} VALUES ({', '.join('?' * len(self.columns))}) {self.conflict}"

    def for_arrays(self) -> str:
        """Return the statement for PostgreSQL, which takes one array a column."""
        dialect = registry.load("postgresql")()  # imported here: only PostgreSQL needs it
        kinds = [self.table.c[name].type.compile(dialect) for name in self.columns]
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        return f"{self._head()} SELECT * FROM unnest({arrays}) {self.conflict}"  # noqa: S608 - no value is part of the text

    def _head(self) -> str:
        return f"INSERT INTO {self.table.name} ({', '.join(self.columns)})"


_DELIVERY = _Insert(
    deliveries,
    ("id", "received_at", "route", "signature_form", "body", "size", "digest", "error"),
)
_NOTIFICATION = _Insert(
    notifications, ("delivery_id", "received_at", "origin", "entity", "record_id")
)
_AT_REST = f"lookups.state IN ('{LookupState.DONE}', '{LookupState.FAILED}')"
# A notification justifies another read even if the source was down, refused us or did not show
# the record, as that may be fixed now. Not if the source asked us to wait.
_FIXED_MEANWHILE = "', '".join(_RETRY_ON_NOTIFICATION)
_WANTED = (
    f"({_AT_REST} OR lookups.state = '{LookupState.WAITING}'"
    f" AND lookups.reason IN ('{_FIXED_MEANWHILE}'))"
)
_LOOKUP = _Insert(
    lookups,
    ("entity", "record_id", "state", "due_at", "asked_at", "asked"),
    f"""ON CONFLICT (entity, record_id) DO UPDATE SET
      asked = lookups.asked + excluded.asked,
      state = CASE WHEN {_WANTED} THEN excluded.state ELSE lookups.state END,
      due_at = CASE WHEN {_WANTED} THEN excluded.due_at ELSE lookups.due_at END,
      asked_at = CASE WHEN {_AT_REST} THEN excluded.asked_at ELSE lookups.asked_at END,
      attempts = CASE WHEN {_AT_REST} THEN 0 ELSE lookups.attempts END""",
)


@cache
def _text(into: _Insert, *, on_postgres: bool) -> str:
    return into.for_arrays() if on_postgres else into.for_rows()


class _Statements:
    """Runs these statements on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._on_postgres = connection.dialect.name == "postgresql"
        self._convert = deliveries.c.received_at.type.bind_processor(connection.dialect)

    def instant(self, moment: datetime) -> _Moment:
        """Return a time as the driver takes it."""
        return moment if self._convert is None else self._convert(moment)

    def new_delivery_ids(self, number: int) -> Iterable[int]:
        """Return ids for new deliveries. On SQLite, nobody else writes in this transaction."""
        if not self._on_postgres:
            newest = self._connection.exec_driver_sql("SELECT max(id) FROM deliveries").scalar()
            return range((newest or 0) + 1, (newest or 0) + 1 + number)
        return self._connection.exec_driver_sql(
            "SELECT nextval(pg_get_serial_sequence('deliveries', 'id'))"
            " FROM generate_series(1, %s)",
            (number,),
        ).scalars()

    def insert(self, into: _Insert, rows: list[_Row]) -> None:
        """Insert these rows with one statement."""
        if not rows:
            return
        statement = _text(into, on_postgres=self._on_postgres)
        if self._on_postgres:
            arrays = tuple(list(column) for column in zip(*rows, strict=True))
            self._connection.exec_driver_sql(statement, arrays)
        else:
            self._connection.exec_driver_sql(statement, rows)
