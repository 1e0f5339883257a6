"""Statements that run often, or while other processes wait, find their rows by an index.

Each is planned by the engine itself, on tables with some thousand rows.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select, text

from ledger.actions import (
    completions_planned,
    count_sent,
    plan_action,
    planned_nearby,
    sent_times,
    supersede_lessons,
)
from ledger.attempts import count_attempts, fails_alone, source_wait
from ledger.channels import gone_endpoints
from ledger.clock import SYSTEM_CLOCK
from ledger.counts_over_time import emails_by_quarter, lessons_by_quarter
from ledger.courses import courses_of_group, courses_of_person
from ledger.engine import Engine, writing
from ledger.enrolments import finished_courses
from ledger.events import (
    events_of_action,
    known_events,
    requested_among,
    suppressed_among,
)
from ledger.history import completions_of
from ledger.intake import newest_notification
from ledger.interventions import held_by_reason
from ledger.lookups import claim_lookups, next_lookup_at
from ledger.mail_reports import (
    bounces_from,
    count_reports,
    last_arrival,
    pending_reports,
    reports_of,
    reports_of_digests,
)
from ledger.members import members_of_course
from ledger.open_lookups import open_lookups
from ledger.outages import retry_outages_now, retry_refused, retry_unanswered, source_outages
from ledger.outbox import (
    claim_actions,
    expire_handovers,
    next_action_at,
)
from ledger.outcomes import events_by_key, first_lessons, outcomes_of
from ledger.queries import needing_person
from ledger.record_queries import ids_below, known_among
from ledger.records import is_answered, present_below
from ledger.report_queries import (
    RecordedTime,
    changes_of_course,
    count_events,
    done_by_template,
    held_since,
    quiet_members,
    skipped_by_reason,
    waiting_by_kind,
)
from ledger.reports import claim_report, expire_reports, last_report, last_reports, open_report
from ledger.sending_rate import end_turns, may_begin, may_report
from ledger.skew import end_far_waits
from ledger.stories import count_newer, newest_events, titled_history
from ledger.tables import (
    action_events,
    actions,
    attempts,
    events,
    lookups,
    mail_reports,
    notifications,
    records,
    reports,
    sent_emails,
)
from ledger.undecided import undecided
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.settings import SendingRate
from tests.contract.ledger_rig import ANA, COURSE, NOW, lesson_done, plan_for
from workers.retries import LONGEST_REPORT_WAITS, LONGEST_WAITS

MANY = 5_000
LATEST = NOW + timedelta(minutes=MANY)
GROWING = {
    str(table.name)
    for table in (
        action_events,
        actions,
        attempts,
        events,
        lookups,
        mail_reports,
        notifications,
        records,
        reports,
        sent_emails,
    )
}
# These hold only rows that are unfinished or need a person, so reading one from end to end is no
# scan of its table.
SMALL = {
    *("actions_due", "actions_performing", "actions_undecided", "actions_waiting"),
    *("lookups_due", "lookups_failed", "lookups_leased", "lookups_waiting", "lookups_waiting_for"),
    *("mail_reports_pending", "reports_due"),
}
DONE = Entity.COMPLETED_LESSON
RECORDS = [(DONE, 7), (DONE, 8)]
HOUR = timedelta(hours=1)
TWO_MONTHS = timedelta(days=62, hours=-1)
ENDS = (EventKind.COURSE_COMPLETED,)
RECORDED = RecordedTime(NOW, NOW + HOUR, NOW)

Statement = Callable[[Connection], object]


def plan_one_that_gathers(connection: Connection) -> None:
    found = lesson_done(1)
    plan_action(connection, plan_for(found, gather_s=60), 1, NOW)


HOT: dict[str, Statement] = {
    "claim lookups": lambda it: claim_lookups(
        it, LATEST, SYSTEM_CLOCK.new_id(), lease_s=60, most=10
    ),
    "claim actions": lambda it: claim_actions(
        it, LATEST, SYSTEM_CLOCK.new_id(), lease_s=60, most=10
    ),
    "take a turn": lambda it: may_begin(it, "email", SendingRate(5, 60), LATEST, lease_s=60),
    "end turns": lambda it: end_turns(it, NOW),
    "when a lookup is due next": lambda it: next_lookup_at(it, NOW, lease_s=60),
    "claim actions while an endpoint fails": lambda it: claim_actions(
        it,
        LATEST,
        SYSTEM_CLOCK.new_id(),
        lease_s=60,
        most=10,
        only={"email", "webhook"},
        but={"webhook:crm"},
    ),
    "which endpoints are gone": gone_endpoints,
    "when an action is due next": lambda it: next_action_at(it, NOW, lease_s=60),
    "what was cut off": lambda it: expire_handovers(it, NOW, lease_s=60, repeatable=set()),
    "plan an action": plan_one_that_gathers,
    "was the end announced": lambda it: completions_planned(it, [ANA]),
    "supersede lessons": lambda it: supersede_lessons(it, COURSE, ANA, NOW),
    "known events": lambda it: known_events(it, ["one", "two"]),
    "quiet records": lambda it: suppressed_among(it, RECORDS),
    "requested by a command": lambda it: requested_among(it, RECORDS),
    "the newest notification": newest_notification,
    "is a record answered": lambda it: is_answered(it, DONE, 7),
    "open lookups of an enrolment": lambda it: open_lookups(it, [MANY]),
    "since when an action waits": lambda it: source_wait(it, MANY),
    "lessons of an enrolment": lambda it: present_below(it, DONE, ("course_member_id", MANY)),
    "events of an action": lambda it: events_of_action(it, 7),
    "emails to a person": lambda it: sent_times(it, ANA, NOW, kind="email", but=7),
    "emails of a rule today": lambda it: count_sent(it, "welcome", LATEST - HOUR, but=7),
    "lessons that members finished": lambda it: completions_of(it, [MANY]),
    "events of one kind": lambda it: newest_events(it, 25, kind=EventKind.COURSE_COMPLETED),
    "how much is newer": lambda it: count_newer(it, MANY - 7, 100),
    "how much of a kind is newer": lambda it: count_newer(
        it, 7, 100, kind=EventKind.COURSE_COMPLETED
    ),
    "what happened to a person": lambda it: titled_history(it, ANA),
    "what needs an operator": lambda it: needing_person(it, [Reason.TOO_OLD], 5),
    "members of a course": lambda it: members_of_course(it, COURSE, 50),
    "planned nearby": lambda it: planned_nearby(it, NOW, HOUR),
    "tries of an action": lambda it: count_attempts(it, 7, {Reason.MAIL_TEMPORARY}),
    "is it this action": lambda it: fails_alone(it, MANY, {Reason.MAIL_TEMPORARY}, least=1),
    "what the source refuses": source_outages,
    "the source is back": lambda it: retry_unanswered(it, NOW),
    "the source takes us again": lambda it: retry_refused(it, NOW),
    "end what waits too long": lambda it: end_far_waits(
        it, LATEST, LONGEST_WAITS, LONGEST_REPORT_WAITS
    ),
    "try the mail server now": lambda it: retry_outages_now(it, NOW),
    "what a person may have to look at": undecided,
    "how many are held": held_by_reason,
    "how many are held lately, and for whom": lambda it: held_since(
        it, "email", Reason.OBSERVE, NOW
    ),
    "what is known of records": lambda it: known_among(it, DONE, [7, 8]),
    "the records below others": lambda it: ids_below(it, DONE, "course_member_id", [7, 8]),
    "the events of these keys": lambda it: events_by_key(it, ["one", "two"]),
    "what came of events": lambda it: outcomes_of(it, [7, 8], NOW, NOW + HOUR),
    "the first lessons of people": lambda it: first_lessons(it, [ANA]),
    "courses of a group": lambda it: courses_of_group(it, "Business", NOW),
    "courses of a person": lambda it: courses_of_person(it, ANA),
    "a course in a digest": lambda it: changes_of_course(it, COURSE, ENDS, RECORDED),
    "who is stuck on a course": lambda it: quiet_members(it, COURSE, NOW, NOW + HOUR),
    "who finished which course": finished_courses,
    "emails of an hour": lambda it: emails_by_quarter(it, "email", LATEST - HOUR),
    "lessons of an hour": lambda it: lessons_by_quarter(it, LATEST - HOUR),
    "events of a week": lambda it: count_events(it, ENDS, RECORDED),
    "actions of a week": lambda it: done_by_template(it, NOW, NOW + HOUR),
    "what waits now": waiting_by_kind,
    "claim a report": lambda it: claim_report(it, LATEST, "1" * 32, lease_s=60),
    "take a turn for a report": lambda it: may_report(
        it, "email", SendingRate(5, 60), LATEST, lease_s=60
    ),
    "reports that were cut off": lambda it: expire_reports(it, LATEST, lease_s=60),
    "the report that is open": lambda it: open_report(it, "for-hosts", "host"),
    "the last reports": lambda it: last_reports(it, LATEST + TWO_MONTHS),
    "the last report to an address": lambda it: last_report(it, "for-acme", "lead"),
    "what mail providers said": lambda it: pending_reports(it, LATEST, 50),
    "when an email last arrived": lambda it: last_arrival(it, "address 7"),
    "bounces of an address": lambda it: bounces_from(it, "address 8", NOW),
    "all bounces of an address": lambda it: bounces_from(it, "address 8", None),
    "what was said of emails": lambda it: reports_of(it, [7, 8]),
    "what was said of digests": lambda it: reports_of_digests(it, [7, 8]),
    "how many reports came": lambda it: count_reports(it, LATEST - HOUR),
    "what a week left out": lambda it: skipped_by_reason(it, NOW, NOW + HOUR),
}


def fill(connection: Connection) -> None:
    """Fill the tables that grow: many people, nearly everything finished."""
    numbers = range(1, MANY + 1)
    moments = {number: NOW + timedelta(minutes=number) for number in numbers}

    def add(table: Any, row: Callable[[int], dict[str, Any]]) -> None:  # noqa: ANN401 - a Table
        made = [row(number) for number in numbers]
        if connection.dialect.name == "sqlite":
            connection.execute(insert(table), made)
            return
        names = ", ".join(made[0])  # one statement is quick, and fires each trigger once
        every = f"SELECT {names} FROM json_populate_recordset(NULL::{table.name}, :made)"
        connection.execute(
            text(f"INSERT INTO {table.name} ({names}) {every}"),
            {"made": json.dumps(made, default=str)},
        )

    whose = {"course_id": COURSE, "rule": "congratulate-lesson", "stream": "service"}
    add(
        events,
        lambda one: {
            "key": f"event {one}",
            "kind": "lesson_completed",
            "happened_at": moments[one],
            "found_at": moments[one],
            "course_id": COURSE,
            "coworker_id": ANA + one % 500,
            "course_member_id": one % 700,
        },
    )
    add(
        actions,
        lambda one: (
            whose
            | {
                "key": f"action {one}",
                "kind": "email",
                "rules_version": "1",
                "event_kind": "lesson_completed",
                "coworker_id": ANA + one % 500,
                "course_member_id": one % 700,
                "happened_at": moments[one],
                "planned_at": moments[one],
                "state": "waiting" if one % 50 == 0 else "done",
                "due_at": moments[one],
                "finished_at": None if one % 50 == 0 else moments[one],
            }
        ),
    )
    add(action_events, lambda one: {"event_id": one, "rule": "one", "action_id": one})
    tried = {"outcome": "waiting", "reason": Reason.MAIL_TEMPORARY}
    add(attempts, lambda one: tried | {"action_id": one, "at": moments[one]})
    add(
        notifications,
        lambda one: {
            "received_at": moments[one],
            "origin": "hook",
            "entity": DONE,
            "record_id": one,
        },
    )
    add(
        lookups,
        lambda one: {
            "entity": DONE,
            "record_id": one,
            "state": "due" if one % 50 == 0 else "done",
            "due_at": moments[one],
            "asked_at": moments[one],
            "asked": 1,
        },
    )
    add(
        records,
        lambda one: {
            "entity": DONE,
            "record_id": one,
            "record": {},
            "updated_at": moments[one],
            "fetched_at": moments[one],
            "changed_at": NOW,
            "seen_at": NOW,
            "created_at": moments[one],
            "course_member_id": one % 700,
            "coworker_id": ANA + one % 500,
        },
    )
    connection.execute(
        insert(records),
        [
            {
                "entity": Entity.COURSE_MEMBER,
                "record_id": one,
                "record": {},
                "created_at": NOW - HOUR,
                "course_id": COURSE,
                "coworker_id": ANA + one,
            }
            for one in range(300, 320)  # whose lessons are not the newest
        ],
    )
    fill_reports(add, moments)
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))  # as the server does by itself


def fill_reports(
    add: Callable[[Any, Callable[[int], dict[str, Any]]], None], moments: dict[int, datetime]
) -> None:
    """Add reports of our own, and what mail providers said about each second email."""
    add(
        reports,
        lambda one: {
            "key": f"report {one}",
            "name": "for-hosts",
            "audience": "host",
            "coworker_id": ANA + one % 50,
            "period_from": moments[one],
            "period_to": moments[one],
            "planned_at": moments[one],
            "state": "waiting" if one % 50 == 0 else "done",
            "due_at": moments[one],
            "finished_at": None if one % 50 == 0 else moments[one],
        },
    )
    add(
        sent_emails,
        lambda one: {
            "reference": f"reference {one}",
            "action_id": one if one % 2 else None,
            "report_id": None if one % 2 else one,
            "address_hash": f"address {one % 500}",
            "sent_at": moments[one],
        },
    )
    add(
        mail_reports,
        lambda one: {
            "event_key": f"said {one}",
            "provider": "postmark",
            "kind": "delivered" if one % 2 else "soft-bounce",
            "happened_at": moments[one],
            "received_at": moments[one],
            "address_hash": f"address {one % 500}",
            "state": "pending" if one % 50 == 0 else "applied",
            "due_at": moments[one],
            "action_id": one if one % 2 else None,
            "report_id": None if one % 2 else one,
        },
    )


def scans_on_sqlite(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:  # noqa: ANN401 - as the driver takes them
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        step = str(row.detail)
        table_name = step.removeprefix("SCAN ").split(" ")[0]
        if step.startswith("SCAN ") and table_name in GROWING and not SMALL & set(step.split()):
            yield step


def scans_on_postgres(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:  # noqa: ANN401 - as the driver takes them
    [plans] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).one()
    steps = [entry["Plan"] for entry in plans]
    while steps:
        step = steps.pop()
        steps += step.get("Plans", [])
        is_scan = step["Node Type"] == "Seq Scan" and step.get("Relation Name") in GROWING
        index = step.get("Index Name")
        # Without a condition it is read from one end, until enough is found at best.
        is_walk = index is not None and index not in SMALL and "Index Cond" not in step
        if is_scan or is_walk:
            yield json.dumps(step)


def scans_of(engine: Engine, statement: Statement) -> list[str]:
    """Return the steps in which the engine would read a whole table for this."""
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, sent: str, parameters: Any, *___: object) -> None:  # noqa: ANN401 - as the driver takes them
        asked.append((sent, parameters))

    with writing(engine) as connection:
        # Only now: a transaction begins with a statement of its own.
        event.listen(engine, "before_cursor_execute", note)
        statement(connection)
        event.remove(engine, "before_cursor_execute", note)
        connection.rollback()
    assert asked
    scans = scans_on_sqlite if engine.dialect.name == "sqlite" else scans_on_postgres
    with writing(engine) as connection:
        return [
            step
            for sent, parameters in asked
            if sent.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))
            for step in scans(connection, sent, parameters)
        ]


def test_no_hot_statement_reads_a_whole_table(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        fill(connection)
    by_rule = select(actions.c.id).where(actions.c.rule == "none")
    assert scans_of(ledger_engine, lambda it: it.execute(by_rule)) != []
    found = {name: scans_of(ledger_engine, statement) for name, statement in HOT.items()}
    assert {name: steps for name, steps in found.items() if steps} == {}


FEW_STEPS = 20_000  # of SQLite's machine; reading each row of one of the tables takes more


@pytest.mark.engines("sqlite")
def test_no_hot_statement_visits_a_large_part_of_a_table(ledger_engine: Engine) -> None:
    """A search by an index may still visit nearly every row, which no plan shows."""
    with writing(ledger_engine) as connection:
        fill(connection)

    def every_event(connection: Connection) -> object:
        return connection.scalar(select(func.max(func.length(events.c.key))))

    assert steps_of(ledger_engine, every_event) > FEW_STEPS
    found = {name: steps_of(ledger_engine, statement) for name, statement in HOT.items()}
    assert {name: steps for name, steps in found.items() if steps > FEW_STEPS} == {}


def steps_of(engine: Engine, statement: Statement) -> int:
    """Return how many steps SQLite's machine takes for this, to the nearest hundred."""
    hundreds = 0

    def count() -> int:
        nonlocal hundreds
        hundreds += 1
        return 0

    with writing(engine) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(count, 100)
        statement(connection)
        driver.set_progress_handler(None, 100)
        connection.rollback()
    return 100 * hundreds
