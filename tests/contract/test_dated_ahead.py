"""What the source dates in the future counts as having happened when it was first seen."""

from datetime import timedelta

import pytest

from ledger.engine import Engine, reading
from ledger.tables import events
from schemas.entity import Entity
from schemas.records import CompletedLesson
from tests.builders.records import NOON
from tests.contract.study_rig import LISBON, SHIPPED, Space, rules_of
from workers.sync.certificate import certify
from workers.sync.evidence import window_of
from workers.sync.poll import poll_all
from workers.sync.rows import SyncContext

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

AHEAD = timedelta(days=40)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def finish_ahead(space: Space, *lessons: int) -> None:
    """Let person 1 finish lessons now, which the source dates a little apart in the future."""
    for number in lessons:
        made = 60_000 + number
        at = space.clock.now() + AHEAD + timedelta(minutes=number)
        done = CompletedLesson(made, at, at, number, None, 9001, None)
        space.source.have(Entity.COMPLETED_LESSON, done)
        space.notify(Entity.COMPLETED_LESSON, made)
    space.work()


def happened(space: Space) -> set[timedelta]:
    """Return how long after the clock's time now all things have happened."""
    with reading(space.engine) as connection:
        rows = connection.execute(events.select().where(events.c.kind != "enrolled"))
        return {row.happened_at - space.clock.now() for row in rows}


def text_of(space: Space) -> str:
    return str(space.mailer.caught[-1].message)


def test_a_welcome_dated_in_the_future_is_sent_at_once(space: Space) -> None:
    space.enrol(1, created_at=space.clock.now() + AHEAD, updated_at=space.clock.now() + AHEAD)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def test_lessons_gather_from_when_they_were_seen(space: Space) -> None:
    space.enrol(1)
    space.work()
    finish_ahead(space, 1, 2)
    assert happened(space) == {timedelta()}
    space.later(minutes=29)
    assert len(space.subjects) == 1
    space.later(minutes=2)
    assert len(space.subjects) == 2


def test_an_email_about_a_finished_course_names_no_day_in_the_future(space: Space) -> None:
    space.enrol(1)
    space.work()
    finish_ahead(space, 1, 2, 3)
    space.later(hours=1)
    assert len(space.subjects) == 2
    assert "April" not in text_of(space)
    assert "3 March" in text_of(space)


def test_events_dated_in_the_future_age_from_when_they_were_seen(space: Space) -> None:
    space.enrol(1)
    space.work()
    finish_ahead(space, 1)
    space.clock.time += timedelta(days=5)  # everything of ours was down
    space.work()
    assert space.outcomes()[-1] == ("held", "too-old")


def test_the_certificate_does_not_count_it_as_a_repeat(space: Space) -> None:
    sync = SyncContext(space.engine, space.lend, space.clock)
    poll_all(sync, for_s=60)
    space.clock.time += timedelta(minutes=1)
    space.enrol(1)
    space.work()
    finish_ahead(space, 1)
    space.later(hours=1)
    space.clock.time += AHEAD + timedelta(days=2)
    for day in (NOON.date(), (NOON + AHEAD).date()):
        made = certify(sync, window_of(day, day, LISBON, space.clock.now()), space.rules)
        assert made.is_clean
        assert all(outcome == "written" for outcome, _ in made.totals.outcomes)
    assert made.totals.outcomes.total() == 1
