"""What is known here of the source's records, whichever way it came: by a list or by a reading.

It only reads. What of it is still true is for whoever compares it with the source.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, exists, select

from ledger.tables import lookups, people, sightings, snapshots
from schemas.entity import Entity
from schemas.reasons import Reason
from schemas.records import CompletedLesson, Record, load_record
from schemas.states import LookupState

_AT_ONCE = 500  # values of one statement: databases take only so many
_IN_ONE_GO = 5_000  # rows that are in memory at once
_FINISHED = (LookupState.DONE, LookupState.FAILED)
_REFERENCES = ("course_id", "coworker_id", "course_member_id", "lesson_id")


@dataclass(frozen=True, slots=True)
class References:
    """What a record refers to, by Id; None where it is not known or there is no such thing."""

    course_id: int | None = None
    coworker_id: int | None = None
    course_member_id: int | None = None
    lesson_id: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What there is here of one record.

    `listed`: a list showed it; `read`: it was read by itself; neither counts once it was found to
    be gone. `decided`: of which version (see `Sighting.digest`) we know that it was decided on.
    `is_under_way`: somebody will read it. `reason`: why the last look-up of it found nothing;
    `failed`: it is not repeated by itself.
    """

    listed: bool = False
    read: bool = False
    was_decided: bool = False
    decided: str | None = None
    references: References = References()
    is_under_way: bool = False
    failed: bool = False
    reason: Reason | None = None

    @property
    def is_here(self) -> bool:
        """Say whether the record is there, as far as we know."""
        return self.listed or self.read


@dataclass(frozen=True, slots=True)
class Held:
    """One record that is here and not gone, and where it belongs."""

    record_id: int
    course_id: int | None
    course_member_id: int | None


def known_among(
    connection: Connection, entity: Entity, record_ids: Sequence[int]
) -> Mapping[int, Known]:
    """Return what is known of these records; nothing of those never heard of."""
    by_list = {
        row.record_id: row
        for row in _rows(connection, sightings, entity, record_ids)
        if row.gone_at is None
    }
    by_reading = {
        row.record_id: row
        for row in _rows(connection, snapshots, entity, record_ids)
        if row.gone_at is None
    }
    asked = {row.record_id: row for row in _rows(connection, lookups, entity, record_ids)}
    return {
        record_id: _known(by_list.get(record_id), by_reading.get(record_id), asked.get(record_id))
        for record_id in by_list.keys() | by_reading.keys() | asked.keys()
    }


def _known(listed: Row[Any] | None, read: Row[Any] | None, asked: Row[Any] | None) -> Known:
    decided = None if listed is None else listed.decided
    finished = asked is not None and asked.state in _FINISHED
    held = [row for row in (listed, read) if row is not None]
    references = {
        name: next((getattr(row, name) for row in held if getattr(row, name) is not None), None)
        for name in _REFERENCES
    }
    return Known(
        listed=listed is not None,
        read=read is not None,
        was_decided=decided is not None or (read is not None and read.decided_upto is not None),
        decided=decided,
        references=References(**references),
        is_under_way=asked is not None and not finished,
        failed=asked is not None and asked.state == LookupState.FAILED,
        reason=Reason(asked.reason) if asked is not None and finished and asked.reason else None,
    )


def held_records(connection: Connection, entity: Entity, since: datetime | None) -> Iterator[Held]:
    """Yield every record of a kind that is here and not gone; with `since`, changed since then.

    Changed as lists have it: completions by when they were made, others by their last change.
    """
    still = [sightings.c.entity == entity, sightings.c.gone_at.is_(None)]
    columns = [sightings.c.record_id, sightings.c.course_id, sightings.c.course_member_id]
    listed = select(*columns).where(*still)
    if since is not None:
        listed = listed.where(sightings.c.changed_at >= since)
    for row in _streamed(connection, listed):
        yield Held(row.record_id, row.course_id, row.course_member_id)
    also_listed = exists().where(*still, sightings.c.record_id == snapshots.c.record_id)
    read = select(snapshots).where(
        snapshots.c.entity == entity, snapshots.c.gone_at.is_(None), ~also_listed
    )
    if since is not None:
        read = read.where(snapshots.c.updated_at >= since)
    for row in _streamed(connection, read):
        if since is None or _changed_at(load_record(entity, row.record)) >= since:
            yield Held(row.record_id, row.course_id, row.course_member_id)


def _changed_at(record: Record) -> datetime:
    return record.created_at if isinstance(record, CompletedLesson) else record.updated_at


def courses_of_enrolments(connection: Connection) -> dict[int, int]:
    """Return to which course each enrolment that we ever saw belongs, also those that are gone."""
    found: dict[int, int] = {}
    for table in (snapshots, sightings):
        every = select(table.c.record_id, table.c.course_id).where(
            table.c.entity == Entity.COURSE_MEMBER, table.c.course_id.is_not(None)
        )
        found.update({row.record_id: row.course_id for row in _streamed(connection, every)})
    return found


def records_of(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, tuple[Record, bool]]:
    """Return these records as they were read last, also if gone, and whether they were decided on.

    Those that were never read by themselves are left out.
    """
    return {
        row.record_id: (load_record(entity, row.record), row.decided_upto is not None)
        for row in _rows(connection, snapshots, entity, record_ids)
    }


def last_changes(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> dict[int, datetime]:
    """Return the source's time of the last change of these, as far as lists showed them."""
    rows = _rows(connection, sightings, entity, record_ids)
    return {row.record_id: row.changed_at for row in rows}


def names_of(connection: Connection, coworker_ids: Collection[int]) -> dict[int, str]:
    """Return the names of these people, as far as we know them."""
    return {
        row.coworker_id: row.full_name
        for some in _portions(coworker_ids)
        for row in connection.execute(
            select(people.c.coworker_id, people.c.full_name).where(people.c.coworker_id.in_(some))
        )
    }


def _rows(
    connection: Connection, table: Table, entity: Entity, record_ids: Collection[int]
) -> Iterator[Row[Any]]:
    for some in _portions(record_ids):
        meant: list[ColumnElement[bool]] = [table.c.entity == entity, table.c.record_id.in_(some)]
        yield from connection.execute(select(table).where(*meant))


def _streamed(connection: Connection, statement: Any) -> Iterator[Row[Any]]:  # noqa: ANN401 - a Select of any columns
    return iter(connection.execute(statement, execution_options={"yield_per": _IN_ONE_GO}))


def _portions(record_ids: Iterable[int]) -> Iterator[list[int]]:
    every = list(record_ids)
    return (every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE))
