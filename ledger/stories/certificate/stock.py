"""How many rows the ledger has of a time, counted by the database itself.

It reads none of them: this is what a certificate made of rows that were read is held against.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, Table, func, select

from ledger.tables import actions, events, records
from schemas.entity import Entity

_TO_THE_SECOND = len("2026-03-03T12:00:00")  # as records are kept, always in UTC


@dataclass(frozen=True, slots=True)
class Stock:
    """Records that were made then and are not gone, events that happened, actions about them."""

    records: Mapping[Entity, int] = field(default_factory=dict)
    events: int = 0
    actions: int = 0


def stock_of(
    connection: Connection, entities: Collection[Entity], since: datetime, until: datetime
) -> Stock:
    """Return how many there are from `since` on and before `until`, which are whole seconds."""
    return Stock(
        {entity: _records(connection, entity, since, until) for entity in entities},
        _happened(connection, events, since, until),
        _happened(connection, actions, since, until),
    )


def _records(connection: Connection, entity: Entity, since: datetime, until: datetime) -> int:
    made = func.substr(records.c.record["CreatedOn"].as_string(), 1, _TO_THE_SECOND)
    found = connection.scalar(
        select(func.count())
        .select_from(records)
        .where(
            records.c.entity == entity,
            records.c.gone_at.is_(None),
            made >= _text(since),
            made < _text(until),
        )
    )
    return found or 0


def _happened(connection: Connection, table: Table, since: datetime, until: datetime) -> int:
    then = (table.c.happened_at >= since) & (table.c.happened_at < until)
    return connection.scalar(select(func.count()).select_from(table).where(then)) or 0


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
