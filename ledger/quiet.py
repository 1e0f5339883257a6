"""Records that no email is written about, because they were there first, and what lifts that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, exists, select

from ledger.tables import notifications, records
from ledger.upsert import portions
from schemas.entity import Entity
from schemas.reasons import Reason

# A notification from outside asks for the email, whatever was there before.
_FROM_OUTSIDE = ("hook", "relay", "person")


@dataclass(frozen=True, slots=True)
class Quiet:
    """Why what happened to a record up to then is not written about."""

    reason: Reason
    upto: datetime


def quiet_among(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> Mapping[tuple[Entity, int], Quiet]:
    """Return which of these records no email is written about, and until when that holds.

    A notification of one from outside, since then, lifts it.
    """
    found: dict[tuple[Entity, int], Quiet] = {}
    for entity, record_ids in _by_entity(wanted).items():
        told = select(notifications.c.id).where(
            notifications.c.entity == records.c.entity,
            notifications.c.record_id == records.c.record_id,
            notifications.c.origin.in_(_FROM_OUTSIDE),
            notifications.c.id > records.c.suppressed_after,
        )
        rows = connection.execute(
            select(
                records.c.record_id, records.c.suppressed_reason, records.c.suppressed_upto
            ).where(
                records.c.entity == entity,
                records.c.record_id.in_(record_ids),
                records.c.suppressed_reason.is_not(None),
                records.c.suppressed_upto.is_not(None),
                ~told.exists(),
            )
        )
        for row in rows:
            found[entity, row.record_id] = Quiet(Reason(row.suppressed_reason), row.suppressed_upto)
    return found


def asked_by_person(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> set[tuple[Entity, int]]:
    """Return those records that a person asked about, so that emails are written all the same."""
    found: set[tuple[Entity, int]] = set()
    for entity, record_ids in _by_entity(wanted).items():
        rows = connection.scalars(
            select(notifications.c.record_id).where(
                notifications.c.entity == entity,
                notifications.c.record_id.in_(record_ids),
                notifications.c.origin == "person",
            )
        )
        found |= {(entity, record_id) for record_id in rows}
    return found


def under_review(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> set[tuple[Entity, int]]:
    """Return those records that a person asked about and that were not decided on since.

    Emails about what is found then are held until that person, or another, has looked at them.
    """
    found: set[tuple[Entity, int]] = set()
    is_decided = and_(
        records.c.entity == notifications.c.entity,
        records.c.record_id == notifications.c.record_id,
        records.c.decided_upto >= notifications.c.id,
    )
    for entity, record_ids in _by_entity(wanted).items():
        for some in portions(record_ids):
            rows = connection.scalars(
                select(notifications.c.record_id).where(
                    notifications.c.entity == entity,
                    notifications.c.record_id.in_(some),
                    notifications.c.origin == "review",
                    ~exists().where(is_decided),
                )
            )
            found |= {(entity, record_id) for record_id in rows}
    return found


def _by_entity(wanted: Iterable[tuple[Entity, int]]) -> dict[Entity, list[int]]:
    grouped: dict[Entity, list[int]] = {}
    for entity, record_id in wanted:
        grouped.setdefault(entity, []).append(record_id)
    return grouped
