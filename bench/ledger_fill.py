"""Fill a ledger with months of study, or with lookups that wait, within a minute.

The database itself makes the events, and everything else from them. The rows have the values that
a running service would have stored: keys, states, reasons, and versions that load as records.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    true,
)

from bench.bulk import filling, insert_all, instant, numbers
from ledger.controls import begin_with
from ledger.engine import Engine
from ledger.migrate import migrate
from ledger.tables import (
    action_events,
    actions,
    attempts,
    checks,
    copies,
    deliveries,
    events,
    lookups,
    notifications,
    people,
    records,
)
from schemas.actions import ActionState, LookupState, Mode
from schemas.entity import FOLLOWED, Entity
from schemas.events import EventKind, enrolled_key, lesson_completed_key
from schemas.reasons import Reason
from schemas.records import dump_record
from tests.builders.records import completed_lesson, course, course_member, lesson

LESSONS, COURSES, ENROLMENTS_EACH = 12, 20, 2  # of a course; in all; of one person
SPAN = timedelta(days=220)  # so that 30 days of 1.1 million events have 150,000 rows
_PACE = timedelta(hours=36)  # between two lessons of one member
_CHECK_EVERY, _CHECKS_FOR = timedelta(minutes=5), timedelta(days=90)
_COURSE, _LESSON, _PERSON, _MEMBER = 1_000, 10_000, 500_000, 1_000_000
_DONE, _WAITING = 100_000_000, 900_000_000
_BODY = b'[{"Id": 123456789, "CourseMemberId": 987654321, "CourseLessonId": 123456}]'
_COPY = b"Well done. " * 100
_DIGEST = "d" * 32
_HOUR_S = 3_600

Values = Mapping[str, ColumnElement[Any]]


def fill_study(
    engine: Engine, wanted: int, now: datetime, *, polls_for: timedelta = _CHECKS_FOR
) -> None:
    """Migrate an empty database and fill it with about `wanted` events until shortly before `now`.

    A month of them was sent without trouble, except for a few emails and lookups. `polls_for` is
    the time of which polls are stored.
    """
    migrate(engine)
    with filling(engine) as connection:
        begin_with(connection, Mode.SENDING, now - SPAN, "bench")
        _insert(connection, events, _events(connection, wanted, now))
        connection.execute(insert(records), list(_structure(now - SPAN)))
        insert_all(connection, checks, _checks(now, polls_for))
        for table, values, where in _following(connection.dialect.name, now):
            _insert(connection, table, values, *where)


def fill_waiting(engine: Engine, wanted: int, now: datetime) -> None:
    """Add lookups that wait because the source is down; they are due within an hour of `now`."""
    migrate(engine)
    with filling(engine) as connection:
        number = numbers(wanted).c.n
        place, now_s = number % _HOUR_S, int(now.timestamp())
        values: Values = {
            "entity": literal(Entity.COMPLETED_LESSON.value),
            "record_id": _WAITING + number,
            "state": literal(LookupState.WAITING.value),
            "due_at": instant(connection, now_s + 60 + place),
            "asked_at": instant(connection, now_s - place),
            "asked": literal(1),
            "reason": literal(Reason.NEXUDUS_DOWN.value),
            "last_error": literal("no answer in time"),
            "attempts": literal(3),
            "lost_leases": literal(0),
        }
        _insert(connection, lookups, values)


def _insert(
    connection: Connection, table: Table, values: Values, *where: ColumnElement[bool]
) -> None:
    """Insert the rows that a query returns."""
    rows = select(*(value.label(name) for name, value in values.items())).where(*where)
    connection.execute(insert(table).from_select(list(values), rows))


def _events(connection: Connection, wanted: int, now: datetime) -> Values:
    """Return enrolments, spread evenly, each with its finished lessons, in the order of time."""
    until = now - timedelta(minutes=30)  # so that it has settled
    enrolments = round(wanted / (LESSONS + 1) * (1 + LESSONS * _PACE / 2 / SPAN))
    places, lessons = numbers(enrolments), numbers(LESSONS + 1)
    each, one = places.c.n, lessons.c.n
    after_s = each * int(SPAN.total_seconds()) // enrolments + one * int(_PACE.total_seconds())
    studied = (
        select(
            func.row_number().over(order_by=(after_s, each, one)).label("id"),
            (int((until - SPAN).timestamp()) + after_s).label("at_s"),
            (_COURSE + each % COURSES).label("course_id"),
            (_PERSON + each // ENROLMENTS_EACH).label("coworker_id"),
            (_MEMBER + each).label("course_member_id"),
            case((one > 0, _LESSON + each % COURSES * 100 + one)).label("lesson_id"),
        )
        .select_from(places.join(lessons, true()))
        .where(after_s < int(SPAN.total_seconds()))
        .subquery()
        .c
    )
    is_lesson = studied.lesson_id.is_not(None)
    finished = _key(lesson_completed_key, studied.course_member_id, studied.lesson_id)
    enrolled = _key(enrolled_key, studied.course_id, studied.coworker_id)
    same = ("id", "course_id", "coworker_id", "course_member_id", "lesson_id")
    return {
        **{name: studied[name] for name in same},
        "key": case((is_lesson, finished), else_=enrolled),
        "kind": case((is_lesson, EventKind.LESSON_COMPLETED), else_=EventKind.ENROLLED),
        "happened_at": instant(connection, studied.at_s),
        "found_at": instant(connection, studied.at_s + 2),
        "reason": case((~is_lesson, Reason.KIND_OFF.value)),
    }


def _key(
    key_of: Callable[[int, int], str], one: ColumnElement[int], other: ColumnElement[int]
) -> ColumnElement[str]:
    """Return the key of an event about these two Ids."""
    begin = key_of(0, 0).removesuffix("0:0")
    return literal(begin) + cast(one, String) + ":" + cast(other, String)


def _structure(at: datetime) -> Iterator[dict[str, object]]:
    """Yield the rows of the courses and of their lessons."""
    for number in range(COURSES):
        made: list[tuple[Entity, Any]] = [
            (Entity.COURSE, course(record_id=_COURSE + number, title=f"Course {number}"))
        ]
        made += [
            (
                Entity.LESSON,
                lesson(_LESSON + number * 100 + place, course_id=_COURSE + number, updated_at=at),
            )
            for place in range(1, LESSONS + 1)
        ]
        for entity, record in made:
            yield {
                "entity": entity,
                "record_id": record.record_id,
                "record": dump_record(entity, record),
                **dict.fromkeys(("updated_at", "fetched_at"), at),
                "course_id": getattr(record, "course_id", None),
            }


def _checks(now: datetime, kept_for: timedelta) -> Iterator[Mapping[str, object]]:
    """Yield the polls of the time for which they are kept."""
    for number in range(int(kept_for / _CHECK_EVERY)):
        at = now - kept_for + number * _CHECK_EVERY
        for place, entity in enumerate(FOLLOWED):
            yield {
                "id": 1 + number * len(FOLLOWED) + place,
                "kind": "check",
                "entity": entity,
                **dict.fromkeys(("begun_at", "ended_at", "reached"), at),
                "since": at - _CHECK_EVERY,
                **dict.fromkeys(("pages", "rows", "news"), 1),
            }


Rows = tuple[Table, Values, tuple[ColumnElement[bool], ...]]


def _following(dialect: str, now: datetime) -> Iterator[Rows]:
    """Yield what led to each event and what followed: a table, its values, and for which."""
    one = events.c
    is_lesson = one.lesson_id.is_not(None)
    entity = case((is_lesson, Entity.COMPLETED_LESSON), else_=Entity.COURSE_MEMBER)
    record_id = case(
        (is_lesson, _DONE + (one.course_member_id - _MEMBER) * 100 + one.lesson_id % 100),
        else_=one.course_member_id,
    )
    ref: dict[str, ColumnElement[Any]] = {"entity": entity, "record_id": record_id}
    yield people, _people(), (~is_lesson, one.course_member_id % ENROLMENTS_EACH == 0)
    yield records, ref | _record(dialect, is_lesson, record_id), ()
    yield deliveries, _delivery(now), ()
    origin = case((one.id % 10 == 0, "check"), else_="hook")
    arrived = {"id": one.id, "received_at": one.found_at, "origin": origin}
    yield notifications, ref | arrived | {"delivery_id": one.id}, ()
    yield lookups, ref | _lookup(), ()
    yield actions, _action(), (is_lesson,)
    rule = literal("congratulate-lesson")
    yield action_events, {"event_id": one.id, "rule": rule, "action_id": one.id}, (is_lesson,)
    tried = {"id": one.id, "action_id": one.id, "at": one.found_at, "outcome": _state()}
    yield attempts, tried | {"reason": _reason()}, (is_lesson,)
    yield copies, _copy(), (is_lesson, one.happened_at > now - timedelta(days=90))


def _named(column: ColumnElement[Any]) -> ColumnElement[str]:
    return literal("Person ") + cast(column, String)


def _people() -> dict[str, ColumnElement[Any]]:
    email = literal("person") + cast(events.c.coworker_id, String) + "@example.com"
    return {
        "coworker_id": events.c.coworker_id,
        "full_name": _named(events.c.coworker_id),
        "search_key": func.lower(_named(events.c.coworker_id)) + "\n" + email,
        **dict.fromkeys(("email", "email_key"), email),
        "active": literal(value=True),
        "fetched_at": events.c.found_at,
    }


def _record(
    dialect: str, is_lesson: ColumnElement[bool], record_id: ColumnElement[int]
) -> dict[str, ColumnElement[Any]]:
    one = events.c
    read = case(
        (is_lesson, _as_json(dialect, completed_lesson(1, 2), record_id)),
        else_=_as_json(dialect, course_member(record_id=1, course_id=2, coworker_id=3), record_id),
    )
    times = ("updated_at", "changed_at", "created_at", "source_created_at")
    found: dict[str, ColumnElement[Any]] = {
        "record": read if dialect == "sqlite" else cast(read, records.c.record.type),
        **dict.fromkeys(times, one.happened_at),
        **dict.fromkeys(("fetched_at", "seen_at"), one.found_at),
        **dict.fromkeys(("seen_digest", "decided_digest"), literal(_DIGEST)),
        "decided_upto": one.id,
        "suppressed_after": literal(0),
        "full_name": case((~is_lesson, _named(one.coworker_id))),
        "name_key": case((~is_lesson, func.lower(_named(one.coworker_id)))),
        "lesson_id": one.lesson_id,
        "course_member_id": case((is_lesson, one.course_member_id)),
        "course_id": case((~is_lesson, one.course_id)),
        "coworker_id": case((~is_lesson, one.coworker_id)),
    }
    return {name: value for name, value in found.items() if name in records.c}


def _as_json(dialect: str, record: Any, record_id: ColumnElement[int]) -> ColumnElement[str]:  # noqa: ANN401 - any record
    """Return the text of a record with its own Ids and times in place of the built one's."""
    one = events.c
    is_member = hasattr(record, "course_id")
    own = {
        "Id": record_id,
        **(
            {"CourseId": one.course_id, "CoworkerId": one.coworker_id}
            if is_member
            else {"CourseLessonId": one.lesson_id, "CourseMemberId": one.course_member_id}
        ),
    }
    entity = Entity.COURSE_MEMBER if is_member else Entity.COMPLETED_LESSON
    dumped = dump_record(entity, record)
    at = (
        func.replace(func.substr(cast(one.happened_at, String), 1, 19), " ", "T")
        if dialect == "sqlite"
        else func.to_char(func.timezone("UTC", one.happened_at), 'YYYY-MM-DD"T"HH24:MI:SS')
    )
    said = json.dumps({key: value for key, value in dumped.items() if key not in own | _TIMED})
    found: ColumnElement[str] = literal(said[:-1])
    for key, column in own.items():
        found = found + f', "{key}": ' + cast(column, String)
    for key in _TIMED:
        found = found + f', "{key}": "' + at + '+00:00"'
    return found + "}"


