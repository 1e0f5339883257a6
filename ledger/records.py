"""The table of records: the version last read, the version last listed, the version decided on.

These three versions can differ for a while. Lists show the same rows repeatedly: a row needs a
read only if its version was neither noted as seen nor decided on. A record that existed before we
started, or was imported, carries the reason why no email is sent about it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property, lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from ledger.engine import Insert, chunks, insert_for
from ledger.intake import newest_notification
from ledger.people import name_key
from ledger.tables import Instant, notifications, records
from schemas.entity import NO_REFERENCES, Entity, References
from schemas.reasons import Reason
from schemas.records import Record, dump_record, load_record

# What a record refers to: columns of their own, so that queries can use them.
REFERENCES = ("course_id", "coworker_id", "course_member_id", "lesson_id")
STORED = ("entity", "record", "fetched_at", "gone_at", "decided_upto", *REFERENCES)
# Longer than any lookup takes plus any clock difference, so that a slow lookup cannot restore an
# older version.
_FAR = timedelta(hours=1)

WAS_READ = records.c.fetched_at.is_not(None)
WAS_SEEN = records.c.seen_at.is_not(None)  # by a list, or decided on
IS_HERE = records.c.gone_at.is_(None)


@lru_cache(maxsize=4096)
def _loaded(entity: Entity, values: tuple[tuple[str, Any], ...]) -> Record:
    return load_record(entity, dict(values))


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
        # A loaded record is immutable, and the same courses and lessons are used all the time.
        return _loaded(self.entity, tuple(self.values.items()))


@dataclass(frozen=True, slots=True)
class SeenVersion:
    """A version of a record as one row of a list shows it; fields the row omits are None.

    `digest` covers the fields that decisions depend on. `is_whole`: the row omits none of them, so
    the digest equals the record's own. `changed_at` is the time by which lists are filtered.
    `full_name` is the member's; only enrolments have it. It is short, as an index has it.
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
    accept_records(connection, [(entity, record, now)])


def accept_records(
    connection: Connection, found: Iterable[tuple[Entity, Record, datetime]]
) -> None:
    """Store these records, each with the time before it was requested, as `accept_record` does."""
    rows = [
        {
            "entity": entity,
            "record_id": record.record_id,
            "record": dump_record(entity, record),
            "updated_at": record.updated_at,
            "source_created_at": getattr(record, "created_at", None),
            "fetched_at": asked_at,
            "gone_at": None,
            "far": asked_at + _FAR,
        }
        | {name: getattr(record, name, None) for name in REFERENCES}
        for entity, record, asked_at in found
    ]
    if rows:
        connection.execute(_accepting(connection.dialect.name), rows)


_ACCEPTED = ("record", "updated_at", "source_created_at", "fetched_at", "gone_at", *REFERENCES)


@cache
def _accepting(dialect: str) -> Insert:
    statement = insert_for(dialect, records)
    given = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[records.c.entity, records.c.record_id],
        set_={name: given[name] for name in _ACCEPTED},
        where=or_(
            records.c.updated_at.is_(None),
            records.c.updated_at <= given.updated_at,
            records.c.updated_at > bindparam("far", type_=Instant),
        ),
    )


# Statements of frequent operations are built once: building one costs more than running it.
_IS_THIS = (records.c.entity == bindparam("kind")) & (records.c.record_id == bindparam("this"))
_IS_AMONG = (records.c.entity == bindparam("kind")) & records.c.record_id.in_(
    bindparam("these", expanding=True)
)
_MARK_GONE = update(records).where(_IS_THIS, IS_HERE)


def mark_gone(connection: Connection, entity: Entity, record_id: int, now: datetime) -> None:
    """Mark a record as gone from Nexudus; only reading it again revokes that."""
    connection.execute(_MARK_GONE, {"kind": entity, "this": record_id, "gone_at": now})


_upto = bindparam("upto", type_=records.c.decided_upto.type)
_MARK_DECIDED = (
    update(records)
    .where(_IS_THIS)
    .values(
        decided_upto=case((records.c.decided_upto > _upto, records.c.decided_upto), else_=_upto)
    )
)


def mark_decided(
    connection: Connection, versions: Iterable[tuple[Entity, SeenVersion, int, datetime]]
) -> None:
    """Mark these versions as decided on.

    Each comes with the newest notification before it was read, and the time it was accepted with:
    it is at least as new as all notifications up to that one (see `is_answered`). If a newer
    version was accepted meanwhile, that one remains undecided.
    """
    by_record = {(found[0], found[1].record_id): found for found in versions}
    if not by_record:
        return
    ordered = [by_record[key] for key in sorted(by_record)]
    connection.execute(
        _MARK_DECIDED,
        [{"kind": kind, "this": one.record_id, "upto": upto} for kind, one, upto, _ in ordered],
    )
    connection.execute(
        _noting(connection.dialect.name, "decided_digest", is_suppressed=False),
        [_noted(kind, one, fetched_at, "decided_digest") for kind, one, _, fetched_at in ordered],
    )


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
    # A notification from before the baseline still leads to an email; one from before an import
    # does not.
    is_import = suppressed not in {None, Reason.BEFORE_START}
    after = newest_notification(connection) if is_import else 0
    by_id = {one.record_id: one for one in versions}
    rows = [
        _noted(entity, one, now, "seen_digest")
        | {
            "suppressed_reason": suppressed,
            "suppressed_upto": None if suppressed is None else one.changed_at,
            "suppressed_after": after,
        }
        for _, one in sorted(by_id.items())
    ]
    if rows:
        is_suppressed = suppressed is not None
        statement = _noting(connection.dialect.name, "seen_digest", is_suppressed=is_suppressed)
        connection.execute(statement, rows)


