"""Lists of records below a parent that were read in full, and which stored records they lack."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, bindparam, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from ledger.engine import Insert, insert_for
from ledger.records import IS_HERE, accept_records
from ledger.tables import Instant, listings, records
from schemas.entity import Entity
from schemas.events import TOLERANCE
from schemas.records import Record


def accept_listing(  # noqa: PLR0913 - what, below whom, and the two times that matter
    connection: Connection,
    entity: Entity,
    parent: tuple[str, int],
    found: Iterable[Record],
    now: datetime,
    *,
    asked_at: datetime,
) -> list[int]:
    """Store `found` as the complete list of `entity` below `parent` (column name and Id).

    A stored record missing from it is marked as gone, unless it was read after `asked_at`, which is
    before the list was requested: a record created meanwhile may be missing. Returns the Ids of
    the records marked as gone.
    """
    column, parent_id = parent
    listed = list(found)
    accept_records(connection, ((entity, record) for record in listed), now)
    values = {
        "kind": entity,
        "parent": parent_id,
        "asked_at": asked_at,
        "ahead": now + TOLERANCE,
        "present": [record.record_id for record in listed],
        "gone_at": now,
    }
    gone = connection.scalars(_unlisted(column), values).all()
    note_listing(connection, entity, parent_id, now)
    return sorted(gone)


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
    values = {"entity": entity, "parent_id": parent_id, "listed_at": now}
    connection.execute(_listing(connection.dialect.name), values)


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
