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
class Watchman:
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
        """Let the webhook of enrolments die of ten failures."""
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
def watchman(world: tuple[Running, Receiver], tmp_path: Path) -> Iterator[Watchman]:
    sandbox, receiver = world
    receiver.status = 202
    sandbox.post("/sandbox/reset")
    sandbox.sign_in()
    with sqlite_ledger(tmp_path) as engine:
        clock = HandClock(SYSTEM_CLOCK.now())
        way = sandbox.addresses["api"]
        sources = Sources(lambda: Source(way, engine, CREDENTIALS, clock, OpenGate()))
        with closing(sources):
            yield Watchman(sandbox, receiver, engine, clock, sources)
    tell_the_truth(sandbox)


def test_without_problems_nothing_is_written_and_the_state_is_stored(
    watchman: Watchman,
) -> None:
    report = watchman.round()
    assert report == Report(ours=2, others=1)
    assert watchman.logs == []
    assert watchman.writes() == 0
    assert watchman.asked == []
    assert watchman.alarms() == []
    known = watchman.known()
    assert (known.active, known.error_count, known.entities) == (
        True,
        0,
        (Entity.COURSE_MEMBER,),
    )
    assert known.well_at == watchman.clock.now()
    with reading(watchman.engine) as connection:
        run = last_run(connection, [CheckKind.WEBHOOKS], None)
    assert run is not None
    assert run.report is not None
    assert run.report["ours"] == 2


def test_a_webhook_that_is_off_is_switched_on_and_missed_changes_are_requested_once(
    watchman: Watchman,
) -> None:
    watchman.round()
    well_at = watchman.clock.now()
    watchman.clock.move(600)
    watchman.change(Description="Kept", SystemId="ours")
    watchman.kill()
    before = watchman.hook()
    assert before["ErrorCount"] == 10
    report = watchman.round()
    assert (report.raised, report.switched_on, report.silent, report.asked_for) == (1, 1, 0, 3)
    assert watchman.logs == [
        "hook.switched-off",
        "hook.switched-on",
        "hook.backfilled",
        "hook.silence-ended",
    ]
    after = watchman.hook()
    changes = {"Active", "UpdatedOn", "UpdatedBy"}
    assert after["Active"] is True
    assert {name: after[name] for name in after.keys() - changes} == {
        name: before[name] for name in before.keys() - changes
    }
    last_call = datetime.fromisoformat(before["LastTrigger"])
    since = min(well_at, last_call) - MARGIN
    assert watchman.asked == [(since, watchman.clock.now() + MARGIN, (Entity.COURSE_MEMBER,))]
    assert watchman.alarms() == []
    watchman.round(10)
    assert len(watchman.asked) == 1
    assert watchman.writes() == 1


def test_without_permission_it_stays_off_and_missed_changes_are_requested(
    watchman: Watchman,
) -> None:
    watchman.kill()
    last_call = datetime.fromisoformat(watchman.hook()["LastTrigger"])
    report = watchman.round(may_switch_on=False)
    assert (report.silent, report.switched_on, report.left_off) == (1, 0, 1)
    assert watchman.writes() == 0
    # Nothing was known of it from before, so the last call is all there is to go by.
    first_end = watchman.clock.now()
    assert watchman.asked == [(last_call - MARGIN, first_end + MARGIN, (Entity.COURSE_MEMBER,))]
    [alarm] = watchman.alarms()
    assert f"webhook {MEMBERS}" in alarm
    assert "switched off" in alarm
    assert "COURSEBELL_HOOKS_REENABLE" in alarm
    for _ in range(3):
        assert watchman.round(10, may_switch_on=False).raised == 0
        assert watchman.logs == []
    assert len(watchman.asked) == 1
    # A person switches it on: what came up since is asked for too, and no minute twice but for
    # the margin.
    watchman.change(Active=True)
    assert watchman.round(10, may_switch_on=False).silent == 0
    assert watchman.asked[1:] == [
        (first_end - MARGIN, watchman.clock.now() + MARGIN, (Entity.COURSE_MEMBER,))
    ]
    assert watchman.alarms() == []