_TIMED = {"CreatedOn": None, "UpdatedOn": None}


def _delivery(now: datetime) -> dict[str, ColumnElement[Any]]:
    one = events.c
    return {
        "id": one.id,
        "received_at": one.found_at,
        "route": literal("/hooks/nexudus"),
        "signature_form": literal("raw"),
        "body": case((one.happened_at > now - timedelta(days=30), literal(_BODY))),
        "size": literal(len(_BODY)),
        "digest": literal(2 * _DIGEST),
    }


def _lookup() -> dict[str, ColumnElement[Any]]:
    one = events.c
    failed = one.id % 50_000 == 1
    return {
        "state": case((failed, LookupState.FAILED), else_=LookupState.DONE),
        **dict.fromkeys(("due_at", "asked_at"), one.found_at),
        **dict.fromkeys(("asked", "leased_asked"), literal(1)),
        "reason": case((failed, Reason.INTERNAL_ERROR)),
    }


def _state() -> ColumnElement[str]:
    held, skipped = events.c.id % 20_000 == 1, events.c.id % 10 == 0
    return case((held, ActionState.HELD), (skipped, ActionState.SKIPPED), else_=ActionState.DONE)


def _reason() -> ColumnElement[str]:
    state = _state()
    return case(
        (state == ActionState.HELD, Reason.FLOOD_GUARD),
        (state == ActionState.SKIPPED, Reason.NO_EMAIL),
    )


def _action() -> dict[str, ColumnElement[Any]]:
    one, done = events.c, _state() == ActionState.DONE
    same = ("course_id", "coworker_id", "course_member_id", "happened_at", "id")
    return {
        **{name: one[name] for name in same},
        "key": literal("congratulate-lesson/") + one.key,
        "kind": literal("email"),
        "rule": literal("congratulate-lesson"),
        "rules_version": literal("1"),
        "event_kind": one.kind,
        "template": literal("lesson-finished"),
        "stream": literal("service"),
        **dict.fromkeys(("planned_at", "due_at"), one.found_at),
        "state": _state(),
        "reason": _reason(),
        "attempts": literal(1),
        "finished_at": case((_state() != ActionState.HELD, one.found_at)),
        "receipt": case((done, "250 2.0.0 Ok: queued")),
    }


def _copy() -> dict[str, ColumnElement[Any]]:
    email = literal("person") + cast(events.c.coworker_id, String) + "@example.com"
    return {
        "action_id": events.c.id,
        "written_at": events.c.found_at,
        "version": literal("1"),
        "recipient": email,
        "title": literal("You finished a lesson"),
        "body": literal(_COPY),
        "media_type": literal("message/rfc822"),
    }
