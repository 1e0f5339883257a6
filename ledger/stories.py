"""Events with the actions about them, as commands and pages show them: newest, or of a person.

Each function takes the same number of statements, however many events there are.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, TextClause, func, select

from ledger.engine import chunks
from ledger.members import names_of_members
from ledger.people import names_of
from ledger.tables import RARER_EVENTS, action_events, actions, attempts, copies, events, records
from schemas.actions import step_of
from schemas.entity import Entity
from schemas.events import EventKind


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One row in the history of an action: one attempt, or `tries` for one reason, since `at`."""

    at: datetime
    outcome: str
    reason: str | None
    detail: str | None
    tries: int


@dataclass(frozen=True, slots=True)
class ActionView:
    """One action: its state, its reason and its history. `title` is its copy's.

    `was_resent`: a later one repeats it. `audience` is whom it is to, None if to the person it is
    about, and `recipient` the address of its copy. `closed_at`: since then it needs nobody.
    `is_later_step`: it follows another of its rule, as a reminder does.
    """

    action_id: int
    rule: str
    template: str | None
    state: str
    reason: str | None
    due_at: datetime
    finished_at: datetime | None
    receipt: str | None
    title: str | None = field(repr=False)
    tries: tuple[AttemptView, ...]
    was_resent: bool = False
    audience: str | None = None
    recipient: str | None = field(default=None, repr=False)
    closed_at: datetime | None = None
    is_later_step: bool = False


@dataclass(frozen=True, slots=True)
class EventView:
    """One event and its actions, or the reason why there is none."""

    event_id: int
    kind: str
    happened_at: datetime
    found_at: datetime
    course_id: int
    course_member_id: int
    lesson_id: int | None
    reason: str | None
    actions: tuple[ActionView, ...]


@dataclass(frozen=True, slots=True)
class TitledEvent:
    """One event with the titles of its course and lesson, and of whom it is.

    `person` is None if neither their record nor their name was ever read, `lesson` unless the event
    is about one.
    """

    event: EventView
    course: str
    lesson: str | None
    coworker_id: int
    person: str | None = field(repr=False)


def history_of(connection: Connection, coworker_id: int) -> list[EventView]:
    """Return all events of one person, the earliest first."""
    wanted = select(events).where(events.c.coworker_id == coworker_id)
    rows = connection.execute(wanted.order_by(events.c.happened_at, events.c.id)).all()
    return [one for _, one in _views(connection, rows)]


def titled_history(connection: Connection, coworker_id: int) -> list[TitledEvent]:
    """Return all events of one person with their titles, the earliest first.

    Times are whole seconds: the end of a course comes after a lesson of the same second.
    """
    wanted = select(events).where(events.c.coworker_id == coworker_id)
    rows = connection.execute(wanted.order_by(events.c.happened_at, events.c.id)).all()
    return sorted(
        _titled(connection, _views(connection, rows)),
        key=lambda one: (one.event.happened_at, one.event.kind == EventKind.COURSE_COMPLETED),
    )


def newest_events(
    connection: Connection, most: int, *, before: int | None = None, kind: EventKind | None = None
) -> list[TitledEvent]:
    """Return what was found last, the newest first; `before` is the id of the last one shown."""
    wanted = select(events).order_by(events.c.id.desc()).limit(most)
    if before is not None:
        wanted = wanted.where(events.c.id < before)
    wanted = wanted.where(*_of_kind(kind))
    return _titled(connection, _views(connection, connection.execute(wanted).all()))


def count_newer(
    connection: Connection, after: int, most: int, *, kind: EventKind | None = None
) -> int:
    """Return how many events have a higher id than this one, `most` at most.

    An event with a lower id that another process stores only now is not among them.
    """
    newer = select(events.c.id).where(events.c.id > after, *_of_kind(kind)).limit(most)
    return connection.scalar(select(func.count()).select_from(newer.subquery())) or 0


def _of_kind(kind: EventKind | None) -> list[ColumnElement[bool] | TextClause]:
    if kind is None:
        return []
    # Finished lessons are frequent enough to be found without the index of all others.
    rarer = [] if kind is EventKind.LESSON_COMPLETED else [RARER_EVENTS]
    return [events.c.kind == kind, *rarer]


def events_by_id(connection: Connection, event_ids: Collection[int]) -> list[TitledEvent]:
    """Return these events in the order of their ids; those that do not exist are omitted."""
    rows = [
        row
        for some in chunks(event_ids)
        for row in connection.execute(
            select(events).where(events.c.id.in_(some)).order_by(events.c.id)
        )
    ]
    return _titled(connection, _views(connection, rows))


