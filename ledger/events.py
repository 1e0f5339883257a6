"""Events: what happened, each once for ever, whoever finds it and however often."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select, update

from ledger.tables import action_events, events
from ledger.upsert import insert_into
from schemas.events import Event, EventKind
from schemas.reasons import Reason

_FOR_THEIR_TIME = (Reason.BEFORE_START, Reason.IMPORTED)


def known_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` whose events we have already."""
    rows = connection.scalars(select(events.c.key).where(events.c.key.in_(list(keys))))
    return set(rows)


def quiet_events(connection: Connection, keys: Iterable[str]) -> dict[str, int]:
    """Return those of `keys` that are here and led to nothing only for when they happened; ids."""
    rows = connection.execute(
        select(events.c.key, events.c.id).where(
            events.c.key.in_(list(keys)), events.c.reason.in_(_FOR_THEIR_TIME)
        )
    )
    return {row.key: row.id for row in rows}


def keep_event(connection: Connection, event: Event, now: datetime) -> int | None:
    """Keep an event and return its id; None when its key is there already."""
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
    """Say why this event led to no action; None: it leads to one after all."""
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
