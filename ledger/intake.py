"""Keeps what reached us, before anybody believes it, and notes which records must be read.

Repeats of one record merge into one look-up. A notification that comes while its record is being
read makes the look-up due again afterwards, so that no change falls between.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, and_, case, insert, or_

from ledger.tables import deliveries, lookups, notifications
from ledger.upsert import insert_into
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.states import LookupState

_NEWS_MAY_HELP = (
    Reason.NEXUDUS_DOWN,
    Reason.NEXUDUS_REFUSED,
    Reason.RECORD_STUCK,
    Reason.NOT_THERE_YET,
)


class Origin(StrEnum):
    """Where a notification came from."""

    HOOK = "hook"  # Nexudus itself
    RELAY = "relay"  # Zapier, Make, a customised portal
    CHECK = "check"  # our own reconciliation
    BACKFILL = "backfill"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One authentic delivery, as bytes, with what it says; `error` if it could not be read."""

    received_at: datetime
    route: str
    origin: Origin
    signature_form: str
    body: bytes
    notifications: tuple[Notification, ...] = ()
    error: str | None = None


def keep_arrivals(connection: Connection, arrivals: Sequence[Arrival]) -> list[int]:
    """Keep deliveries, their notifications and the look-ups they call for; return delivery ids."""
    rows = connection.execute(
        insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True),
        [
            {
                "received_at": arrival.received_at,
                "route": arrival.route,
                "signature_form": arrival.signature_form,
                "body": arrival.body,
                "error": arrival.error,
            }
            for arrival in arrivals
        ],
    )
    delivery_ids = [int(row.id) for row in rows]
    for delivery_id, arrival in zip(delivery_ids, arrivals, strict=True):
        _note(connection, arrival.notifications, arrival.origin, arrival.received_at, delivery_id)
    _ask(connection, [(arrival.notifications, arrival.received_at) for arrival in arrivals])
    return delivery_ids


def keep_notifications(
    connection: Connection,
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
) -> None:
    """Keep notifications without a delivery, and make the look-up of each followed record due."""
    _note(connection, statements, origin, received_at, None)
    _ask(connection, [(statements, received_at)])


def _note(
    connection: Connection,
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
    delivery_id: int | None,
) -> None:
    rows = [
        {
            "delivery_id": delivery_id,
            "received_at": received_at,
            "origin": origin,
            "entity": statement.entity,
            "record_id": statement.record_id,
        }
        for statement in statements
    ]
    if rows:
        connection.execute(insert(notifications), rows)


def _ask(connection: Connection, said: Iterable[tuple[Sequence[Notification], datetime]]) -> None:
    # In one order for everybody, so that two transactions never wait for each other. Within one
    # delivery, repeats of a record are one question.
    asked = {
        (statement.entity, statement.record_id, received_at, place)
        for place, (statements, received_at) in enumerate(said)
        for statement in statements
        if statement.entity
    }
    for entity, record_id, received_at, _ in sorted(asked):
        _ask_for(connection, entity, record_id, received_at)


def _ask_for(connection: Connection, entity: str, record_id: int, now: datetime) -> None:
    at_rest = lookups.c.state.in_([LookupState.DONE, LookupState.FAILED])
    # News is worth one more question even to a source that was down, refused us, or did not show
    # the record: it may speak of what mended that. Not to one that asked us to wait.
    hopeful = and_(
        lookups.c.state == LookupState.WAITING,
        lookups.c.reason.in_(_NEWS_MAY_HELP),
    )
    wanted = or_(at_rest, hopeful)
    statement = insert_into(connection, lookups).values(
        entity=entity, record_id=record_id, state=LookupState.DUE, due_at=now, asked_at=now, asked=1
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[lookups.c.entity, lookups.c.record_id],
            set_={
                "asked": lookups.c.asked + 1,
                "state": case((wanted, LookupState.DUE), else_=lookups.c.state),
                "due_at": case((wanted, now), else_=lookups.c.due_at),
                "asked_at": case((at_rest, now), else_=lookups.c.asked_at),
                "attempts": case((at_rest, 0), else_=lookups.c.attempts),
            },
        )
    )
