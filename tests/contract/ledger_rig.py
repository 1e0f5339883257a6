"""Shared by the ledger's tests: fixed times, builders, and concurrent work."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest
from sqlalchemy import Table, select

from ledger.actions import plan_action
from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Connection, Engine, lock_decisions, reading, writing
from ledger.events import store_events
from ledger.intake import Arrival, Origin, store_arrivals
from ledger.joint_writer import JointWriter
from ledger.lookups import Claim, claim_lookups
from ledger.outbox import ClaimedAction, claim_actions
from schemas.actions import Plan
from schemas.entity import Entity
from schemas.events import Event, EventKind, lesson_completed_key
from schemas.notification import Notification
from tests.servers import forking
from tests.servers.forking import Program
from tests.servers.programs import wait_until

BOTH = ("sqlite", "postgres")  # the engines, as `pytest.mark.engines` names them


def on_both_engines(test: Callable[..., None]) -> Callable[..., None]:
    """Let a test run on a desk with each engine."""
    for mark in (pytest.mark.engines(*BOTH), pytest.mark.usefixtures("engine_name")):
        test = mark(test)
    return test


NOW = datetime(2026, 5, 4, 9, 30, 0, 123_456, tzinfo=UTC)
LEASE_S = 60.0
ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0

ANA, JOEL = 1_416_010_001, 1_416_010_002
COURSE, MEMBER, LESSON = 1_416_020_001, 1_416_100_001, 1_416_030_001

ResultT = TypeVar("ResultT")


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def minutes(number: float) -> datetime:
    """Return the moment so many minutes after `NOW`."""
    return at(60 * number)


def arrival(
    *record_ids: int,
    entity: Entity | None = Entity.COURSE_MEMBER,
    received_at: datetime = NOW,
    error: str | None = None,
) -> Arrival:
    """Return a delivery that reports these records."""
    said = tuple(Notification(entity, record_id) for record_id in record_ids)
    return Arrival(
        received_at,
        "/hooks/nexudus",
        Origin.HOOK,
        "raw",
        b"[\x00\xff]",
        size=3,
        digest="0" * 64,
        notifications=said,
        error=error,
    )


def keep(engine: Engine, *arrivals: Arrival) -> list[int]:
    """Store deliveries in one transaction."""
    with writing(engine) as connection:
        return store_arrivals(connection, arrivals)


def claim(engine: Engine, now: datetime = NOW, *, most: int = 10) -> list[Claim]:
    """Claim due lookups in one transaction."""
    with writing(engine) as connection:
        return claim_lookups(connection, now, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=most)


def claim_due(engine: Engine, now: datetime, *, most: int = 10) -> list[ClaimedAction]:
    """Claim due actions in one transaction."""
    with writing(engine) as connection:
        return claim_actions(connection, now, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=most)


def rows(engine: Engine, table: Table) -> list[Any]:
    """Return every row of a table, in the order of its key."""
    with reading(engine) as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key)).all())


def lesson_done(
    lesson_id: int = LESSON, happened_at: datetime = NOW, coworker_id: int = ANA
) -> Event:
    """Return the event of a finished lesson."""
    return Event(
        EventKind.LESSON_COMPLETED,
        lesson_completed_key(MEMBER + coworker_id, lesson_id),
        happened_at,
        COURSE,
        coworker_id,
        MEMBER + coworker_id,
        lesson_id,
    )


def plan_for(
    event: Event,
    *,
    rule: str = "congratulate-lesson",
    gather_s: float | None = None,
    at_most_s: float = 3 * 3600,
) -> Plan:
    """Return the plan of a rule for an event."""
    gathers = gather_s is not None
    return Plan(
        key=f"{rule}/{event.key}",
        kind="email",
        rule=rule,
        rules_version="v1",
        event_kind=event.kind,
        template="lesson-finished",
        stream="service",
        course_id=event.course_id,
        coworker_id=event.coworker_id,
        course_member_id=event.course_member_id,
        happened_at=event.happened_at,
        due_at=event.happened_at + timedelta(seconds=gather_s or 0),
        gather_until=event.happened_at + timedelta(seconds=at_most_s) if gathers else None,
        due_with=lambda first: min(
            event.happened_at + timedelta(seconds=gather_s or 0),
            first + timedelta(seconds=at_most_s),
        ),
    )


def decide(engine: Engine, event: Event, plan: Plan, now: datetime = NOW) -> int | None:
    """Store an event and plan its action as a worker would; None if the event was known."""
    with writing(engine) as connection:
        lock_decisions(connection)
        event_id = store_events(connection, [(event, None)], now).get(event.key)
        if event_id is not None:
            plan_action(connection, plan, event_id, now)
        return event_id


def planned(engine: Engine, event: Event | None = None, *, rule: str = "one") -> ClaimedAction:
    """Plan one action that is due and claim it."""
    found = event or lesson_done()
    decide(engine, found, plan_for(found, rule=rule))
    [claimed] = claim_due(engine, max(NOW, found.happened_at))
    return claimed


def at_once(count: int, work: Callable[[int], ResultT]) -> list[ResultT]:
    """Call it in so many threads at the same time; return their results."""
    ready = threading.Barrier(count)

    def one(number: int) -> ResultT:
        ready.wait(PATIENCE_S)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def processes_at_once(count: int, module: str, url: str, *arguments: str) -> list[str]:
    """Run a module in so many processes at the same time; return what each printed.

    All wait for a line on standard input, so that none is done before the last one has started.
    """
    environment = {**os.environ, "LEDGER_URL": url}
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        started: list[tuple[Program, IO[str], IO[str]]] = []
        for _ in range(count):
            (reads_in, writes_in), (reads_out, writes_out) = os.pipe(), os.pipe()
            line = stack.enter_context(os.fdopen(writes_in, "w", encoding="utf-8"))
            printed = stack.enter_context(os.fdopen(reads_out, encoding="utf-8"))
            with os.fdopen(reads_in) as begin, os.fdopen(writes_out, "w") as output:
                process = forking.start(
                    module, *arguments, env=environment, stdin=begin, stdout=output, stderr=errors
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, line, printed))
        assert [one.readline() for _, _, one in started] == ["ready\n"] * count
        for _, begins, _ in started:
            begins.write("go\n")
            begins.flush()
        found = [one.read() for _, _, one in started]
        codes = [process.wait(PATIENCE_S) for process, _, _ in started]
        errors.seek(0)
        assert codes == [0] * count, errors.read().decode()
        return found


def while_one_commits(
    writer: JointWriter, *writes: Callable[[JointWriter], object]
) -> list[object]:
    """Write from a thread for each of these, all while the writer is busy with another."""
    is_busy = threading.Event()

    def first(_: Connection) -> None:
        is_busy.set()
        wait_until(lambda: len(writer) == len(writes), "the others gather")

    def written(write: Callable[[JointWriter], object]) -> object:
        try:
            return write(writer)
        except Exception as error:  # noqa: BLE001 - the test compares how each ended
            return error

    with ThreadPoolExecutor(len(writes) + 1) as pool:
        busy = pool.submit(writer.write, ("first", 0), first)
        assert is_busy.wait(PATIENCE_S)
        found = [pool.submit(written, write) for write in writes]
        busy.result(PATIENCE_S)
        return [one.result(PATIENCE_S) for one in found]
