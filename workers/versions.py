"""Versions of records and of rows of lists, by which a change is recognised.

A version covers only the fields that decisions depend on: a changed name or visit is no change.
Values are parsed as in a record, so that a different notation of the same value is no change; only
these few fields of each row, since a baseline reads hundreds of thousands of rows.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from marshmallow import ValidationError

from ledger.records import SeenVersion
from schemas.entity import Entity
from schemas.fields import Flag, RecordId, SourceTime, Text
from schemas.records import Record
from schemas.records.plain import reader_of
from workers.source.lists import CHANGED_BY, Changed, Row

_LONGEST_NAME = 200  # characters; PostgreSQL refuses index entries of 2,700 bytes
_Reader = Callable[[object], Any]
_ID, _TIME = reader_of(RecordId()), reader_of(SourceTime())
_FLAG, _TEXT = reader_of(Flag()), reader_of(Text())

# For each attribute of a record: the field of a row, and how it is parsed.
_DECISIVE: Mapping[Entity, Mapping[str, tuple[str, _Reader]]] = {
    Entity.COURSE_MEMBER: {
        "created_at": ("CreatedOn", _TIME),
        "course_id": ("CourseId", _ID),
        "coworker_id": ("CoworkerId", _ID),
        "approved": ("Approved", _FLAG),
        "blocked": ("Blocked", _FLAG),
    },
    Entity.COMPLETED_LESSON: {
        "created_at": ("CreatedOn", _TIME),
        "course_member_id": ("CourseMemberId", _ID),
        "lesson_id": ("CourseLessonId", _ID),
    },
}
_KEPT = ("created_at", "course_id", "coworker_id", "course_member_id", "lesson_id")
# Stored beside the version, to find people by name: a new name is no change.
_NAMES = {Entity.COURSE_MEMBER: ("full_name", "CoworkerFullName")}


def version_of_record(entity: Entity, record: Record) -> SeenVersion:
    """Return the version of a record that was fetched by its Id."""
    values = {name: getattr(record, name) for name in _DECISIVE[entity]}
    changed_at = values["created_at"] if entity in CHANGED_BY else record.updated_at
    name = getattr(record, _NAMES[entity][0]) if entity in _NAMES else None
    return _seen(record.record_id, changed_at, values, name)


def version_of_row(entity: Entity, record_id: int, at: datetime, row: Row) -> SeenVersion:
    """Return the version of a row of a list; `at` is its time of change. Rows may be partial."""
    values = {name: _read(read, row.get(key)) for name, (key, read) in _DECISIVE[entity].items()}
    name = _read(_TEXT, row.get(_NAMES[entity][1])) if entity in _NAMES else None
    return _seen(record_id, at, values, name)


def versions_of(entity: Entity, changed: Iterable[Changed]) -> list[SeenVersion]:
    """Return the versions of one page of changes."""
    return [version_of_row(entity, one.record_id, one.at, one.row) for one in changed]


def _seen(
    record_id: int, changed_at: datetime, values: Mapping[str, Any], name: object
) -> SeenVersion:
    return SeenVersion(
        record_id,
        changed_at,
        _digest(values),
        is_whole=None not in values.values(),
        **{kept: values[kept] for kept in _KEPT if kept in values},
        full_name=(name.strip()[:_LONGEST_NAME] or None) if isinstance(name, str) else None,
    )


def _read(read: _Reader, value: object) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


def _digest(values: Mapping[str, Any]) -> str:
    # Seconds: a list may leave out the fractions that a record has (contract, section 2.9).
    texts = [
        value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)
        for value in values.values()
    ]
    return hashlib.sha256("|".join(texts).encode()).hexdigest()[:32]
