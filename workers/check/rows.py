"""From a row of a list, or a record, to a sighting: its version and what it refers to. Pure.

A version is what decisions depend on. A row is put into the form of the record before it is
digested, so that one spelling of the source is not news against another.
"""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from marshmallow import ValidationError

from ledger.sightings import Sighting
from schemas.entity import Entity
from schemas.fields import RecordId, SourceTime
from schemas.records import CompletedLesson, CourseMember, Record
from workers.source.client import whole_record
from workers.source.lists import CHANGED_BY, Changed, Row

_ID, _TIME = RecordId(), SourceTime()
# What decisions depend on. That somebody was here, or changed their name, is no news.
_DECISIVE = {
    Entity.COURSE_MEMBER: ("created_at", "course_id", "coworker_id", "approved", "blocked"),
    Entity.COMPLETED_LESSON: ("created_at", "course_member_id", "lesson_id"),
}
# Where a row says what the record refers to.
_REFERENCES = {
    "course_id": "CourseId",
    "coworker_id": "CoworkerId",
    "course_member_id": "CourseMemberId",
    "lesson_id": "CourseLessonId",
}


def sighting_of_record(entity: Entity, record: Record) -> Sighting:
    """Return the version of a record as it was read by its Id, or on a whole row."""
    by_creation = entity in CHANGED_BY
    created_at = getattr(record, "created_at", None)
    return Sighting(
        record.record_id,
        created_at if by_creation and created_at else record.updated_at,
        _digest([getattr(record, name) for name in _DECISIVE[entity]]),
        created_at=created_at,
        course_id=record.course_id if isinstance(record, CourseMember) else None,
        coworker_id=record.coworker_id if isinstance(record, CourseMember) else None,
        course_member_id=record.course_member_id if isinstance(record, CompletedLesson) else None,
        lesson_id=record.lesson_id if isinstance(record, CompletedLesson) else None,
    )


def sighting_of_row(entity: Entity, record_id: int, at: datetime, row: Row) -> Sighting:
    """Return the version of a row of a list; `at` is its time of change. Rows may be partial."""
    record = whole_record(entity, row)
    if record is not None:
        return sighting_of_record(entity, record)
    references = {name: _id_in(row, field) for name, field in _REFERENCES.items()}
    created_at = _time_in(row, "CreatedOn")
    known = {name: row[name] for name in sorted(row) if isinstance(row[name], (str, int, bool))}
    return Sighting(
        record_id, at, _digest(known), is_whole=False, created_at=created_at, **references
    )


def sightings_of(entity: Entity, changed: Iterable[Changed]) -> list[Sighting]:
    """Return the versions of one page of changes."""
    return [sighting_of_row(entity, one.record_id, one.at, one.row) for one in changed]


def _id_in(row: Row, field: str) -> int | None:
    with suppress(ValidationError):
        found: int | None = _ID.deserialize(row.get(field))
        return found
    return None


def _time_in(row: Row, field: str) -> datetime | None:
    with suppress(ValidationError):
        found: datetime | None = _TIME.deserialize(row.get(field))
        return found
    return None


def _digest(values: object) -> str:
    # Not by the schema's own dump: a first look goes over hundreds of thousands of rows.
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
