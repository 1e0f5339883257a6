"""What `coursebell status` and `/readyz` say about polls and silence."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.checks import CheckKind, begin_check, end_check, fail_check, note_page
from ledger.engine import Engine, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.records import SeenVersion, accept_record, note_seen
from schemas.entity import FOLLOWED, Entity
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.settings import Settings, load_settings
from service.readiness import readiness
from tests.builders.records import completed_lesson, course, course_member
from workers.monitoring import monitoring_lines, monitoring_now, monitoring_plain

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

NOW = datetime(2026, 3, 10, 20, 30, tzinfo=UTC)  # a Tuesday
DONE = Entity.COMPLETED_LESSON


def settings(every_s: int = 300) -> Settings:
    return load_settings({"COURSEBELL_CHECK_EVERY_S": str(every_s)})


def lines(engine: Engine, now: datetime = NOW, every_s: int = 300) -> list[str]:
    with reading(engine) as connection:
        found = monitoring_now(connection, settings(every_s), now)
    return monitoring_lines(found, settings(every_s), now)


def check_part(engine: Engine, now: datetime = NOW, every_s: int = 300) -> str:
    return readiness(settings(every_s), engine, now)["check"]


def checked(engine: Engine, at: datetime = NOW) -> None:
    for entity in FOLLOWED:
        with writing(engine) as connection:
            run = begin_check(connection, CheckKind.CHECK, entity, at)
            end_check(connection, run.check_id, at)


def failing(engine: Engine, reason: Reason, at: datetime = NOW) -> None:
    with writing(engine) as connection:
        run = begin_check(connection, CheckKind.CHECK, DONE, at)
        fail_check(connection, run.check_id, reason, "the source answered 403")


def evenings(engine: Engine, upto: datetime) -> None:
    """Let a space study on eight weeks of evenings, four people each hour."""
    moments = [
        NOW.replace(hour=hour, minute=0) - timedelta(days=day)
        for day in range(56)
        for hour in (18, 19, 20)
    ]
    seen = [
        SeenVersion(
            number * 10 + who, moment, "a", created_at=moment, course_member_id=number * 10 + who
        )
        for number, moment in enumerate(moments, 1)
        for who in range(4)
        if moment < upto
    ]
    with writing(engine) as connection:
        note_seen(connection, DONE, seen, NOW)


def test_before_the_first_poll_nothing_is_wrong(ledger_engine: Engine) -> None:
    assert check_part(ledger_engine) == "ok"
    assert lines(ledger_engine) == ["no poll yet; no change yet"]


def test_the_baseline_shows_its_progress(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        begin_check(connection, CheckKind.BASELINE, Entity.COURSE_MEMBER, NOW)
    assert lines(ledger_engine) == ["first poll under way: 0 enrolments read; no change yet"]
    assert check_part(ledger_engine) == "ok"


def test_the_baseline_shows_the_total(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        run = begin_check(connection, CheckKind.BASELINE, FOLLOWED[0], NOW)
        for _ in range(2):
            note_page(connection, run.check_id, rows=1000, news=0, reached=NOW, total=10_000)
    line = "first poll under way: 2000 of 10000 enrolments read; no change yet"
    assert lines(ledger_engine) == [line]


def test_a_usual_silence_is_reported_as_usual(ledger_engine: Engine) -> None:
    checked(ledger_engine, NOW - timedelta(minutes=2))
    evenings(ledger_engine, NOW)
    [line] = lines(ledger_engine)
    assert line.startswith("last poll 2 min ago; last change ")
    assert line.endswith("; usual gap at this hour 17 min: quiet, as usual")


def test_an_unusual_silence_is_reported_and_does_not_affect_readiness(
    ledger_engine: Engine,
) -> None:
    checked(ledger_engine)
    evenings(ledger_engine, NOW - timedelta(hours=9))
    said = lines(ledger_engine)
    assert "quiet" not in said[0]
    assert said[1].startswith(
        "! unusually silent: no change since 2026-03-09 20:00 UTC, where about 11 "
    )
    assert check_part(ledger_engine) == "ok"


def test_a_record_dated_in_the_future_does_not_hide_a_silence(ledger_engine: Engine) -> None:
    checked(ledger_engine)
    evenings(ledger_engine, NOW - timedelta(hours=9))
    ahead, first_seen = NOW + timedelta(days=400), NOW - timedelta(hours=24)
    with writing(ledger_engine) as connection:
        note_seen(connection, DONE, [SeenVersion(1, ahead, "a", created_at=ahead)], first_seen)
    assert "! unusually silent: no change since 2026-03-09 20:30 UTC" in lines(ledger_engine)[1]


def test_little_history_is_reported(ledger_engine: Engine) -> None:
    checked(ledger_engine)
    with writing(ledger_engine) as connection:
        note_seen(connection, DONE, [SeenVersion(1, NOW, "a", created_at=NOW)], NOW)
    [line] = lines(ledger_engine)
    assert line.endswith("not enough history yet to tell whether this silence is usual")


def test_a_late_poll_is_a_problem(ledger_engine: Engine) -> None:
    checked(ledger_engine, NOW - timedelta(minutes=16))
    assert check_part(ledger_engine).startswith("the poll of enrolments is late; the last")
    assert lines(ledger_engine)[1].startswith("! check: the poll of enrolments is late")
    assert check_part(ledger_engine, NOW - timedelta(minutes=2)) == "ok"
    assert check_part(ledger_engine, every_s=0) == "ok"
    [line] = lines(ledger_engine, every_s=0)
    assert line == "polls are off (COURSEBELL_CHECK_EVERY_S is 0); no change yet"


def test_a_refused_poll_is_reported_at_once(ledger_engine: Engine) -> None:
    checked(ledger_engine, NOW - timedelta(minutes=5))
    failing(ledger_engine, Reason.NEXUDUS_REFUSED)
    said = check_part(ledger_engine)
    assert said.startswith("the poll of finished lessons fails: Nexudus refuses")
    assert "the source answered 403" in said
    assert check_part(ledger_engine, every_s=0) == "ok"


def test_a_failure_that_may_pass_is_in_status_and_not_in_readyz(ledger_engine: Engine) -> None:
    checked(ledger_engine, NOW - timedelta(minutes=5))
    failing(ledger_engine, Reason.NEXUDUS_DOWN)
    assert check_part(ledger_engine) == "ok"
    assert "lessons fails: Nexudus did not answer" in lines(ledger_engine)[1]
    assert "lessons fails" in check_part(ledger_engine, NOW + timedelta(minutes=20))


def study(engine: Engine, record_id: int, days: float, origin: Origin) -> None:
    """Store a lesson finished so many days ago, and who reported it."""
    at = NOW - timedelta(days=days)
    with writing(engine) as connection:
        accept_record(connection, DONE, completed_lesson(record_id, 1, at), NOW)
        store_notifications(connection, [Notification(DONE, record_id)], origin, at)


@pytest.fixture
def engine(ledger_engine: Engine) -> Engine:
    """Give a ledger that knows one enrolment and its course."""
    with writing(ledger_engine) as connection:
        accept_record(connection, Entity.COURSE, course(), NOW)
        accept_record(connection, Entity.COURSE_MEMBER, course_member(), NOW)
    return ledger_engine


def test_hooks_that_stopped_arriving_are_reported_by_location(engine: Engine) -> None:
    for number in range(1, 11):
        study(engine, number, 3, Origin.HOOK)
    study(engine, 11, 0.5, Origin.HOOK)
    for number in range(12, 23):
        study(engine, number, 0.5, Origin.CHECK)
    assert lines(engine)[1:] == [
        "  Harbour Works, last 7 days: 11 by hook, 11 by poll",
        (
            "! hooks of Harbour Works do not arrive: they reported 1 of the 12 finished lessons of"
            " the last day; polls found the rest"
        ),
    ]
    assert check_part(engine) == "ok"


def test_a_location_without_notifications_is_simply_polled(engine: Engine) -> None:
    for number in range(1, 23):
        study(engine, number, number / 4, Origin.CHECK)
    assert len(lines(engine)) == 1


def test_a_recent_record_does_not_count_against_a_relay(engine: Engine) -> None:
    for number in range(1, 11):
        study(engine, number, 3, Origin.RELAY)
    for number in range(11, 23):
        study(engine, number, 0.01, Origin.CHECK)  # a quarter of an hour ago
    assert len(lines(engine)) == 1


def test_the_json_has_everything(engine: Engine) -> None:
    checked(engine)
    study(engine, 1, 2, Origin.RELAY)
    study(engine, 2, 0.5, Origin.CHECK)
    with reading(engine) as connection:
        plain = monitoring_plain(monitoring_now(connection, settings(), NOW))
    assert plain["hearing"] == "unknown"
    assert plain["checks"] == {
        entity: {"checked_at": NOW, "trouble": None, "says": None} for entity in FOLLOWED
    }
    assert plain["locations"] == [
        {
            "location": "Harbour Works",
            "business_id": 500,
            "entity": "CourseCompletedLesson",
            "before": {"relay": 1},
            "last_day": {"check": 1},
            "lost": False,
        }
    ]
