"""Webhook health against the stand-in: alarms, switching on with care, and the backfill."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ledger.checks import CheckKind, last_run, open_run
from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, reading, writing
from ledger.hooks import (
    KnownHook,
    SilenceCause,
    check_hooks_soon,
    hook_alarms,
    known_hooks,
    watch_of,
)
from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceThrottled, SourceUnavailable
from schemas.reasons import Reason
from tests.contract.source_rig import CREDENTIALS, HandClock, answer, sqlite_ledger, tell_the_truth
from tests.doubles.open_gate import OpenGate
from tests.sandbox.sandbox_rig import (
    PASSWORD,
    USERNAME,
    Receiver,
    Running,
    receiving,
    running,
    until,
)
from workers.source.client import Source, Sources
from workers.source.webhooks import SwitchOutcome
from workers.sync.backfill import (
    BackfillUnfinished,
    BaselineUnfinished,
    backfill_gap,
    backfill_window,
)
from workers.sync.poll import poll_all
from workers.sync.rows import SyncContext
from workers.sync.webhook_state import Report
from workers.sync.webhooks import (
    Enabled,
    WebhookHealth,
    check_webhooks,
    enable,
    is_check_due,
)

MEMBERS, COMPLETIONS = 1_416_050_000, 1_416_050_001
HOOKS = "/api/sys/webhooks"
ELSEWHERE = "https://other.example.org/hooks"
MARGIN = timedelta(minutes=5)
Asked = tuple[datetime, datetime, tuple[Entity, ...]]


@dataclass
class Checker:
    """Makes rounds with a ledger of its own. `asked` are the windows that were to be backfilled."""

    sandbox: Running
    receiver: Receiver
    engine: Engine
    clock: HandClock
    sources: Sources
    asked: list[Asked] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    trouble: SourceUnavailable | BackfillUnfinished | BaselineUnfinished | None = None

    def health(self, *, may_switch_on: bool = True, **other: Any) -> WebhookHealth:  # noqa: ANN401 - any field
        given = {
            "public_url": self.receiver.url,
            "backfill": self.backfill,
            "started_at": datetime.min.replace(tzinfo=self.clock.now().tzinfo),
            **other,
        }
        return WebhookHealth(
            self.engine, self.sources.lend, self.clock, may_switch_on=may_switch_on, **given
        )

    def backfill(self, since: datetime, until: datetime, entities: tuple[Entity, ...]) -> int:
        if self.trouble is not None:
            raise self.trouble
        self.asked.append((since, until, entities))
        return 3

    def round(self, minutes: float = 0.0, **options: Any) -> Report:  # noqa: ANN401 - any field
        self.clock.move(60 * minutes)
        with capture_logs() as logs:
            report = check_webhooks(self.health(**options), self.clock.now())
        self.logs = [line["event"] for line in logs if line["event"].startswith("hook.")]
        return report

    def enable(self, record_id: int) -> Enabled:
        return enable(self.health(), record_id, self.clock.now())

    def known(self, record_id: int = MEMBERS) -> KnownHook:
        with reading(self.engine) as connection:
            return known_hooks(connection)[record_id]

    def alarms(self) -> list[str]:
        with reading(self.engine) as connection:
            return hook_alarms(connection)

    def hook(self, record_id: int = MEMBERS) -> dict[str, Any]:
        found: dict[str, Any] = self.sandbox.get(f"{HOOKS}/{record_id}").json()
        return found

    def change(self, record_id: int = MEMBERS, **fields: object) -> None:
        self.sandbox.post(
            "/sandbox/change", entity="WebHook", id=record_id, fields=fields, deliver=False
        )

    def kill(self) -> None:
        """Switch the webhook of enrolments off by ten failures."""
        self.receiver.status = 500
        self.sandbox.enrol("Joël", "Finance")
        until(lambda: not self.hook()["Active"])
        self.receiver.status = 202

    def writes(self) -> int:
        count = self.sandbox.get("/sandbox/reads").json()["writes"].get(HOOKS, 0)
        assert isinstance(count, int)
        return count

    def misbehave(self, switch: str, **parameters: object) -> None:
        self.sandbox.post("/sandbox/misbehaviours", name=switch, **parameters)

    def behave(self) -> None:
        self.sandbox.web.delete(
            self.sandbox.addresses["api"] + "/sandbox/misbehaviours", timeout=10
        )


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Running, Receiver]]:
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with (
        receiving() as receiver,
        running("--deliver-to", receiver.url, "--retry-after", "0.001", *sign_in) as sandbox,
    ):
        yield sandbox, receiver


@pytest.fixture
def checker(world: tuple[Running, Receiver], tmp_path: Path) -> Iterator[Checker]:
    sandbox, receiver = world
    receiver.status = 202
    sandbox.post("/sandbox/reset")
    sandbox.sign_in()
    with sqlite_ledger(tmp_path) as engine:
        clock = HandClock(SYSTEM_CLOCK.now())
        way = sandbox.addresses["api"]
        sources = Sources(lambda: Source(way, engine, CREDENTIALS, clock, OpenGate()))
        with closing(sources):
            yield Checker(sandbox, receiver, engine, clock, sources)
    tell_the_truth(sandbox)


def test_without_problems_nothing_is_written_and_the_state_is_stored(
    checker: Checker,
) -> None:
    report = checker.round()
    assert report == Report(ours=2, others=1)
    assert checker.logs == []
    assert checker.writes() == 0
    assert checker.asked == []
    assert checker.alarms() == []
    known = checker.known()
    assert (known.active, known.error_count, known.entities) == (
        True,
        0,
        (Entity.COURSE_MEMBER,),
    )
    assert known.well_at == checker.clock.now()
    with reading(checker.engine) as connection:
        run = last_run(connection, [CheckKind.WEBHOOKS], None)
    assert run is not None
    assert run.report is not None
    assert run.report["ours"] == 2


def test_a_webhook_that_is_off_is_switched_on_and_missed_changes_are_requested_once(
    checker: Checker,
) -> None:
    checker.round()
    well_at = checker.clock.now()
    checker.clock.move(600)
    checker.change(Description="Kept", SystemId="ours")
    checker.kill()
    before = checker.hook()
    assert before["ErrorCount"] == 10
    report = checker.round()
    assert (report.raised, report.switched_on, report.silent, report.asked_for) == (1, 1, 0, 3)
    assert checker.logs == [
        "hook.switched-off",
        "hook.switched-on",
        "hook.backfilled",
        "hook.silence-ended",
    ]
    after = checker.hook()
    changes = {"Active", "UpdatedOn", "UpdatedBy"}
    assert after["Active"] is True
    assert {name: after[name] for name in after.keys() - changes} == {
        name: before[name] for name in before.keys() - changes
    }
    last_call = datetime.fromisoformat(before["LastTrigger"])
    since = min(well_at, last_call) - MARGIN
    assert checker.asked == [(since, checker.clock.now() + MARGIN, (Entity.COURSE_MEMBER,))]
    assert checker.alarms() == []
    checker.round(10)
    assert len(checker.asked) == 1
    assert checker.writes() == 1


def test_without_permission_it_stays_off_and_missed_changes_are_requested(
    checker: Checker,
) -> None:
    checker.kill()
    last_call = datetime.fromisoformat(checker.hook()["LastTrigger"])
    report = checker.round(may_switch_on=False)
    assert (report.silent, report.switched_on, report.left_off) == (1, 0, 1)
    assert checker.writes() == 0
    # Nothing was known of it from before, so the last call is all there is to go by.
    first_end = checker.clock.now()
    assert checker.asked == [(last_call - MARGIN, first_end + MARGIN, (Entity.COURSE_MEMBER,))]
    [alarm] = checker.alarms()
    assert f"webhook {MEMBERS}" in alarm
    assert "switched off" in alarm
    assert "COURSEBELL_HOOKS_REENABLE" in alarm
    for _ in range(3):
        assert checker.round(10, may_switch_on=False).raised == 0
        assert checker.logs == []
    assert len(checker.asked) == 1
    # A person switches it on: what came up since is asked for too, and no minute twice but for
    # the margin.
    checker.change(Active=True)
    assert checker.round(10, may_switch_on=False).silent == 0
    assert checker.asked[1:] == [
        (first_end - MARGIN, checker.clock.now() + MARGIN, (Entity.COURSE_MEMBER,))
    ]
    assert checker.alarms() == []


def test_an_enrolment_while_the_webhook_was_off_is_found(checker: Checker) -> None:
    sync = SyncContext(checker.engine, checker.sources.lend, checker.clock, 0.0)

    def backfill(since: datetime, until: datetime, entities: tuple[Entity, ...]) -> int:
        found = backfill_window(sync, since, until, entities)
        return sum(found.news.values())

    checker.kill()
    checker.sandbox.enrol("Zoë", "Finance")
    assert checker.round(backfill=backfill).asked_for == 2


def test_a_webhook_that_keeps_failing_is_not_switched_on_for_ever(checker: Checker) -> None:
    checker.round()
    for times in range(1, 4):
        checker.change(Active=False)
        assert checker.round(10).switched_on == 1, times
    checker.change(Active=False)
    report = checker.round(10)
    assert (report.switched_on, report.left_off, report.silent) == (0, 1, 1)
    assert "hook.left-off" in checker.logs
    assert checker.writes() == 3
    assert len(checker.asked) == 4
    assert "3 times within a day" in checker.alarms()[0]
    checker.round(10)
    assert checker.logs == []
    assert checker.round(60 * 24).switched_on == 1
    assert checker.alarms() == []


def test_a_webhook_switched_on_meanwhile_is_not_written_to(checker: Checker) -> None:
    checker.change(Active=False)
    checker.round(may_switch_on=False)
    # The list is old, the record itself is not.
    row = checker.hook()
    checker.change(Active=True)
    page = {"Records": [row], "HasNextPage": False, "TotalItems": 1}
    answer(checker.sandbox, HOOKS, 200, body=page, times=1)
    report = checker.round(10)
    assert checker.writes() == 0
    assert (report.switched_on, report.silent) == (0, 0)
    assert checker.known().last_deed is not None


def test_partial_rows_are_read_by_their_id_and_never_written_back(checker: Checker) -> None:
    checker.change(Description="Kept", Active=False)
    checker.misbehave("partial-rows", entity="WebHook", fields="Description,LastTrigger,URL")
    try:
        assert checker.round().switched_on == 1
    finally:
        checker.behave()
    assert checker.hook()["Description"] == "Kept"


def test_an_incomplete_record_is_never_sent_back(checker: Checker) -> None:
    checker.change(Active=False)
    whole = checker.hook()
    del whole["Description"]
    answer(checker.sandbox, f"{HOOKS}/{MEMBERS}", 200, body=whole)
    report = checker.round()
    assert (report.switched_on, report.left_off) == (0, 1)
    assert checker.writes() == 0
    assert "Description" in checker.alarms()[0]


def test_a_missing_role_is_named_and_missed_changes_are_requested(
    checker: Checker,
) -> None:
    checker.change(Active=False)
    checker.misbehave("missing-right", entity="WebHook", way="edit")
    try:
        report = checker.round()
    finally:
        checker.behave()
    assert (report.left_off, len(checker.asked)) == (1, 1)
    assert "WebHook-Edit" in checker.alarms()[0]


def test_a_missing_list_role_is_logged_once_a_day(checker: Checker) -> None:
    checker.misbehave("missing-right", entity="WebHook")
    try:
        assert checker.round().trouble is not None
        assert checker.logs == ["hook.unwatched", "hook.round-unfinished"]
        checker.round(10)
        assert checker.logs == ["hook.round-unfinished"]
        assert len(checker.alarms()) == 1
        checker.round(60 * 24)
        assert "hook.unwatched" in checker.logs
    finally:
        checker.behave()
    with reading(checker.engine) as connection:
        run = open_run(connection, [CheckKind.WEBHOOKS], None)
    assert run is not None
    assert run.reason is Reason.NEXUDUS_REFUSED
    assert checker.round(10).ours == 2
    assert checker.alarms() == []


def test_a_refused_sign_in_is_not_reported_as_a_webhook_problem(checker: Checker) -> None:
    answer(checker.sandbox, "/api/token", 400, body={"error": "invalid_grant"})
    assert checker.round().trouble is not None
    tell_the_truth(checker.sandbox)
    assert checker.alarms() == []


def test_the_sentence_about_a_missing_role_is_complete_and_a_check_can_be_requested(
    checker: Checker,
) -> None:
    checker.misbehave("missing-right", entity="WebHook")
    try:
        assert checker.round().trouble is not None
    finally:
        checker.behave()
    [said] = checker.alarms()
    assert said.count("`") % 2 == 0
    with writing(checker.engine) as connection:
        assert not is_check_due(connection, checker.clock.now())
        check_hooks_soon(connection, checker.clock.now())
        assert is_check_due(connection, checker.clock.now())
    checker.round()
    assert checker.alarms() == []


def test_a_deleted_webhook_raises_an_alarm_and_is_backfilled_once(checker: Checker) -> None:
    checker.round()
    seen_at = checker.clock.now()
    checker.sandbox.post("/sandbox/delete", entity="WebHook", id=COMPLETIONS, deliver=False)
    report = checker.round(10)
    assert (report.ours, report.raised, report.silent) == (1, 1, 1)
    assert checker.asked == [
        (seen_at - MARGIN, checker.clock.now() + MARGIN, (Entity.COMPLETED_LESSON,))
    ]
    assert "was deleted" in checker.alarms()[0]
    checker.round(10)
    assert len(checker.asked) == 1
    # It is shown for a week; after that it was meant.
    checker.round(60 * 24 * 7)
    assert checker.alarms() == []


def test_a_webhook_missing_from_a_short_list_is_not_gone(checker: Checker) -> None:
    checker.round()
    page = {"Records": [], "HasNextPage": False, "TotalItems": 0}
    answer(checker.sandbox, HOOKS, 200, body=page, times=1)
    assert checker.round(10).raised == 0
    assert checker.alarms() == []


def test_a_webhook_moved_to_another_address_raises_an_alarm_and_is_never_written_to(
    checker: Checker,
) -> None:
    checker.round()
    checker.change(URL=ELSEWHERE, Active=False)
    assert checker.round(10).raised == 1
    assert checker.known().alarm is not None
    assert checker.writes() == 0
    assert "another address" in checker.alarms()[0]


def test_a_webhook_of_another_service_on_our_host_is_monitored_and_never_written_to(
    checker: Checker,
) -> None:
    checker.change(URL=f"{checker.receiver.url}/desk", Active=False)
    report = checker.round()
    assert (report.silent, report.switched_on, checker.writes()) == (1, 0, 0)


def test_an_address_that_no_webhook_calls_has_none_of_ours(checker: Checker) -> None:
    checker.round()
    report = checker.round(10, public_url="http://127.0.0.1:9")
    assert (report.ours, report.others, report.raised) == (0, 3, 0)


def test_five_failures_in_a_row_are_logged_once(checker: Checker) -> None:
    checker.change(ErrorCount=5)
    assert checker.round().failing == 1
    assert checker.logs == ["hook.failing"]
    checker.round(10)
    assert checker.logs == []
    checker.change(ErrorCount=0)
    checker.round(10)
    checker.change(ErrorCount=7)
    checker.round(10)
    assert checker.logs == ["hook.failing"]


def test_a_new_action_about_courses_is_logged_once(checker: Checker) -> None:
    assert checker.round().actions == 0
    checker.misbehave("course-actions")
    try:
        assert checker.round(10).actions == 0  # read once a day
        assert checker.round(60 * 24).actions == 2
        assert checker.logs == ["hook.course-action"] * 2
        checker.round(60 * 24)
        assert checker.logs == []
        with reading(checker.engine) as connection:
            assert watch_of(connection).actions == (
                "CourseMemberCreate",
                "CourseCompletedLessonCreate",
            )
    finally:
        checker.behave()


def test_a_new_process_reads_the_actions_again(checker: Checker) -> None:
    checker.round()
    checker.misbehave("course-actions")
    try:
        checker.clock.move(60)
        assert checker.round(started_at=checker.clock.now()).actions == 2
    finally:
        checker.behave()


def test_a_failed_backfill_is_repeated_and_the_other_webhook_is_handled(
    checker: Checker,
) -> None:
    checker.round()
    for record_id in (MEMBERS, COMPLETIONS):
        checker.change(record_id, Active=False)
    checker.trouble = SourceUnavailable("the source answered 503")
    report = checker.round(10)
    assert (report.switched_on, report.asked_for) == (2, 0)
    assert report.trouble == "the source answered 503"
    assert len(checker.alarms()) == 2
    assert "is on again" in checker.alarms()[0]
    checker.trouble = None
    report = checker.round(10)
    assert (report.asked_for, report.silent, report.trouble) == (6, 0, None)
    assert {entities for _, _, entities in checker.asked} == {(one,) for one in FOLLOWED}
    assert checker.alarms() == []


def test_before_the_baseline_has_ended_an_alarm_requests_nothing(
    checker: Checker,
) -> None:
    sync = SyncContext(checker.engine, checker.sources.lend, checker.clock, 300.0)
    backfill = partial(backfill_gap, sync)
    checker.kill()
    report = checker.round(backfill=backfill)
    assert (report.raised, report.switched_on, report.asked_for) == (1, 1, 0)
    assert report.trouble is None
    assert "hook.backfill-waits" in checker.logs
    alarm = checker.known().alarm
    assert alarm is not None
    assert alarm.covered_until is None
    # By a person it is switched on, and is covered later too.
    assert "baseline" in (
        enable(checker.health(backfill=backfill), MEMBERS, SYSTEM_CLOCK.now()).trouble or ""
    )
    poll_all(sync, for_s=60)
    checker.clock.move(1)
    checker.sandbox.enrol("Zoë", "Finance")
    assert checker.round(10, backfill=backfill).asked_for == 1
    assert "hook.silence-ended" in checker.logs
    assert checker.alarms() == []


@pytest.mark.parametrize("may_switch_on", [True, False])
def test_a_stopped_backfill_resumes_where_it_stopped(
    checker: Checker,
    may_switch_on: bool,  # noqa: FBT001 - the column of the table above
) -> None:
    checker.round()
    missed_from = checker.clock.now()
    checker.clock.move(86_400)
    checker.change(Active=False)
    busy = SourceThrottled("used up for now")
    for hours in (1, 2):
        reached = missed_from + timedelta(hours=hours)
        checker.trouble = BackfillUnfinished(busy, reached, 7)
        report = checker.round(10, may_switch_on=may_switch_on)
        assert (report.asked_for, report.trouble) == (7, "used up for now")
        alarm = checker.known().alarm
        assert alarm is not None
        assert (alarm.covered_until, alarm.asked_for) == (reached, 7 * hours)
    # One that came nowhere does not lose what was reached.
    checker.trouble = BackfillUnfinished(busy, missed_from - MARGIN, 0)
    checker.round(10, may_switch_on=may_switch_on)
    checker.trouble = None
    checker.round(10, may_switch_on=may_switch_on)
    assert checker.asked == [
        (reached - MARGIN, checker.clock.now() + MARGIN, (Entity.COURSE_MEMBER,))
    ]
    checker.round(10, may_switch_on=may_switch_on)
    assert len(checker.asked) == 1
    assert len(checker.alarms()) == (0 if may_switch_on else 1)


def test_a_deleted_webhook_that_was_backfilled_in_part_is_not_forgotten(checker: Checker) -> None:
    checker.round()
    missed_from = checker.clock.now()
    checker.clock.move(86_400)
    checker.sandbox.post("/sandbox/delete", entity="WebHook", id=COMPLETIONS, deliver=False)
    checker.trouble = BackfillUnfinished(
        SourceThrottled("used up for now"), missed_from + timedelta(hours=1), 7
    )
    checker.round()
    checker.round(60 * 24 * 8)
    checker.trouble = None
    checker.round(10)
    assert len(checker.asked) == 1
    checker.round(10)
    assert checker.alarms() == []


def test_all_webhooks_are_switched_on_before_any_backfill(checker: Checker) -> None:
    for record_id in (MEMBERS, COMPLETIONS):
        checker.change(record_id, Active=False)
    on: list[int] = []

    def backfill(*_: object) -> int:
        on.append(checker.writes())
        return 1

    checker.round(backfill=backfill)
    assert on == [2, 2]


def test_a_check_out_of_time_requests_nothing_and_the_next_one_does(checker: Checker) -> None:
    checker.change(Active=False)
    report = check_webhooks(checker.health(), checker.clock.now(), end=time.monotonic() - 1)
    assert (report.raised, report.switched_on, checker.asked) == (0, 0, [])
    assert report.trouble is not None
    assert checker.round(10).switched_on == 1
    assert len(checker.asked) == 1


def test_a_check_is_due_at_once_and_then_every_ten_minutes(checker: Checker) -> None:
    def is_due(minutes: float) -> bool:
        checker.clock.move(60 * minutes)
        with reading(checker.engine) as connection:
            return is_check_due(connection, checker.clock.now())

    assert is_due(0)
    checker.round()
    assert not is_due(9)
    assert is_due(1)


def test_an_operator_may_switch_on_a_webhook_and_missed_changes_are_requested(
    checker: Checker,
) -> None:
    checker.change(Active=False)
    checker.round(may_switch_on=False)
    first_end = checker.clock.now()
    checker.clock.move(600)
    done = checker.enable(MEMBERS)
    assert done.switched.outcome is SwitchOutcome.ON
    assert (done.since, done.asked_for) == (first_end - MARGIN, 3)
    assert checker.hook()["Active"] is True
    assert checker.alarms() == []
    checker.round(10)
    assert len(checker.asked) == 2


def test_an_operator_may_not_switch_on_a_webhook_that_is_not_ours(checker: Checker) -> None:
    foreign = next(
        row["Id"]
        for row in checker.sandbox.get(HOOKS).json()["Records"]
        if row["Id"] not in {MEMBERS, COMPLETIONS}
    )
    assert checker.enable(foreign).switched.outcome is SwitchOutcome.NOT_OURS
    checker.change(foreign, Active=False)
    assert checker.enable(foreign).switched.outcome is SwitchOutcome.NOT_OURS
    assert checker.enable(7).switched.outcome is SwitchOutcome.NOT_THERE
    assert checker.enable(MEMBERS).switched.outcome is SwitchOutcome.ALREADY
    assert checker.writes() == 0


def test_no_key_of_an_address_and_no_error_text_is_stored(checker: Checker) -> None:
    checker.change(
        URL=f"{checker.receiver.url}/hooks/nexudus?resource=CourseMember&key=hush-1",
        LastError="hush-2",
        Name="Courses https://x.example.org/?key=hush-3",
        Active=False,
    )
    checker.round(may_switch_on=False)
    known = checker.known()
    assert known.alarm is not None
    assert known.alarm.silence is SilenceCause.OFF
    assert known.entities == (Entity.COURSE_MEMBER,)
    with reading(checker.engine) as connection:
        kept = connection.exec_driver_sql("SELECT value FROM controls").scalars().all()
    assert "hush" not in json.dumps(kept)