def test_an_enrolment_while_the_webhook_was_off_is_found(watchman: Watchman) -> None:
    sync = SyncContext(watchman.engine, watchman.sources.lend, watchman.clock, 0.0)

    def backfill(since: datetime, until: datetime, entities: tuple[Entity, ...]) -> int:
        found = backfill_window(sync, since, until, entities)
        return sum(found.news.values())

    watchman.kill()
    watchman.sandbox.enrol("Zoë", "Finance")
    assert watchman.round(backfill=backfill).asked_for == 2


def test_a_webhook_that_keeps_failing_is_not_switched_on_for_ever(watchman: Watchman) -> None:
    watchman.round()
    for times in range(1, 4):
        watchman.change(Active=False)
        assert watchman.round(10).switched_on == 1, times
    watchman.change(Active=False)
    report = watchman.round(10)
    assert (report.switched_on, report.left_off, report.silent) == (0, 1, 1)
    assert "hook.left-off" in watchman.logs
    assert watchman.writes() == 3
    assert len(watchman.asked) == 4
    assert "3 times within a day" in watchman.alarms()[0]
    watchman.round(10)
    assert watchman.logs == []
    assert watchman.round(60 * 24).switched_on == 1
    assert watchman.alarms() == []


def test_a_webhook_switched_on_meanwhile_is_not_written_to(watchman: Watchman) -> None:
    watchman.change(Active=False)
    watchman.round(may_switch_on=False)
    # The list is old, the record itself is not.
    row = watchman.hook()
    watchman.change(Active=True)
    page = {"Records": [row], "HasNextPage": False, "TotalItems": 1}
    answer(watchman.sandbox, HOOKS, 200, body=page, times=1)
    report = watchman.round(10)
    assert watchman.writes() == 0
    assert (report.switched_on, report.silent) == (0, 0)
    assert watchman.known().last_deed is not None


def test_partial_rows_are_read_by_their_id_and_never_written_back(watchman: Watchman) -> None:
    watchman.change(Description="Kept", Active=False)
    watchman.misbehave("partial-rows", entity="WebHook", fields="Description,LastTrigger,URL")
    try:
        assert watchman.round().switched_on == 1
    finally:
        watchman.behave()
    assert watchman.hook()["Description"] == "Kept"


def test_an_incomplete_record_is_never_sent_back(watchman: Watchman) -> None:
    watchman.change(Active=False)
    whole = watchman.hook()
    del whole["Description"]
    answer(watchman.sandbox, f"{HOOKS}/{MEMBERS}", 200, body=whole)
    report = watchman.round()
    assert (report.switched_on, report.left_off) == (0, 1)
    assert watchman.writes() == 0
    assert "Description" in watchman.alarms()[0]


def test_a_missing_role_is_named_and_missed_changes_are_requested(
    watchman: Watchman,
) -> None:
    watchman.change(Active=False)
    watchman.misbehave("missing-right", entity="WebHook", way="edit")
    try:
        report = watchman.round()
    finally:
        watchman.behave()
    assert (report.left_off, len(watchman.asked)) == (1, 1)
    assert "WebHook-Edit" in watchman.alarms()[0]


def test_a_missing_list_role_is_logged_once_a_day(watchman: Watchman) -> None:
    watchman.misbehave("missing-right", entity="WebHook")
    try:
        assert watchman.round().trouble is not None
        assert watchman.logs == ["hook.unwatched", "hook.round-unfinished"]
        watchman.round(10)
        assert watchman.logs == ["hook.round-unfinished"]
        assert len(watchman.alarms()) == 1
        watchman.round(60 * 24)
        assert "hook.unwatched" in watchman.logs
    finally:
        watchman.behave()
    with reading(watchman.engine) as connection:
        run = open_run(connection, [CheckKind.WEBHOOKS], None)
    assert run is not None
    assert run.reason is Reason.NEXUDUS_REFUSED
    assert watchman.round(10).ours == 2
    assert watchman.alarms() == []


