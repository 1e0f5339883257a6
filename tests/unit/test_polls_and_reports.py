"""Polls that do not get through, and hooks that stopped arriving."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.checks import CheckKind, Run
from ledger.intake import Origin
from ledger.monitoring import ReportCounts
from schemas.entity import Entity
from schemas.reasons import Reason
from workers.decide.monitoring import PollTrouble, judge_poll, judge_reports

NOW = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
EVERY_S = 300


def run(ago_s: float, *, ended: bool = True, **different: Any) -> Run:  # noqa: ANN401 - any field
    moment = NOW - timedelta(seconds=ago_s)
    fields: dict[str, Any] = {
        "check_id": 1,
        "kind": CheckKind.CHECK,
        "entity": Entity.COURSE_MEMBER,
        "begun_at": moment,
        "ended_at": moment if ended else None,
        "since": None,
        "reached": None,
        "pages": 1,
        "rows": 0,
        "news": 0,
        "total": None,
        "reason": None,
        "error": None,
        "report": None,
    }
    return Run(**(fields | different))


def failed(reason: Reason, ago_s: float = 10, **different: Any) -> Run:  # noqa: ANN401 - any field
    return run(ago_s, ended=False, reason=reason, error="503", **different)


BASELINE: dict[str, Any] = {"kind": CheckKind.BASELINE, "ended": False}


@pytest.mark.parametrize(
    ("last", "under_way", "expected"),
    [
        (None, None, None),  # before the first had time to run
        (run(890), None, None),
        (run(900), None, None),
        (run(901), None, PollTrouble.LATE),
        (None, run(901, ended=False), PollTrouble.LATE),
        (run(9000), run(5, ended=False), None),  # after a night off, it is at it
        (run(9000), run(901, ended=False), PollTrouble.LATE),  # its worker was lost
        (None, run(3000, **BASELINE), None),  # it reads all there is
        (None, run(3700, **BASELINE), PollTrouble.LATE),
        (run(-86_400), None, PollTrouble.LATE),  # by a clock that was ahead: it says nothing
        (run(-86_400), run(5, ended=False), None),
        (run(300), failed(Reason.NEXUDUS_REFUSED), PollTrouble.FAILING),
        (None, failed(Reason.NEXUDUS_REFUSED, kind=CheckKind.BASELINE), PollTrouble.FAILING),
        (run(300), failed(Reason.UNREADABLE), PollTrouble.FAILING),
        (run(300), failed(Reason.NEXUDUS_DOWN), PollTrouble.STUMBLED),
        (run(300), failed(Reason.NEXUDUS_BUSY), PollTrouble.STUMBLED),
        (run(1300), failed(Reason.NEXUDUS_DOWN, 1000), PollTrouble.FAILING),
    ],
)
def test_a_poll_is_judged_by_its_last_and_its_open_run(
    last: Run | None, under_way: Run | None, expected: PollTrouble | None
) -> None:
    assert judge_poll(last, under_way, EVERY_S, NOW) is expected


def test_polls_that_are_off_are_never_late() -> None:
    assert judge_poll(run(99_999), failed(Reason.NEXUDUS_REFUSED), 0, NOW) is None


def report_counts(before: dict[Origin, int], lately: dict[Origin, int]) -> ReportCounts:
    return ReportCounts(500, "Harbour Works", Entity.COMPLETED_LESSON, before, lately)


@pytest.mark.parametrize(
    ("before", "lately", "lost"),
    [
        ({Origin.HOOK: 30, Origin.CHECK: 2}, {Origin.HOOK: 1, Origin.CHECK: 11}, (1, 12)),
        ({Origin.RELAY: 3}, {Origin.CHECK: 4, Origin.BACKFILL: 1}, (0, 5)),
        ({Origin.HOOK: 30}, {Origin.CHECK: 4}, None),  # too few to say
        ({Origin.HOOK: 30}, {Origin.HOOK: 6, Origin.CHECK: 6}, None),  # half arrive
        ({Origin.HOOK: 30}, {Origin.HOOK: 5, Origin.CHECK: 7}, (5, 12)),
        ({Origin.HOOK: 10, Origin.CHECK: 10}, {Origin.CHECK: 12}, None),  # it never was most
        ({Origin.CHECK: 40}, {Origin.CHECK: 12}, None),  # never any notifications: nothing is lost
        ({}, {Origin.CHECK: 12}, None),
    ],
)
def test_lost_notifications_are_detected(
    before: dict[Origin, int], lately: dict[Origin, int], lost: tuple[int, int] | None
) -> None:
    loss = judge_reports(report_counts(before, lately))
    assert (None if loss is None else (loss.reported, loss.of)) == lost


@pytest.mark.parametrize(
    ("before", "by"),
    [
        ({Origin.HOOK: 1, Origin.RELAY: 9}, Origin.RELAY),
        ({Origin.HOOK: 9, Origin.RELAY: 1}, Origin.HOOK),
    ],
)
def test_a_loss_names_the_earlier_reporter_and_the_location(
    before: dict[Origin, int], by: Origin
) -> None:
    counts = report_counts(before, {Origin.CHECK: 9})
    loss = judge_reports(counts)
    assert loss is not None
    assert loss.by is by
    assert loss.counts is counts
