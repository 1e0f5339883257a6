"""Reads of many records at once: for comparisons with Nexudus, and to find members by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from ledger.records import IS_HERE, REFERENCES, WAS_READ, WAS_SEEN, References, SeenVersion
from ledger.tables import events, lookups, records
from ledger.upsert import portions
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.records import CompletedLesson, load_record
from schemas.states import LookupState
from schemas.text import folded

_IN_ONE_GO = 5_000  # rows that are in memory at once
_FINISHED = (LookupState.DONE, LookupState.FAILED)
_NONE = References()


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """What the ledger knows of one record, and of its lookup.

    `is_here`: a list showed it or it was read, and it is not gone. What follows is only said of
    records that are here. `decided_digest`: the version decided on (see `SeenVersion.digest`), as
    far as that is known. `changed_at`: the source's time of the last change, as lists have it.
    `is_under_way`: a lookup will read it. `reason`: why the last lookup found nothing; one that
    `failed` is not repeated by itself.
    """

    is_here: bool = False
    was_read: bool = False
    was_decided: bool = False
    decided_digest: str | None = None
    changed_at: datetime | None = None
    references: References = _NONE
    is_under_way: bool = False
    failed: bool = False
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """One record that is here, and where it belongs."""

    record_id: int
    course_id: int | None
    course_member_id: int | None


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


def known_among(
    connection: Connection, entity: Entity, record_ids: Sequence[int]
) -> Mapping[int, KnownRecord]:
    """Return what is known of these records; nothing of those never heard of."""
    kept: dict[int, Row[Any]] = {}
    asked: dict[int, Row[Any]] = {}
    for some in portions(record_ids):
        for table, found in ((records, kept), (lookups, asked)):
            rows = connection.execute(
                select(table).where(table.c.entity == entity, table.c.record_id.in_(some))
            )
            found.update({row.record_id: row for row in rows})
    return {
        record_id: _known(kept.get(record_id), asked.get(record_id))
        for record_id in kept.keys() | asked.keys()
    }


def _known(kept: Row[Any] | None, asked: Row[Any] | None) -> KnownRecord:
    is_finished = asked is not None and asked.state in _FINISHED
    lookup: dict[str, Any] = {
        "is_under_way": asked is not None and not is_finished,
        "failed": asked is not None and asked.state == LookupState.FAILED,
        "reason": None,
    }
    if asked is not None and is_finished and asked.reason:
        lookup["reason"] = Reason(asked.reason)
    if kept is None or kept.gone_at is not None:
        return KnownRecord(**lookup)
    return KnownRecord(
        is_here=True,
        was_read=kept.fetched_at is not None,
        was_decided=kept.decided_digest is not None or kept.decided_upto is not None,
        decided_digest=kept.decided_digest,
        changed_at=kept.changed_at,
        references=References(*(getattr(kept, name) for name in REFERENCES)),
        **lookup,
    )


def held_records(
    connection: Connection, entity: Entity, since: datetime | None
) -> Iterator[HeldRecord]:
    """Yield every record of a kind that is here; with `since`, those changed since then.

    Changed as lists have it: completions by when they were made, others by their last change.
    """
    wanted = select(
        records.c.record_id,
        records.c.course_id,
        records.c.course_member_id,
        records.c.changed_at,
        case((records.c.changed_at.is_(None), records.c.record)).label("unlisted"),
    ).where(records.c.entity == entity, IS_HERE)
    if since is not None:
        is_unlisted = and_(records.c.changed_at.is_(None), records.c.updated_at >= since)
        wanted = wanted.where(or_(records.c.changed_at >= since, is_unlisted))
    for row in _streamed(connection, wanted):
        if since is None or row.changed_at is not None or _is_since(entity, row.unlisted, since):
            yield HeldRecord(row.record_id, row.course_id, row.course_member_id)


def _is_since(entity: Entity, unlisted: Any, since: datetime) -> bool:  # noqa: ANN401 - JSON
    record = load_record(entity, unlisted)
    at = record.created_at if isinstance(record, CompletedLesson) else record.updated_at
    return at >= since


def courses_of_enrolments(connection: Connection) -> dict[int, int]:
    """Return to which course each enrolment that we ever saw belongs, also those that are gone."""
    every = select(records.c.record_id, records.c.course_id).where(
        records.c.entity == Entity.COURSE_MEMBER, records.c.course_id.is_not(None)
    )
    return {row.record_id: row.course_id for row in _streamed(connection, every)}


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


def _streamed(connection: Connection, statement: Select[Any]) -> Iterator[Row[Any]]:
    return iter(connection.execute(statement, execution_options={"yield_per": _IN_ONE_GO}))