def test_a_refused_sign_in_is_not_reported_as_a_webhook_problem(watchman: Watchman) -> None:
    answer(watchman.sandbox, "/api/token", 400, body={"error": "invalid_grant"})
    assert watchman.round().trouble is not None
    tell_the_truth(watchman.sandbox)
    assert watchman.alarms() == []


def test_the_sentence_about_a_missing_role_is_complete_and_a_check_can_be_requested(
    watchman: Watchman,
) -> None:
    watchman.misbehave("missing-right", entity="WebHook")
    try:
        assert watchman.round().trouble is not None
    finally:
        watchman.behave()
    [said] = watchman.alarms()
    assert said.count("`") % 2 == 0
    with writing(watchman.engine) as connection:
        assert not is_check_due(connection, watchman.clock.now())
        check_hooks_soon(connection, watchman.clock.now())
        assert is_check_due(connection, watchman.clock.now())
    watchman.round()
    assert watchman.alarms() == []


def test_a_deleted_webhook_raises_an_alarm_and_is_backfilled_once(watchman: Watchman) -> None:
    watchman.round()
    seen_at = watchman.clock.now()
    watchman.sandbox.post("/sandbox/delete", entity="WebHook", id=COMPLETIONS, deliver=False)
    report = watchman.round(10)
    assert (report.ours, report.raised, report.silent) == (1, 1, 1)
    assert watchman.asked == [
        (seen_at - MARGIN, watchman.clock.now() + MARGIN, (Entity.COMPLETED_LESSON,))
    ]
    assert "was deleted" in watchman.alarms()[0]
    watchman.round(10)
    assert len(watchman.asked) == 1
    # It is shown for a week; after that it was meant.
    watchman.round(60 * 24 * 7)
    assert watchman.alarms() == []


def test_a_webhook_missing_from_a_short_list_is_not_gone(watchman: Watchman) -> None:
    watchman.round()
    page = {"Records": [], "HasNextPage": False, "TotalItems": 0}
    answer(watchman.sandbox, HOOKS, 200, body=page, times=1)
    assert watchman.round(10).raised == 0
    assert watchman.alarms() == []


def test_a_webhook_moved_to_another_address_raises_an_alarm_and_is_never_written_to(
    watchman: Watchman,
) -> None:
    watchman.round()
    watchman.change(URL=ELSEWHERE, Active=False)
    assert watchman.round(10).raised == 1
    assert watchman.known().alarm is not None
    assert watchman.writes() == 0
    assert "another address" in watchman.alarms()[0]


def test_a_webhook_of_another_service_on_our_host_is_monitored_and_never_written_to(
    watchman: Watchman,
) -> None:
    watchman.change(URL=f"{watchman.receiver.url}/desk", Active=False)
    report = watchman.round()
    assert (report.silent, report.switched_on, watchman.writes()) == (1, 0, 0)


def test_an_address_that_no_webhook_calls_has_none_of_ours(watchman: Watchman) -> None:
    watchman.round()
    report = watchman.round(10, public_url="http://127.0.0.1:9")
    assert (report.ours, report.others, report.raised) == (0, 3, 0)


def test_five_failures_in_a_row_are_logged_once(watchman: Watchman) -> None:
    watchman.change(ErrorCount=5)
    assert watchman.round().failing == 1
    assert watchman.logs == ["hook.failing"]
    watchman.round(10)
    assert watchman.logs == []
    watchman.change(ErrorCount=0)
    watchman.round(10)
    watchman.change(ErrorCount=7)
    watchman.round(10)
    assert watchman.logs == ["hook.failing"]


def test_a_new_action_about_courses_is_logged_once(watchman: Watchman) -> None:
    assert watchman.round().actions == 0
    watchman.misbehave("course-actions")
    try:
        assert watchman.round(10).actions == 0  # read once a day
        assert watchman.round(60 * 24).actions == 2
        assert watchman.logs == ["hook.course-action"] * 2
        watchman.round(60 * 24)
        assert watchman.logs == []
        with reading(watchman.engine) as connection:
            assert watch_of(connection).actions == (
                "CourseMemberCreate",
                "CourseCompletedLessonCreate",
            )
    finally:
        watchman.behave()


