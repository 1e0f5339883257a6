"""Records that nobody is written to about, since they were there first; and what lifts that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, exists, select

from ledger.stories.certificate.portions import portions
from ledger.tables import notifications, sightings, snapshots
from schemas.entity import Entity
from schemas.reasons import Reason

# Whoever is told of a record from outside is told to write about it, whatever was there before.
_FROM_OUTSIDE = ("hook", "relay", "person")


@dataclass(frozen=True, slots=True)
class Quiet:
    """Why what happened to a record up to then is not written about."""

    reason: Reason
    upto: datetime


def quiet_among(
    connection: Connection, records: Iterable[tuple[Entity, int]]
) -> Mapping[tuple[Entity, int], Quiet]:
    """Return which of these records are not to be written about, and until when that holds.

    Whoever was told of one from outside since is written to all the same.
    """
    found: dict[tuple[Entity, int], Quiet] = {}
    for entity, record_ids in _by_entity(records).items():
        told = select(notifications.c.id).where(
            notifications.c.entity == sightings.c.entity,
            notifications.c.record_id == sightings.c.record_id,
            notifications.c.origin.in_(_FROM_OUTSIDE),
            notifications.c.id > sightings.c.quiet_after,
        )
        rows = connection.execute(
            select(sightings.c.record_id, sightings.c.reason, sightings.c.quiet_upto).where(
                sightings.c.entity == entity,
                sightings.c.record_id.in_(record_ids),
                sightings.c.reason.is_not(None),
                sightings.c.quiet_upto.is_not(None),
                ~told.exists(),
            )
        )
        for row in rows:
            found[entity, row.record_id] = Quiet(Reason(row.reason), row.quiet_upto)
    return found


def asked_by_person(
    connection: Connection, records: Iterable[tuple[Entity, int]]
) -> set[tuple[Entity, int]]:
    """Return those records that a person asked about, so that they are written about anyway."""
    found: set[tuple[Entity, int]] = set()
    for entity, record_ids in _by_entity(records).items():
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
    connection: Connection, records: Iterable[tuple[Entity, int]]
) -> set[tuple[Entity, int]]:
    """Return those records that a person asked about and that were not decided on since.

    Emails about what is found then are held until that person, or another, has looked at them.
    """
    found: set[tuple[Entity, int]] = set()
    is_decided = and_(
        snapshots.c.entity == notifications.c.entity,
        snapshots.c.record_id == notifications.c.record_id,
        snapshots.c.decided_upto >= notifications.c.id,
    )
    for entity, record_ids in _by_entity(records).items():
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


def _by_entity(records: Iterable[tuple[Entity, int]]) -> dict[Entity, list[int]]:
    grouped: dict[Entity, list[int]] = {}
    for entity, record_id in records:
        grouped.setdefault(entity, []).append(record_id)
    return grouped
