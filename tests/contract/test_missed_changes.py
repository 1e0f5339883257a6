"""Ways in which a change could have been missed, or an email sent by mistake."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ledger.engine import Engine, writing
from ledger.events import suppressed_among
from ledger.intake import Origin
from ledger.records import note_seen
from schemas.entity import Entity
from schemas.reasons import Reason
from schemas.records import CourseMember
from tests.contract.study_rig import SHIPPED, Space, rules_of
from workers.sync.poll import poll_all
from workers.sync.rows import SyncContext, note_changes
from workers.versions import version_of_record

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

WELCOME = "You're in: Freelance Finance"


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    """Yield a space whose baseline ended before it had members."""
    found = Space(ledger_engine, rules_of(SHIPPED))
    poll_now(found)
    found.later(minutes=1)
    return found


def sync(space: Space) -> SyncContext:
    return SyncContext(space.engine, space.lend, space.clock)


def poll_now(space: Space) -> int:
    return poll_all(sync(space), for_s=60).news


def after(space: Space, minutes: float = 5) -> int:
    """Poll after some minutes, and do all that is due then."""
    space.clock.time += timedelta(minutes=minutes)
    changes = poll_now(space)
    space.work()
    return changes


def change(space: Space, member: CourseMember, **different: Any) -> CourseMember:  # noqa: ANN401 - any field
    """Change an enrolment now, without a notification."""
    changed = replace(member, updated_at=space.clock.now(), **different)
    space.source.have(Entity.COURSE_MEMBER, changed)
    return changed


def test_a_version_that_returns_after_a_decision_on_another_is_a_change(space: Space) -> None:
    member = space.enrol(1, reported=False)
    space.clock.time += timedelta(minutes=5)
    assert poll_now(space) == 1
    space.clock.time += timedelta(seconds=5)
    change(space, member, blocked=True)  # before it is read
    space.work()
    assert space.reasons("enrolled") == []
    space.clock.time += timedelta(minutes=1)
    change(space, member)
    assert after(space) == 1
    assert space.subjects == [WELCOME]


def test_a_record_that_lags_behind_its_list_is_requested_until_it_catches_up(space: Space) -> None:
    member = space.enrol(1, approved=False, reported=False)
    after(space)
    space.clock.time += timedelta(hours=1)
    approved = replace(member, approved=True, updated_at=space.clock.now())
    space.source.change_as(Entity.COURSE_MEMBER, approved)
    assert [after(space), after(space)] == [1, 1]
    assert space.subjects == []
    space.source.have(Entity.COURSE_MEMBER, approved)
    assert [after(space), after(space)] == [1, 0]
    assert space.subjects == [WELCOME]


def test_a_field_that_a_list_omits_may_have_changed(space: Space) -> None:
    space.source.leave_out_of_changes(Entity.COURSE_MEMBER, "Approved")
    member = space.enrol(1, approved=False, reported=False)
    after(space)
    assert after(space) == 0
    change(space, member, approved=True)
    assert after(space) == 1
    assert space.subjects == [WELCOME]


def test_a_field_that_the_list_of_the_baseline_omitted_may_have_changed(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    space.source.leave_out_of_changes(Entity.COURSE_MEMBER, "Approved")
    member = space.enrol(1, reported=False)
    space.clock.time += timedelta(minutes=1)
    assert poll_now(space) == 0
    assert after(space) == 0
    change(space, member, blocked=False)
    assert after(space) == 1


def test_an_old_request_leads_to_a_welcome_even_with_partial_lists(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    space.source.leave_out_of_changes(Entity.COURSE_MEMBER, "CoworkerTeamNames")
    member = space.enrol(1, approved=False, reported=False)
    space.clock.time += timedelta(minutes=1)
    poll_now(space)
    space.work()
    assert space.subjects == []
    space.clock.time += timedelta(minutes=1)
    change(space, member, approved=True)
    after(space)
    assert space.subjects == [WELCOME]


def test_an_import_sends_no_email_even_after_an_earlier_notification(space: Space) -> None:
    member = space.enrol(1, approved=False)
    space.work()
    space.clock.time += timedelta(days=1)
    changed = change(space, member, approved=True)
    seen = version_of_record(Entity.COURSE_MEMBER, changed)
    with writing(space.engine) as connection:
        note_changes(
            connection,
            sync(space),
            Entity.COURSE_MEMBER,
            [seen],
            Origin.BACKFILL,
            Reason.IMPORTED,
        )
    space.work()
    assert space.subjects == []
    assert space.reasons("enrolled") == ["imported"]


def test_a_notification_after_an_import_leads_to_an_email(space: Space) -> None:
    member = space.enrol(1, reported=False)
    seen = version_of_record(Entity.COURSE_MEMBER, member)
    with writing(space.engine) as connection:
        note_seen(connection, Entity.COURSE_MEMBER, [seen], space.clock.now(), Reason.IMPORTED)
        assert suppressed_among(connection, [(Entity.COURSE_MEMBER, member.record_id)])
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.work()
    assert space.subjects == [WELCOME]


def test_a_list_that_is_short_for_a_moment_loses_no_email(space: Space) -> None:
    member = space.enrol(1, reported=False)
    after(space)
    space.later(hours=3)
    [done] = space.finish(member, 1, reported=False)
    after(space)
    space.later(minutes=10)
    space.source.leave_out_of_below(done)
    space.later(minutes=25)
    assert ("waiting", "gathering") in space.outcomes()
    space.source.recover()
    space.later(minutes=1)
    assert space.subjects == [WELCOME, "You finished “Lesson 1”"]


def test_an_approval_that_an_email_finds_first_counts_as_approval(space: Space) -> None:
    member = space.enrol(1, approved=False, reported=False)
    after(space)
    space.later(days=3)
    space.finish(member, 1, reported=False)
    after(space)
    space.clock.time += timedelta(minutes=20)
    change(space, member, approved=True)
    space.later(minutes=15)
    space.later(minutes=15)
    assert sorted(space.subjects) == ["You finished “Lesson 1”", WELCOME]


def test_a_deletion_that_an_email_finds_first_is_recorded(space: Space) -> None:
    space.clock.time += timedelta(hours=10)  # at night, so that the welcome has to wait
    member = space.enrol(1, reported=False)
    after(space)
    assert space.outcomes() == [("waiting", "quiet-hours")]
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    space.later(hours=12)
    assert space.reasons("unenrolled") == ["kind-off"]
    assert space.outcomes() == [("skipped", "record-gone")]


def test_lessons_of_a_deleted_unread_enrolment_have_no_events(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    member = space.enrol(1, reported=False)
    done = space.finish(member, 1, 2, reported=False)
    space.clock.time += timedelta(minutes=1)
    poll_now(space)
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    for record_id in done:
        space.notify(Entity.COMPLETED_LESSON, record_id)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.later(minutes=10)
    assert space.reasons("unenrolled") == ["kind-off"]
    assert space.reasons("lesson_reopened") == []