def test_a_new_process_reads_the_actions_again(watchman: Watchman) -> None:
    watchman.round()
    watchman.misbehave("course-actions")
    try:
        watchman.clock.move(60)
        assert watchman.round(started_at=watchman.clock.now()).actions == 2
    finally:
        watchman.behave()


def test_a_failed_backfill_is_repeated_and_the_other_webhook_is_handled(
    watchman: Watchman,
) -> None:
    watchman.round()
    for record_id in (MEMBERS, COMPLETIONS):
        watchman.change(record_id, Active=False)
    watchman.trouble = SourceUnavailable("the source answered 503")
    report = watchman.round(10)
    assert (report.switched_on, report.asked_for) == (2, 0)
    assert report.trouble == "the source answered 503"
    assert len(watchman.alarms()) == 2
    assert "is on again" in watchman.alarms()[0]
    watchman.trouble = None
    report = watchman.round(10)
    assert (report.asked_for, report.silent, report.trouble) == (6, 0, None)
    assert {entities for _, _, entities in watchman.asked} == {(one,) for one in FOLLOWED}
    assert watchman.alarms() == []


def test_before_the_baseline_has_ended_an_alarm_requests_nothing(
    watchman: Watchman,
) -> None:
    sync = SyncContext(watchman.engine, watchman.sources.lend, watchman.clock, 300.0)
    backfill = partial(backfill_gap, sync)
    watchman.kill()
    report = watchman.round(backfill=backfill)
    assert (report.raised, report.switched_on, report.asked_for) == (1, 1, 0)
    assert report.trouble is None
    assert "hook.backfill-waits" in watchman.logs
    alarm = watchman.known().alarm
    assert alarm is not None
    assert alarm.covered_until is None
    # By a person it is switched on, and is covered later too.
    assert "baseline" in (
        enable(watchman.health(backfill=backfill), MEMBERS, SYSTEM_CLOCK.now()).trouble or ""
    )
    poll_all(sync, for_s=60)
    watchman.clock.move(1)
    watchman.sandbox.enrol("Zoë", "Finance")
    assert watchman.round(10, backfill=backfill).asked_for == 1
    assert "hook.silence-ended" in watchman.logs
    assert watchman.alarms() == []


@pytest.mark.parametrize("may_switch_on", [True, False])
def test_a_stopped_backfill_resumes_where_it_stopped(
    watchman: Watchman,
    may_switch_on: bool,  # noqa: FBT001 - the column of the table above
) -> None:
    watchman.round()
    missed_from = watchman.clock.now()
    watchman.clock.move(86_400)
    watchman.change(Active=False)
    busy = SourceThrottled("used up for now")
    for hours in (1, 2):
        reached = missed_from + timedelta(hours=hours)
        watchman.trouble = BackfillUnfinished(busy, reached, 7)
        report = watchman.round(10, may_switch_on=may_switch_on)
        assert (report.asked_for, report.trouble) == (7, "used up for now")
        alarm = watchman.known().alarm
        assert alarm is not None
        assert (alarm.covered_until, alarm.asked_for) == (reached, 7 * hours)
    # One that came nowhere does not lose what was reached.
    watchman.trouble = BackfillUnfinished(busy, missed_from - MARGIN, 0)
    watchman.round(10, may_switch_on=may_switch_on)
    watchman.trouble = None
    watchman.round(10, may_switch_on=may_switch_on)
    assert watchman.asked == [
        (reached - MARGIN, watchman.clock.now() + MARGIN, (Entity.COURSE_MEMBER,))
    ]
    watchman.round(10, may_switch_on=may_switch_on)
    assert len(watchman.asked) == 1
    assert len(watchman.alarms()) == (0 if may_switch_on else 1)


