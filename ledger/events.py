"""Events under permanent keys, each stored once, and which records are suppressed.

Suppressed records existed before the baseline or were imported, so no email is sent about them.
A notification from outside lifts that.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    bindparam,
    exists,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from ledger.engine import chunks, insert_for
from ledger.tables import action_events, events, notifications, records
from schemas.entity import FOLLOWED, Entity
from schemas.events import ABSENCES, Event, EventKind, enrolled_key, step_in
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


def _is_wanted(table: Table) -> ColumnElement[bool]:
    """Match rows about these records. Takes the values of `_wanted`."""
    return or_(
        *(
            and_(table.c.entity == entity, table.c.record_id.in_(bindparam(entity, expanding=True)))
            for entity in FOLLOWED
        )
    )


def _wanted(wanted: Iterable[tuple[Entity, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {entity: [] for entity in FOLLOWED}
    for entity, record_id in wanted:
        if entity in grouped:  # nothing is suppressed or requested of another kind
            grouped[entity].append(record_id)
    return grouped


_SUPPRESSED_AMONG = select(
    records.c.entity,
    records.c.record_id,
    records.c.suppressed_reason,
    records.c.suppressed_upto,
).where(
    _is_wanted(records),
    records.c.suppressed_reason.is_not(None),
    records.c.suppressed_upto.is_not(None),
    ~_lifted.exists(),
)
_is_decided = and_(
    records.c.entity == notifications.c.entity,
    records.c.record_id == notifications.c.record_id,
    records.c.decided_upto >= notifications.c.id,
)
_REQUESTED_AMONG = select(
    notifications.c.entity, notifications.c.record_id, notifications.c.origin
).where(
    _is_wanted(notifications),
    or_(
        notifications.c.origin == "person",
        and_(notifications.c.origin == "review", ~exists().where(_is_decided)),
    ),
)


def suppressed_among(
    connection: Connection, wanted: Iterable[tuple[Entity, int]]
) -> Mapping[tuple[Entity, int], Suppression]:
    """Return which of these enrolments and completions are suppressed, and until when.

    A later notification of a record from outside lifts its suppression.
    """
    return {
        (Entity(row.entity), row.record_id): Suppression(
            Reason(row.suppressed_reason), row.suppressed_upto
        )
        for row in connection.execute(_SUPPRESSED_AMONG, _wanted(wanted))
    }


@dataclass(frozen=True, slots=True)
class Requested:
    """Records that were requested by a command.

    For those `by_person`, emails are sent in any case. Emails about those `for_review` are held
    until a person releases them; they were not decided on since.
    """

    by_person: AbstractSet[tuple[Entity, int]]
    for_review: AbstractSet[tuple[Entity, int]]


def requested_among(connection: Connection, wanted: Iterable[tuple[Entity, int]]) -> Requested:
    """Return which of these enrolments and completions were requested by a command."""
    rows = connection.execute(_REQUESTED_AMONG, _wanted(wanted)).all()
    found = [(row.origin, (Entity(row.entity), row.record_id)) for row in rows]
    return Requested(
        {record for origin, record in found if origin == "person"},
        {record for origin, record in found if origin == "review"},
    )


_SUPPRESSED = (Reason.BEFORE_START, Reason.IMPORTED)


_KNOWN = select(events.c.key, events.c.id, events.c.reason).where(events.c.key.in_(_these))


def known_events(connection: Connection, keys: Iterable[str]) -> dict[str, int | None]:
    """Return those of `keys` whose events are stored.

    Each comes with the event's id if it led to no action because of its time, else with None.
    """
    rows = connection.execute(_KNOWN, {"these": list(keys)})
    return {row.key: row.id if row.reason in _SUPPRESSED else None for row in rows}


@cache
def _storing(dialect: str) -> ReturningInsert[tuple[str, int]]:
    statement = insert_for(dialect, events)
    unless_known = statement.on_conflict_do_nothing(index_elements=[events.c.key])
    return unless_known.returning(events.c.key, events.c.id)


def store_events(
    connection: Connection, found: Iterable[tuple[Event, Reason | None]], now: datetime
) -> dict[str, int]:
    """Store events, each with the reason why it leads to no action; return their ids by key.

    Those whose keys are stored already are omitted.
    """
    rows = [
        {
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
        for event, reason in found
    ]
    if not rows:
        return {}
    stored = connection.execute(_storing(connection.dialect.name), rows)
    return {row.key: row.id for row in stored}


_NOTE_REASON = update(events).where(events.c.id == bindparam("this"))


def note_reason(connection: Connection, event_id: int, reason: Reason | None) -> None:
    """Store why this event led to no action; None: it leads to one after all."""
    connection.execute(_NOTE_REASON, {"this": event_id, "reason": reason})


_OF_ACTION = (
    select(events)
    .join(action_events, action_events.c.event_id == events.c.id)
    .where(action_events.c.action_id == bindparam("this"))
    .order_by(events.c.happened_at, events.c.id)
)


def events_of_action(connection: Connection, action_id: int) -> list[Event]:
    """Return the events one action is about, the earliest first."""
    rows = connection.execute(_OF_ACTION, {"this": action_id})
    return [event_in(row) for row in rows]


def event_in(row: Row[Any]) -> Event:
    """Return the event that a row of `events` holds."""
    kind = EventKind(row.kind)
    return Event(
        kind,
        row.key,
        row.happened_at,
        row.course_id,
        row.coworker_id,
        row.course_member_id,
        row.lesson_id,
        step_s=step_in(row.key) if kind in ABSENCES else None,
    )


def enrolled_times(
    connection: Connection, enrolments: Iterable[tuple[int, int, int]]
) -> dict[int, datetime]:
    """Return when places were given, by Id of the enrolment.

    `enrolments` are course, member and Id. Of a member who enrolled anew, the time of a later
    enrolment is known if it waited for approval.
    """
    wanted = list(enrolments)
    keys = [enrolled_key(course_id, coworker_id) for course_id, coworker_id, _ in wanted]
    of_enrolment = select(events.c.course_member_id, events.c.happened_at)
    found = {
        row.course_member_id: row.happened_at
        for some in chunks(keys)
        for row in connection.execute(of_enrolment.where(events.c.key.in_(some)))
    }
    again = {coworker_id for _, coworker_id, record_id in wanted if record_id not in found}
    for some in chunks(again):
        rows = connection.execute(
            of_enrolment.where(
                events.c.coworker_id.in_(some), events.c.kind == EventKind.ENROLMENT_APPROVED
            ).order_by(events.c.happened_at)
        )
        for row in rows:
            found.setdefault(row.course_member_id, row.happened_at)
    return found
