"""Backfill of a window and of a person: what is requested, with which origin, and how often."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest

from ledger.checks import CheckKind, Run, runs
from ledger.engine import Engine, reading, writing
from ledger.interventions import release_held
from ledger.people import accept_person
from ledger.tables import notifications, records
from schemas.actions import Mode
from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceRefused, SourceThrottled, SourceUnavailable
from schemas.reasons import Reason
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from tests.doubles.fake_source import FakeSource
from workers.deliver.forecast import Expected
from workers.source.limits import Patience, Urgency
from workers.source.lists import Changes
from workers.sync.backfill import (
    REVIEWED,
    REVIEWED_WITH_OLD,
    BackfillUnfinished,
    BaselineUnfinished,
    backfill_gap,
    backfill_person,
    backfill_window,
    read_found,
    review,
)
from workers.sync.listed_rows import SearchResult
from workers.sync.poll import poll, poll_all
from workers.sync.rows import SyncContext

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

ANY_TIME = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(ANY_TIME))


def tools(space: Space) -> SyncContext:
    return SyncContext(space.engine, space.lend, space.clock)


def back(space: Space, **duration: float) -> datetime:
    return space.clock.now() - timedelta(**duration)


def last_hours(space: Space, hours: float = 2, *, dry_run: bool = False) -> SearchResult:
    return backfill_window(
        tools(space), back(space, hours=hours), space.clock.now(), dry_run=dry_run
    )


def all_of_window(space: Space, hours: float) -> SearchResult:
    """Request what changed in the last hours, including records from before the baseline."""
    since = back(space, hours=hours)
    return backfill_window(tools(space), since, space.clock.now(), origins=REVIEWED_WITH_OLD)


def proposed(space: Space, found: SearchResult) -> list[Expected]:
    """Return what releasing the emails about it would do now."""
    states = read_found(space.lookup_context, found, time.monotonic() + 60)
    forecasting = space.delivery.setup
    return review(space.engine, forecasting, found, states, space.clock.now()).expected


def send(space: Space, found: SearchResult) -> None:
    """Release the emails that would be sent, and do all that is due then."""
    ids = [one.action.action_id for one in proposed(space, found) if one.is_sent]
    with writing(space.engine) as connection:
        release_held(connection, ids, "a test", space.clock.now())
    space.work()


def origins(space: Space) -> list[tuple[str, int]]:
    """Return from where each notification came, and about which record."""
    with reading(space.engine) as connection:
        rows = connection.execute(notifications.select().order_by(notifications.c.id))
        return [(row.origin, row.record_id) for row in rows]


def backfills(space: Space) -> list[Run]:
    with reading(space.engine) as connection:
        return runs(connection, [CheckKind.BACKFILL], back(space, days=99))


def test_a_window_finds_unreported_changes_and_a_second_run_finds_nothing(space: Space) -> None:
    member = space.enrol(1, reported=False)
    done = space.finish(member, 1, reported=False)
    found = last_hours(space)
    assert found.news == {Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}
    assert sorted(origins(space)) == [("backfill", number) for number in [9001, *done]]
    space.work()
    space.later(hours=1)
    assert len(space.subjects) == 2
    again = last_hours(space, 4)
    assert set(again.news.values()) == {0}
    assert again.compared == {Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}
    space.work()
    assert (len(origins(space)), len(space.subjects)) == (2, 2)


def test_reported_and_decided_records_are_not_requested_again(space: Space) -> None:
    member = space.enrol(1)
    space.finish(member, 1)
    space.work()
    unreported = space.finish(member, 2, reported=False)
    found = last_hours(space)
    assert [row.record_id for row in found.rows] == unreported


def test_records_outside_the_window_are_not_requested(space: Space) -> None:
    member = space.enrol(1, reported=False)
    space.later(hours=3)
    inside = space.finish(member, 1, reported=False)
    space.later(hours=3)
    space.finish(member, 2, reported=False)
    found = backfill_window(tools(space), back(space, hours=4), back(space, hours=2))
    assert [row.record_id for row in found.rows] == inside


def test_an_enrolment_that_changed_after_the_window_is_not_requested(space: Space) -> None:
    space.enrol(1, reported=False)
    space.later(hours=3)
    found = backfill_window(tools(space), back(space, hours=2), back(space, hours=1))
    assert found.compared == {Entity.COURSE_MEMBER: 0, Entity.COMPLETED_LESSON: 0}
    space.enrol(2, reported=False)
    found = backfill_window(tools(space), back(space, hours=4), back(space, hours=1))
    assert [row.record_id for row in found.rows] == [9001]


def test_a_dry_run_finds_the_same_and_writes_nothing(space: Space) -> None:
    member = space.enrol(1, reported=False)
    space.finish(member, 1, reported=False)
    would = [last_hours(space, dry_run=True), backfill_person(tools(space), 1, dry_run=True)]
    with reading(space.engine) as connection:
        assert connection.execute(records.select()).all() == []
    assert (origins(space), space.lookups(), backfills(space)) == ([], [], [])
    assert would[0].news == would[1].news == last_hours(space).news


def test_a_limited_number_of_rows_is_kept_and_all_are_counted(space: Space) -> None:
    for number in range(1, 8):
        space.enrol(number, reported=False)
    found = backfill_window(tools(space), back(space, hours=1), space.clock.now(), keep=3)
    assert (len(found.rows), found.news[Entity.COURSE_MEMBER]) == (3, 7)


def test_a_backfill_is_recorded_as_a_run(space: Space) -> None:
    space.enrol(1, reported=False)
    last_hours(space)
    [run] = backfills(space)
    assert run.ended_at is not None
    assert (run.entity, run.rows, run.news) == (None, 1, 1)
    assert run.since == back(space, hours=2)
    assert run.report == {"news": {"CourseMember": 1, "CourseCompletedLesson": 0}}


def test_an_error_of_the_source_is_recorded_and_raised_and_earlier_requests_stay(
    space: Space,
) -> None:
    member = space.enrol(1, reported=False)
    space.finish(member, 1, reported=False)

    def fall() -> None:
        raise SourceUnavailable("the source answered 503")

    space.source.when_asked("created_between CourseCompletedLesson", fall)
    with pytest.raises(SourceUnavailable):
        last_hours(space)
    [run] = backfills(space)
    assert (run.ended_at, run.reason, run.news) == (None, Reason.NEXUDUS_DOWN, 1)
    space.source.when_asked("created_between CourseCompletedLesson", lambda: None)
    assert last_hours(space).news == {Entity.COURSE_MEMBER: 0, Entity.COMPLETED_LESSON: 1}


def old_student(space: Space) -> None:
    """Have a member whose enrolment and lesson are from before the baseline."""
    member = space.enrol(1, reported=False)
    space.finish(member, 1, reported=False)
    space.clock.time += timedelta(minutes=5)
    poll_all(tools(space), for_s=60)
    space.work()
    assert (origins(space), space.subjects) == ([], [])


def test_a_window_ignores_records_from_before_the_baseline(space: Space) -> None:
    old_student(space)
    assert set(last_hours(space).news.values()) == {0}
    space.later(hours=1)
    assert space.subjects == []


@pytest.mark.engines(*BOTH)
def test_records_from_before_the_baseline_lead_to_emails_if_an_operator_requests_them(
    space: Space,
) -> None:
    old_student(space)
    wanted = all_of_window(space, 2)
    assert set(wanted.news.values()) == {1}
    space.work()
    space.later(hours=1)
    assert space.subjects == []
    assert len(proposed(space, wanted)) == 2
    send(space, wanted)
    assert len(space.subjects) == 2
    again = all_of_window(space, 9)
    assert set(again.news.values()) == {0}
    assert proposed(space, again) == []


def test_everything_of_a_person_is_requested_and_emailed_about(space: Space) -> None:
    old_student(space)
    found = backfill_person(tools(space), 1)
    assert found.news == {Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}
    assert {origin for origin, _ in origins(space)} == {"person", "review"}
    space.work()
    space.later(hours=1)
    assert space.subjects == []
    send(space, found)
    assert len(space.subjects) == 2
    backfill_person(tools(space), 1)
    space.later(hours=1)
    assert len(space.subjects) == 2


def test_known_records_of_a_person_and_their_own_record_are_requested_again(
    space: Space,
) -> None:
    space.enrol(1)
    space.work()
    space.source.have(Entity.COWORKER, coworker(1, email="new@example.org"))
    space.source.asked.clear()
    assert backfill_person(tools(space), 1).news[Entity.COURSE_MEMBER] == 1
    space.work()
    assert ("Coworker", 1) in space.source.asked
    assert ("CourseMember", 9001) in space.source.asked


def test_requested_records_lead_to_emails_however_old_they_are(space: Space) -> None:
    space.enrol(1, created_at=back(space, days=40), reported=False)
    space.enrol(2, created_at=back(space, days=3), reported=False)
    found = [backfill_person(tools(space), number) for number in (1, 2)]
    space.work()
    assert space.outcomes() == [("held", "imported")] * 2
    for one in found:
        send(space, one)
    assert space.subjects == ["You're in: Freelance Finance"] * 2


def test_the_emails_listed_by_a_backfill_are_sent_once_an_operator_agrees(space: Space) -> None:
    space.rules = rules_of(ANY_TIME.replace("gather: 30m\n    gather_at_most: 3h", "gather: none"))
    old = space.enrol(1, created_at=back(space, days=700), reported=False)
    fresh = space.enrol(2, reported=False)
    space.enrol(3, reported=False, blocked=True)
    unwanted = space.enrol(4, reported=False)
    space.finish(old, 1, reported=False)
    space.finish(fresh, 1, 2, reported=False)
    found = all_of_window(space, 24 * 800)
    expected = proposed(space, found)
    space.later(days=1)
    assert space.subjects == []
    space.source.have(Entity.COWORKER, coworker(4, email=None))
    with writing(space.engine) as connection:
        accept_person(connection, coworker(4, email=None), space.clock.now())
    expected = proposed(space, found)
    listed = [(one.recipient, one.title) for one in expected if one.sent_at <= space.clock.now()]
    ends = Counter(None if one.outcome is None else one.outcome.reason for one in expected)
    # A day's limit is two: of the three emails to person 2 one waits until tomorrow.
    assert ends == {None: 4, Reason.CAP_DAY: 1, Reason.NO_EMAIL: 1}
    send(space, found)
    now = [(one.recipient, one.title) for one in expected if one.outcome is None]
    assert [(one.recipient, str(one.message["Subject"])) for one in space.mailer.caught] == now
    assert set(now) <= set(listed)
    assert space.outcomes_by_person("welcome")[unwanted.coworker_id] == ("held", "imported")


def test_a_backfill_without_old_records_holds_its_emails_and_ignores_old_records(
    space: Space,
) -> None:
    old_student(space)
    space.enrol(2, reported=False)
    found = backfill_window(tools(space), back(space, hours=2), space.clock.now(), origins=REVIEWED)
    assert len(proposed(space, found)) == 1
    space.later(days=9)
    assert (space.subjects, space.outcomes()) == ([], [("held", "imported")])


def test_lessons_of_one_sitting_share_a_held_email_and_the_course_email_replaces_it(
    space: Space,
) -> None:
    member = space.enrol(1)
    space.work()
    space.finish(member, 1, 2, reported=False)
    [expected] = proposed(space, backfill_person(tools(space), 1))
    assert expected.title == "2 lessons done in Freelance Finance"
    space.finish(member, 3)
    space.later(minutes=45)
    assert space.outcomes_by_person("congratulate-lesson") == {1: ("skipped", "superseded")}
    assert len(space.subjects) == 2


def test_events_after_a_backfill_are_emailed_about_without_review(space: Space) -> None:
    member = space.enrol(1, approved=False, reported=False)
    assert proposed(space, backfill_person(tools(space), 1)) == []
    space.later(hours=1)
    space.change(member, approved=True)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def test_the_other_checks_apply_to_requested_records_too(space: Space) -> None:
    space.enrol(1, created_at=back(space, days=3), blocked=True, reported=False)
    space.choose(Mode.OBSERVE)
    space.enrol(2, created_at=back(space, days=3), reported=False)
    found = [backfill_person(tools(space), number) for number in (1, 2)]
    space.work()
    for one in found:
        send(space, one)
    assert space.outcomes() == [("held", "observe")]


def test_requests_for_a_person_are_urgent_and_those_for_a_window_are_not(space: Space) -> None:
    asked: list[Urgency] = []

    def lend(patience: Patience) -> AbstractContextManager[FakeSource]:
        asked.append(patience.urgency)
        return space.lend(patience)

    sync = SyncContext(space.engine, lend, space.clock)
    backfill_person(sync, 1)
    backfill_window(sync, back(space, hours=1), space.clock.now(), FOLLOWED)
    assert asked == [Urgency.PERSON, Urgency.WORK]


def test_a_person_without_enrolments_is_no_error_and_a_refusal_is(space: Space) -> None:
    assert backfill_person(tools(space), 99).news == {}
    space.source.refuse()
    with pytest.raises(SourceRefused):
        backfill_person(tools(space), 99)
    assert backfills(space)[0].reason is Reason.NEXUDUS_REFUSED


def test_a_window_of_one_kind_is_recorded_with_that_kind(space: Space) -> None:
    backfill_window(
        tools(space), back(space, hours=1), space.clock.now(), [Entity.COMPLETED_LESSON]
    )
    assert backfills(space)[0].entity is Entity.COMPLETED_LESSON


def everywhere(space: Space, **options: Any) -> int:  # noqa: ANN401 - any option
    """Request what was missed in the last 60 days, as the webhook check does."""
    sync = SyncContext(space.engine, space.lend, space.clock, options.pop("every_s", 300.0))
    return backfill_gap(sync, back(space, days=60), space.clock.now(), FOLLOWED, **options)


def test_missed_changes_are_not_requested_before_the_baseline_has_ended(
    space: Space,
) -> None:
    for number in range(1, 6):
        space.finish(space.enrol(number, reported=False), 1, 2, reported=False)
    space.later(days=40)
    with pytest.raises(BaselineUnfinished):
        everywhere(space)
    assert (space.source.asked, space.lookups(), backfills(space)) == ([], [], [])
    poll(tools(space), Entity.COURSE_MEMBER, for_s=60, last=time.monotonic() + 60)
    with pytest.raises(BaselineUnfinished):
        everywhere(space)
    poll_all(tools(space), for_s=60)
    assert everywhere(space) == 0
    space.work()
    assert (space.lookups(), space.subjects) == ([], [])


def test_a_window_never_begins_before_the_baseline_began(space: Space) -> None:
    space.enrol(1, reported=False)
    space.later(hours=1)
    poll_all(tools(space), for_s=60)
    looked_at = space.clock.now()
    with writing(space.engine) as connection:
        connection.execute(records.delete())  # now only its time keeps the old one away
    space.later(hours=1)
    space.enrol(2, reported=False)
    assert everywhere(space) == 1
    assert origins(space) == [("backfill", 9002)]
    assert backfills(space)[0].since == looked_at


def test_with_polling_off_missed_changes_are_requested_at_once(
    space: Space,
) -> None:
    space.enrol(1, reported=False)
    assert everywhere(space, every_s=0.0) == 1


def test_a_window_that_ended_before_the_baseline_began_requests_nothing(space: Space) -> None:
    poll_all(tools(space), for_s=60)
    space.source.asked.clear()
    assert backfill_gap(tools(space), back(space, days=9), back(space, days=8), FOLLOWED) == 0
    assert (space.source.asked, backfills(space)) == ([], [])


class Paged(FakeSource):
    """Brings lists of changes in pages of two rows; after so many pages it asks to wait."""

    pages_left = 0

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        return self._pages(super().changed_since(entity, moment))

    def created_between(
        self, entity: Entity, since: datetime, until: datetime
    ) -> Iterator[Changes]:
        return self._pages(super().created_between(entity, since, until))

    def _pages(self, pages: Iterator[Changes]) -> Iterator[Changes]:
        rows = [row for page in pages for row in page.rows]
        for at in range(0, max(1, len(rows)), 2):
            if not self.pages_left:
                raise SourceThrottled("used up for now")
            self.pages_left -= 1
            yield Changes(rows[at : at + 2], len(rows))


def paged(space: Space) -> Paged:
    """Give the space a source of small pages, and ten people who enrol and finish a lesson."""
    space.source = Paged()
    for number in range(1, 11):
        space.later(hours=1)
        space.finish(space.enrol(number, reported=False), 1, reported=False)
    space.later(hours=1)
    return space.source


def test_a_stopped_backfill_reports_its_position_and_resumes_there(space: Space) -> None:
    source, sync = paged(space), SyncContext(space.engine, space.lend, space.clock, 0)
    began: list[datetime] = []
    since, asked_for = back(space, days=1), 0
    while len(began) < 10:
        began.append(since)
        source.pages_left = 4
        try:
            asked_for += backfill_gap(sync, since, space.clock.now(), FOLLOWED)
            break
        except BackfillUnfinished as stopped:
            since, asked_for = stopped.reached, asked_for + stopped.asked_for
    # Both lists move on together: one of them alone never uses up all the time there is.
    assert began == sorted(set(began))
    assert 2 < len(began) < 10
    assert asked_for == 20
    assert len(set(origins(space))) == len(origins(space)) == 20


def test_a_list_out_of_order_counts_as_not_read_at_all(
    space: Space,
) -> None:
    class Backwards(Paged):
        def _changes(self, *which: Any) -> Changes:  # noqa: ANN401 - as the double's
            page = super()._changes(*which)
            return Changes(page.rows[::-1], page.total)

    paged(space)
    backwards = Backwards()
    backwards.__dict__.update(vars(space.source), pages_left=2)
    space.source = backwards
    since = back(space, days=1)
    with pytest.raises(BackfillUnfinished) as stopped:
        backfill_gap(
            SyncContext(space.engine, space.lend, space.clock, 0),
            since,
            space.clock.now(),
            FOLLOWED,
        )
    assert stopped.value.reached == since
    assert stopped.value.asked_for == 4


def test_a_backfill_with_little_time_stops_in_time(space: Space) -> None:
    asked: list[Patience] = []

    def lend(patience: Patience) -> AbstractContextManager[FakeSource]:
        asked.append(patience)
        return space.lend(patience)

    sync = SyncContext(space.engine, lend, space.clock, 0)
    end = time.monotonic() + 7
    space.source.be_slow()
    with pytest.raises(BackfillUnfinished) as stopped:
        backfill_gap(sync, back(space, hours=1), space.clock.now(), FOLLOWED, end=end)
    assert [patience.until for patience in asked] == [pytest.approx(end, abs=0.5)]
    assert (stopped.value.reached, stopped.value.asked_for) == (back(space, hours=1), 0)
    assert backfills(space)[0].reason is Reason.NEXUDUS_DOWN
