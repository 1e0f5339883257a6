"""Queries of lookups that are not done: of named records, or of enrolments and their lessons."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, and_, bindparam, case, func, null, select

from ledger.engine import chunks
from ledger.tables import lookups, records
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.reasons import Reason


def states_among(
    connection: Connection, records: Iterable[tuple[Entity, int]]
) -> dict[LookupState, int]:
    """Count the lookups of these records by state."""
    by_entity: dict[Entity, list[int]] = {}
    for entity, record_id in records:
        by_entity.setdefault(entity, []).append(record_id)
    found: Counter[LookupState] = Counter()
    for entity, record_ids in by_entity.items():
        for some in chunks(record_ids):
            rows = connection.execute(
                select(lookups.c.state, func.count().label("number"))
                .where(lookups.c.entity == entity, lookups.c.record_id.in_(some))
                .group_by(lookups.c.state)
            )
            found.update({LookupState(row.state): row.number for row in rows})
    return dict(found)


@dataclass(frozen=True, slots=True)
class OpenLookup:
    """A lookup of an enrolment or of one of its lessons that is not done.

    `reason` is why it last had to wait or failed. `lesson_id` is set if the record is a completion
    that a list lacked: only reading it by its Id shows whether it is gone.
    """

    entity: Entity
    record_id: int
    state: LookupState
    due_at: datetime
    reason: Reason | None
    lesson_id: int | None


def open_lookups(connection: Connection, course_member_ids: Collection[int]) -> list[OpenLookup]:
    """Return the lookups of enrolments and of their lessons that are unfinished or failed."""
    return [one for some in chunks(course_member_ids) for one in _open_lookups(connection, some)]


def _open_lookups(connection: Connection, course_member_ids: list[int]) -> list[OpenLookup]:
    return [
        OpenLookup(
            Entity(row.entity),
            row.record_id,
            LookupState(row.state),
            row.due_at,
            None if row.reason is None else Reason(row.reason),
            row.lesson_id,
        )
        for query in _of_enrolments()
        # Not ordered by the database: SQLite would read all lookups of the kind in that order.
        for row in sorted(
            connection.execute(query, {"members": course_member_ids}),
            key=lambda row: row.record_id,
        )
    ]


@cache
def _of_enrolments() -> tuple[Select[Any], Select[Any]]:
    """Return queries for the open lookups of the enrolments `members`, and of their lessons."""
    lesson = Entity.COMPLETED_LESSON
    members: BindParameter[Any] = bindparam("members", expanding=True)
    columns = (
        *(lookups.c.entity, lookups.c.record_id, lookups.c.state, lookups.c.due_at),
        lookups.c.reason,
    )
    is_open = lookups.c.state != LookupState.DONE
    missing = case((records.c.gone_at.is_not(None), records.c.lesson_id))
    of_enrolment = select(*columns, null().label("lesson_id")).where(
        lookups.c.entity == Entity.COURSE_MEMBER,
        lookups.c.record_id.in_(members),
        is_open,
    )
    of_lessons = (
        select(*columns, missing.label("lesson_id"))
        .join(
            records,
            and_(records.c.entity == lookups.c.entity, records.c.record_id == lookups.c.record_id),
        )
        .where(
            records.c.entity == lesson,
            records.c.course_member_id.in_(members),
            lookups.c.entity == lesson,
            is_open,
        )
    )
    return of_enrolment, of_lessons
