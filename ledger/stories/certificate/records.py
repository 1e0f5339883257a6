"""The records of a window of time: as they were read, as lists showed them, and still to read."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, select

from ledger.records import IS_HERE, WAS_SEEN, stored_where
from ledger.tables import lookups, records
from ledger.upsert import portions
from schemas.entity import Entity
from schemas.records import Record


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as it was read. `is_decided`: what it means was decided on after it was read."""

    record: Record
    gone_at: datetime | None
    is_decided: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as lists showed it. `reason` is why nobody is written to about it."""

    reason: str | None
    gone_at: datetime | None
    course_id: int | None
    coworker_id: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the need to read a record stands, and why it waits or failed."""

    state: str
    reason: str | None


def kept_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Kept]:
    """Return these records as they were read, also those that are gone."""
    found: dict[int, Kept] = {}
    for some in portions(record_ids):
        found.update(_kept(connection, entity, records.c.record_id.in_(some)))
    return found


def kept_below(
    connection: Connection, entity: Entity, column: str, parent_ids: Collection[int]
) -> dict[int, Kept]:
    """Return the records that refer to one of these in that column, also of those gone."""
    found: dict[int, Kept] = {}
    for some in portions(parent_ids):
        found.update(_kept(connection, entity, records.c[column].in_(some)))
    return found


def kept_created(
    connection: Connection, entity: Entity, since: datetime, until: datetime
) -> dict[int, Kept]:
    """Return the records made then, or up to a day before or after; none gone."""
    made = records.c.record["CreatedOn"].as_string()
    # Whole days, so that the order of a database's own language cannot matter.
    first, last = since - timedelta(days=1), until + timedelta(days=2)
    then = made.between(first.date().isoformat(), last.date().isoformat())
    return _kept(connection, entity, then & IS_HERE)


def _kept(connection: Connection, entity: Entity, where: ColumnElement[bool]) -> dict[int, Kept]:
    return {
        record_id: Kept(one.record, one.gone_at, one.is_decided)
        for record_id, one in stored_where(connection, entity, where).items()
    }


def seen_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Seen]:
    """Return what lists showed of these records."""
    columns = (records.c.suppressed_reason, records.c.gone_at)
    references = (records.c.course_id, records.c.coworker_id)
    found: dict[int, Seen] = {}
    for some in portions(record_ids):
        rows = connection.execute(
            select(records.c.record_id, *columns, *references).where(
                records.c.entity == entity, records.c.record_id.in_(some), WAS_SEEN
            )
        )
        found.update({row.record_id: Seen(*row[1:]) for row in rows})
    return found


def asked_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Asked]:
    """Return the look-ups of these records."""
    found: dict[int, Asked] = {}
    for some in portions(record_ids):
        rows = connection.execute(
            select(lookups.c.record_id, lookups.c.state, lookups.c.reason).where(
                lookups.c.entity == entity, lookups.c.record_id.in_(some)
            )
        )
        found.update({row.record_id: Asked(row.state, row.reason) for row in rows})
    return found
