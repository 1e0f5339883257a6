"""Retention on both engines: rows are deleted in small steps, and nothing is done twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Table, event, func, insert, select

from ledger.actions import Copy, store_copy
from ledger.checks import CheckKind, begin_check, end_check
from ledger.clock import SYSTEM_CLOCK
from ledger.decisions import store_decisions
from ledger.engine import Connection, Engine, reading, writing
from ledger.lookups import claim_lookups, finish_lookups
from ledger.mail_reports import store_reports
from ledger.monitoring import count_refusals
from ledger.operators import add_operator, begin_session, make_link, operator_named, use_link
from ledger.outbox import claim_actions, settle_action
from ledger.reports import store_report_copy
from ledger.retention import (
    ATTEMPTS,
    BODIES,
    COPIES,
    NOTIFICATIONS,
    REFUSALS,
    RULES,
    KeptFor,
    delete_old,
)
from ledger.sent_emails import note_sent
from ledger.tables import (
    actions,
    attempts,
    copies,
    deliveries,
    heartbeats,
    lookups,
    notifications,
    refusals,
    reports,
)
from schemas.actions import Outcome
from schemas.entity import Entity
from schemas.mail_reports import MailReport, Provider, ReportKind
from schemas.reasons import Reason, Refusal
from schemas.roles import Role
from schemas.trace import TriedRule
from service.cli.certificate_view import lines_of
from service.cli.main import commands
from tests.builders.records import NOON
from tests.contract.ledger_rig import (
    LEASE_S,
    LESSON,
    arrival,
    claim,
    decide,
    keep,
    lesson_done,
    plan_for,
    rows,
)
from tests.contract.study_rig import LISBON, SHIPPED, Space, rules_of
from workers.actions.email.message import reference
from workers.source.limits import Patience, Urgency
from workers.sync.certificate import certify
from workers.sync.compare import Scope, compare
from workers.sync.document import Issuer, document_of
from workers.sync.evidence import window_of
from workers.sync.poll import poll_all
from workers.sync.rows import SyncContext

A_SECOND = timedelta(seconds=1)
NOW = NOON + timedelta(days=400)
STEP = 7
COPY = Copy("v1", "ana@example.org", "Title", b"Text", "text/plain")


def count(engine: Engine, table: Table) -> int:
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def counts(engine: Engine) -> dict[str, int]:
    tables = {rule.table.name: rule.table for rule in RULES if isinstance(rule, KeptFor)}
    return {name: count(engine, table) for name, table in tables.items()}


def settle_all(engine: Engine, now: datetime) -> None:
    """Look up and perform all that is due."""
    for claimed in claim(engine, now, most=1000):
        with writing(engine) as connection:
            finish_lookups(connection, [claimed], now)
    with writing(engine) as connection:
        for action in claim_actions(
            connection, now, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=1000
        ):
            settle_action(connection, action, Outcome.done("250 taken"), now)
            store_copy(connection, action.action_id, COPY, now)


def fill(engine: Engine, at: datetime, first: int, number: int = 20) -> None:
    """Let everything that is deleted one day happen so many times, all of it finished."""
    keep(engine, *(arrival(first + one, received_at=at) for one in range(number)))
    for one in range(number):
        found = lesson_done(LESSON + first + one, at)
        event_id = decide(engine, found, plan_for(found), at)
        assert event_id is not None
        with writing(engine) as connection:
            store_decisions(connection, {event_id: ("a-version", (TriedRule("one", True),))}, at)  # noqa: FBT003 - a row
    settle_all(engine, at)
    with writing(engine) as connection:
        for row in connection.execute(select(actions).where(actions.c.planned_at == at)).all():
            name = reference(row.key)
            note_sent(connection, name, "a-hash", at, action_key=row.key)
            found_delivered = MailReport(Provider.SES, ReportKind.DELIVERED, name)
            store_reports(connection, [found_delivered], lambda one: one, at)
        for one in range(number):
            run = begin_check(connection, CheckKind.CHECK, Entity.COURSE_MEMBER, at)
            end_check(connection, run.check_id, at)
            count_refusals(connection, {Refusal.UNSIGNED: 1}, at - timedelta(hours=one))
            connection.execute(
                insert(heartbeats).values(kind="worker", process=f"{first} {one}", beat_at=at)
            )
            sent = insert(reports).values(
                key=f"summary/{first + one}",
                name="summary",
                audience="team",
                planned_at=at,
                state="done",
                due_at=at,
                finished_at=at,
            )
            report_id = connection.scalar(sent.returning(reports.c.id))
            assert report_id is not None
            store_report_copy(connection, report_id, COPY, at)
        _sign_in(connection, at, first, number)


def _sign_in(connection: Connection, at: datetime, first: int, number: int) -> None:
    """Let an operator sign in so many times, each by a new link."""
    operator = add_operator(connection, f"Rita {first}", Role.OPERATE, "test", at)
    assert operator is not None
    for one in range(number):
        token = f"token {first} {one}"
        make_link(connection, operator, token, "test", at)
        assert use_link(connection, token, "hash", at, operator.name)
        found = operator_named(connection, operator.name)
        assert found is not None
        assert begin_session(connection, found, token, "Firefox", at)


@contextmanager
def changed_rows(engine: Engine) -> Iterator[list[int]]:
    """Note how many rows each transaction that writes has changed."""
    noted: list[int] = []

    def begun(connection: Connection) -> None:
        if connection.get_execution_options().get("coursebell_writes"):
            noted.append(0)

    def executed(_: object, cursor: Any, statement: str, *___: object) -> None:  # noqa: ANN401 - a driver's cursor
        if statement.startswith(("DELETE", "UPDATE")):
            noted[-1] += cursor.rowcount

    event.listen(engine, "begin", begun)
    event.listen(engine, "after_cursor_execute", executed)
    yield noted
    event.remove(engine, "begin", begun)
    event.remove(engine, "after_cursor_execute", executed)


def test_a_year_old_ledger_is_cleared_in_small_steps_and_then_has_nothing_more(
    ledger_engine: Engine,
) -> None:
    fill(ledger_engine, NOON, 1)
    fill(ledger_engine, NOW - timedelta(hours=1), 1001)
    with changed_rows(ledger_engine) as steps:
        forgotten = delete_old(ledger_engine, NOW, most=STEP)
    assert forgotten.rows == dict.fromkeys(
        (
            "deliveries.body",
            "notifications",
            "deliveries",
            "lookups",
            "attempts",
            "copies",
            "report_copies",
            "operator_links",
            "operator_sessions",
            "decisions",
            "mail_reports",
            "sent_emails",
            "checks",
            "refusals",
            "heartbeats",
        ),
        20,
    )
    assert max(steps) == STEP
    assert sum(steps) == sum(forgotten.rows.values())
    assert counts(ledger_engine) == dict.fromkeys(counts(ledger_engine), 20)
    assert not forgotten.more
    with changed_rows(ledger_engine) as steps:
        assert delete_old(ledger_engine, NOW).rows == {}
    assert steps == []


def test_it_stops_between_two_steps_and_resumes_in_the_next_run(ledger_engine: Engine) -> None:
    fill(ledger_engine, NOON, 1)
    before = sum(counts(ledger_engine).values())
    some = delete_old(ledger_engine, NOW, most=STEP, may_continue=lambda: False)
    assert (some.rows, some.more) == ({"deliveries.body": STEP}, True)
    rest = delete_old(ledger_engine, NOW, most=STEP)
    assert rest.rows["deliveries.body"] == 20 - STEP
    assert before > sum(counts(ledger_engine).values())


def test_bodies_are_emptied_before_their_deliveries_are_deleted(ledger_engine: Engine) -> None:
    moments = (NOW - BODIES - A_SECOND, NOW - BODIES + A_SECOND)
    keep(ledger_engine, *(arrival(1, received_at=moment) for moment in moments))
    delete_old(ledger_engine, NOW)
    assert [row.body is None for row in rows(ledger_engine, deliveries)] == [True, False]


def test_unreadable_bodies_that_an_older_version_kept_are_emptied(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(1, received_at=NOW), arrival(received_at=NOW, error="not JSON"))
    assert delete_old(ledger_engine, NOW).rows == {"deliveries.body": 1}
    assert [row.body is None for row in rows(ledger_engine, deliveries)] == [False, True]


def test_each_table_has_its_own_retention(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        for moment in (NOW - REFUSALS - A_SECOND, NOW - REFUSALS):
            count_refusals(connection, {Refusal.UNSIGNED: 2}, moment)
    limits = (ATTEMPTS, COPIES, NOTIFICATIONS)
    moments = [NOW - limit - sooner for limit in limits for sooner in (A_SECOND, timedelta())]
    for number, moment in enumerate(moments, 1):
        keep(ledger_engine, arrival(number, received_at=moment))
        found = lesson_done(LESSON + number, moment)
        decide(ledger_engine, found, plan_for(found), moment)
        settle_all(ledger_engine, moment)
    delete_old(ledger_engine, NOW)
    [left] = rows(ledger_engine, refusals)
    assert left.last_at == NOW - REFUSALS
    assert min(row.due_at for row in rows(ledger_engine, lookups)) == NOW - NOTIFICATIONS
    assert min(row.received_at for row in rows(ledger_engine, deliveries)) == NOW - NOTIFICATIONS
    assert min(row.written_at for row in rows(ledger_engine, copies)) == NOW - COPIES
    assert min(row.at for row in rows(ledger_engine, attempts)) == NOW - ATTEMPTS


def test_a_clock_that_is_a_year_ahead_for_an_hour_costs_a_day_and_no_more(
    ledger_engine: Engine,
) -> None:
    fill(ledger_engine, NOON, 1)
    before = counts(ledger_engine)
    delete_old(ledger_engine, NOON)
    for _ in range(3):
        delete_old(ledger_engine, NOON + timedelta(days=365), may_continue=lambda: False)
    delete_old(ledger_engine, NOON + timedelta(days=365))
    assert counts(ledger_engine) == before | {"heartbeats": 0}  # these are kept for a day
    assert all(row.body is not None for row in rows(ledger_engine, deliveries))
    # After a machine was off for long, each run counts from a day later.
    for _ in range(BODIES.days):
        delete_old(ledger_engine, NOW)
    assert all(row.body is None for row in rows(ledger_engine, deliveries))


def test_unfinished_work_keeps_its_history(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(1, received_at=NOON), arrival(2, received_at=NOON))
    keep(ledger_engine, arrival(3, received_at=NOW))
    found = lesson_done(LESSON, NOON)
    decide(ledger_engine, found, plan_for(found), NOON)
    with writing(ledger_engine) as connection:
        [action] = claim_actions(connection, NOON, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=1)
        settle_action(connection, action, Outcome.held(Reason.OBSERVE), NOON)
        [first, _] = claim_lookups(connection, NOON, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=2)
        finish_lookups(connection, [first], NOON)
    delete_old(ledger_engine, NOW)
    assert count(ledger_engine, attempts) == 1
    # The second record is still to be read.
    assert [row.record_id for row in rows(ledger_engine, notifications)] == [2, 3]
    assert [row.record_id for row in rows(ledger_engine, lookups)] == [2, 3]
    assert [row.id for row in rows(ledger_engine, deliveries)] == [2, 3]


def test_notification_ids_continue_after_all_are_deleted(ledger_engine: Engine) -> None:
    for number in (1, 2, 3):
        keep(ledger_engine, arrival(number, received_at=NOON))
    settle_all(ledger_engine, NOON)
    delete_old(ledger_engine, NOW)
    keep(ledger_engine, arrival(4, received_at=NOW))
    assert [row.id for row in rows(ledger_engine, notifications)] == [3, 4]


@pytest.fixture
def aged(ledger_engine: Engine) -> Space:
    """Yield a space in which a member studied a year ago, after old rows were deleted."""
    space = Space(ledger_engine, rules_of(SHIPPED))
    poll_all(sync(space), for_s=60)
    space.later(minutes=1)
    ana = space.enrol(1)
    space.work()
    space.later(minutes=10)
    space.finish(ana, 1, 2)
    space.later(hours=2)
    space.finish(ana, 3)
    space.later(days=2)
    space.later(days=400)
    forgotten = delete_old(space.engine, space.clock.now()).rows
    assert {"notifications", "lookups", "attempts", "copies"} <= forgotten.keys()
    return space


def sync(space: Space) -> SyncContext:
    return SyncContext(space.engine, space.lend, space.clock)


def test_no_email_is_sent_again_after_its_history_was_deleted(aged: Space) -> None:
    sent = list(aged.subjects)
    assert len(sent) == 3
    aged.notify(Entity.COURSE_MEMBER, 9001)
    for record_id in (50_001, 50_002, 50_003):
        aged.notify(Entity.COMPLETED_LESSON, record_id)
    aged.later(hours=1)
    assert poll_all(sync(aged), for_s=60).news == 0
    aged.later(days=1)
    assert aged.subjects == sent
    assert count(aged.engine, lookups) > 0, "they were read again"


def test_later_enrolments_are_still_processed(aged: Space) -> None:
    sent = len(aged.subjects)
    aged.enrol(2)
    aged.work()
    aged.enrol(3, reported=False)
    aged.clock.time += timedelta(minutes=10)
    assert poll_all(sync(aged), for_s=60).news == 1
    aged.work()
    assert len(aged.subjects) == sent + 2


def test_reconcile_and_certificate_stay_correct(aged: Space) -> None:
    patience = Patience(Urgency.WORK, 0, lambda: None)
    compared = compare(sync(aged), Scope(), patience)
    assert [one.differences for one in compared.kinds] == [(), ()]
    day = NOON.date()
    window = window_of(day, day, LISBON, aged.clock.now())
    made = certify(sync(aged), window, aged.rules)
    assert list(made.findings) == []
    assert made.is_clean
    document = document_of(made, Issuer("https://example.org", "1", "abc", aged.clock.now()))
    assert "Attempts to send are kept for 365 days" in "\n".join(lines_of(document))


def test_why_says_that_texts_are_no_longer_kept(
    ledger_engine: Engine, ledger_url: str, tmp_path: Path
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    environment = {"COURSEBELL_DATABASE_URL": ledger_url, "COURSEBELL_DATA_DIR": str(tmp_path)}
    for number, when in ((1, NOON - timedelta(days=1)), (2, SYSTEM_CLOCK.now())):
        space.clock.time = when.replace(hour=12)
        space.enrol(number)
        space.work()
    histories = [
        CliRunner().invoke(commands, ["why", who], env=environment).stdout for who in ("1", "2")
    ]
    assert ["Sent" in one for one in histories] == [True, True]
    assert ["Deleted: texts of emails after 90 days" in one for one in histories] == [True, False]
