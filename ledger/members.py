"""Members as lists of enrolments show them; their own record may never have been read."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, Select, exists, or_, select

from ledger.engine import chunks
from ledger.records import IS_HERE
from ledger.tables import NAMED_RECORDS, events, records
from schemas.entity import Entity
from schemas.text import searched


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A member as lists of enrolments show them. Their own record may never have been read."""

    coworker_id: int
    full_name: str


def members_by_name(
    connection: Connection, part: str, most_read: int | None = None
) -> list[ListedMember]:
    """Return the members of enrolments whose name contains this, by Id: all, or so many.

    Members whose enrolments are all gone are included only if they have an event. Names are
    compared by `folded`.
    """
    wanted = searched(part)
    if not wanted:
        return []
    has_part = records.c.name_key.contains(wanted, autoescape=True)
    happened = exists().where(events.c.coworker_id == records.c.coworker_id)
    rows = connection.execute(
        _names_of_members()
        .where(has_part, or_(IS_HERE, happened))
        .execution_options(yield_per=1_000)
    )
    named = ((row.coworker_id, row.full_name) for row in rows)
    return [ListedMember(*one) for one in dict(islice(named, most_read)).items()]


def members_of_course(connection: Connection, course_id: int, most: int) -> list[ListedMember]:
    """Return the members of a course that are here, by the name under which they were listed."""
    rows = connection.execute(
        select(records.c.coworker_id, records.c.full_name)
        .where(
            records.c.entity == Entity.COURSE_MEMBER,
            records.c.course_id == course_id,
            records.c.coworker_id.is_not(None),
            records.c.full_name.is_not(None),
            IS_HERE,
        )
        .order_by(records.c.full_name, records.c.coworker_id)
        .limit(most)
    )
    return [ListedMember(row.coworker_id, row.full_name) for row in rows]


def name_of_member(connection: Connection, coworker_id: int) -> str | None:
    """Return one person's name from lists of enrolments, even if those are gone."""
    row = connection.execute(
        _names_of_members().where(records.c.coworker_id == coworker_id)
    ).first()
    return None if row is None else str(row.full_name)


def names_of_members(connection: Connection, coworker_ids: Collection[int]) -> dict[int, str]:
    """Return the names of these people from lists of enrolments; unknown ones are omitted."""
    found: dict[int, str] = {}
    for some in chunks(coworker_ids):
        rows = connection.execute(_names_of_members().where(records.c.coworker_id.in_(some)))
        found |= {row.coworker_id: row.full_name for row in rows}
    return found


def _names_of_members() -> Select[tuple[int, str]]:
    return (
        select(records.c.coworker_id, records.c.full_name)
        .distinct()
        .where(
            records.c.entity == Entity.COURSE_MEMBER,
            records.c.coworker_id.is_not(None),
            NAMED_RECORDS,
        )
        .order_by(records.c.coworker_id, records.c.full_name)
    )
