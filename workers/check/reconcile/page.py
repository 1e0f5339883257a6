"""Holds one page of a list against what is known here: which of its rows are news, and why."""

from collections.abc import Mapping, Sequence

from ledger.engine import Connection
from ledger.record_queries import KnownRecord, known_among
from ledger.records import References, SeenVersion, records_of, unknown_among
from schemas.entity import Entity
from schemas.reasons import Reason
from workers.check.reconcile.values import Difference, Way
from workers.check.rows import version_of_record
from workers.source.records import Row

# Where rows say what people know records by.
_NAMES: dict[str, tuple[str, ...]] = {
    "person": ("CoworkerFullName", "CourseMemberCoworkerFullName"),
    "course": ("CourseTitle",),
    "lesson": ("CourseLessonTitle",),
}
_REFERENCES = ("course_id", "coworker_id", "course_member_id", "lesson_id")


def differences_on(
    connection: Connection, entity: Entity, seen: Sequence[SeenVersion], rows: Mapping[int, Row]
) -> tuple[list[Difference], int]:
    """Return what of these rows differs, and of how many it will be known once they were read."""
    known = known_among(connection, entity, [one.record_id for one in seen])
    unknown = {one.record_id for one in unknown_among(connection, entity, seen)}
    unknown -= _same_as_read(connection, entity, [one for one in seen if one.record_id in unknown])
    found, under_way = [], 0
    for one in seen:
        here = known.get(one.record_id, KnownRecord())
        way = _way(one, here, is_unknown=one.record_id in unknown)
        if here.is_under_way:
            under_way += 1
        elif way is not None:
            found.append(_difference(way, entity, one, rows[one.record_id], here.reason))
    return found, under_way


def _same_as_read(connection: Connection, entity: Entity, seen: Sequence[SeenVersion]) -> set[int]:
    """Return which of these are the version that was read by itself and decided on.

    No list may have shown them yet, as with a ledger that is older than our lists.
    """
    read = records_of(connection, entity, [one.record_id for one in seen])
    same = set()
    for one in seen:
        stored = read.get(one.record_id)
        if stored is not None and stored.is_decided:
            ours = version_of_record(entity, stored.record)
            at_once = one.changed_at.replace(microsecond=0) == ours.changed_at.replace(
                microsecond=0
            )
            if one.digest == ours.digest or (not one.is_whole and at_once):
                same.add(one.record_id)
    return same


def _way(one: SeenVersion, here: KnownRecord, *, is_unknown: bool) -> Way | None:
    if not here.is_here:
        return Way.MISSING
    # Asked about is as good as read, unless the reading failed.
    never_read = here.failed and one.digest != here.decided_digest
    if never_read and not here.was_decided and not here.was_read:
        return Way.MISSING
    refers_elsewhere = any(
        None not in {ours, theirs} and ours != theirs
        for ours, theirs in (
            (getattr(here.references, name), getattr(one, name)) for name in _REFERENCES
        )
    )
    return Way.DIFFERENT if is_unknown or never_read or refers_elsewhere else None


def _difference(
    way: Way, entity: Entity, one: SeenVersion, row: Row, reason: Reason | None
) -> Difference:
    references = References(*(getattr(one, name) for name in _REFERENCES))
    named = {what: _text_in(row, fields) for what, fields in _NAMES.items()}
    return Difference(
        way, entity, one.record_id, references, one.changed_at, reason=reason, seen=one, **named
    )


def _text_in(row: Row, fields: Sequence[str]) -> str | None:
    for field in fields:
        value = row.get(field)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None
