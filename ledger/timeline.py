"""How one event came about: the records behind it, who reported them, and how they were read."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, and_, select

from ledger.intake import Origin
from ledger.records import StoredRecord, records_of
from ledger.stories import EventView
from ledger.tables import deliveries, lookups, notifications, records
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.reasons import Reason

_MOST_COMPLETIONS = 3  # of one lesson: Ids change when it is completed again
_MOST_NOTIFICATIONS = 3  # of one record


@dataclass(frozen=True, slots=True)
class ReportedChange:
    """One notification of a record. `body` is the delivery's, as long as it is kept."""

    received_at: datetime
    origin: Origin
    route: str | None = None
    size: int | None = None
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LookupView:
    """How a record is or was read last."""

    state: LookupState
    due_at: datetime
    attempts: int
    reason: Reason | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class RecordBehind:
    """One record that an event is about. `stored` is None if it was never read by its Id.

    `reported` are its last notifications before the event was found, the oldest first.
    """

    entity: Entity
    record_id: int
    stored: StoredRecord | None
    lookup: LookupView | None
    reported: tuple[ReportedChange, ...]


def records_behind(connection: Connection, event: EventView) -> list[RecordBehind]:
    """Return the records that an event is about, the enrolment first."""
    found = [_behind(connection, Entity.COURSE_MEMBER, event.course_member_id, event)]
    if event.lesson_id is not None:
        is_completion = and_(
            records.c.entity == Entity.COMPLETED_LESSON,
            records.c.course_member_id == event.course_member_id,
            records.c.lesson_id == event.lesson_id,
        )
        ids = connection.scalars(select(records.c.record_id).where(is_completion))
        newest = sorted(ids)[-_MOST_COMPLETIONS:]
        found += [_behind(connection, Entity.COMPLETED_LESSON, one, event) for one in newest]
    return found


def _behind(
    connection: Connection, entity: Entity, record_id: int, event: EventView
) -> RecordBehind:
    stored = records_of(connection, entity, [record_id]).get(record_id)
    return RecordBehind(
        entity,
        record_id,
        stored,
        _lookup(connection, entity, record_id),
        tuple(_reported(connection, entity, record_id, event.found_at)),
    )


def _lookup(connection: Connection, entity: Entity, record_id: int) -> LookupView | None:
    row = connection.execute(
        select(lookups).where(lookups.c.entity == entity, lookups.c.record_id == record_id)
    ).first()
    if row is None:
        return None
    reason = None if row.reason is None else Reason(row.reason)
    return LookupView(LookupState(row.state), row.due_at, row.attempts, reason, row.last_error)


def _reported(
    connection: Connection, entity: Entity, record_id: int, until: datetime
) -> list[ReportedChange]:
    one = notifications
    rows = connection.execute(
        select(
            one.c.received_at,
            one.c.origin,
            deliveries.c.route,
            deliveries.c.size,
            deliveries.c.body,
        )
        .outerjoin(deliveries, deliveries.c.id == one.c.delivery_id)
        .where(one.c.entity == entity, one.c.record_id == record_id, one.c.received_at <= until)
        .order_by(one.c.id.desc())
        .limit(_MOST_NOTIFICATIONS)
    ).all()
    return [
        ReportedChange(row.received_at, Origin(row.origin), row.route, row.size, row.body)
        for row in reversed(rows)
    ]
