"""Rows of the source's lists: their versions, lookups of them, and reading lists interleaved.

A version covers only the fields that decisions depend on: a changed name or visit is no change.
Values are parsed as in a record, so that a different notation of the same value is no change; only
these few fields of each row, since a baseline reads hundreds of thousands of rows.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from marshmallow import ValidationError, fields

from ledger.clock import Clock
from ledger.engine import Connection, Engine
from ledger.intake import Origin, store_notifications
from ledger.records import SeenVersion, note_seen
from schemas.entity import Entity
from schemas.fields import Flag, RecordId, SourceTime, Text
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import Record
from schemas.records.plain import read_value
from workers.source.reads import Lend
from workers.source.records import CHANGED_BY, Changed, Changes, Row


@dataclass(frozen=True, slots=True)
class SyncContext:
    """What a poll, backfill or comparison works with. `source` lends a client to one thread.

    `every_s` is the time between polls; after `lease_s` without a renewal another worker takes a
    poll over.
    """

    engine: Engine
    source: Lend
    clock: Clock
    every_s: float = 300.0
    lease_s: float = 60.0


def note_changes(  # noqa: PLR0913, PLR0917 - what, its origin, and whether emails are suppressed
    connection: Connection,
    sync: SyncContext,
    entity: Entity,
    seen: Sequence[SeenVersion],
    origin: Origin,
    suppressed: Reason | None = None,
) -> None:
    """Store these versions as seen and request lookups of them, in the caller's transaction.

    With `suppressed` they are read as well, but no email is sent about what happened so far.
    """
    now = sync.clock.now()
    note_seen(connection, entity, seen, now, suppressed)
    request_lookups(connection, sync, entity, [one.record_id for one in seen], origin)


def request_lookups(
    connection: Connection,
    sync: SyncContext,
    entity: Entity,
    record_ids: Iterable[int],
    origin: Origin,
) -> None:
    """Request lookups of these records, as a notification would."""
    notifications = [Notification(entity, record_id) for record_id in record_ids]
    store_notifications(connection, notifications, origin, sync.clock.now())


_ID, _TIME, _FLAG, _TEXT = RecordId(), SourceTime(), Flag(), Text()

# For each attribute of a record: the field of a row, and how it is parsed.
_DECISIVE: Mapping[Entity, Mapping[str, tuple[str, fields.Field[Any]]]] = {
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
    values = {name: _read(field, row.get(key)) for name, (key, field) in _DECISIVE[entity].items()}
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
        full_name=(name.strip() or None) if isinstance(name, str) else None,
    )


def _read(field: fields.Field[Any], value: object) -> object:
    with suppress(ValidationError):
        return read_value(field, value)
    return None


def _digest(values: Mapping[str, Any]) -> str:
    # Seconds: a list may leave out the fractions that a record has (contract, section 2.9).
    texts = (
        value.replace(microsecond=0).isoformat() if isinstance(value, datetime) else str(value)
        for value in values.values()
    )
    return hashlib.sha256("|".join(texts).encode()).hexdigest()[:32]


@dataclass(slots=True)
class ListProgress:
    """Up to when a list was read, by the times of its rows.

    A list that ignores the requested order may show earlier rows at its end, so nothing of it
    counts as read beyond `since` before it ends.
    """

    since: datetime
    reached: datetime = field(init=False)
    is_ordered: bool = True

    def __post_init__(self) -> None:
        self.reached = self.since

    def note(self, page: Changes) -> None:
        """Note that a page was read."""
        moments = [row.at for row in page.rows]
        if moments != sorted(moments) or (moments and moments[-1] < self.reached):
            self.is_ordered, self.reached = False, self.since
        elif moments and self.is_ordered:
            # The next page repeats the whole minute in which this one ended.
            minute = moments[-1].replace(second=0, microsecond=0)
            self.reached = max(self.reached, minute)


@dataclass(slots=True)
class ListCursor:
    """One list of the source, and up to when it was read."""

    entity: Entity
    since: datetime
    pages: Iterator[Changes]
    progress: ListProgress = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.progress = ListProgress(self.since)


def interleave(cursors: Collection[ListCursor]) -> Iterator[tuple[ListCursor, Changes]]:
    """Yield the pages of all lists, always from the one that is furthest behind.

    Raises as the lists do.
    """
    while unfinished := [cursor for cursor in cursors if not cursor.ended]:
        cursor = min(unfinished, key=lambda one: one.progress.reached)
        page = next(cursor.pages, None)
        if page is None:
            cursor.ended = True
            continue
        yield cursor, page
        cursor.progress.note(page)  # the caller has stored this page when it asks for the next


def reached_by(cursors: Collection[ListCursor], until: datetime) -> datetime:
    """Return up to when all lists were read; `until` if all ended."""
    return min(
        (until if cursor.ended else min(cursor.progress.reached, until) for cursor in cursors),
        default=until,
    )
