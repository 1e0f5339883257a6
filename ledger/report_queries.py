"""What summaries and digests count, and the members that they name."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from ledger.engine import chunks
from ledger.enrolments import active_enrolments
from ledger.events import known_events
from ledger.tables import UNDECIDED_ACTIONS, UNFINISHED_ACTIONS, actions, events, reports
from schemas.actions import ActionState
from schemas.events import EventKind, course_completed_key
from schemas.reasons import Reason


def done_by_template(
    connection: Connection, since: datetime, until: datetime
) -> dict[tuple[str, str | None], int]:
    """Return how many actions were done in this time, by kind and template, if it has one."""
    rows = connection.execute(
        select(actions.c.kind, actions.c.template, func.count().label("number"))
        .where(
            actions.c.state == ActionState.DONE,
            actions.c.finished_at >= since,
            actions.c.finished_at < until,
        )
        .group_by(actions.c.kind, actions.c.template)
    )
    return {(row.kind, row.template): row.number for row in rows}


def done_by_rule(connection: Connection, kind: str, since: datetime) -> dict[str, int]:
    """Return how many actions of a kind were done since then, by rule."""
    rows = connection.execute(
        select(actions.c.rule, func.count().label("number"))
        .where(
            actions.c.finished_at >= since,
            actions.c.state == ActionState.DONE,
            actions.c.kind == kind,
        )
        .group_by(actions.c.rule)
    )
    return {row.rule: row.number for row in rows}


def done_by_report(connection: Connection, since: datetime) -> dict[str, int]:
    """Return how many digests, summaries and alerts were sent since then, by name."""
    rows = connection.execute(
        select(reports.c.name, func.count().label("number"))
        .where(reports.c.finished_at >= since, reports.c.state == ActionState.DONE)
        .group_by(reports.c.name)
    )
    return {row.name: row.number for row in rows}


@dataclass(frozen=True, slots=True)
class HeldSince:
    """How many actions for members are held, to how many people, and who would get most."""

    number: int
    people: int
    busiest_id: int | None
    most: int


def held_since(connection: Connection, kind: str, reason: Reason, since: datetime) -> HeldSince:
    """Return how many actions of a kind were planned since then and are held for this reason."""
    number: Any = func.count()
    by_person = (
        select(actions.c.coworker_id, number.label("number"))
        .where(
            UNDECIDED_ACTIONS,
            actions.c.state == ActionState.HELD,
            actions.c.reason == reason,
            actions.c.planned_at >= since,
            actions.c.kind == kind,
            actions.c.audience.is_(None),
        )
        .group_by(actions.c.coworker_id)
        .subquery()
    )
    total = connection.execute(select(func.sum(by_person.c.number), func.count(by_person.c.number)))
    emails, people = total.one()
    most = select(by_person).order_by(by_person.c.number.desc(), by_person.c.coworker_id).limit(1)
    busiest = connection.execute(most).one_or_none()
    if busiest is None:
        return HeldSince(0, 0, None, 0)
    return HeldSince(int(emails), people, busiest.coworker_id, busiest.number)


def skipped_by_reason(
    connection: Connection, since: datetime, until: datetime
) -> dict[tuple[str, Reason], int]:
    """Return how many actions were left out in this time, by kind and reason."""
    rows = connection.execute(
        select(actions.c.kind, actions.c.reason, func.count().label("number"))
        .where(
            actions.c.state == ActionState.SKIPPED,
            actions.c.finished_at >= since,
            actions.c.finished_at < until,
            actions.c.reason.is_not(None),
        )
        .group_by(actions.c.kind, actions.c.reason)
    )
    return {(row.kind, Reason(row.reason)): row.number for row in rows}


@dataclass(frozen=True, slots=True)
class RecordedTime:
    """Events by when they were recorded here: from `begin` on, and before `end`.

    One that is recorded late is so in the next of these times, once. What happened before
    `happened_from` is left out, whenever it was recorded.
    """

    begin: datetime
    end: datetime
    happened_from: datetime

    @property
    def condition(self) -> ColumnElement[bool]:
        """What matches these events."""
        return and_(
            events.c.found_at >= self.begin,
            events.c.found_at < self.end,
            events.c.happened_at >= self.happened_from,
        )


def count_events(
    connection: Connection, kinds: Collection[EventKind], recorded: RecordedTime
) -> dict[EventKind, int]:
    """Return how many events of each of these kinds were recorded in this time."""
    rows = connection.execute(
        select(events.c.kind, func.count().label("number"))
        .where(recorded.condition, events.c.kind.in_(list(kinds)))
        .group_by(events.c.kind)
    )
    return {EventKind(row.kind): row.number for row in rows}


def waiting_by_kind(connection: Connection) -> dict[str, int]:
    """Return how many actions are planned, wait or are being performed, by kind."""
    rows = connection.execute(
        select(actions.c.kind, func.count().label("number"))
        .where(UNFINISHED_ACTIONS)
        .group_by(actions.c.kind)
    )
    return {row.kind: row.number for row in rows}


@dataclass(frozen=True, slots=True)
class CourseChange:
    """Something that a member did on a course."""

    kind: EventKind
    coworker_id: int
    course_member_id: int
    happened_at: datetime


def changes_of_course(
    connection: Connection,
    course_id: int,
    kinds: Collection[EventKind],
    recorded: RecordedTime,
) -> list[CourseChange]:
    """Return the events of these kinds on a course that were recorded in this time, by time."""
    rows = connection.execute(
        select(
            *(events.c.kind, events.c.coworker_id, events.c.course_member_id, events.c.happened_at)
        )
        .where(
            events.c.course_id == course_id,
            events.c.kind.in_(list(kinds)),
            recorded.condition,
        )
        .order_by(events.c.happened_at, events.c.id)
    )
    return [CourseChange(EventKind(row[0]), *row[1:]) for row in rows]


def quiet_members(
    connection: Connection, course_id: int, since: datetime, until: datetime
) -> list[CourseChange]:
    """Return the enrolments on a course that were last active in this time, the quietest first.

    The kind says whether a lesson is finished (`stalled`) or none (`not_started`). Who finished the
    course, is blocked or waits for approval is left out.
    """
    found = {}
    for one in active_enrolments(connection, course_id):
        if since <= one.last_active_at < until:
            kind = EventKind.STALLED if one.has_begun else EventKind.NOT_STARTED
            key = course_completed_key(course_id, one.coworker_id)
            found[key] = CourseChange(
                kind, one.coworker_id, one.course_member_id, one.last_active_at
            )
    for some in chunks(found):
        for key in known_events(connection, some):
            del found[key]
    return sorted(found.values(), key=lambda one: (one.happened_at, one.course_member_id))
