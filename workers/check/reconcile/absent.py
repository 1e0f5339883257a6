"""What is known here and was not on a list: whether that is believed, and what is known of it."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from ledger.engine import Connection
from ledger.record_queries import known_among
from ledger.records import records_of
from schemas.entity import Entity
from schemas.records import CompletedLesson, CourseMember, Record
from workers.check.reconcile.values import Difference, Way


def gone_of(
    connection: Connection, entity: Entity, record_ids: Collection[int]
) -> tuple[list[Difference], int]:
    """Return those of these that are still here, and how many more somebody will read anyway."""
    ordered = sorted(record_ids)
    known = known_among(connection, entity, ordered)
    here = [one for one in ordered if one in known and known[one].is_here]
    idle = [one for one in here if not known[one].is_under_way]
    read = records_of(connection, entity, idle)
    found = []
    for record_id in idle:
        stored, one = read.get(record_id), known[record_id]
        record = None if stored is None else stored.record
        at = one.changed_at or _at(record)
        difference = Difference(Way.GONE, entity, record_id, one.references, at, reason=one.reason)
        found.append(_named(difference, record))
    return found, len(here) - len(idle)


def _at(record: Record | None) -> datetime | None:
    if isinstance(record, CompletedLesson):
        return record.created_at
    return None if record is None else record.updated_at


def _named(one: Difference, record: Record | None) -> Difference:
    match record:
        case CourseMember():
            return replace(one, person=record.full_name, course=record.course_title)
        case CompletedLesson():
            return replace(one, person=record.full_name, lesson=record.lesson_title)
        case _:
            return one
