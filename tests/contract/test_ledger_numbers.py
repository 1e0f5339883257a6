"""What the pages of numbers count, on both engines."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from ledger.counts_over_time import QuarterCount, emails_by_quarter, lessons_by_quarter
from ledger.engine import Engine, reading, writing
from ledger.enrolments import active_enrolments
from ledger.records import accept_record
from ledger.stories import count_newer
from ledger.tables import actions, events, records
from schemas.entity import CompletionType, Entity
from schemas.events import EventKind
from tests.builders.records import COURSE_ID, course, course_member, lesson
from tests.contract.ledger_rig import NOW
from workers.standing import CourseStanding, course_standings

AT = datetime(2026, 11, 20, 13, 14, 59, 700_000, tzinfo=UTC)
QUARTER = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
WHOSE = {"course_id": 1, "coworker_id": 2, "course_member_id": 3}
COUNTS = frozenset({CompletionType.BUTTON})


def event_row(key: str, at: datetime, kind: str = "lesson_completed") -> dict[str, object]:
    times = {"happened_at": at, "found_at": at}
    return WHOSE | times | {"key": key, "kind": kind}


def test_emails_and_lessons_are_counted_by_quarter_of_an_hour(ledger_engine: Engine) -> None:
    same = WHOSE | {
        **dict.fromkeys(("rule", "rules_version", "event_kind", "stream"), "x"),
        **dict.fromkeys(("happened_at", "planned_at", "due_at", "finished_at"), AT),
    }
    done = same | {"kind": "email", "state": "done", "template": "welcome"}
    sent = [
        done | {"key": "1"},
        done | {"key": "2", "finished_at": AT + timedelta(seconds=1)},
        done | {"key": "3", "template": None},
        done | {"key": "4", "state": "skipped"},
        done | {"key": "5", "kind": "webhook"},
        done | {"key": "6", "finished_at": AT - timedelta(days=9)},
    ]
    happened = [
        event_row("1", AT),
        event_row("2", QUARTER),
        event_row("3", AT, "enrolled"),
        event_row("4", AT - timedelta(days=9)),
    ]
    with writing(ledger_engine) as connection:
        connection.execute(insert(actions), sent)
        connection.execute(insert(events), happened)
    since = AT - timedelta(days=1)
    with reading(ledger_engine) as connection:
        emails = emails_by_quarter(connection, "email", since)
        lessons = lessons_by_quarter(connection, since)
    next_one = QUARTER + timedelta(minutes=15)
    assert sorted(emails, key=str) == sorted(
        [
            QuarterCount(QUARTER, 1, "welcome"),
            QuarterCount(next_one, 1, "welcome"),
            QuarterCount(QUARTER, 1),
        ],
        key=str,
    )
    assert lessons == [QuarterCount(QUARTER, 2)]


def test_newer_events_are_counted_up_to_a_number(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        connection.execute(insert(events), [event_row(str(one), AT) for one in range(5)])
    with reading(ledger_engine) as connection:
        assert [count_newer(connection, 0, most) for most in (3, 100)] == [3, 5]
        assert count_newer(connection, 0, 3, kind=EventKind.ENROLLED) == 0


def standing_of(engine: Engine) -> CourseStanding:
    with reading(engine) as connection:
        [found] = course_standings(connection, COUNTS, 2)
    return found


def enrolled(number: int, *done: int, begun: datetime = NOW) -> list[dict[str, object]]:
    """Return the rows of an enrolment that lists showed, and of its finished lessons."""
    found: list[dict[str, object]] = [
        {
            "entity": Entity.COURSE_MEMBER,
            "record_id": number,
            "course_id": COURSE_ID,
            "coworker_id": number,
            "created_at": begun,
        }
    ]
    found += [
        {
            "entity": Entity.COMPLETED_LESSON,
            "record_id": 1000 * number + one,
            "course_member_id": number,
            "lesson_id": one,
            "created_at": begun + timedelta(hours=one),
        }
        for one in done
    ]
    return found


def store(engine: Engine, *rows: list[dict[str, object]]) -> None:
    with writing(engine) as connection:
        accept_record(connection, Entity.COURSE, course(), NOW)
        for number in (1, 2, 3):
            accept_record(connection, Entity.LESSON, lesson(number), NOW)
        for row in (one for several in rows for one in several):
            connection.execute(insert(records), row)


def test_members_stand_at_their_next_lesson_the_longest_idle_first(ledger_engine: Engine) -> None:
    day = timedelta(days=1)
    store(
        ledger_engine,
        enrolled(1, 1, 2, 3),
        enrolled(2, 1),
        enrolled(3, 1, begun=NOW - day),
        enrolled(4, 1, begun=NOW - 2 * day),
        enrolled(5),
    )
    found = standing_of(ledger_engine)
    assert (found.enrolled, found.finished, found.under_way, found.not_started) == (5, 1, 3, 1)
    assert found.total == 3
    assert [(one.title, one.number) for one in found.lessons] == [("Lesson 1", 1), ("Lesson 2", 3)]
    assert [one.coworker_id for one in found.lessons[1].longest_idle] == [4, 3]


def test_a_finished_course_stays_finished_and_a_person_counts_once(ledger_engine: Engine) -> None:
    earlier = enrolled(2, begun=NOW - timedelta(days=9))
    earlier[0]["coworker_id"] = 1
    store(ledger_engine, enrolled(1, 1), earlier, enrolled(3, 1))
    ended = event_row("end", NOW, "course_completed") | {"course_id": COURSE_ID, "coworker_id": 3}
    with writing(ledger_engine) as connection:
        connection.execute(insert(events), ended)
    found = standing_of(ledger_engine)
    assert (found.enrolled, found.under_way, found.finished) == (2, 1, 1)


@pytest.mark.parametrize("different", [{"blocked": True}, {"approved": False}])
def test_who_has_no_place_on_a_course_is_not_counted(
    ledger_engine: Engine, different: dict[str, bool]
) -> None:
    store(ledger_engine, enrolled(1))
    with writing(ledger_engine) as connection:
        accept_record(connection, Entity.COURSE_MEMBER, course_member(**different), NOW)
    with reading(ledger_engine) as connection:
        assert [one.course_member_id for one in active_enrolments(connection)] == [1]
