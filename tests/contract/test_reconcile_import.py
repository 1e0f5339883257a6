"""Importing differences: in which order, and what is left after a stop."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from ledger.checks import CheckKind, begin_check, runs
from ledger.engine import Connection, Engine, reading, writing
from ledger.intake import Origin
from ledger.records import SeenVersion
from ledger.tables import events, lookups
from schemas.entity import Entity, References
from schemas.events import EventKind
from schemas.reasons import Reason
from tests.builders.records import NOON
from tests.contract.reconcile_rig import ListingSource, compared, sync
from tests.contract.study_rig import LESSONS, SHIPPED, Space, rules_of
from workers.lookup.claim import drain_batch
from workers.sync.compare import Comparison, Difference, DifferenceKind
from workers.sync.listed_rows import Candidates, ListRow, Search
from workers.sync.reconcile import ReconcileMode, nightly, request_differences

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

MEMBER, LESSON = Entity.COURSE_MEMBER, Entity.COMPLETED_LESSON
PORTION = 500


class StoppedError(Exception):
    """The program was ended."""


@pytest.fixture
def source() -> ListingSource:
    return ListingSource()


@pytest.fixture
def space(ledger_engine: Engine, source: ListingSource) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED), source=source)


def stray(number: int) -> ListRow:
    """Return the row of a finished lesson of an enrolment that is not known."""
    seen = SeenVersion(number, NOON, "a version", course_member_id=8_888)
    return ListRow(LESSON, number, NOON, References.of(seen), seen=seen)


def with_many_between(found: Comparison) -> Comparison:
    """Let so many others differ that the last lesson comes in another portion than the first."""
    others = tuple(
        Difference(DifferenceKind.MISSING, stray(number))
        for number in range(70_000, 70_000 + PORTION)
    )
    members, lessons = found.kinds
    first, *rest = lessons.differences
    return replace(found, kinds=(members, replace(lessons, differences=(first, *others, *rest))))


def finish_unreported(space: Space) -> None:
    """Let a known member finish the course without a notification."""
    member = space.enrol(1)
    space.later(hours=1)
    space.finish(member, *LESSONS, reported=False)
    space.clock.time += timedelta(hours=5)


def test_an_import_sends_no_email_when_workers_read_between_two_portions(
    space: Space,
) -> None:
    finish_unreported(space)
    found = with_many_between(compared(space))

    def read_some() -> None:
        drain_batch(space.lookup_context)

    request_differences(sync(space), found, ReconcileMode.IMPORT, read_some)
    with reading(space.engine) as connection:
        reasons = connection.scalars(
            select(events.c.reason).where(events.c.kind != EventKind.ENROLLED)
        ).all()
    assert len(reasons) >= len(LESSONS)
    assert set(reasons) == {Reason.IMPORTED}


def test_records_that_a_stopped_import_never_requested_are_found_again(space: Space) -> None:
    finish_unreported(space)
    found = compared(space)
    chunks = 0

    def stop_at_the_second() -> None:
        nonlocal chunks
        chunks += 1
        if chunks > 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        request_differences(sync(space), found, ReconcileMode.IMPORT, stop_at_the_second)
    space.work()
    assert len(compared(space).of(DifferenceKind.DIFFERENT)) == len(LESSONS)
    # The first request has it read; it still causes no email.
    written_before = space.subjects
    assert nightly(sync(space), time.monotonic() + 60)
    space.later(hours=2)
    assert not compared(space).differs
    assert space.subjects == written_before


def test_a_nightly_run_without_enough_time_reports_how_far_it_came(space: Space) -> None:
    space.enrol(1, reported=False)
    assert nightly(sync(space), time.monotonic() - 1)
    with reading(space.engine) as connection:
        [run] = runs(connection, [CheckKind.RECONCILE], NOON)
    assert "ran out of time after 0 rows" in (run.error or "")
    assert "coursebell reconcile" in (run.error or "")


def test_all_kinds_in_one_transaction_are_requested_in_the_common_order(
    space: Space,
) -> None:
    def every(_: Connection, seen: object) -> set[int]:
        assert seen
        return {1, 2, 3, 4}

    def rows(*record_ids: int) -> list[tuple[SeenVersion, dict[str, object]]]:
        return [(SeenVersion(one, NOON, "a version"), {}) for one in record_ids]

    with writing(space.engine) as connection:
        run = begin_check(connection, CheckKind.BACKFILL, None, NOON)
    search = Search(sync(space), (Origin.PERSON,), keep=9, check_id=run.check_id)
    search.request(Candidates(MEMBER, rows(4, 1), every), Candidates(LESSON, rows(3, 2), every))
    with reading(space.engine) as connection:
        asked = connection.execute(
            select(lookups.c.entity, lookups.c.record_id).order_by(lookups.c.id)
        )
        assert [tuple(one) for one in asked] == [(LESSON, 2), (LESSON, 3), (MEMBER, 1), (MEMBER, 4)]
    assert [one.entity for one in search.found.rows] == [MEMBER, MEMBER, LESSON, LESSON]
