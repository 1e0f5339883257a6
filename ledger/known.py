"""What the ledger has of the source's records: seen on lists, read by Id, and asked about.

Whoever compares the ledger with the source decides what of it is still true; this only reads.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, case, func, or_, select

from ledger.records import IS_HERE, REFERENCES, WAS_READ
from ledger.tables import lookups, records
from ledger.upsert import portions
from schemas.entity import NO_REFERENCES, Entity, References
from schemas.reasons import Reason
from schemas.records import CompletedLesson, Record, load_record
from schemas.states import LookupState

_IN_ONE_GO = 5_000  # rows that are in memory at once
_FINISHED = (LookupState.DONE, LookupState.FAILED)
_TO_THE_SECOND = len("2026-03-03T12:00:00")  # as records are kept, always in UTC


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as lists showed it. `reason`: why no email is sent about it; `decided`: a digest."""

    reason: str | None = None
    gone_at: datetime | None = None
    references: References = NO_REFERENCES
    changed_at: datetime | None = None
    decided: str | None = None


@dataclass(frozen=True)
class Kept:
    """A record as it was last read by its Id. `is_decided`: events were decided from it."""

    entity: Entity
    values: Mapping[str, Any]
    gone_at: datetime | None = None
    is_decided: bool = True
    references: References = NO_REFERENCES

    @cached_property
    def record(self) -> Record:
        """The record itself, loaded when it is first asked for."""
        return load_record(self.entity, self.values)


@dataclass(frozen=True, slots=True)
class Asked:
    """The state of a lookup, and why it waits or failed."""

    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """All that the ledger has of one record."""

    seen: Seen | None = None
    kept: Kept | None = None
    asked: Asked | None = None

    @property
    def is_here(self) -> bool:
        """Say whether the record exists, as far as the ledger knows."""
        return any(one is not None and one.gone_at is None for one in (self.seen, self.kept))

    @property
    def references(self) -> References:
        """What the record refers to, as far as the ledger knows."""
        found = NO_REFERENCES
        for one in (self.seen, self.kept):
            if one is not None and one.gone_at is None:
                found = found.or_else(one.references)
        return found

    @property
    def is_under_way(self) -> bool:
        """Say whether a worker is about to read it."""
        return self.asked is not None and self.asked.state not in _FINISHED

    @property
    def has_failed(self) -> bool:
        """Say whether its last lookup failed and is not repeated by itself."""
        return self.asked is not None and self.asked.state == LookupState.FAILED

    @property
    def reason(self) -> Reason | None:
        """Why the last lookup of it found nothing."""
        finished = None if self.is_under_way else self.asked
        return Reason(finished.reason) if finished is not None and finished.reason else None


def known_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Known]:
    """Return what is known of these records, also if gone; nothing of those never heard of."""
    rows = {row.record_id: row for row in _rows(connection, records, entity, record_ids)}
    asked = {
        row.record_id: Asked(row.state, row.reason)
        for row in _rows(connection, lookups, entity, record_ids)
    }
    found = {one: Known(asked=asked.get(one)) for one in asked.keys() - rows.keys()}
    for record_id, row in rows.items():
        seen = None
        if row.seen_at is not None:
            seen = Seen(
                row.suppressed_reason,
                row.gone_at,
                References.of(row),
                row.changed_at,
                row.decided_digest,
            )
        kept = None if row.fetched_at is None else _kept(entity, row)
        found[record_id] = Known(seen, kept, asked.get(record_id))
    return found


def kept_among(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, Kept]:
    """Return these records as they were last read by their Ids, also if gone."""
    rows = _rows(connection, records, entity, record_ids)
    return {row.record_id: _kept(entity, row) for row in rows if row.fetched_at is not None}


def kept_below(
    connection: Connection, entity: Entity, column: str, parent_ids: Collection[int]
) -> dict[int, Kept]:
    """Return the records that refer to one of these in that column, also if gone."""
    rows = _rows(connection, records, entity, parent_ids, column)
    return {row.record_id: _kept(entity, row) for row in rows if row.fetched_at is not None}


def kept_created(
    connection: Connection, entity: Entity, since: datetime, until: datetime
) -> dict[int, Kept]:
    """Return the records created then, or up to a day before or after, that are not gone."""
    # Whole days, so that the collation of the database cannot matter.
    first, last = since - timedelta(days=1), until + timedelta(days=2)
    created = records.c.record["CreatedOn"].as_string()
    then = created.between(first.date().isoformat(), last.date().isoformat())
    rows = connection.execute(
        select(records).where(records.c.entity == entity, WAS_READ, IS_HERE, then)
    )
    return {row.record_id: _kept(entity, row) for row in rows}


def count_created(connection: Connection, entity: Entity, since: datetime, until: datetime) -> int:
    """Let the database count the records created in this time, in whole seconds, and not gone."""
    created = func.substr(records.c.record["CreatedOn"].as_string(), 1, _TO_THE_SECOND)
    first, end = (one.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") for one in (since, until))
    counted = select(func.count()).select_from(records)
    return (
        connection.scalar(
            counted.where(records.c.entity == entity, IS_HERE, created >= first, created < end)
        )
        or 0
    )


def records_here(
    connection: Connection, entity: Entity, since: datetime | None
) -> Iterator[tuple[int, References]]:
    """Yield every record of a kind that is here and not gone; with `since`, changed since then.

    Changed as lists have it: completions when they were created, others by their last change.
    """
    wanted = select(
        records.c.record_id,
        *(records.c[name] for name in REFERENCES),
        records.c.changed_at,
        case((records.c.changed_at.is_(None), records.c.record)).label("unlisted"),
    ).where(records.c.entity == entity, IS_HERE)
    if since is not None:
        is_unlisted = and_(records.c.changed_at.is_(None), records.c.updated_at >= since)
        wanted = wanted.where(or_(records.c.changed_at >= since, is_unlisted))
    for row in _streamed(connection, wanted):
        is_listed = since is None or row.changed_at is not None
        if is_listed or _is_since(entity, row.unlisted, since):
            yield row.record_id, References.of(row)


def _is_since(entity: Entity, unlisted: Any, since: datetime | None) -> bool:  # noqa: ANN401 - JSON
    return since is None or changed_at(load_record(entity, unlisted)) >= since


def changed_at(record: Record) -> datetime:
    """Return the time by which lists of changes show this record."""
    return record.created_at if isinstance(record, CompletedLesson) else record.updated_at


def courses_of_enrolments(connection: Connection) -> dict[int, int]:
    """Return the course of each enrolment that was ever seen, also of those gone."""
    every = select(records.c.record_id, records.c.course_id).where(
        records.c.entity == Entity.COURSE_MEMBER, records.c.course_id.is_not(None)
    )
    return {row.record_id: row.course_id for row in _streamed(connection, every)}


def _kept(entity: Entity, row: Row[Any]) -> Kept:
    is_decided = row.decided_upto is not None
    return Kept(entity, row.record, row.gone_at, is_decided, References.of(row))


def _rows(
    connection: Connection,
    table: Table,
    entity: Entity,
    ids: Collection[int],
    column: str = "record_id",
) -> Iterator[Row[Any]]:
    for some in portions(ids):
        meant: list[ColumnElement[bool]] = [table.c.entity == entity, table.c[column].in_(some)]
        yield from connection.execute(select(table).where(*meant))


def _streamed(connection: Connection, statement: Any) -> Iterator[Row[Any]]:  # noqa: ANN401 - a Select of any columns
    return iter(connection.execute(statement, execution_options={"yield_per": _IN_ONE_GO}))
