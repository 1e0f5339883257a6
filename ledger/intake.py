"""Keeps what reached us, before anybody believes it, and notes which records must be read.

Repeats of one record merge into one look-up. A notification that comes while its record is being
read makes the look-up due again afterwards, so that no change falls between.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, case, func, insert, or_, select

from ledger.tables import deliveries, lookups, notifications
from ledger.upsert import Insert, insert_for
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.states import LookupState

BEARER = "bearer"  # the signature form of a delivery by a relay
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
    PERSON = "person"  # who asks also about what happened before sending began
    REVIEW = "review"  # a person, who looks at the emails before any of them goes


@dataclass(frozen=True, slots=True)
class Arrival:
    """One authentic delivery with what it says; `error` if not all of it could be read.

    `body` is None where it may not be kept; `size` is in bytes, `digest` is keyed by the sender's
    secret. With a `delivery_id` these are further notifications of a delivery that is kept already.
    """

    received_at: datetime
    route: str
    origin: Origin
    signature_form: str
    body: bytes | None
    size: int
    digest: str
    notifications: tuple[Notification, ...] = ()
    error: str | None = None
    delivery_id: int | None = None


def keep_arrivals(connection: Connection, arrivals: Sequence[Arrival]) -> list[int]:
    """Keep deliveries, their notifications and the look-ups they call for; return delivery ids."""
    delivery_ids = _keep_deliveries(connection, arrivals)
    _note(
        connection,
        [
            row
            for delivery_id, arrival in zip(delivery_ids, arrivals, strict=True)
            for row in _rows(
                arrival.notifications, arrival.origin, arrival.received_at, delivery_id
            )
        ],
    )
    _ask(connection, [(arrival.notifications, arrival.received_at) for arrival in arrivals])
    return delivery_ids


def keep_notifications(
    connection: Connection,
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
) -> None:
    """Keep notifications without a delivery, and make the look-up of each followed record due."""
    _note(connection, _rows(statements, origin, received_at, None))
    _ask(connection, [(statements, received_at)])


def newest_notification(connection: Connection) -> int:
    """Return the id of the newest notification, or 0.

    A record that is read after this is at least as new as all notifications up to it, whichever
    clocks are wrong: a record changes before a notification speaks of it.
    """
    return connection.scalar(select(func.max(notifications.c.id))) or 0


def _keep_deliveries(connection: Connection, arrivals: Sequence[Arrival]) -> list[int]:
    rows = [
        {
            "received_at": arrival.received_at,
            "route": arrival.route,
            "signature_form": arrival.signature_form,
            "body": arrival.body,
            "size": arrival.size,
            "digest": arrival.digest,
            "error": arrival.error,
        }
        for arrival in arrivals
        if arrival.delivery_id is None
    ]
    kept: Iterator[int] = iter(())
    if rows:
        statement = insert(deliveries).returning(deliveries.c.id, sort_by_parameter_order=True)
        kept = iter(connection.execute(statement, rows).scalars().all())
    return [
        next(kept) if arrival.delivery_id is None else arrival.delivery_id for arrival in arrivals
    ]


def _rows(
    statements: Sequence[Notification],
    origin: Origin,
    received_at: datetime,
    delivery_id: int | None,
) -> list[dict[str, Any]]:
    return [
        {
            "delivery_id": delivery_id,
            "received_at": received_at,
            "origin": origin,
            "entity": statement.entity,
            "record_id": statement.record_id,
        }
        for statement in statements
    ]


def _note(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
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
    if asked:
        connection.execute(
            _asking(connection.dialect.name),
            [
                {
                    "entity": entity,
                    "record_id": record_id,
                    "state": LookupState.DUE,
                    "due_at": received_at,
                    "asked_at": received_at,
                    "asked": 1,
                }
                for entity, record_id, received_at, _ in sorted(asked)
            ],
        )


@cache
def _asking(dialect: str) -> Insert:
    """Return the statement that asks for one record. Building it costs more than running it."""
    # Spelled with `or`: a list of values is expanded anew for each statement.
    at_rest = or_(lookups.c.state == LookupState.DONE, lookups.c.state == LookupState.FAILED)
    # News is worth one more question even to a source that was down, refused us, or did not show
    # the record: it may speak of what mended that. Not to one that asked us to wait.
    hopeful = and_(
        lookups.c.state == LookupState.WAITING,
        or_(*(lookups.c.reason == reason for reason in _NEWS_MAY_HELP)),
    )
    wanted = or_(at_rest, hopeful)
    statement = insert_for(dialect, lookups)
    now = statement.excluded.due_at
    return statement.on_conflict_do_update(
        index_elements=[lookups.c.entity, lookups.c.record_id],
        set_={
            "asked": lookups.c.asked + 1,
            "state": case((wanted, LookupState.DUE), else_=lookups.c.state),
            "due_at": case((wanted, now), else_=lookups.c.due_at),
            "asked_at": case((at_rest, now), else_=lookups.c.asked_at),
            "attempts": case((at_rest, 0), else_=lookups.c.attempts),
        },
    )