def test_a_deleted_webhook_that_was_backfilled_in_part_is_not_forgotten(watchman: Watchman) -> None:
    watchman.round()
    missed_from = watchman.clock.now()
    watchman.clock.move(86_400)
    watchman.sandbox.post("/sandbox/delete", entity="WebHook", id=COMPLETIONS, deliver=False)
    watchman.trouble = BackfillUnfinished(
        SourceThrottled("used up for now"), missed_from + timedelta(hours=1), 7
    )
    watchman.round()
    watchman.round(60 * 24 * 8)
    watchman.trouble = None
    watchman.round(10)
    assert len(watchman.asked) == 1
    watchman.round(10)
    assert watchman.alarms() == []


def test_all_webhooks_are_switched_on_before_any_backfill(watchman: Watchman) -> None:
    for record_id in (MEMBERS, COMPLETIONS):
        watchman.change(record_id, Active=False)
    on: list[int] = []

    def backfill(*_: object) -> int:
        on.append(watchman.writes())
        return 1

    watchman.round(backfill=backfill)
    assert on == [2, 2]


def test_a_check_out_of_time_requests_nothing_and_the_next_one_does(watchman: Watchman) -> None:
    watchman.change(Active=False)
    report = check_webhooks(watchman.health(), watchman.clock.now(), end=time.monotonic() - 1)
    assert (report.raised, report.switched_on, watchman.asked) == (0, 0, [])
    assert report.trouble is not None
    assert watchman.round(10).switched_on == 1
    assert len(watchman.asked) == 1


def test_a_check_is_due_at_once_and_then_every_ten_minutes(watchman: Watchman) -> None:
    def is_due(minutes: float) -> bool:
        watchman.clock.move(60 * minutes)
        with reading(watchman.engine) as connection:
            return is_check_due(connection, watchman.clock.now())

    assert is_due(0)
    watchman.round()
    assert not is_due(9)
    assert is_due(1)


def test_an_operator_may_switch_on_a_webhook_and_missed_changes_are_requested(
    watchman: Watchman,
) -> None:
    watchman.change(Active=False)
    watchman.round(may_switch_on=False)
    first_end = watchman.clock.now()
    watchman.clock.move(600)
    done = watchman.enable(MEMBERS)
    assert done.switched.outcome is SwitchOutcome.ON
    assert (done.since, done.asked_for) == (first_end - MARGIN, 3)
    assert watchman.hook()["Active"] is True
    assert watchman.alarms() == []
    watchman.round(10)
    assert len(watchman.asked) == 2


def test_an_operator_may_not_switch_on_a_webhook_that_is_not_ours(watchman: Watchman) -> None:
    foreign = next(
        row["Id"]
        for row in watchman.sandbox.get(HOOKS).json()["Records"]
        if row["Id"] not in {MEMBERS, COMPLETIONS}
    )
    assert watchman.enable(foreign).switched.outcome is SwitchOutcome.NOT_OURS
    watchman.change(foreign, Active=False)
    assert watchman.enable(foreign).switched.outcome is SwitchOutcome.NOT_OURS
    assert watchman.enable(7).switched.outcome is SwitchOutcome.NOT_THERE
    assert watchman.enable(MEMBERS).switched.outcome is SwitchOutcome.ALREADY
    assert watchman.writes() == 0


def test_no_key_of_an_address_and_no_error_text_is_stored(watchman: Watchman) -> None:
    watchman.change(
        URL=f"{watchman.receiver.url}/hooks/nexudus?resource=CourseMember&key=hush-1",
        LastError="hush-2",
        Name="Bell https://x.example.org/?key=hush-3",
        Active=False,
    )
    watchman.round(may_switch_on=False)
    known = watchman.known()
    assert known.alarm is not None
    assert known.alarm.silence is SilenceCause.OFF
    assert known.entities == (Entity.COURSE_MEMBER,)
    with reading(watchman.engine) as connection:
        kept = connection.exec_driver_sql("SELECT value FROM controls").scalars().all()
    assert "hush" not in json.dumps(kept)
