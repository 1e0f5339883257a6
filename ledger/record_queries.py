"""Reads of many records at once: for comparisons with Nexudus, and to find members by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from ledger.records import IS_HERE, WAS_READ, WAS_SEEN, SeenVersion
from ledger.tables import events, records
from ledger.upsert import portions
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.text import folded


@dataclass(frozen=True, slots=True)
class EarlierEnrolment:
    """An enrolment that was there before the first look, and of which no event was found."""

    course_member_id: int
    course_id: int | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A member as lists of enrolments showed them. Their own record may never have been read."""

    coworker_id: int
    full_name: str


def count_seen(connection: Connection, entity: Entity) -> int:
    """Return how many records of a kind that are here were shown by a list or decided on."""
    seen = select(func.count()).select_from(records)
    return connection.scalar(seen.where(records.c.entity == entity, WAS_SEEN, IS_HERE)) or 0


def last_read_ids(connection: Connection, entity: Entity, most: int) -> list[int]:
    """Return the Ids of records that were read and are not gone, those read last first."""
    rows = connection.scalars(
        select(records.c.record_id)
        .where(records.c.entity == entity, WAS_READ, IS_HERE)
        .order_by(records.c.fetched_at.desc(), records.c.record_id)
        .limit(most)
    )
    return list(rows)


def enrolled_before(connection: Connection, coworker_id: int) -> list[EarlierEnrolment]:
    """Return the enrolments of one person that were there before we began, the oldest first."""
    was_found = exists().where(
        events.c.coworker_id == coworker_id,
        events.c.course_member_id == records.c.record_id,
        events.c.kind == EventKind.ENROLLED,
    )
    rows = connection.execute(
        select(records.c.record_id, records.c.course_id, records.c.created_at)
        .where(
            records.c.entity == Entity.COURSE_MEMBER,
            records.c.coworker_id == coworker_id,
            records.c.suppressed_reason == Reason.BEFORE_START,
            IS_HERE,
            ~was_found,
        )
        .order_by(records.c.created_at, records.c.record_id)
    )
    return [EarlierEnrolment(*row) for row in rows]


def differently_named(
    connection: Connection, entity: Entity, versions: Sequence[SeenVersion]
) -> list[SeenVersion]:
    """Return those of `versions` that are kept without a name, or with another one."""
    kept: dict[int, str | None] = {}
    for some in portions(one.record_id for one in versions):
        rows = connection.execute(
            select(records.c.record_id, records.c.full_name).where(
                records.c.entity == entity, records.c.record_id.in_(some), WAS_SEEN
            )
        )
        kept.update({row.record_id: row.full_name for row in rows})
    return [
        one
        for one in versions
        if one.full_name is not None
        and one.record_id in kept
        and kept[one.record_id] != one.full_name
    ]


def keep_names(connection: Connection, entity: Entity, versions: Sequence[SeenVersion]) -> None:
    """Keep the names of these, and change nothing else that is known of them."""
    if versions:
        statement = (
            update(records)
            .where(records.c.entity == entity, records.c.record_id == bindparam("which"))
            .values(full_name=bindparam("name"))
        )
        ordered = sorted(versions, key=lambda one: one.record_id)
        connection.execute(
            statement, [{"which": one.record_id, "name": one.full_name} for one in ordered]
        )


def members_by_name(connection: Connection, part: str) -> list[ListedMember]:
    """Return all members of enrolments whose name contains this, by Id.

    Members whose enrolments are all gone only if an event is about them. Text is compared as
    `folded` says; all names are read, since no index helps with a part.
    """
    wanted = folded(part)
    if not wanted:
        return []
    happened = exists().where(events.c.coworker_id == records.c.coworker_id)
    rows = connection.execute(
        _names_of_members().where(or_(IS_HERE, happened)).execution_options(yield_per=1_000)
    )
    found = {row.coworker_id: row.full_name for row in rows if wanted in folded(row.full_name)}
    return [ListedMember(*one) for one in found.items()]


def name_of_member(connection: Connection, coworker_id: int) -> str | None:
    """Return the name that lists of enrolments showed of one person, also if those are gone."""
    row = connection.execute(
        _names_of_members().where(records.c.coworker_id == coworker_id)
    ).first()
    return None if row is None else str(row.full_name)


def _names_of_members() -> Select[tuple[int, str]]:
    return (
        select(records.c.coworker_id, records.c.full_name)
        .distinct()
        .where(
            records.c.entity == Entity.COURSE_MEMBER,
            records.c.coworker_id.is_not(None),
            records.c.full_name.is_not(None),
        )
        .order_by(records.c.coworker_id, records.c.full_name)
    )
