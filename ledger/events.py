"""Events: what happened, each once for ever, whoever finds it and however often."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from ledger.tables import action_events, actions, events
from ledger.upsert import insert_into
from schemas.events import Event, EventKind
from schemas.reasons import Reason
from schemas.states import ActionState


def known_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` whose events we have already."""
    rows = connection.scalars(select(events.c.key).where(events.c.key.in_(list(keys))))
    return set(rows)


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


def note_reason(connection: Connection, event_id: int, reason: Reason) -> None:
    """Say why this event led to no action."""
    connection.execute(update(events).where(events.c.id == event_id).values(reason=reason))


def finish_announced_at(
    connection: Connection, course_id: int, coworker_id: int
) -> datetime | None:
    """Return when the course was finished, if an action about that was planned; else None."""
    moment: datetime | None = connection.scalar(
        select(func.max(actions.c.happened_at)).where(
            actions.c.event_kind == EventKind.COURSE_COMPLETED,
            actions.c.course_id == course_id,
            actions.c.coworker_id == coworker_id,
        )
    )
    return moment


def supersede_lessons(
    connection: Connection, course_id: int, coworker_id: int, now: datetime
) -> int:
    """Skip the lesson actions of this person and course that have not begun; return how many."""
    waiting = (ActionState.PLANNED, ActionState.WAITING, ActionState.HELD)
    done = connection.execute(
        update(actions)
        .where(
            actions.c.event_kind == EventKind.LESSON_COMPLETED,
            actions.c.course_id == course_id,
            actions.c.coworker_id == coworker_id,
            actions.c.state.in_(waiting),
        )
        .values(state=ActionState.SKIPPED, reason=Reason.SUPERSEDED, finished_at=now)
    )
    return done.rowcount


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
