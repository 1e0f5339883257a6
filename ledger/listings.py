"""Lists of records below a parent that were read in full, and which stored records they lack."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from ledger.engine import Insert, chunks, insert_for
from ledger.records import IS_HERE, accept_records
from ledger.tables import Instant, listings, records
from schemas.entity import Entity
from schemas.events import TOLERANCE
from schemas.records import Record


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete list of the records of `entity` below `parent` (column name and Id).

    It was requested after `asked_at`. A record read after `sure_before` may be missing from it
    although it exists: it may have been created meanwhile.
    """

    entity: Entity
    parent: tuple[str, int]
    found: Sequence[Record]
    asked_at: datetime
    sure_before: datetime


def accept_listings(connection: Connection, several: Sequence[Listing]) -> list[tuple[Entity, int]]:
    """Store these lists, mark the stored records that one of them lacks as gone, and return those.

    Most lists lack none, which one query shows for all lists of a kind.
    """
    kinds = {(one.entity, one.parent[0]) for one in several}
    below = {kind: _ids_below(connection, *kind, several) for kind in kinds}
    accept_records(
        connection, [(one.entity, record, one.asked_at) for one in several for record in one.found]
    )
    gone = []
    for one in several:
        column, parent_id = one.parent
        present = [record.record_id for record in one.found]
        if below[one.entity, column].get(parent_id, set()) <= set(present):
            continue
        values = {
            "kind": one.entity,
            "parent": parent_id,
            "asked_at": one.sure_before,
            "ahead": one.asked_at + TOLERANCE,
            "present": present,
            "gone_at": one.asked_at,
        }
        found = connection.scalars(_unlisted(column), values).all()
        gone += [(one.entity, record_id) for record_id in sorted(found)]
    note_listings(connection, [(one.entity, one.parent[1], one.asked_at) for one in several])
    return gone


def _ids_below(
    connection: Connection, entity: Entity, column: str, several: Iterable[Listing]
) -> dict[int, set[int]]:
    """Return the Ids of the existing records below the parents of these lists, by parent."""
    parents = [one.parent[1] for one in several if (one.entity, one.parent[0]) == (entity, column)]
    found: dict[int, set[int]] = {}
    for some in chunks(parents):
        rows = connection.execute(_below(column), {"kind": entity, "parents": some})
        for record_id, parent_id in rows:
            found.setdefault(parent_id, set()).add(record_id)
    return found


@cache
def _below(column: str) -> Select[Any]:
    is_below = records.c[column].in_(bindparam("parents", expanding=True))
    return select(records.c.record_id, records.c[column]).where(
        records.c.entity == bindparam("kind"), is_below, IS_HERE
    )


@cache
def _unlisted(column: str) -> ReturningUpdate[int]:
    """Return the update that marks records as gone that a list below a parent lacks."""
    return (
        update(records)
        .where(
            records.c.entity == bindparam("kind"),
            records.c[column] == bindparam("parent"),
            IS_HERE,
            or_(
                records.c.fetched_at <= bindparam("asked_at", type_=Instant),
                # It was read while a clock was ahead.
                records.c.fetched_at > bindparam("ahead", type_=Instant),
            ),
            records.c.record_id.not_in(bindparam("present", expanding=True)),
        )
        .values(gone_at=bindparam("gone_at", type_=Instant))
        .returning(records.c.record_id)
    )


def note_listing(connection: Connection, entity: Entity, parent_id: int, now: datetime) -> None:
    """Store when the list of `entity` below this parent was read in full; 0 is no parent."""
    note_listings(connection, [(entity, parent_id, now)])


def note_listings(connection: Connection, several: Iterable[tuple[Entity, int, datetime]]) -> None:
    """Store when these lists were read in full, as `note_listing` does."""
    names = ("entity", "parent_id", "listed_at")
    rows = [dict(zip(names, one, strict=True)) for one in several]
    if rows:
        connection.execute(_listing(connection.dialect.name), rows)


@cache
def _listing(dialect: str) -> Insert:
    statement = insert_for(dialect, listings)
    return statement.on_conflict_do_update(
        index_elements=[listings.c.entity, listings.c.parent_id],
        set_={"listed_at": statement.excluded.listed_at},
    )


_LISTED_AT = select(listings.c.listed_at).where(
    listings.c.entity == bindparam("kind"), listings.c.parent_id == bindparam("parent")
)


def listed_at(connection: Connection, entity: Entity, parent_id: int) -> datetime | None:
    """Return when the list of `entity` below this parent was last read in full."""
    moment: datetime | None = connection.scalar(_LISTED_AT, {"kind": entity, "parent": parent_id})
    return moment
