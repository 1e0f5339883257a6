"""The table of records: the version last read, the version last listed, the version decided on.

These three versions can differ for a while. Lists show the same rows repeatedly: a row needs a
read only if its version was neither noted as seen nor decided on. A record that existed before we
started, or was imported, carries the reason why no email is sent about it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, func, or_, select, update

from ledger.engine import Insert, chunks, insert_into
from ledger.intake import newest_notification
from ledger.tables import listings, notifications, records
from schemas.entity import NO_REFERENCES, Entity, References
from schemas.events import TOLERANCE
from schemas.reasons import Reason
from schemas.records import Record, dump_record, load_record

# What a record refers to: columns of their own, so that queries can use them.
REFERENCES = ("course_id", "coworker_id", "course_member_id", "lesson_id")
# Longer than any lookup takes plus any clock difference, so that a slow lookup cannot restore an
# older version.
_FAR = timedelta(hours=1)

WAS_READ = records.c.fetched_at.is_not(None)
WAS_SEEN = records.c.seen_at.is_not(None)  # by a list, or decided on
IS_HERE = records.c.gone_at.is_(None)


@dataclass(frozen=True)
class StoredRecord:
    """The last version of a record that was read by Id. `gone_at`: when it no longer existed.

    `is_decided`: some version of it was decided on. `references` are those of this version.
    """

    entity: Entity
    values: Mapping[str, Any]
    fetched_at: datetime
    gone_at: datetime | None = None
    is_decided: bool = False
    references: References = NO_REFERENCES

    @cached_property
    def record(self) -> Record:
        """The record itself. Loaded on first use, as comparisons read many and use few."""
        return load_record(self.entity, self.values)


@dataclass(frozen=True, slots=True)
class SeenVersion:
    """A version of a record as one row of a list shows it; fields the row omits are None.

    `digest` covers the fields that decisions depend on. `is_whole`: the row omits none of them, so
    the digest equals the record's own. `changed_at` is the time by which lists are filtered.
    `full_name` is the member's; only enrolments have it.
    """

    record_id: int
    changed_at: datetime
    digest: str
    is_whole: bool = True
    created_at: datetime | None = None
    course_id: int | None = None
    coworker_id: int | None = None
    course_member_id: int | None = None
    lesson_id: int | None = None
    full_name: str | None = None


def accept_record(connection: Connection, entity: Entity, record: Record, now: datetime) -> None:
    """Store `record` as the accepted version, unless a newer one is stored.

    A version dated far in the future does not count as newer.
    """
    values: dict[str, Any] = {
        "record": dump_record(entity, record),
        "updated_at": record.updated_at,
        "source_created_at": getattr(record, "created_at", None),
        "fetched_at": now,
        "gone_at": None,
    } | {name: getattr(record, name, None) for name in REFERENCES}
    statement = insert_into(connection, records).values(
        entity=entity, record_id=record.record_id, **values
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[records.c.entity, records.c.record_id],
            set_=values,
            where=or_(
                records.c.updated_at.is_(None),
                records.c.updated_at <= record.updated_at,
                records.c.updated_at > now + _FAR,
            ),
        )
    )


def mark_gone(connection: Connection, entity: Entity, record_id: int, now: datetime) -> None:
    """Mark a record as gone from Nexudus; only reading it again revokes that."""
    connection.execute(
        update(records)
        .where(records.c.entity == entity, records.c.record_id == record_id, IS_HERE)
        .values(gone_at=now)
    )


def mark_decided(
    connection: Connection,
    entity: Entity,
    versions: Sequence[SeenVersion],
    upto: int,
    fetched_at: datetime,
) -> None:
    """Mark these versions, accepted with `fetched_at`, as decided on.

    They were read after notification `upto`, and so are at least as new as all notifications up to
    it: see `is_answered`. If a newer version was accepted meanwhile, that one remains undecided.
    """
    for some in chunks(one.record_id for one in versions):
        connection.execute(
            update(records)
            .where(records.c.entity == entity, records.c.record_id.in_(some))
            .values(
                decided_upto=case(
                    (records.c.decided_upto > upto, records.c.decided_upto), else_=upto
                )
            )
        )
    is_newest = records.c.fetched_at == fetched_at
    _note(connection, entity, versions, fetched_at, "decided_digest", where=is_newest)


def note_seen(
    connection: Connection,
    entity: Entity,
    versions: Iterable[SeenVersion],
    now: datetime,
    suppressed: Reason | None = None,
) -> None:
    """Store these as the versions last seen on lists, so that they are not looked up again.

    With `suppressed`, no email is sent about anything that happened to them until now. A record
    marked as gone stays gone: a list may be stale.
    """
    _note(connection, entity, versions, now, "seen_digest", suppressed)


def _note(  # noqa: PLR0913, PLR0917 - what, when, and as what
    connection: Connection,
    entity: Entity,
    versions: Iterable[SeenVersion],
    now: datetime,
    digest: str,
    suppressed: Reason | None = None,
    where: ColumnElement[bool] | None = None,
) -> None:
    # A notification from before the baseline still leads to an email; one from before an import
    # does not.
    is_import = suppressed not in {None, Reason.BEFORE_START}
    after = newest_notification(connection) if is_import else 0
    by_id = {one.record_id: one for one in versions}
    for some in chunks(by_id):
        rows = [
            {
                "entity": entity,
                "record_id": one.record_id,
                "changed_at": one.changed_at,
                digest: one.digest,
                "seen_at": now,
                "created_at": None if one.created_at is None else min(one.created_at, now),
                "full_name": one.full_name,
                "suppressed_reason": suppressed,
                "suppressed_upto": None if suppressed is None else one.changed_at,
                "suppressed_after": after,
            }
            | {name: getattr(one, name) for name in REFERENCES}
            for one in (by_id[record_id] for record_id in some)
        ]
        statement = insert_into(connection, records).values(rows)
        kept = ["changed_at", digest, "seen_at"]
        if suppressed is not None:
            kept += ["suppressed_reason", "suppressed_upto", "suppressed_after"]
        set_ = {name: statement.excluded[name] for name in kept} | _merged(statement)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[records.c.entity, records.c.record_id], set_=set_, where=where
            )
        )


def _merged(statement: Insert) -> dict[str, ColumnElement[Any]]:
    """Return the columns that a listed row may fill in, but never empties."""
    given = statement.excluded
    # It was created no later than when it was first seen, whatever Nexudus says.
    created_at = func.coalesce(
        case((records.c.created_at < given.created_at, records.c.created_at)),
        given.created_at,
        records.c.created_at,
    )
    full_name = func.coalesce(given.full_name, records.c.full_name)
    merged: dict[str, ColumnElement[Any]] = {"created_at": created_at, "full_name": full_name}
    # Once a record was read, its references are those of the accepted version.
    for name in REFERENCES:
        listed = func.coalesce(given[name], records.c[name])
        merged[name] = case((records.c.fetched_at.is_(None), listed), else_=records.c[name])
    return merged


def unknown_among(
    connection: Connection, entity: Entity, versions: Sequence[SeenVersion]
) -> list[SeenVersion]:
    """Return those of `versions` that were neither seen nor decided on yet."""
    known: dict[int, Row[Any]] = {}
    columns = (records.c.changed_at, records.c.seen_digest, records.c.decided_digest)
    for some in chunks(one.record_id for one in versions):
        rows = connection.execute(
            select(records.c.record_id, *columns).where(
                records.c.entity == entity, records.c.record_id.in_(some), WAS_SEEN, IS_HERE
            )
        )
        known.update({row.record_id: row for row in rows})
    return [one for one in versions if not _is_known(one, known.get(one.record_id))]


def _is_known(one: SeenVersion, known: Row[Any] | None) -> bool:
    if known is None:
        return False
    listed_at, noted_at = (
        moment.replace(microsecond=0) for moment in (one.changed_at, known.changed_at)
    )
    if not one.is_whole:
        # An omitted field may have changed; only an equal time of change proves that it did not.
        return listed_at == noted_at
    if one.digest == known.decided_digest:
        return True
    # It was seen, but another version may have been decided on since. Then this one is a change
    # again, unless it is no later and lists merely format it differently from records.
    return one.digest == known.seen_digest and (
        known.decided_digest is None or listed_at <= noted_at
    )


def is_answered(connection: Connection, entity: Entity, record_id: int) -> bool:
    """Return whether this record was read and decided on since its last notification."""
    last = (
        select(func.max(notifications.c.id))
        .where(notifications.c.entity == entity, notifications.c.record_id == record_id)
        .scalar_subquery()
    )
    found = connection.scalar(
        select(records.c.record_id).where(
            records.c.entity == entity,
            records.c.record_id == record_id,
            records.c.decided_upto >= last,
            IS_HERE,
        )
    )
    return found is not None


def record_of(connection: Connection, entity: Entity, record_id: int) -> StoredRecord | None:
    """Return one record, even if gone; None if it was never read."""
    return records_of(connection, entity, [record_id]).get(record_id)


def records_of(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, StoredRecord]:
    """Return these records by Id, gone ones included; those never read are omitted."""
    found: dict[int, StoredRecord] = {}
    for some in chunks(record_ids):
        found |= stored_where(connection, entity, records.c.record_id.in_(some))
    return found


def present_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, StoredRecord]:
    """Return the records among these that were read and are not gone, by Id."""
    found = records_of(connection, entity, record_ids)
    return {record_id: one for record_id, one in found.items() if one.gone_at is None}


def present_below(connection: Connection, entity: Entity, parent: tuple[str, int]) -> list[Record]:
    """Return the records of `entity` below `parent` that were read and are not gone, by Id."""
    column, parent_id = parent
    found = stored_where(connection, entity, IS_HERE & (records.c[column] == parent_id))
    return [one.record for _, one in sorted(found.items())]


def stored_where(
    connection: Connection, entity: Entity, where: ColumnElement[bool]
) -> dict[int, StoredRecord]:
    """Return the records that were read and meet a condition on `records`, by Id."""
    rows = connection.execute(select(records).where(records.c.entity == entity, WAS_READ, where))
    return {row.record_id: stored_in(row) for row in rows}


def stored_in(row: Row[Any]) -> StoredRecord:
    """Return the stored record in a full row of `records`; it must have been read by Id."""
    return StoredRecord(
        Entity(row.entity),
        row.record,
        row.fetched_at,
        row.gone_at,
        row.decided_upto is not None,
        References.of(row),
    )


def references_of(connection: Connection, entity: Entity, record_id: int) -> References:
    """Return what one record refers to, whether read or only listed, even if gone."""
    row = connection.execute(
        select(*(records.c[name] for name in REFERENCES)).where(
            records.c.entity == entity, records.c.record_id == record_id
        )
    ).first()
    return References() if row is None else References(*row)


def accept_listing(  # noqa: PLR0913 - what, below whom, and the two times that matter
    connection: Connection,
    entity: Entity,
    parent: tuple[str, int],
    found: Iterable[Record],
    now: datetime,
    *,
    asked_at: datetime,
) -> list[int]:
    """Store `found` as the complete list of `entity` below `parent` (column name and Id).

    A stored record missing from it is marked as gone, unless it was read after `asked_at`, which is
    before the list was requested: a record created meanwhile may be missing. Returns the Ids of
    the records marked as gone.
    """
    column, parent_id = parent
    present = []
    for record in found:
        accept_record(connection, entity, record, now)
        present.append(record.record_id)
    gone = connection.scalars(
        update(records)
        .where(
            records.c.entity == entity,
            records.c[column] == parent_id,
            IS_HERE,
            or_(
                records.c.fetched_at <= asked_at,
                records.c.fetched_at > now + TOLERANCE,  # read while a clock was ahead
            ),
            records.c.record_id.not_in(present),
        )
        .values(gone_at=now)
        .returning(records.c.record_id)
    ).all()
    note_listing(connection, entity, parent_id, now)
    return sorted(gone)


def note_listing(connection: Connection, entity: Entity, parent_id: int, now: datetime) -> None:
    """Store when the list of `entity` below this parent was read in full; 0 is no parent."""
    statement = insert_into(connection, listings).values(
        entity=entity, parent_id=parent_id, listed_at=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[listings.c.entity, listings.c.parent_id], set_={"listed_at": now}
        )
    )


def listed_at(connection: Connection, entity: Entity, parent_id: int) -> datetime | None:
    """Return when the list of `entity` below this parent was last read in full."""
    moment: datetime | None = connection.scalar(
        select(listings.c.listed_at).where(
            listings.c.entity == entity, listings.c.parent_id == parent_id
        )
    )
    return moment
