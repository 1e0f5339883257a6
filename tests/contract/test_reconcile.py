"""Reconcile: what the source lists against the ledger; nothing counts before it is read."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from ledger.checks import CheckKind, begin_check, end_check, runs
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import take_lease
from ledger.tables import events, notifications, records
from schemas.entity import FOLLOWED, Entity
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember
from tests.builders.records import COURSE_ID, NOON, course, lesson
from tests.contract.ledger_rig import BOTH
from tests.contract.reconcile_rig import (
    ListingSource,
    brought,
    compared,
    sync,
)
from tests.contract.study_rig import LISBON, SHIPPED, Space, rules_of
from workers.sync.compare import Compared, Comparison, Difference, DifferenceKind, Scope
from workers.sync.listed_rows import ListRow
from workers.sync.poll import poll_all
from workers.sync.reconcile import (
    MOST_GONE,
    ReconcileMode,
    is_nightly_due,
    nightly,
    request_differences,
)

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

MEMBER, LESSON = Entity.COURSE_MEMBER, Entity.COMPLETED_LESSON
Ids = list[tuple[Entity, int]]
# As of a record that was read, and that no list ever showed.
NO_LIST = dict.fromkeys(
    ("seen_at", "changed_at", "seen_digest", "decided_digest", "created_at", "full_name")
)


@pytest.fixture
def source() -> ListingSource:
    return ListingSource()


@pytest.fixture
def space(ledger_engine: Engine, source: ListingSource) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED), source=source)


def ids(found: Comparison, way: DifferenceKind) -> Ids:
    return [one.row.ref for one in found.of(way)]


def rows(found: Comparison, way: DifferenceKind) -> list[ListRow]:
    return [one.row for one in found.of(way)]


def happened(space: Space, *kinds: EventKind) -> list[int]:
    with reading(space.engine) as connection:
        rows = connection.scalars(select(events.c.course_member_id).where(events.c.kind.in_(kinds)))
        return sorted(rows)


def notified(space: Space) -> int:
    with reading(space.engine) as connection:
        return connection.scalar(select(func.count()).select_from(notifications)) or 0


def crowd(space: Space, number: int) -> list[CourseMember]:
    """Let so many people have enrolled a while ago, known here and without emails."""
    members = [space.enrol(one, reported=False) for one in range(1, number + 1)]
    space.clock.time += timedelta(minutes=10)
    poll_all(sync(space), for_s=60)
    return members


def test_nothing_differs_if_everything_was_reported_and_read(space: Space) -> None:
    member = space.enrol(1)
    space.finish(member, 1, 2)
    space.work()
    found = compared(space)
    assert not found.differs
    assert [(kind.rows, kind.known) for kind in found.kinds] == [(1, 1), (2, 2)]


def test_unreported_records_are_missing_and_listed_by_name(space: Space) -> None:
    member = space.enrol(1, reported=False)
    [done] = space.finish(member, 1, reported=False)
    found = compared(space)
    assert ids(found, DifferenceKind.MISSING) == [(MEMBER, 9001), (LESSON, done)]
    reported = [
        (row.person, row.course, row.references.course_id)
        for row in rows(found, DifferenceKind.MISSING)
    ]
    assert reported == [("Ana López", "Freelance Finance", COURSE_ID)] * 2
    assert found.of(DifferenceKind.MISSING)[1].row.at == NOON
    assert notified(space) == 0


def test_imported_records_are_decided_on_and_send_no_email(space: Space) -> None:
    space.finish(space.enrol(1, reported=False), 1, reported=False)
    assert brought(space, ReconcileMode.IMPORT) == 2
    space.later(hours=2)
    assert space.subjects == []
    assert set(space.reasons(EventKind.LESSON_COMPLETED)) == {Reason.IMPORTED}
    assert not compared(space).differs


def test_records_imported_with_send_lead_to_emails(space: Space) -> None:
    space.enrol(1, reported=False)
    assert brought(space, ReconcileMode.SEND) == 1
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_report_requests_nothing(space: Space) -> None:
    space.enrol(1, reported=False)
    assert brought(space, ReconcileMode.NOTHING) == 0
    assert notified(space) == 0


def test_a_record_that_is_not_listed_is_read_by_id_before_it_counts_as_gone(space: Space) -> None:
    staying, leaving = space.enrol(1), space.enrol(2)
    [kept, reopened] = space.finish(staying, 1, 2)
    [lost] = space.finish(leaving, 1)
    space.work()
    space.source.lose(LESSON, reopened)
    space.source.lose(MEMBER, leaving.record_id)
    found = compared(space)
    assert ids(found, DifferenceKind.GONE) == [
        (MEMBER, leaving.record_id),
        (LESSON, reopened),
        (LESSON, lost),
    ]
    assert {one.row.person for one in found.of(DifferenceKind.GONE)} == {"Ana López"}
    assert happened(space, EventKind.UNENROLLED, EventKind.LESSON_REOPENED) == []
    brought(space, ReconcileMode.IMPORT)
    assert happened(space, EventKind.UNENROLLED) == [leaving.record_id]
    assert staying.record_id in happened(space, EventKind.LESSON_REOPENED)
    assert not compared(space).differs
    with reading(space.engine) as connection:
        left = connection.scalars(
            select(records.c.record_id).where(
                records.c.entity == LESSON, records.c.gone_at.is_(None)
            )
        ).all()
    assert left == [kept]


def test_records_missing_from_a_short_list_stay_known(space: Space, source: ListingSource) -> None:
    member = space.enrol(1)
    space.enrol(2)
    space.work()
    source.unlisted = {member.record_id}
    assert brought(space, ReconcileMode.IMPORT) == 1
    assert happened(space, EventKind.UNENROLLED) == []
    source.unlisted = set()
    assert not compared(space).differs


@pytest.mark.parametrize("stated", [3, None, 1])
def test_with_a_list_shorter_than_its_total_nothing_counts_as_gone(
    space: Space, source: ListingSource, stated: int | None
) -> None:
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    source.unlisted = {9001}
    source.states_total = stated is not None
    source.say_total(MEMBER, stated or 0)
    found = compared(space)
    assert found.doubt is not None
    assert ids(found, DifferenceKind.GONE) == []
    assert compared(space, Scope(accept_gone=True)).of(DifferenceKind.GONE) == []


def test_many_missing_records_are_only_reported(space: Space, source: ListingSource) -> None:
    members = crowd(space, 24)
    source.unlisted = {one.record_id for one in members[:11]}
    found = compared(space)
    assert found.differs
    assert "Of 24 enrolments here, 11 are not on the list" in (found.doubt or "")
    assert "--accept-gone" in (found.doubt or "")
    assert found.of(DifferenceKind.GONE) == []
    assert len(compared(space, Scope(accept_gone=True)).of(DifferenceKind.GONE)) == 11
    source.unlisted = {one.record_id for one in members[:10]}
    assert len(compared(space).of(DifferenceKind.GONE)) == 10


def test_with_an_empty_list_nothing_counts_as_gone(space: Space, source: ListingSource) -> None:
    crowd(space, 2)
    source.unlisted = {9001, 9002}
    found = compared(space)
    assert found.of(DifferenceKind.GONE) == []
    assert "is empty and 2 are known here" in (found.doubt or "")
    assert len(compared(space, Scope(accept_gone=True)).of(DifferenceKind.GONE)) == 2


def test_at_most_a_thousand_gone_records_are_requested_at_once(space: Space) -> None:
    gone = tuple(
        Difference(DifferenceKind.GONE, ListRow(MEMBER, number, NOON))
        for number in range(1, MOST_GONE + 2)
    )
    found = Comparison(Scope(accept_gone=True), (Compared(MEMBER, 1, 5_000, 0, 0, gone),))
    assert request_differences(sync(space), found, ReconcileMode.IMPORT) == MOST_GONE
    assert notified(space) == MOST_GONE


def test_a_row_that_moves_between_two_pages_is_not_gone(
    space: Space, source: ListingSource
) -> None:
    for number in range(1, 6):
        space.enrol(number)
        space.clock.time += timedelta(minutes=1)
    space.work()
    source.size = 2

    def first_one_changes() -> None:
        # It moves to the end, and the third row to a page that was read already.
        source.between = lambda: None
        member = source.fetch(MEMBER, 9001)
        assert isinstance(member, CourseMember)
        space.clock.time += timedelta(minutes=1)
        source.have(MEMBER, replace(member, updated_at=space.clock.now(), approved=False))

    source.between = first_one_changes
    found = compared(space)
    assert found.of(DifferenceKind.GONE) == []
    assert found.doubt is not None
    assert ids(found, DifferenceKind.DIFFERENT) == [(MEMBER, 9001)]


def test_of_a_row_that_is_listed_twice_the_later_one_counts(
    space: Space, source: ListingSource
) -> None:
    members = []
    for number in range(1, 4):
        members.append(space.enrol(number))
        space.clock.time += timedelta(minutes=1)
    space.work()
    source.have(MEMBER, replace(members[0], blocked=True))
    source.size = 2

    def read_meanwhile() -> None:
        source.between = lambda: None
        space.change(members[0], blocked=True)
        space.work()

    source.between = read_meanwhile
    assert compared(space).of(DifferenceKind.DIFFERENT) == []


def test_a_missed_row_is_noticed_even_if_a_new_row_makes_the_count_right(
    space: Space, source: ListingSource
) -> None:
    for number in range(1, 6):
        space.enrol(number)
        space.clock.time += timedelta(minutes=1)
    space.work()
    source.size = 2

    def one_comes_and_one_slips() -> None:
        source.between = lambda: None
        space.clock.time += timedelta(minutes=1)
        space.enrol(6, reported=False)
        first = space.source.fetch(MEMBER, 9001)
        assert isinstance(first, CourseMember)
        space.source.have(MEMBER, replace(first, updated_at=space.clock.now()))

    source.between = one_comes_and_one_slips
    found = compared(space)
    assert found.of(DifferenceKind.GONE) == []
    assert "says it has 6 rows and 5 came" in (found.doubt or "")


def test_a_record_reported_while_the_list_is_read_does_not_look_gone(space: Space) -> None:
    space.enrol(1)
    space.work()

    def told_meanwhile() -> None:
        space.source.when_asked("changed_since CourseMember", lambda: None)
        late = space.enrol(2)
        space.work()
        space.source.lose(MEMBER, late.record_id)  # the list does not show it yet

    space.source.when_asked("changed_since CourseMember", told_meanwhile)
    assert compared(space).of(DifferenceKind.GONE) == []


def test_gone_records_with_a_pending_lookup_are_only_counted(space: Space) -> None:
    space.enrol(1)
    space.enrol(2)
    space.work()
    space.source.lose(MEMBER, 9001)
    space.notify(MEMBER, 9001)
    found = compared(space)
    assert found.of(DifferenceKind.GONE) == []
    assert found.kinds[0].under_way == 1


def test_records_found_gone_while_the_list_was_read_are_not_reported_again(space: Space) -> None:
    space.enrol(1)
    space.enrol(2)
    space.work()

    def goes_meanwhile() -> None:
        space.source.when_asked("changed_since CourseMember", lambda: None)
        space.source.lose(MEMBER, 9001)
        space.notify(MEMBER, 9001)
        space.later(minutes=1)

    space.source.when_asked("changed_since CourseMember", goes_meanwhile)
    assert not compared(space).differs


def test_a_version_other_than_the_decided_one_is_different(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.clock.time += timedelta(minutes=5)
    space.source.have(MEMBER, replace(member, updated_at=space.clock.now(), blocked=True))
    assert ids(compared(space), DifferenceKind.DIFFERENT) == [(MEMBER, 9001)]
    brought(space, ReconcileMode.IMPORT)
    assert not compared(space).differs


def test_a_partial_row_whose_key_differs_is_different(space: Space, source: ListingSource) -> None:
    [done] = space.finish(space.enrol(1), 1)
    space.work()
    with writing(space.engine) as connection:
        connection.execute(update(records).where(records.c.record_id == done).values(lesson_id=2))
    row_leaves_out(source, LESSON, "UpdatedOn")
    found = compared(space)
    assert ids(found, DifferenceKind.DIFFERENT) == [(LESSON, done)]
    with writing(space.engine) as connection:
        connection.execute(update(records).where(records.c.record_id == done).values(lesson_id=1))
    assert not compared(space).differs


def row_leaves_out(source: ListingSource, entity: Entity, field: str) -> None:
    whole = source.changed_since

    def partial(kind: Entity, moment: object) -> object:
        for page in whole(kind, moment):  # type: ignore[arg-type]  # as the double is asked
            if kind is entity:
                for row in page.rows:
                    del row.row[field]
            yield page

    source.changed_since = partial  # type: ignore[method-assign,assignment]  # for this test


def test_records_with_a_pending_lookup_are_only_counted(space: Space) -> None:
    space.enrol(1)
    found = compared(space)
    assert not found.differs
    assert [kind.under_way for kind in found.kinds] == [1, 0]


def test_a_record_that_could_not_be_read_is_missing_for_that_reason(space: Space) -> None:
    space.enrol(1)
    space.source.break_record(MEMBER, 9001)
    space.work()
    assert [(one.way, one.reason) for one in compared(space).of(DifferenceKind.MISSING)] == [
        (DifferenceKind.MISSING, Reason.UNREADABLE)
    ]


def test_a_failed_lookup_of_a_listed_record_does_not_count_as_read(space: Space) -> None:
    space.enrol(1, reported=False)
    space.source.break_record(MEMBER, 9001)
    brought(space, ReconcileMode.IMPORT)
    found = compared(space)
    assert [(one.row.record_id, one.reason) for one in found.of(DifferenceKind.MISSING)] == [
        (9001, Reason.UNREADABLE)
    ]


def test_a_ledger_older_than_our_lists_agrees_with_them(space: Space) -> None:
    space.finish(space.enrol(1), 1)
    space.work()
    with writing(space.engine) as connection:
        connection.execute(update(records).values(NO_LIST))
    found = compared(space)
    assert not found.differs
    assert [kind.known for kind in found.kinds] == [1, 1]
    space.source.lose(MEMBER, 9001)
    space.enrol(2)
    space.work()
    assert ids(compared(space, Scope(accept_gone=True)), DifferenceKind.GONE)[0] == (MEMBER, 9001)


def test_only_what_changed_since_then_is_compared(space: Space) -> None:
    [early] = space.finish(space.enrol(1), 1)
    space.work()
    space.clock.time += timedelta(days=3)
    since = space.clock.now() - timedelta(days=1)
    late = space.enrol(2)
    [gone, _] = space.finish(late, 1, 2)
    space.work()
    space.source.lose(LESSON, early)
    space.source.lose(LESSON, gone)
    found = compared(space, Scope(since))
    assert ids(found, DifferenceKind.GONE) == [(LESSON, gone)]
    assert [(kind.rows, kind.known) for kind in found.kinds] == [(1, 1), (1, 2)]
    # The same of what no list ever showed, and was made long before it changed.
    with writing(space.engine) as connection:
        connection.execute(update(records).values(NO_LIST))
        connection.execute(update(records).values(updated_at=space.clock.now()))
    assert ids(compared(space, Scope(since)), DifferenceKind.GONE) == [(LESSON, gone)]


@pytest.mark.engines(*BOTH)
def test_only_the_requested_course_is_compared(space: Space) -> None:
    other = COURSE_ID + 1
    space.source.have(Entity.COURSE, course(record_id=other))
    space.source.have(Entity.LESSON, lesson(11, course_id=other))
    members = [space.enrol(1, reported=False), space.enrol(2, reported=False, course_id=other)]
    done = [
        *space.finish(members[0], 1, reported=False),
        *space.finish(members[1], 11, reported=False),
    ]
    found = compared(space, Scope(course_ids=frozenset({other})))
    assert ids(found, DifferenceKind.MISSING) == [(MEMBER, 9002), (LESSON, done[1])]
    brought(space, ReconcileMode.IMPORT)
    for number in done:
        space.source.lose(LESSON, number)
    space.finish(members[0], 2)
    space.work()
    found = compared(space, Scope(NOON, frozenset({other}), accept_gone=True))
    assert ids(found, DifferenceKind.GONE) == [(LESSON, done[1])]


def test_a_finished_lesson_of_an_unknown_enrolment_is_reported_as_left_out(space: Space) -> None:
    stray = CompletedLesson(50_000, NOON, NOON, 1, None, 8_888, None)
    space.source.have(LESSON, stray)
    found = compared(space, Scope(course_ids=frozenset({COURSE_ID})))
    assert not found.differs
    assert [kind.unplaced for kind in found.kinds] == [0, 1]


def test_the_nightly_run_requests_ordinary_lookups_and_stores_its_counts(space: Space) -> None:
    crowd(space, 2)
    space.enrol(3, reported=False)
    space.source.lose(MEMBER, 9001)
    assert nightly(sync(space), time.monotonic() + 60)
    space.later(minutes=1)
    assert space.subjects == ["You're in: Freelance Finance"]
    assert happened(space, EventKind.UNENROLLED) == [9001]
    assert not compared(space).differs
    with reading(space.engine) as connection:
        [run] = runs(connection, [CheckKind.RECONCILE], NOON)
    assert run.ended_at is not None
    assert (run.pages, run.rows, run.news) == (2, 2, 1)
    assert run.report is not None
    assert run.report["CourseMember"] == {
        "rows": 2,
        "known": 2,
        "under_way": 0,
        "unplaced": 0,
        "missing": 1,
        "gone": 1,
        "different": 0,
    }
    assert "Ana" not in str(run.report)


def names(space: Space) -> dict[int, str | None]:
    with reading(space.engine) as connection:
        rows = connection.execute(
            select(records.c.record_id, records.c.full_name).where(records.c.seen_at.is_not(None))
        )
        return {row.record_id: row.full_name for row in rows}


def test_the_nightly_run_stores_names_of_members_without_lookups(
    space: Space,
) -> None:
    first, second = crowd(space, 2)
    space.finish(second, 1)
    space.work()
    assert names(space) == {9001: "Ana López", 9002: "Ana López", 50_001: None}
    with writing(space.engine) as connection:  # as a ledger of an older version
        connection.execute(update(records).values(full_name=None))
    space.source.have(MEMBER, replace(first, full_name="  Zoë \x00Brandt "))
    reported, asked = notified(space), len(space.source.asked)
    assert nightly(sync(space), time.monotonic() + 60)
    assert names(space) == {9001: "Zoë  Brandt", 9002: "Ana López", 50_001: None}
    space.source.have(MEMBER, replace(first, full_name=None))  # a row that leaves it out
    assert nightly(sync(space), time.monotonic() + 60)
    assert names(space)[9001] == "Zoë  Brandt"
    space.later(minutes=1)
    assert notified(space) == reported
    assert len(space.source.asked) == asked + 4, "two lists each, and no record by its Id"
    assert not compared(space).differs


@pytest.mark.engines(*BOTH)
def test_two_nightly_runs_never_overlap(space: Space) -> None:
    with writing(space.engine) as connection:
        take_lease(connection, "reconcile", "another process", space.clock.now(), lease_s=60)
    assert not nightly(sync(space), time.monotonic() + 60)
    assert space.source.asked == []
    space.clock.move(61)
    assert nightly(sync(space), time.monotonic() + 60)
    assert nightly(sync(space), time.monotonic() + 60)


def test_a_nightly_run_that_lost_its_lease_requests_nothing(space: Space) -> None:
    space.enrol(1, reported=False)

    def taken() -> None:
        space.clock.move(500)
        with writing(space.engine) as connection:
            assert take_lease(connection, "reconcile", "another", space.clock.now(), lease_s=120)

    space.source.when_asked("changed_since CourseCompletedLesson", taken)
    assert not nightly(sync(space), time.monotonic() + 60)
    assert notified(space) == 0


def test_a_nightly_run_without_time_stops_and_requests_nothing(space: Space) -> None:
    space.enrol(1, reported=False)
    assert nightly(sync(space), time.monotonic() - 1)
    assert notified(space) == 0
    with reading(space.engine) as connection:
        [run] = runs(connection, [CheckKind.RECONCILE], NOON)
    assert (run.ended_at, run.reason) == (None, Reason.NEXUDUS_BUSY)


def test_a_nightly_run_during_an_outage_records_the_error(space: Space) -> None:
    space.source.be_slow()
    assert nightly(sync(space), time.monotonic() + 60)
    with reading(space.engine) as connection:
        [run] = runs(connection, [CheckKind.RECONCILE], NOON)
    assert (run.ended_at, run.reason) == (None, Reason.NEXUDUS_DOWN)


def is_due(space: Space) -> bool:
    with reading(space.engine) as connection:
        return is_nightly_due(connection, space.clock.now(), LISBON)


def baseline(space: Space, *entities: Entity) -> None:
    with writing(space.engine) as connection:
        for entity in entities:
            run = begin_check(connection, CheckKind.BASELINE, entity, space.clock.now())
            end_check(connection, run.check_id, space.clock.now())


def test_the_night_begins_at_half_past_three_where_the_space_is(space: Space) -> None:
    baseline(space, *FOLLOWED)
    space.clock.time = NOON.replace(month=7, hour=2, minute=29)  # 03:29 in Lisbon, in summer
    assert nightly(sync(space), time.monotonic() + 60)
    assert not is_due(space)
    space.clock.move(60)
    assert is_due(space)
    assert nightly(sync(space), time.monotonic() + 60)
    assert not is_due(space)
    space.clock.time += timedelta(hours=23, minutes=59)
    assert not is_due(space)
    space.clock.move(60)
    assert is_due(space)


def test_no_night_is_due_before_all_kinds_have_their_baseline(space: Space) -> None:
    assert not is_due(space)
    baseline(space, MEMBER)
    assert not is_due(space)
    baseline(space, LESSON)
    assert is_due(space)


def test_a_stopped_nightly_run_is_retried_after_growing_delays(space: Space) -> None:
    baseline(space, *FOLLOWED)
    space.source.be_slow()
    for minutes in (15, 30, 60):
        assert is_due(space)
        assert nightly(sync(space), time.monotonic() + 60)
        space.clock.time += timedelta(minutes=minutes, seconds=-1)
        assert not is_due(space)
        space.clock.move(1)
    space.source.recover()
    assert is_due(space)
    assert nightly(sync(space), time.monotonic() + 60)
    space.clock.time += timedelta(hours=5)
    assert not is_due(space)
