"""Events under permanent keys, each stored once, and which records are suppressed.

Suppressed records existed before the baseline or were imported, so no email is sent about them.
A notification from outside lifts that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Connection, and_, bindparam, exists, select, update
from sqlalchemy.sql.dml import ReturningInsert

from ledger.engine import chunks, insert_for
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


# Statements of frequent operations are built once: building one costs more than running it.
_these: BindParameter[Any] = bindparam("these", expanding=True)
_lifted = select(notifications.c.id).where(
    notifications.c.entity == records.c.entity,
    notifications.c.record_id == records.c.record_id,
    notifications.c.origin.in_(_FROM_OUTSIDE),
    notifications.c.id > records.c.suppressed_after,
)
_SUPPRESSED_AMONG = select(
    records.c.record_id, records.c.suppressed_reason, records.c.suppressed_upto
).where(
    records.c.entity == bindparam("kind"),
    records.c.record_id.in_(_these),
    records.c.suppressed_reason.is_not(None),
    records.c.suppressed_upto.is_not(None),
    ~_lifted.exists(),
)
_NOTIFIED_AMONG = select(notifications.c.record_id).where(
    notifications.c.entity == bindparam("kind"), notifications.c.record_id.in_(_these)
)
_REQUESTED_AMONG = _NOTIFIED_AMONG.where(notifications.c.origin == "person")
_is_decided = and_(
    records.c.entity == notifications.c.entity,
    records.c.record_id == notifications.c.record_id,
    records.c.decided_upto >= notifications.c.id,
)
_REVIEWED_AMONG = _NOTIFIED_AMONG.where(
    notifications.c.origin == "review", ~exists().where(_is_decided)
)


def suppressed_among(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> Mapping[tuple[Entity, int], Suppression]:
    """Return which of these records are suppressed, and until when.

    A later notification of a record from outside lifts its suppression.
    """
    found: dict[tuple[Entity, int], Suppression] = {}
    for entity, record_ids in _by_entity(wanted).items():
        rows = connection.execute(_SUPPRESSED_AMONG, {"kind": entity, "these": record_ids})
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
        rows = connection.scalars(_REQUESTED_AMONG, {"kind": entity, "these": record_ids})
        found |= {(entity, record_id) for record_id in rows}
    return found


def under_review(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> set[tuple[Entity, int]]:
    """Return the records requested for review and not decided on since.

    Emails about them are held until a person releases them.
    """
    found: set[tuple[Entity, int]] = set()
    for entity, record_ids in _by_entity(wanted).items():
        for some in chunks(record_ids):
            rows = connection.scalars(_REVIEWED_AMONG, {"kind": entity, "these": some})
            found |= {(entity, record_id) for record_id in rows}
    return found


def _by_entity(wanted: Iterable[tuple[Entity, int]]) -> dict[Entity, list[int]]:
    grouped: dict[Entity, list[int]] = {}
    for entity, record_id in wanted:
        grouped.setdefault(entity, []).append(record_id)
    return grouped


_SUPPRESSED = (Reason.BEFORE_START, Reason.IMPORTED)


_KNOWN_KEYS = select(events.c.key).where(events.c.key.in_(_these))
_SUPPRESSED_IDS = select(events.c.key, events.c.id).where(
    events.c.key.in_(_these), events.c.reason.in_(_SUPPRESSED)
)


def known_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` whose events are stored."""
    return set(connection.scalars(_KNOWN_KEYS, {"these": list(keys)}))


def suppressed_event_ids(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """Return the ids, by key, of stored events that led to no action because of their time."""
    wanted = list(keys)
    rows = connection.execute(_SUPPRESSED_IDS, {"these": wanted}) if wanted else ()
    return {row.key: row.id for row in rows}


@cache
def _storing(dialect: str) -> ReturningInsert[int]:
    statement = insert_for(dialect, events)
    unless_known = statement.on_conflict_do_nothing(index_elements=[events.c.key])
    return unless_known.returning(events.c.id)


def store_event(
    connection: Connection, event: Event, now: datetime, reason: Reason | None = None
) -> int | None:
    """Store an event and return its id; None if its key is stored already.

    `reason` is why it leads to no action.
    """
    values = {
        "key": event.key,
        "kind": event.kind,
        "happened_at": event.happened_at,
        "found_at": now,
        "course_id": event.course_id,
        "coworker_id": event.coworker_id,
        "course_member_id": event.course_member_id,
        "lesson_id": event.lesson_id,
        "reason": reason,
    }
    event_id: int | None = connection.scalar(_storing(connection.dialect.name), values)
    return event_id


_NOTE_REASON = update(events).where(events.c.id == bindparam("this"))


def note_reason(connection: Connection, event_id: int, reason: Reason | None) -> None:
    """Store why this event led to no action; None: it leads to one after all."""
    connection.execute(_NOTE_REASON, {"this": event_id, "reason": reason})


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
