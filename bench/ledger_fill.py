"""Fill a ledger with months of study, or with lookups that wait, within a minute or two.

Events are written by the driver's own bulk way; the database makes everything else from them. The
rows have the values that a running service would have stored: keys, states, reasons, and versions
that load as records.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
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
    text,
)

from ledger.controls import begin_with
from ledger.engine import Engine, writing
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


def fill_study(
    engine: Engine, wanted: int, now: datetime, *, polls_for: timedelta = _CHECKS_FOR
) -> None:
    """Migrate an empty database and fill it with about `wanted` events until shortly before `now`.

    A month of them was sent without trouble, except for a few emails and lookups. `polls_for` is
    the time of which polls are stored.
    """
    migrate(engine)
    with writing(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = -500000")
        begin_with(connection, Mode.SENDING, now - SPAN, "bench")
        _bulk(connection, events, _events(wanted, now))
        connection.execute(insert(records), list(_structure(now - SPAN)))
        _bulk(connection, checks, _checks(now, polls_for))
        for table, values, where in _following(connection.dialect.name, now):
            wanted_rows = select(*(value.label(name) for name, value in values.items()))
            connection.execute(insert(table).from_select(list(values), wanted_rows.where(*where)))
        _end(connection)


def fill_waiting(engine: Engine, wanted: int, now: datetime) -> None:
    """Add lookups that wait because the source is down; they are due within an hour of `now`."""
    migrate(engine)
    hour_s = 3_600
    with writing(engine) as connection:
        _bulk(
            connection,
            lookups,
            (
                {
                    "entity": Entity.COMPLETED_LESSON,
                    "record_id": _WAITING + number,
                    "state": LookupState.WAITING,
                    "due_at": now + timedelta(seconds=60 + number % hour_s),
                    "asked_at": now - timedelta(seconds=number % hour_s),
                    "asked": 1,
                    "reason": Reason.NEXUDUS_DOWN,
                    "last_error": "no answer in time",
                    "attempts": 3,
                    "lost_leases": 0,
                }
                for number in range(wanted)
            ),
        )
        _end(connection)


def _events(wanted: int, now: datetime) -> Iterator[Mapping[str, object]]:
    """Yield enrolments, spread evenly, each with its finished lessons, in the order of time."""
    until = (now - timedelta(minutes=30)).replace(microsecond=0)  # so that it has settled
    enrolments = round(wanted / (LESSONS + 1) * (1 + LESSONS * _PACE / 2 / SPAN))
    every = SPAN / enrolments
    studied = sorted(
        (until - SPAN + place * every + number * _PACE, place, number)
        for place in range(enrolments)
        for number in range(LESSONS + 1)
        if place * every + number * _PACE < SPAN
    )
    for event_id, (at, place, number) in enumerate(studied, 1):
        course_id, coworker_id = _COURSE + place % COURSES, _PERSON + place // ENROLMENTS_EACH
        lesson_id = _LESSON + place % COURSES * 100 + number if number else None
        member_id = _MEMBER + place
        yield {
            "id": event_id,
            "key": lesson_completed_key(member_id, lesson_id)
            if lesson_id
            else enrolled_key(course_id, coworker_id),
            "kind": EventKind.LESSON_COMPLETED if number else EventKind.ENROLLED,
            "happened_at": at.replace(microsecond=0),
            "found_at": at + timedelta(seconds=2),
            "course_id": course_id,
            "coworker_id": coworker_id,
            "course_member_id": member_id,
            "lesson_id": lesson_id,
            "reason": None if number else Reason.KIND_OFF,
        }


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


Rows = tuple[Table, Mapping[str, ColumnElement[Any]], tuple[ColumnElement[bool], ...]]


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


def _bulk(connection: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert rows with the same keys, past SQLAlchemy, which takes longer than the database."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    names = ", ".join(first)
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(first))})"  # noqa: S608 - our own names
        driver.execute(statement, _as_text(first))
        driver.executemany(statement, map(_as_text, rows))
        return
    with driver.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        copy.write_row(tuple(first.values()))
        for row in rows:
            copy.write_row(tuple(row.values()))


def _as_text(row: Mapping[str, object]) -> list[object]:
    """Return the values with times as SQLAlchemy stores them in SQLite."""
    return [
        value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        if isinstance(value, datetime)
        else value
        for value in row.values()
    ]


def _end(connection: Connection) -> None:
    """Set what PostgreSQL does by itself for rows inserted otherwise: next ids and statistics."""
    if connection.dialect.name == "postgresql":
        for table in (deliveries, notifications, lookups, events, actions, attempts, checks):
            newest = select(func.max(table.c.id)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, "id")
            connection.execute(select(func.setval(sequence, newest)))
        connection.execute(text("ANALYZE"))