def events_of(connection: Connection, action_id: int) -> list[TitledEvent]:
    """Return the events that an action is about, the earliest first."""
    linked = select(action_events.c.event_id).where(action_events.c.action_id == action_id)
    return events_by_id(connection, list(connection.scalars(linked)))


def titles_of_courses(
    connection: Connection, courses: Collection[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Return the titles of courses, each given with an enrolment in it that may name it too."""
    course_ids = {course_id for course_id, _ in courses}
    own = _texts(connection, Entity.COURSE, course_ids, "Title")
    unnamed = {member_id for course_id, member_id in courses if course_id not in own}
    theirs = _texts(connection, Entity.COURSE_MEMBER, unnamed, "CourseTitle")
    return {one: own.get(one[0]) or theirs.get(one[1]) or f"course {one[0]}" for one in courses}


def _views(connection: Connection, rows: Sequence[Row[Any]]) -> list[tuple[Row[Any], EventView]]:
    by_event = _actions_by_event(connection, [row.id for row in rows])
    return [
        (
            row,
            EventView(
                row.id,
                row.kind,
                row.happened_at,
                row.found_at,
                row.course_id,
                row.course_member_id,
                row.lesson_id,
                row.reason,
                tuple(by_event.get(row.id, ())),
            ),
        )
        for row in rows
    ]


def _titled(
    connection: Connection, found: Sequence[tuple[Row[Any], EventView]]
) -> list[TitledEvent]:
    whose = {row.coworker_id for row, _ in found}
    names = names_of(connection, whose)
    names = names_of_members(connection, whose - names.keys()) | names
    courses = titles_of_courses(
        connection, {(one.course_id, one.course_member_id) for _, one in found}
    )
    lesson_ids = {one.lesson_id for _, one in found if one.lesson_id is not None}
    lessons = _texts(connection, Entity.LESSON, lesson_ids, "Title")
    return [
        TitledEvent(
            one,
            courses[one.course_id, one.course_member_id],
            _lesson(one, lessons),
            row.coworker_id,
            names.get(row.coworker_id),
        )
        for row, one in found
    ]


def _lesson(one: EventView, titles: dict[int, str]) -> str | None:
    if one.lesson_id is None or one.kind != EventKind.LESSON_COMPLETED:
        return None
    return titles.get(one.lesson_id) or f"lesson {one.lesson_id}"


def _texts(
    connection: Connection, entity: Entity, record_ids: Collection[int], name: str
) -> dict[int, str]:
    """Return one text of each of these records, where it has one."""
    found: dict[int, str] = {}
    for some in chunks(record_ids):
        rows = connection.execute(
            select(records.c.record_id, records.c.record).where(
                records.c.entity == entity,
                records.c.record_id.in_(some),
                records.c.record.is_not(None),
            )
        )
        found |= {row.record_id: str(row.record[name]) for row in rows if row.record.get(name)}
    return found


def _actions_by_event(
    connection: Connection, event_ids: Sequence[int]
) -> dict[int, list[ActionView]]:
    rows = connection.execute(
        select(action_events.c.event_id, actions, copies.c.title, copies.c.recipient)
        .join(actions, actions.c.id == action_events.c.action_id)
        .outerjoin(copies, copies.c.action_id == actions.c.id)
        .where(action_events.c.event_id.in_(event_ids))
        .order_by(actions.c.id)
    ).all()
    tries: dict[int, list[AttemptView]] = {}
    for row in connection.execute(
        select(attempts)
        .where(attempts.c.action_id.in_({row.id for row in rows}))
        .order_by(attempts.c.id)
    ):
        tries.setdefault(row.action_id, []).append(
            AttemptView(row.at, row.outcome, row.reason, row.detail, row.tries)
        )
    resent = {row.resend_of for row in rows}
    by_event: dict[int, list[ActionView]] = {}
    for row in rows:
        view = ActionView(
            row.id,
            row.rule,
            row.template,
            row.state,
            row.reason,
            row.due_at,
            row.finished_at,
            row.receipt,
            row.title,
            tuple(tries.get(row.id, ())),
            row.id in resent,
            row.audience,
            row.recipient,
            row.closed_at,
            step_of(row.key) > 0,
        )
        by_event.setdefault(row.event_id, []).append(view)
    return by_event
