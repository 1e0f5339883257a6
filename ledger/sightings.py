"""Sightings: which version of each record was asked about or decided on, as far as lists tell.

A list shows the same rows again and again. One whose version is here needs no further read; one
that is new, or differs, is news. What was there before we began, or was brought in without an
email, carries the reason why nobody is written to about it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    update,
)

from ledger.snapshots import newest_news
from ledger.tables import events, sightings
from ledger.upsert import insert_into
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.text import folded

_KEPT_FIELDS = (
    "created_at",
    "course_id",
    "coworker_id",
    "course_member_id",
    "lesson_id",
    "full_name",
)
_AT_ONCE = 500  # rows of one statement: databases take only so many values


@dataclass(frozen=True, slots=True)
class Sighting:
    """One row as a list showed it. `digest` is of the fields that we read.

    `is_whole`: none of these was left out, so that the digest is that of the record itself.
    `changed_at` is the time by which such lists are asked for. What the row leaves out is None.
    `full_name` is the member's, of enrolments only.
    """

    record_id: int
    changed_at: datetime
    digest: str
    is_whole: bool = True
    created_at: datetime | None = None
    course_id: int | None = None
    coworker_id: int | None = None
    course_member_id: int | None = None
    lesson_id: int | None = None
    full_name: str | None = None


def unknown_among(
    connection: Connection, entity: Entity, seen: Sequence[Sighting]
) -> list[Sighting]:
    """Return those of `seen` whose version was neither asked about nor decided on yet."""
    known: dict[int, Row[Any]] = {}
    for some in _portions(seen):
        rows = connection.execute(
            select(
                sightings.c.record_id,
                sightings.c.digest,
                sightings.c.decided,
                sightings.c.changed_at,
            ).where(
                sightings.c.entity == entity,
                sightings.c.record_id.in_([one.record_id for one in some]),
                sightings.c.gone_at.is_(None),
            )
        )
        known.update({row.record_id: row for row in rows})
    return [one for one in seen if not _is_known(one, known.get(one.record_id))]


def _is_known(one: Sighting, known: Row[Any] | None) -> bool:
    if known is None:
        return False
    changed_at, decided_at = (
        moment.replace(microsecond=0) for moment in (one.changed_at, known.changed_at)
    )
    if not one.is_whole:
        # What is left out may have changed; only that nothing changed since proves it the same.
        return changed_at == decided_at
    if one.digest == known.decided:
        return True
    # It was asked about, and another version may have been decided on meanwhile: this one again is
    # news. Unless nothing has changed since, and lists just spell it otherwise than records.
    return one.digest == known.digest and (known.decided is None or changed_at <= decided_at)


def note_sightings(
    connection: Connection,
    entity: Entity,
    seen: Iterable[Sighting],
    now: datetime,
    quiet: Reason | None = None,
) -> None:
    """Keep these as what lists showed, and so as asked about.

    With `quiet` nobody is written to about what happened to them until now. What was said of a
    record before stays as it is.
    """
    _keep(connection, entity, seen, now, "digest", quiet)


def note_decided(
    connection: Connection, entity: Entity, seen: Iterable[Sighting], now: datetime
) -> None:
    """Keep these as the versions that were decided on, whoever told of them."""
    _keep(connection, entity, seen, now, "decided", None)


def _keep(  # noqa: PLR0913, PLR0917 - what, when, and as what
    connection: Connection,
    entity: Entity,
    seen: Iterable[Sighting],
    now: datetime,
    kept_as: str,
    quiet: Reason | None,
) -> None:
    # Whoever was told before we first looked is written to; an import leaves out what was told.
    after = 0 if quiet in {None, Reason.BEFORE_START} else newest_news(connection)
    for some in _portions(list({one.record_id: one for one in seen}.values())):
        rows = [{**_row(entity, one, now, kept_as, quiet), "quiet_after": after} for one in some]
        statement = insert_into(connection, sightings).values(rows)
        given = statement.excluded
        again: dict[str, ColumnElement[Any]] = {
            name: func.coalesce(given[name], sightings.c[name]) for name in _KEPT_FIELDS
        }
        # It was made no later than when it was first seen, whatever the source says.
        again["created_at"] = func.coalesce(
            case((sightings.c.created_at < given.created_at, sightings.c.created_at)),
            given.created_at,
            sightings.c.created_at,
        )
        again |= {name: given[name] for name in ("changed_at", kept_as, "seen_at")}
        if quiet is not None:
            again |= {name: given[name] for name in ("reason", "quiet_upto", "quiet_after")}
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[sightings.c.entity, sightings.c.record_id],
                set_={**again, "gone_at": None},
            )
        )


def _row(
    entity: Entity, one: Sighting, now: datetime, kept_as: str, quiet: Reason | None
) -> dict[str, object | None]:
    return {
        "entity": entity,
        "record_id": one.record_id,
        "changed_at": one.changed_at,
        kept_as: one.digest,
        "seen_at": now,
        "reason": quiet,
        "quiet_upto": None if quiet is None else one.changed_at,
        **{name: getattr(one, name) for name in _KEPT_FIELDS},
        "created_at": None if one.created_at is None else min(one.created_at, now),
    }


def forget_sighting(connection: Connection, entity: Entity, record_id: int, now: datetime) -> None:
    """Note that the source no longer has this record."""
    connection.execute(
        update(sightings)
        .where(
            sightings.c.entity == entity,
            sightings.c.record_id == record_id,
            sightings.c.gone_at.is_(None),
        )
        .values(gone_at=now)
    )


def sighting_of(connection: Connection, entity: Entity, record_id: int) -> Sighting | None:
    """Return what lists showed of one record, also if it is gone."""
    row = connection.execute(
        select(sightings).where(sightings.c.entity == entity, sightings.c.record_id == record_id)
    ).first()
    if row is None:
        return None
    kept = {name: getattr(row, name) for name in _KEPT_FIELDS}
    return Sighting(row.record_id, row.changed_at, row.digest or row.decided, **kept)


@dataclass(frozen=True, slots=True)
class EarlierEnrolment:
    """An enrolment that was there before we first looked, and of which no event was found."""

    course_member_id: int
    course_id: int | None
    created_at: datetime | None


def enrolled_before(connection: Connection, coworker_id: int) -> list[EarlierEnrolment]:
    """Return the enrolments of one person that were there before we began, the oldest first."""
    was_found = exists().where(
        events.c.coworker_id == coworker_id,
        events.c.course_member_id == sightings.c.record_id,
        events.c.kind == EventKind.ENROLLED,
    )
    rows = connection.execute(
        select(sightings.c.record_id, sightings.c.course_id, sightings.c.created_at)
        .where(
            sightings.c.entity == Entity.COURSE_MEMBER,
            sightings.c.coworker_id == coworker_id,
            sightings.c.reason == Reason.BEFORE_START,
            sightings.c.gone_at.is_(None),
            ~was_found,
        )
        .order_by(sightings.c.created_at, sightings.c.record_id)
    )
    return [EarlierEnrolment(*row) for row in rows]


def differently_named(
    connection: Connection, entity: Entity, seen: Sequence[Sighting]
) -> list[Sighting]:
    """Return those of `seen` that are kept without a name, or with another one."""
    kept: dict[int, str | None] = {}
    for some in _portions(seen):
        rows = connection.execute(
            select(sightings.c.record_id, sightings.c.full_name).where(
                sightings.c.entity == entity,
                sightings.c.record_id.in_([one.record_id for one in some]),
            )
        )
        kept.update({row.record_id: row.full_name for row in rows})
    return [
        one
        for one in seen
        if one.full_name is not None
        and one.record_id in kept
        and kept[one.record_id] != one.full_name
    ]


def keep_names(connection: Connection, entity: Entity, seen: Sequence[Sighting]) -> None:
    """Keep the names of these, and change nothing else of what is known of them."""
    if seen:
        statement = (
            update(sightings)
            .where(sightings.c.entity == entity, sightings.c.record_id == bindparam("which"))
            .values(full_name=bindparam("name"))
        )
        ordered = sorted(seen, key=lambda one: one.record_id)
        named = [{"which": one.record_id, "name": one.full_name} for one in ordered]
        connection.execute(statement, named)


@dataclass(frozen=True, slots=True)
class ListedMember:
    """Somebody whom lists of enrolments showed. Their own record may never have been read."""

    coworker_id: int
    full_name: str


def members_by_name(connection: Connection, part: str) -> list[ListedMember]:
    """Return everybody with an enrolment that has this in its member's name, by Id.

    Those whose enrolments are all gone only if anything happened to them since we began. Text is
    compared as `folded` says; all names are read, since no index helps with a part.
    """
    wanted = folded(part)
    if not wanted:
        return []
    happened = exists().where(events.c.coworker_id == sightings.c.coworker_id)
    rows = connection.execute(
        _names_of_members()
        .where(or_(sightings.c.gone_at.is_(None), happened))
        .execution_options(yield_per=1_000)
    )
    found = {row.coworker_id: row.full_name for row in rows if wanted in folded(row.full_name)}
    return [ListedMember(*one) for one in found.items()]


def name_of_member(connection: Connection, coworker_id: int) -> str | None:
    """Return the name that lists of enrolments showed of one person, also if those are gone."""
    row = connection.execute(
        _names_of_members().where(sightings.c.coworker_id == coworker_id)
    ).first()
    return None if row is None else str(row.full_name)


def _names_of_members() -> Select[tuple[int, str]]:
    return (
        select(sightings.c.coworker_id, sightings.c.full_name)
        .distinct()
        .where(
            sightings.c.entity == Entity.COURSE_MEMBER,
            sightings.c.coworker_id.is_not(None),
            sightings.c.full_name.is_not(None),
        )
        .order_by(sightings.c.coworker_id, sightings.c.full_name)
    )


def count_sightings(connection: Connection, entity: Entity) -> int:
    """Return how many records of a kind lists showed that are not gone."""
    there = (sightings.c.entity == entity, sightings.c.gone_at.is_(None))
    return connection.scalar(select(func.count()).select_from(sightings).where(*there)) or 0


def _portions(seen: Sequence[Sighting]) -> Iterable[Sequence[Sighting]]:
    return (seen[first : first + _AT_ONCE] for first in range(0, len(seen), _AT_ONCE))
