"""Queries about courses: titles, those of a group, and those with an enrolment."""

from datetime import datetime

from sqlalchemy import Connection, and_, select

from ledger.records import IS_HERE, stored_where
from ledger.tables import records
from schemas.entity import Entity
from schemas.records import Course

_IN_ONE_GO = 5_000  # rows that are in memory at once


def course_titles(connection: Connection) -> dict[int, str]:
    """Return the titles of all courses that were read, by Id."""
    rows = connection.execute(
        select(records.c.record_id, records.c.record).where(
            records.c.entity == Entity.COURSE, records.c.record.is_not(None)
        )
    )
    return {row.record_id: str(row.record.get("Title")) for row in rows}


def courses_of_group(connection: Connection, group_name: str, read_since: datetime) -> list[Course]:
    """Return the existing courses of a group that were read since then, by Id.

    Other courses are not known here, or not well enough to name them to anyone. Locations may have
    groups of the same name.
    """
    is_in_group = records.c.record["GroupName"].as_string() == group_name
    is_recent = records.c.fetched_at >= read_since
    found = stored_where(connection, Entity.COURSE, and_(IS_HERE, is_recent, is_in_group))
    courses = (one.record for _, one in sorted(found.items()))
    return [one for one in courses if isinstance(one, Course)]


def courses_of_person(connection: Connection, coworker_id: int) -> set[int]:
    """Return the Ids of the courses that a person has an enrolment in.

    Also of enrolments that were only listed, as those from before the baseline.
    """
    rows = connection.scalars(
        select(records.c.course_id).where(
            records.c.entity == Entity.COURSE_MEMBER,
            records.c.coworker_id == coworker_id,
            records.c.course_id.is_not(None),
            IS_HERE,
        )
    )
    return set(rows)


def courses_of_enrolments(connection: Connection) -> dict[int, int]:
    """Return the course of each enrolment that was ever seen, gone ones included."""
    every = select(records.c.record_id, records.c.course_id).where(
        records.c.entity == Entity.COURSE_MEMBER, records.c.course_id.is_not(None)
    )
    rows = connection.execute(every, execution_options={"yield_per": _IN_ONE_GO})
    return {row.record_id: row.course_id for row in rows}
