"""Reads what happened, in the order in which it was found, to play it again by other rules."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from ledger.engine import chunks
from ledger.events import event_in
from ledger.records import present_below
from ledger.tables import actions, events, records
from schemas.actions import ActionState, first_key
from schemas.entity import Entity
from schemas.events import Event
from schemas.reasons import Reason
from schemas.records import CourseMember


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it was found; `reason` is why it led to no action then, if it did not."""

    event_id: int
    event: Event
    found_at: datetime
    reason: Reason | None


def first_event_since(connection: Connection, since: datetime) -> int:
    """Return the id of the first event that was found from `since` on, or 0."""
    return connection.scalar(select(func.min(events.c.id)).where(events.c.found_at >= since)) or 0


def events_after(
    connection: Connection, since: datetime, after: int, most: int
) -> list[StoredEvent]:
    """Return the next events found from `since` on, in the order in which they were stored.

    `after` is the id of the last one read.
    """
    is_next = and_(events.c.id > after, events.c.found_at >= since)
    rows = connection.execute(select(events).where(is_next).order_by(events.c.id).limit(most))
    return [
        StoredEvent(
            row.id,
            event_in(row),
            row.found_at,
            None if row.reason is None else Reason(row.reason),
        )
        for row in rows
    ]


def count_events_since(connection: Connection, since: datetime) -> int:
    """Return how many events were found from `since` on."""
    found = select(func.count()).select_from(events).where(events.c.found_at >= since)
    return connection.scalar(found) or 0


def completions_of(
    connection: Connection, course_member_ids: Collection[int]
) -> dict[int, list[tuple[datetime, int]]]:
    """Return when these members finished which lessons, by enrolment; gone ones are omitted."""
    found: dict[int, list[tuple[datetime, int]]] = {}
    for some in chunks(course_member_ids):
        rows = connection.execute(
            select(records.c.course_member_id, records.c.created_at, records.c.lesson_id).where(
                records.c.entity == Entity.COMPLETED_LESSON,
                records.c.course_member_id.in_(some),
                records.c.gone_at.is_(None),
            )
        )
        for row in rows:
            # Not a condition: SQLite would read all that have been created instead of these.
            if row.created_at is None or row.lesson_id is None:
                continue
            found.setdefault(row.course_member_id, []).append((row.created_at, row.lesson_id))
    return found


@dataclass(frozen=True, slots=True)
class KeyedEmail:
    """An email by its permanent key: of which rule, about whom and which course, and to whom."""

    key: str
    rule: str
    coworker_id: int
    course_id: int
    audience: str | None = None


def sent_emails(connection: Connection, since: datetime) -> dict[str, KeyedEmail]:
    """Return by key the emails that were planned from `since` on and were or may be sent.

    One that was resent counts under its first key.
    """
    whom = (actions.c.coworker_id, actions.c.course_id, actions.c.audience)
    columns = (actions.c.key, actions.c.rule, *whom)
    planned = actions.c.planned_at >= since
    was_sent = actions.c.state.in_((ActionState.DONE, ActionState.UNKNOWN))
    rows = connection.execute(select(*columns, actions.c.resend_of).where(planned, was_sent)).all()
    resent = {first_key(row.key) for row in rows if row.resend_of is not None}
    found = {row.key: KeyedEmail(*row[:5]) for row in rows if row.resend_of is None}
    for some in chunks(resent - found.keys()):
        first = connection.execute(select(*columns).where(planned, actions.c.key.in_(some)))
        found |= {row.key: KeyedEmail(*row) for row in first}
    return found


def enrolments_of(
    connection: Connection, coworker_id: int, course_id: int | None
) -> list[CourseMember]:
    """Return the enrolments of a person that were read and are not gone, on one or all courses."""
    found = present_below(connection, Entity.COURSE_MEMBER, ("coworker_id", coworker_id))
    return [
        one for one in found if isinstance(one, CourseMember) and course_id in {None, one.course_id}
    ]
