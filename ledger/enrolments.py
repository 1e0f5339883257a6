"""Enrolments with what members finished, and when they were last active, of one course or of all.

Digests, and the pages that show where members are, use the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, String, and_, cast, func, select, true

from ledger.records import IS_HERE
from ledger.tables import RARER_EVENTS, events, records
from schemas.entity import Entity
from schemas.events import EventKind

_IN_ONE_GO = 2_000  # rows that are in memory at once
_done = records.alias("done")
_created_at = _done.c.created_at
_of_it = and_(
    _done.c.entity == Entity.COMPLETED_LESSON,
    _done.c.course_member_id == records.c.record_id,
    _done.c.gone_at.is_(None),
)
_ENROLMENTS = select(
    records.c.record_id,
    records.c.coworker_id,
    records.c.course_id,
    func.coalesce(records.c.source_created_at, records.c.created_at).label("begun"),
    # Of the mere column SQLite would take the index by time, and read the lessons of everybody.
    select(func.max(func.coalesce(_created_at, _created_at)))
    .where(_of_it)
    .scalar_subquery()
    .label("last_done"),
    select(func.aggregate_strings(cast(_done.c.lesson_id, String), " "))
    .where(_of_it)
    .scalar_subquery()
    .label("lesson_ids"),
    records.c.record["LastAccess"].as_string().label("opened"),
    records.c.record["Approved"].as_boolean().label("approved"),
    records.c.record["Blocked"].as_boolean().label("blocked"),
).where(records.c.entity == Entity.COURSE_MEMBER, IS_HERE)


@dataclass(frozen=True, slots=True)
class ActiveEnrolment:
    """A place on a course, with the Ids of the lessons that are done.

    `last_active_at` is when the member last enrolled, finished a lesson or, as far as it was read,
    opened the course.
    """

    course_id: int
    coworker_id: int
    course_member_id: int
    last_active_at: datetime
    has_begun: bool
    done: frozenset[int]


def active_enrolments(
    connection: Connection, course_id: int | None = None
) -> Iterator[ActiveEnrolment]:
    """Yield the enrolments that are here, without those blocked or waiting for approval."""
    is_meant = true() if course_id is None else records.c.course_id == course_id
    wanted = _ENROLMENTS.where(is_meant)
    rows = connection.execute(wanted, execution_options={"yield_per": _IN_ONE_GO})
    for row in rows:
        if None in {row.coworker_id, row.course_id} or row.approved is False or row.blocked is True:
            continue
        opened = None if row.opened is None else datetime.fromisoformat(row.opened)
        moments = [at for at in (row.begun, row.last_done, opened) if at is not None]
        if moments:
            yield ActiveEnrolment(
                *(row.course_id, row.coworker_id, row.record_id, max(moments)),
                has_begun=row.last_done is not None,
                done=frozenset(map(int, (row.lesson_ids or "").split())),
            )


def finished_courses(connection: Connection) -> set[tuple[int, int]]:
    """Return who was ever found to have finished which course, as Ids of course and coworker."""
    rows = connection.execute(
        select(events.c.course_id, events.c.coworker_id).where(
            events.c.kind == EventKind.COURSE_COMPLETED, RARER_EVENTS
        )
    )
    return {(row.course_id, row.coworker_id) for row in rows}