def _noted(entity: Entity, one: SeenVersion, now: datetime, digest: str) -> dict[str, object]:
    """Return the row of a version that was seen or decided on."""
    return {
        "entity": entity,
        "record_id": one.record_id,
        "changed_at": one.changed_at,
        digest: one.digest,
        "seen_at": now,
        "created_at": None if one.created_at is None else min(one.created_at, now),
        "full_name": one.full_name,
        "name_key": name_key(one.full_name),
    } | {name: getattr(one, name) for name in REFERENCES}


@cache
def _noting(dialect: str, digest: str, *, is_suppressed: bool) -> Insert:
    statement = insert_for(dialect, records)
    kept = ["changed_at", digest, "seen_at"]
    if is_suppressed:
        kept += ["suppressed_reason", "suppressed_upto", "suppressed_after"]
    given = statement.excluded
    # A decision is noted only of the version that was read for it.
    is_newest = records.c.fetched_at == given.seen_at if digest == "decided_digest" else None
    return statement.on_conflict_do_update(
        index_elements=[records.c.entity, records.c.record_id],
        set_={name: given[name] for name in kept} | _merged(statement),
        where=is_newest,
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
    merged: dict[str, ColumnElement[Any]] = {"created_at": created_at}
    for name in ("full_name", "name_key"):
        merged[name] = func.coalesce(given[name], records.c[name])
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


_last_notification = (
    select(func.max(notifications.c.id))
    .where(
        notifications.c.entity == records.c.entity,
        notifications.c.record_id == records.c.record_id,
    )
    .scalar_subquery()
)
_ANSWERED = select(records.c.record_id).where(records.c.decided_upto >= _last_notification, IS_HERE)
_IS_ANSWERED, _ANSWERED_AMONG = _ANSWERED.where(_IS_THIS), _ANSWERED.where(_IS_AMONG)


def is_answered(connection: Connection, entity: Entity, record_id: int) -> bool:
    """Return whether this record was read and decided on since its last notification."""
    return connection.scalar(_IS_ANSWERED, {"kind": entity, "this": record_id}) is not None


def answered_among(connection: Connection, entity: Entity, record_ids: Collection[int]) -> set[int]:
    """Return which of these records were read and decided on since their last notification."""
    found: set[int] = set()
    for some in chunks(record_ids):
        found.update(connection.scalars(_ANSWERED_AMONG, {"kind": entity, "these": some}))
    return found


def record_of(connection: Connection, entity: Entity, record_id: int) -> StoredRecord | None:
    """Return one record, even if gone; None if it was never read."""
    row = connection.execute(_STORED_ONE, {"kind": entity, "this": record_id}).first()
    return None if row is None else stored_in(row)


_STORED: Select[Any] = select(records.c.record_id, *(records.c[name] for name in STORED)).where(
    records.c.entity == bindparam("kind"), WAS_READ
)
_STORED_ONE = _STORED.where(records.c.record_id == bindparam("this"))
_STORED_AMONG = _STORED.where(records.c.record_id.in_(bindparam("these", expanding=True)))


def records_of(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, StoredRecord]:
    """Return these records by Id, gone ones included; those never read are omitted."""
    found: dict[int, StoredRecord] = {}
    for some in chunks(record_ids):
        rows = connection.execute(_STORED_AMONG, {"kind": entity, "these": some}).all()
        found.update({row.record_id: stored_in(row) for row in rows})
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
    rows = connection.execute(_stored_below(column), {"kind": entity, "parent": parent_id})
    # Not ordered by the database: SQLite would read all records of the kind in that order.
    return [stored_in(row).record for row in sorted(rows, key=lambda row: row.record_id)]


@cache
def _stored_below(column: str) -> Select[Any]:
    is_below = records.c[column] == bindparam("parent")
    return _STORED.where(is_below, IS_HERE)


def stored_where(
    connection: Connection, entity: Entity, where: ColumnElement[bool]
) -> dict[int, StoredRecord]:
    """Return the records that were read and meet a condition on `records`, by Id."""
    rows = connection.execute(_STORED.where(where), {"kind": entity})
    return {row.record_id: stored_in(row) for row in rows}


def stored_in(row: Row[Any]) -> StoredRecord:
    """Return the stored record in a row of `records`; it must have been read by Id."""
    return StoredRecord(
        Entity(row.entity),
        row.record,
        row.fetched_at,
        row.gone_at,
        row.decided_upto is not None,
        References.of(row),
    )


_REFERENCES_OF = select(*(records.c[name] for name in REFERENCES)).where(_IS_THIS)


def references_of(connection: Connection, entity: Entity, record_id: int) -> References:
    """Return what one record refers to, whether read or only listed, even if gone."""
    row = connection.execute(_REFERENCES_OF, {"kind": entity, "this": record_id}).first()
    return References() if row is None else References(*row)
