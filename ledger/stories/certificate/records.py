"""The records of a window of time: as they were read, as lists showed them, and still to read."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, select

from ledger.stories.certificate.portions import portions
from ledger.tables import lookups, people, sightings, snapshots
from schemas.entity import Entity
from schemas.records import Record, load_record


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
    """Return the snapshots of these records, also of those that are gone."""
    found: dict[int, Kept] = {}
    for some in portions(record_ids):
        found.update(_kept(connection, entity, snapshots.c.record_id.in_(some)))
    return found


def kept_below(
    connection: Connection, entity: Entity, column: str, parent_ids: Collection[int]
) -> dict[int, Kept]:
    """Return the snapshots that refer to one of these in that column, also of those gone."""
    found: dict[int, Kept] = {}
    for some in portions(parent_ids):
        found.update(_kept(connection, entity, snapshots.c[column].in_(some)))
    return found


def kept_created(
    connection: Connection, entity: Entity, since: datetime, until: datetime
) -> dict[int, Kept]:
    """Return the snapshots of records made then, or up to a day before or after; none gone."""
    made = snapshots.c.record["CreatedOn"].as_string()
    # Whole days, so that the order of a database's own language cannot matter.
    first, last = since - timedelta(days=1), until + timedelta(days=2)
    then = made.between(first.date().isoformat(), last.date().isoformat())
    return _kept(connection, entity, then & snapshots.c.gone_at.is_(None))


def _kept(connection: Connection, entity: Entity, where: ColumnElement[bool]) -> dict[int, Kept]:
    columns = (snapshots.c.record_id, snapshots.c.record, snapshots.c.gone_at)
    rows = connection.execute(
        select(*columns, snapshots.c.decided_upto).where(snapshots.c.entity == entity, where)
    )
    return {
        row.record_id: Kept(
            load_record(entity, row.record), row.gone_at, row.decided_upto is not None
        )
        for row in rows
    }


def seen_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Seen]:
    """Return what lists showed of these records."""
    found: dict[int, Seen] = {}
    for some in portions(record_ids):
        rows = connection.execute(
            select(sightings).where(sightings.c.entity == entity, sightings.c.record_id.in_(some))
        )
        for row in rows:
            found[row.record_id] = Seen(row.reason, row.gone_at, row.course_id, row.coworker_id)
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


def names_of(connection: Connection, coworker_ids: Collection[int]) -> dict[int, str]:
    """Return the full names of these people, as far as we know them."""
    found: dict[int, str] = {}
    for some in portions(coworker_ids):
        rows = connection.execute(
            select(people.c.coworker_id, people.c.full_name).where(people.c.coworker_id.in_(some))
        )
        found.update({row.coworker_id: row.full_name for row in rows})
    return found
