"""Events under permanent keys, each stored once, and which records are suppressed.

Suppressed records existed before the baseline or were imported, so no email is sent about them.
A notification from outside lifts that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, exists, select, update

from ledger.engine import chunks, insert_into
from ledger.tables import action_events, events, notifications, records
from schemas.entity import Entity
from schemas.events import Event, EventKind
from schemas.reasons import Reason

# Origins whose notifications lift a suppression.
_FROM_OUTSIDE = ("hook", "relay", "person")


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why no email is sent about what happened to a record until `upto`."""

    reason: Reason
    upto: datetime


def suppressed_among(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> Mapping[tuple[Entity, int], Suppression]:
    """Return which of these records are suppressed, and until when.

    A later notification of a record from outside lifts its suppression.
    """
    found: dict[tuple[Entity, int], Suppression] = {}
    for entity, record_ids in _by_entity(wanted).items():
        lifted = select(notifications.c.id).where(
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
                ~lifted.exists(),
            )
        )
        for row in rows:
            found[entity, row.record_id] = Suppression(
                Reason(row.suppressed_reason), row.suppressed_upto
            )
    return found


def requested_by_person(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> set[tuple[Entity, int]]:
    """Return the records a person requested, for which emails are sent in any case."""
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
    """Return the records requested for review and not decided on since.

    Emails about them are held until a person releases them.
    """
    found: set[tuple[Entity, int]] = set()
    is_decided = and_(
        records.c.entity == notifications.c.entity,
        records.c.record_id == notifications.c.record_id,
        records.c.decided_upto >= notifications.c.id,
    )
    for entity, record_ids in _by_entity(wanted).items():
        for some in chunks(record_ids):
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


_SUPPRESSED = (Reason.BEFORE_START, Reason.IMPORTED)


def known_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` whose events are stored."""
    rows = connection.scalars(select(events.c.key).where(events.c.key.in_(list(keys))))
    return set(rows)


def suppressed_event_ids(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """Return the ids, by key, of stored events that led to no action because of their time."""
    rows = connection.execute(
        select(events.c.key, events.c.id).where(
            events.c.key.in_(list(keys)), events.c.reason.in_(_SUPPRESSED)
        )
    )
    return {row.key: row.id for row in rows}


def store_event(connection: Connection, event: Event, now: datetime) -> int | None:
    """Store an event and return its id; None if its key is stored already."""
    statement = (
        insert_into(connection, events)
        .values(
            key=event.key,
            kind=event.kind,
            happened_at=event.happened_at,
            found_at=now,
            course_id=event.course_id,
            coworker_id=event.coworker_id,
            course_member_id=event.course_member_id,
            lesson_id=event.lesson_id,
        )
        .on_conflict_do_nothing(index_elements=[events.c.key])
        .returning(events.c.id)
    )
    event_id: int | None = connection.scalar(statement)
    return event_id


def note_reason(connection: Connection, event_id: int, reason: Reason | None) -> None:
    """Store why this event led to no action; None: it leads to one after all."""
    connection.execute(update(events).where(events.c.id == event_id).values(reason=reason))


def events_of_action(connection: Connection, action_id: int) -> list[Event]:
    """Return the events one action is about, the earliest first."""
    rows = connection.execute(
        select(events)
        .join(action_events, action_events.c.event_id == events.c.id)
        .where(action_events.c.action_id == action_id)
        .order_by(events.c.happened_at, events.c.id)
    )
    return [
        Event(
            EventKind(row.kind),
            row.key,
            row.happened_at,
            row.course_id,
            row.coworker_id,
            row.course_member_id,
            row.lesson_id,
        )
        for row in rows
    ]
