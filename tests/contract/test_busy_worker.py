"""A worker that waits for a slow source or for the request limits is alive, and gets no backlog."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import redis

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.engine import Engine, open_engine, reading
from ledger.heartbeats import SILENT_AFTER_S, last_heartbeats
from ledger.tables import heartbeats
from schemas.settings import Settings, load_settings
from service.readiness import readiness
from tests.contract.ledger_rig import arrival, keep, rows
from tests.servers import forking
from tests.servers.programs import wait_until
from tests.servers.ready_ledgers import sqlite_copy
from workers.heartbeat import BusyHeartbeats, Heartbeat
from workers.queues import ACTION_PERFORM, LOOKUP_DRAIN, OUTBOX_SWEEP, QUEUES
from workers.source.budget import Budget
from workers.source.limits import Patience, Urgency
from workers.wakeup import Wakeup

LIMITS = "1/minute"
SILENCE = timedelta(seconds=1)  # readiness is asked as if this were the limit


@dataclass(frozen=True, slots=True)
class Held:
    """A worker whose lookup waits, and what the test looks at."""

    settings: Settings
    engine: Engine
    pid: int
    log: Path

    def beat_at(self) -> datetime:
        """Return when a worker was last alive."""
        with reading(self.engine) as connection:
            return last_heartbeats(connection, SYSTEM_CLOCK.now())["worker"]

    def condition(self) -> str:
        """Return what `/readyz` and `coursebell status` say of workers."""
        early = timedelta(seconds=SILENT_AFTER_S) - SILENCE
        return readiness(self.settings, self.engine, SYSTEM_CLOCK.now() + early)["worker"]

    def is_waiting(self) -> bool:
        """Return whether a lookup began and has no result."""
        return '"lookup.ended"' not in self.log.read_text(encoding="utf-8")


@pytest.fixture(params=["slow source", "used up limits"])
def held(request: pytest.FixtureRequest, broker_url: str, tmp_path: Path) -> Iterator[Held]:
    """Give a worker with one child for lookups, which waits for its first request."""
    # The system accepts connections to this address, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "COURSEBELL_DATA_DIR": str(tmp_path),
            "COURSEBELL_DATABASE_URL": sqlite_copy(tmp_path / "ledger.db"),
            "COURSEBELL_BROKER_URL": broker_url,
            "COURSEBELL_WORKERS": "1",
            "COURSEBELL_NEXUDUS_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "COURSEBELL_NEXUDUS_USERNAME": "someone@example.org",
            "COURSEBELL_NEXUDUS_PASSWORD": "a password",
        }
        with redis.Redis.from_url(broker_url) as broker:
            broker.flushdb()
        if request.param == "used up limits":
            environment["COURSEBELL_NEXUDUS_LIMITS"] = LIMITS
            with closing(Budget(LIMITS, broker_url, shares=1, clock=SYSTEM_CLOCK)) as budget:
                until = SYSTEM_CLOCK.monotonic() + SILENT_AFTER_S
                budget.take(Patience(Urgency.WORK, until, lambda: None))
        yield from _held(environment, tmp_path / "worker.log")


def _held(environment: dict[str, str], log: Path) -> Iterator[Held]:
    settings = load_settings(environment)
    engine = open_engine(settings.database_url)
    keep(engine, arrival(7, received_at=SYSTEM_CLOCK.now()))
    with log.open("wb") as output:
        program = forking.start(
            "tests.contract.busy_worker_program",
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        woken(settings, LOOKUP_DRAIN)
        held = Held(settings, engine, program.pid, log)
        wait_until(lambda: "worker" in _kinds(engine), "the first heartbeat")
        yield held
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        engine.dispose()


def _kinds(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(last_heartbeats(connection, SYSTEM_CLOCK.now()))


def woken(settings: Settings, *tasks: str) -> None:
    """Wake workers as the scheduler does, and wait until that was sent."""
    wakeup = Wakeup(settings.broker_url, SYSTEM_CLOCK)
    wakeup.wake(*tasks)
    wakeup.close()


def test_a_worker_that_waits_is_alive_and_one_that_was_killed_is_found(held: Held) -> None:
    begun_at = held.beat_at()
    wait_until(lambda: held.beat_at() > begun_at + 2 * SILENCE, "more heartbeats")
    assert held.is_waiting()
    wait_until(lambda: held.condition() == "ok", "readiness without complaints")
    os.killpg(held.pid, signal.SIGKILL)
    wait_until(lambda: held.condition().startswith("no heartbeat for "), "the silence noticed")


def test_workers_that_are_all_busy_get_no_backlog_of_messages_or_log_lines(held: Held) -> None:
    tasks = (LOOKUP_DRAIN, ACTION_PERFORM, OUTBOX_SWEEP)
    assert held.settings.broker_url is not None
    # Stopped children are as busy as can be, and Celery's own process keeps taking messages.
    children = Path(f"/proc/{held.pid}/task/{held.pid}/children").read_text(encoding="ascii")
    for child in children.split():
        os.kill(int(child), signal.SIGSTOP)
    before = held.log.read_text(encoding="utf-8").count("\n")
    with redis.Redis.from_url(held.settings.broker_url, decode_responses=True) as broker:
        for _ in range(50):
            for mark in broker.scan_iter(match="coursebell:waiting:*"):
                broker.delete(mark)  # as after ten seconds
            woken(held.settings, *tasks)
        queued = sum(broker.llen(f"coursebell:{queue}") for queue in QUEUES)
        taken = broker.hlen("coursebell:unacked")
    assert queued + taken <= 2 * len(tasks)
    assert held.log.read_text(encoding="utf-8").count("\n") - before <= 1


def test_a_task_that_hangs_does_not_count_as_alive(tmp_path: Path) -> None:
    class CountedClock(Clock):
        ahead_s, asked = 0.0, 0

        def monotonic(self) -> float:
            self.asked += 1
            return super().monotonic() + self.ahead_s

    clock = CountedClock()
    engine = open_engine(sqlite_copy(tmp_path / "ledger.db"))
    heartbeat = Heartbeat(engine, "worker", clock, every_s=0.01)
    busy = BusyHeartbeats(heartbeat, clock, every_s=0.01, longest_task_s=300)
    heartbeat.begin()
    busy.task_started("a task")
    [first] = rows(engine, heartbeats)
    wait_until(lambda: rows(engine, heartbeats) != [first], "a heartbeat during the task")
    busy.task_started("another")
    busy.task_ended("another")
    clock.ahead_s = 301
    asked = clock.asked
    wait_until(lambda: clock.asked > asked + 3, "the task seen to hang")
    [last] = rows(engine, heartbeats)
    asked = clock.asked
    wait_until(lambda: clock.asked > asked + 5, "more looks at the task")
    assert rows(engine, heartbeats) == [last]
    busy.close()
    engine.dispose()
