"""Snapshots: the last accepted version of each record, and the lists we read as a whole."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from ledger.tables import listings, notifications, snapshots
from ledger.upsert import insert_into
from schemas.entity import Entity
from schemas.records import Record, dump_record, load_record
from schemas.skew import TOLERANCE

# What a record refers to, kept beside it so that it can be found by that.
_REFERENCES = ("course_id", "coworker_id", "course_member_id", "lesson_id")
# Longer than any look-up takes and clocks differ, so that no slow one brings an older version back.
_FAR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A record as we last accepted it. `gone_at` is set once the source no longer has it."""

    record: Record
    fetched_at: datetime
    gone_at: datetime | None


def accept_record(connection: Connection, entity: Entity, record: Record, now: datetime) -> None:
    """Make `record` the snapshot, unless a newer version is there already.

    One that is dated far in the future does not count as newer.
    """
    values: dict[str, Any] = {
        "record": dump_record(entity, record),
        "updated_at": record.updated_at,
        "fetched_at": now,
        "gone_at": None,
    } | {name: getattr(record, name, None) for name in _REFERENCES}
    statement = insert_into(connection, snapshots).values(
        entity=entity, record_id=record.record_id, **values
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[snapshots.c.entity, snapshots.c.record_id],
            set_=values,
            where=or_(
                snapshots.c.updated_at <= record.updated_at, snapshots.c.updated_at > now + _FAR
            ),
        )
    )


def mark_gone(connection: Connection, entity: Entity, record_id: int, now: datetime) -> None:
    """Note that the source no longer has this record. What it was stays known."""
    connection.execute(
        update(snapshots)
        .where(
            snapshots.c.entity == entity,
            snapshots.c.record_id == record_id,
            snapshots.c.gone_at.is_(None),
        )
        .values(gone_at=now)
    )


def newest_news(connection: Connection) -> int:
    """Return the number of the newest notification, to be kept by `mark_decided`.

    Whatever is read after this is at least as new as all that was said up to it, whichever clocks
    are wrong: a record changes before it is spoken of.
    """
    return connection.scalar(select(func.max(notifications.c.id))) or 0


def mark_decided(connection: Connection, records: Iterable[tuple[Entity, int]], upto: int) -> None:
    """Note that these were read after notification `upto` and decided on: see `is_answered`."""
    by_entity: dict[Entity, list[int]] = {}
    for entity, record_id in records:
        by_entity.setdefault(entity, []).append(record_id)
    for entity, record_ids in by_entity.items():
        connection.execute(
            update(snapshots)
            .where(snapshots.c.entity == entity, snapshots.c.record_id.in_(record_ids))
            .values(decided_upto=upto)
        )


def is_answered(connection: Connection, entity: Entity, record_id: int) -> bool:
    """Say whether this record was read and decided on since the last notification of it."""
    told = (
        select(func.max(notifications.c.id))
        .where(notifications.c.entity == entity, notifications.c.record_id == record_id)
        .scalar_subquery()
    )
    found = connection.scalar(
        select(snapshots.c.record_id).where(
            snapshots.c.entity == entity,
            snapshots.c.record_id == record_id,
            snapshots.c.gone_at.is_(None),
            snapshots.c.decided_upto >= told,
        )
    )
    return found is not None


def snapshot_of(connection: Connection, entity: Entity, record_id: int) -> Snapshot | None:
    """Return the snapshot of one record, also if it is gone; None if we never saw it."""
    row = connection.execute(
        select(snapshots.c.record, snapshots.c.fetched_at, snapshots.c.gone_at).where(
            snapshots.c.entity == entity, snapshots.c.record_id == record_id
        )
    ).first()
    if row is None:
        return None
    return Snapshot(load_record(entity, row.record), row.fetched_at, row.gone_at)


def snapshots_of(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Snapshot]:
    """Return the snapshots of those records that are not gone, by Id; at most some thousands."""
    rows = connection.execute(
        select(snapshots.c.record_id, snapshots.c.record, snapshots.c.fetched_at).where(
            snapshots.c.entity == entity,
            snapshots.c.record_id.in_(list(record_ids)),
            snapshots.c.gone_at.is_(None),
        )
    )
    return {
        row.record_id: Snapshot(load_record(entity, row.record), row.fetched_at, None)
        for row in rows
    }


def accept_listing(  # noqa: PLR0913 - what, below whom, and the two times that matter
    connection: Connection,
    entity: Entity,
    parent: tuple[str, int],
    records: Iterable[Record],
    now: datetime,
    *,
    asked_at: datetime,
) -> list[int]:
    """Make `records` all there is of `entity` below `parent` (column name and Id).

    What we had below it and is not among them is gone, unless it was kept after `asked_at`, which
    is before the list was asked for: what came up meanwhile may be missing on it. Returns the Ids
    of what went.
    """
    column, parent_id = parent
    present = []
    for record in records:
        accept_record(connection, entity, record, now)
        present.append(record.record_id)
    went = connection.scalars(
        update(snapshots)
        .where(
            snapshots.c.entity == entity,
            snapshots.c[column] == parent_id,
            snapshots.c.gone_at.is_(None),
            or_(
                snapshots.c.fetched_at <= asked_at,
                snapshots.c.fetched_at > now + TOLERANCE,  # read by a clock that was ahead
            ),
            snapshots.c.record_id.not_in(present),
        )
        .values(gone_at=now)
        .returning(snapshots.c.record_id)
    ).all()
    note_listing(connection, entity, parent_id, now)
    return sorted(went)


def note_listing(connection: Connection, entity: Entity, parent_id: int, now: datetime) -> None:
    """Note when the list of `entity` below this parent was read as a whole; 0 is no parent."""
    statement = insert_into(connection, listings).values(
        entity=entity, parent_id=parent_id, listed_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[listings.c.entity, listings.c.parent_id], set_={"listed_at": now}
        )
    )


def listed_at(connection: Connection, entity: Entity, parent_id: int) -> datetime | None:
    """Return when the list of `entity` below this parent was last read as a whole."""
    moment: datetime | None = connection.scalar(
        select(listings.c.listed_at).where(
            listings.c.entity == entity, listings.c.parent_id == parent_id
        )
    )
    return moment


def present_below(connection: Connection, entity: Entity, parent: tuple[str, int]) -> list[Record]:
    """Return the records of `entity` below `parent` that are not gone, by Id."""
    column, parent_id = parent
    rows = connection.scalars(
        select(snapshots.c.record)
        .where(
            snapshots.c.entity == entity,
            snapshots.c[column] == parent_id,
            snapshots.c.gone_at.is_(None),
        )
        .order_by(snapshots.c.record_id)
    )
    return [load_record(entity, row) for row in rows]


def known_ids(connection: Connection, entity: Entity, most: int) -> list[int]:
    """Return the Ids of records that are not gone, those read last first."""
    rows = connection.scalars(
        select(snapshots.c.record_id)
        .where(snapshots.c.entity == entity, snapshots.c.gone_at.is_(None))
        .order_by(snapshots.c.fetched_at.desc(), snapshots.c.record_id)
        .limit(most)
    )
    return list(rows)
