"""Activity and first reports, on both engines."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from ledger.engine import Engine, reading, writing
from ledger.events import store_events
from ledger.intake import Origin, store_notifications
from ledger.monitoring import (
    ReportCounts,
    activity_by_hour,
    last_happened_at,
    refused_since,
    reports_by_location,
)
from ledger.records import SeenVersion, accept_record, note_seen
from ledger.undecided import undecided
from schemas.entity import Entity
from schemas.events import Event, EventKind
from schemas.notification import Notification
from schemas.settings import load_settings
from tests.builders.records import NOON, completed_lesson, course, course_member
from workers.monitoring import monitoring_now

HOUR = timedelta(hours=1)
NOW = NOON + timedelta(days=10)
DONE = Entity.COMPLETED_LESSON


def happened(
    engine: Engine,
    kind: EventKind,
    at: datetime,
    member: int = 1,
    lesson: int = 1,
) -> None:
    with writing(engine) as connection:
        event = Event(kind, f"{kind}:{member}:{lesson}", at, 1234, 77, member, lesson)
        store_events(connection, [(event, None)], at)


def test_a_sitting_counts_once_an_hour_however_many_lessons_it_has(ledger_engine: Engine) -> None:
    for lesson, minutes in ((1, 5), (2, 59), (3, 60)):
        at = NOON + timedelta(minutes=minutes)
        happened(ledger_engine, EventKind.LESSON_COMPLETED, at, lesson=lesson)
    happened(ledger_engine, EventKind.COURSE_STARTED, NOON + timedelta(minutes=5))
    happened(ledger_engine, EventKind.ENROLLED, NOON + timedelta(minutes=30), member=2)
    happened(ledger_engine, EventKind.ENROLLED, NOON - HOUR, member=3)
    with reading(ledger_engine) as connection:
        assert activity_by_hour(connection, NOON) == {NOON: 2, NOON + HOUR: 1}
        assert last_happened_at(connection, NOW) == NOON + HOUR


def test_hours_are_the_same_on_older_servers(
    ledger_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes in (0, 59, 60):
        at = NOON + timedelta(minutes=minutes)
        happened(ledger_engine, EventKind.LESSON_COMPLETED, at, member=minutes)
    with reading(ledger_engine) as connection:
        newer = activity_by_hour(connection, NOON)
        monkeypatch.setattr(ledger_engine.dialect, "server_version_info", (13, 0))
        assert newer == activity_by_hour(connection, NOON) == {NOON: 2, NOON + HOUR: 1}


def test_its_queries_are_built_once_and_asked_again_with_other_times(
    ledger_engine: Engine,
) -> None:
    happened(ledger_engine, EventKind.ENROLLED, NOON)
    asked: list[object] = []
    with reading(ledger_engine) as connection:

        @event.listens_for(connection, "before_execute")
        def _(_: object, statement: object, *_others: object) -> None:
            asked.append(statement)

        settings = load_settings({})
        for later in (HOUR, 2 * HOUR):
            now = NOON + later
            assert monitoring_now(connection, settings, now).silence.last_at == NOON
            refused_since(connection, now)
            undecided(connection)
    once, again = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    assert [id(one) for one in once] == [id(one) for one in again]


def test_records_that_polls_only_saw_count_as_activity_once(ledger_engine: Engine) -> None:
    at = NOON + timedelta(minutes=5, microseconds=7)
    happened(ledger_engine, EventKind.LESSON_COMPLETED, at, member=1)
    seen = [
        SeenVersion(50, at, "a", created_at=at, course_member_id=1),
        SeenVersion(51, at, "a", created_at=at, course_member_id=2),
        SeenVersion(52, at, "a", created_at=at + 3 * HOUR, course_member_id=2),
        SeenVersion(53, at, "a"),
    ]
    with writing(ledger_engine) as connection:
        note_seen(connection, DONE, seen, NOW)
        note_seen(connection, Entity.COURSE_MEMBER, [SeenVersion(2, at, "b", created_at=at)], NOW)
    with reading(ledger_engine) as connection:
        assert activity_by_hour(connection, NOON) == {NOON: 2, NOON + 3 * HOUR: 1}
        assert last_happened_at(connection, NOW) == at + 3 * HOUR


def test_activity_dated_in_the_future_counts_from_when_it_was_first_seen(
    ledger_engine: Engine,
) -> None:
    ahead = NOW + timedelta(days=99)
    first_seen = NOON + HOUR

    def seen(member: int) -> SeenVersion:
        return SeenVersion(50, ahead, "a", created_at=ahead, course_member_id=member)

    with writing(ledger_engine) as connection:
        note_seen(connection, DONE, [seen(1)], first_seen)
        note_seen(connection, DONE, [seen(2)], first_seen + HOUR)  # another version
    happened(ledger_engine, EventKind.ENROLLED, ahead)  # as an older version kept it
    with reading(ledger_engine) as connection:
        assert last_happened_at(connection, NOW) == first_seen
        assert activity_by_hour(connection, NOON)[first_seen] == 1


def test_a_deletion_is_no_activity(ledger_engine: Engine) -> None:
    happened(ledger_engine, EventKind.UNENROLLED, NOON)
    with reading(ledger_engine) as connection:
        assert (activity_by_hour(connection, NOON - HOUR), last_happened_at(connection, NOW)) == (
            {},
            None,
        )


def read(engine: Engine, record_id: int, made_at: datetime) -> None:
    with writing(engine) as connection:
        accept_record(connection, DONE, completed_lesson(record_id, 1, made_at), NOW)


def notify(engine: Engine, record_id: int, origin: Origin, at: datetime) -> None:
    with writing(engine) as connection:
        store_notifications(connection, [Notification(DONE, record_id)], origin, at)


@pytest.fixture
def engine(ledger_engine: Engine) -> Engine:
    """Give a ledger that knows one enrolment and its course."""
    with writing(ledger_engine) as connection:
        accept_record(connection, Entity.COURSE, course(), NOW)
        old = course_member(created_at=NOON - timedelta(days=99))
        accept_record(connection, Entity.COURSE_MEMBER, old, NOW)
    return ledger_engine


def reports(engine: Engine) -> list[ReportCounts]:
    week_ago, yesterday = NOW - timedelta(days=7), NOW - timedelta(days=1)
    with reading(engine) as connection:
        return reports_by_location(connection, week_ago, yesterday, NOW - timedelta(minutes=30))


def test_first_reports_are_counted_by_location_and_time(engine: Engine) -> None:
    before, lately = NOW - timedelta(days=3), NOW - timedelta(hours=3)
    for record_id, made_at, origin in (
        (1, before, Origin.HOOK),
        (2, before, Origin.HOOK),
        (3, before, Origin.CHECK),
        (4, lately, Origin.BACKFILL),
        (5, lately, Origin.RELAY),
    ):
        read(engine, record_id, made_at)
        notify(engine, record_id, origin, made_at)
    notify(engine, 1, Origin.BACKFILL, NOW)
    assert reports(engine) == [
        ReportCounts(
            500,
            "Harbour Works",
            DONE,
            {Origin.HOOK: 2, Origin.CHECK: 1},
            {Origin.BACKFILL: 1, Origin.RELAY: 1},
        )
    ]


def test_a_relay_that_is_slower_than_our_poll_counts_as_reporting(engine: Engine) -> None:
    made_at = NOW - timedelta(hours=3)
    read(engine, 1, made_at)
    notify(engine, 1, Origin.CHECK, made_at)
    notify(engine, 1, Origin.RELAY, made_at + timedelta(minutes=15))
    assert [one.lately for one in reports(engine)] == [{Origin.RELAY: 1}]


def test_recent_old_and_unread_records_do_not_count(engine: Engine) -> None:
    read(engine, 1, NOW - timedelta(minutes=10))  # a relay may still tell of it
    read(engine, 2, NOON - timedelta(days=60))  # created long before it could be reported
    for record_id in (1, 2, 3):
        notify(engine, record_id, Origin.CHECK, NOW)
    read(engine, 4, NOW - timedelta(hours=2))  # decided on with another of its list
    # An old enrolment that changed: relays tell of new ones.
    with writing(engine) as connection:
        said = [Notification(Entity.COURSE_MEMBER, course_member().record_id)]
        store_notifications(connection, said, Origin.CHECK, NOW - HOUR)
    assert reports(engine) == []


def test_without_the_course_the_location_is_unknown(ledger_engine: Engine) -> None:
    made_at = datetime(2026, 3, 13, 9, 0, tzinfo=UTC)
    new = course_member(created_at=made_at)
    with writing(ledger_engine) as connection:
        accept_record(connection, Entity.COURSE_MEMBER, new, NOW)
        said = [Notification(Entity.COURSE_MEMBER, new.record_id)]
        store_notifications(connection, said, Origin.HOOK, made_at)
    read(ledger_engine, 1, made_at)
    notify(ledger_engine, 1, Origin.CHECK, made_at)
    assert reports(ledger_engine) == [
        ReportCounts(None, "unknown", DONE, {}, {Origin.CHECK: 1}),
        ReportCounts(None, "unknown", Entity.COURSE_MEMBER, {}, {Origin.HOOK: 1}),
    ]
