"""Measure lookups beside a hand-written worker with one Celery task for each event.

`python -m bench.workers` runs all workers in turn, round after round, against the same stand-in
with 50 ms latency and no quota, and prints medians. A run with a failed or missing lookup is
invalid. CPU is that of the worker's process tree between the first wake-up and the last result.

`--lessons`, `--members`, `--rounds` and `--only` make a run shorter. The rate of `prefork -c 2` is
bound by the latency and does not depend on the number of events, so it gets at most 300 of them.
"""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from celery import Celery

from bench.figures import Spread
from bench.source_economy import say
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import open_engine, writing
from ledger.intake import Origin, store_notifications
from ledger.migrate import migrate
from ledger.source_state import Proof, store_proof
from sandbox.world import CROWD_COMPLETION_ID
from schemas.actions import Mode
from schemas.entity import PATHS, Entity
from schemas.notification import Notification
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, running
from workers.broker import celery_broker, choose_broker
from workers.local.server import start_broker
from workers.queues import LOOKUP_DRAIN
from workers.source.reads import IN_BURSTS
from workers.wakeup import Wakeup

LATENCY_MS = 50
_STALLED_S = 30.0  # a run without progress for so long is over, and invalid
_POLL_S = 0.02
_QUIET_S, _QUIET_CPU_S = 0.4, 0.02  # a worker that uses less CPU in this time has started
_MOST_OF_PREFORK_2 = 300
_NO_QUOTA = "100000000/day"
_SEED = """\
crowd: {{people: {members}, courses: 10, lessons: 12, enrolments: {members},
  completions: {lessons}, random_seed: 7}}
"""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many lessons are finished, by how many members."""

    lessons: int
    members: int


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """One run: how long it took, and what it used. `error`: why it is invalid."""

    events: int
    took_s: float
    cpu_s: float
    reads: int
    reads_of_several: int
    first_several_s: float | None = None  # from the first wake-up to the first such read
    error: str | None = None

    @property
    def per_s(self) -> float:
        """Return the events a second."""
        return self.events / self.took_s

    @property
    def cpu_ms(self) -> float:
        """Return the CPU time of the worker for each event, in milliseconds."""
        return 1000 * self.cpu_s / self.events

    @property
    def reads_each(self) -> float:
        """Return the requests for each event."""
        return self.reads / self.events


@dataclass(slots=True)
class WorkerFigures:
    """All rounds of one crowd. `runs` are by name of the worker."""

    crowd: Crowd
    runs: dict[str, list[WorkerRun]] = field(default_factory=dict)

    def errors(self) -> list[str]:
        """Return why runs are invalid."""
        return [
            f"{name}: {run.error}" for name, runs in self.runs.items() for run in runs if run.error
        ]

    def spread(self, name: str, figure: Callable[[WorkerRun], float]) -> Spread:
        """Return one figure of a worker over the rounds."""
        return Spread.of([figure(run) for run in self.runs[name]])

    def ratio(self, name: str, *others: str) -> Spread:
        """Return events a second divided by those of the best of the others, round by round."""
        rounds = zip(self.runs[name], *(self.runs[other] for other in others), strict=True)
        return Spread.of([mine.per_s / max(one.per_s for one in rest) for mine, *rest in rounds])

    def cost_ratio(self, name: str, other: str) -> Spread:
        """Return the CPU for each event divided by that of another, round by round."""
        rounds = zip(self.runs[name], self.runs[other], strict=True)
        return Spread.of([mine.cpu_ms / one.cpu_ms for mine, one in rounds])


COURSEBELL, SEVERAL = "coursebell", "coursebell, several by Id"
NEW_LEDGER = "coursebell, new ledger"  # on which it finds out whether several can be read by Id
PREFORK_2, PREFORK_16, THREADS_32 = "prefork -c 2", "prefork -c 16", "threads -c 32"
_PROVED = {COURSEBELL: False, SEVERAL: True, NEW_LEDGER: None}
EVERY = (COURSEBELL, SEVERAL, NEW_LEDGER, PREFORK_2, PREFORK_16, THREADS_32)


class Place:
    """The stand-in and the broker, which all runs of one crowd share."""

    def __init__(self, crowd: Crowd, source_url: str, broker_url: str, token: str) -> None:
        self.crowd = crowd
        self.source_url = source_url
        self.broker_url = broker_url
        self.token = token

    def run(self, name: str) -> WorkerRun:
        """Run one worker by name until every event is done."""
        requests.post(f"{self.source_url}/reset", timeout=10)
        with tempfile.TemporaryDirectory(prefix="coursebell-bench-") as folder:
            if name in _PROVED:
                return self._coursebell(Path(folder), may_read_several=_PROVED[name])
            return self._handwritten(Path(folder), name)

    def fill(self) -> None:
        """Have the stand-in ask for every finished lesson once, so that no round waits for that."""
        lessons = [f"/api/{PATHS[Entity.COMPLETED_LESSON]}/{one}" for one in self.changed_ids()]
        web = requests.post(
            f"{self.source_url}/fill", json=lessons, headers=self._signed_in(), timeout=600
        )
        web.raise_for_status()

    def _signed_in(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def changed_ids(self) -> list[int]:
        """Return the Ids of the finished lessons, in random order."""
        ids = [CROWD_COMPLETION_ID + number for number in range(self.crowd.lessons)]
        random.Random(7).shuffle(ids)  # noqa: S311 - chance, not secrecy
        return ids

    def _coursebell(self, folder: Path, *, may_read_several: bool | None) -> WorkerRun:
        settings = {
            "COURSEBELL_DATA_DIR": str(folder),
            "COURSEBELL_BROKER_URL": self.broker_url,
            "COURSEBELL_NEXUDUS_URL": self.source_url,
            "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
            "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
            "COURSEBELL_NEXUDUS_LIMITS": _NO_QUOTA,
            "COURSEBELL_CHECK_EVERY_S": "0",
        }
        file = folder / "coursebell.db"
        engine = open_engine(f"sqlite:///{file}")
        migrate(engine)
        now = datetime.now(UTC)
        sentence = "as the measurement asks for"
        with writing(engine) as connection:
            begin_with(connection, Mode.OBSERVE, now, SYSTEM_CLOCK.new_id())
            if may_read_several is not None:
                for entity in IN_BURSTS:
                    store_proof(connection, entity, Proof(may_read_several, sentence, now))
        store = sqlite3.connect(file, isolation_level=None)
        with ExitStack() as stack:
            stack.callback(engine.dispose)
            stack.callback(store.close)
            worker = stack.enter_context(_started("worker", "-m", "service", "worker", **settings))
            stack.enter_context(_started("clock", "-m", "service", "clock", **settings))
            wakeup = Wakeup(self.broker_url, SYSTEM_CLOCK)
            stack.callback(wakeup.close)
            _wait(worker, lambda: _count(store, "heartbeats WHERE kind = 'worker'"), 1)
            _wait_until_quiet(worker)
            changes = [Notification(Entity.COMPLETED_LESSON, one) for one in self.changed_ids()]
            stopwatch = _Stopwatch(worker)
            with writing(engine) as connection:
                store_notifications(connection, changes, Origin.RELAY, datetime.now(UTC))
            wakeup.wake(LOOKUP_DRAIN)  # as the receiver does
            _wait(worker, lambda: _count(store, f"lookups WHERE {_SETTLED}"), len(changes))
            took_s, cpu_s = stopwatch.read()
            done = _count(store, "lookups WHERE state = 'done' AND reason IS NULL")
            events = _count(store, "events WHERE kind = 'lesson_completed'")
            return self._result(stopwatch, took_s, cpu_s, min(done, events), len(changes))

    def _handwritten(self, folder: Path, name: str) -> WorkerRun:
        pool, _, children = name.split()
        broker = celery_broker(self.broker_url)["broker_url"]
        file = folder / "store.db"
        settings = {
            "BENCH_BROKER_URL": broker,
            "BENCH_STORE": str(file),
            "BENCH_SOURCE_URL": self.source_url,
            "BENCH_TOKEN": self.token,
        }
        store = sqlite3.connect(file, isolation_level=None)
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE lessons (id INTEGER PRIMARY KEY, record TEXT)")
        app = Celery("bench", broker=broker, set_as_current=False)
        program = ["-m", "celery", "-A", "bench.handwritten_worker", "worker", "-P", pool]
        options = ["-c", children, "-l", "WARNING", "-Q", "bench", "--without-gossip"]
        changed_ids = self.changed_ids()
        if name == PREFORK_2:
            changed_ids = changed_ids[:_MOST_OF_PREFORK_2]
        with ExitStack() as stack:
            stack.callback(store.close)
            worker = stack.enter_context(_started("handwritten", *program, *options, **settings))
            # The last Id is done beforehand, which shows that the worker is ready.
            app.send_task("record.changed", (changed_ids[-1],), queue="bench")
            _wait(worker, lambda: _count(store, "lessons"), 1)
            _wait_until_quiet(worker)
            store.execute("DELETE FROM lessons")
            requests.post(f"{self.source_url}/reset", timeout=10)
            with app.producer_pool.acquire() as producer:
                stopwatch = _Stopwatch(worker)
                for one in changed_ids:
                    app.send_task("record.changed", (one,), queue="bench", producer=producer)
            _wait(worker, lambda: _count(store, "lessons"), len(changed_ids))
            took_s, cpu_s = stopwatch.read()
            return self._result(
                stopwatch, took_s, cpu_s, _count(store, "lessons"), len(changed_ids)
            )

    def _result(
        self, stopwatch: "_Stopwatch", took_s: float, cpu_s: float, done: int, expected: int
    ) -> WorkerRun:
        counted = requests.get(f"{self.source_url}/stats", timeout=10).json()
        error = None if done == expected else f"{done} of {expected} events were done"
        first_at = counted["first_several_at"]
        first_s = None if first_at is None else first_at - stopwatch.began_at
        return WorkerRun(
            expected, took_s, cpu_s, counted["reads"], counted["several"], first_s, error
        )


_SETTLED = "state IN ('done', 'failed') OR state = 'waiting' AND reason IS NOT 'nexudus-busy'"


def measure_workers(
    crowd: Crowd, rounds: int, names: Sequence[str] = EVERY, latency_ms: float = LATENCY_MS
) -> WorkerFigures:
    """Return the figures of these workers, in interleaved rounds after one that is not counted."""
    figures = WorkerFigures(crowd)
    with _place(crowd, latency_ms) as place:
        # So that the stand-in has every answer.
        place.fill()
        for name in [name for name in names if name in {COURSEBELL, SEVERAL}]:
            place.run(name)
        for _ in range(rounds):
            for name in names:
                figures.runs.setdefault(name, []).append(place.run(name))
    return figures


@contextmanager
def _place(crowd: Crowd, latency_ms: float) -> Iterator[Place]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coursebell-bench-")))
        seed = folder / "seed.yaml"
        seed.write_text(_SEED.format(members=crowd.members, lessons=crowd.lessons))
        sign_in = ("--username", USERNAME, "--password", PASSWORD)
        sandbox = stack.enter_context(running("--no-deliver", *sign_in, "--seed", str(seed)))
        broker = stack.enter_context(start_broker(choose_broker(None, folder), folder))
        token = sandbox.sign_in()["access_token"]
        upstream = sandbox.addresses["api"]
        arguments = ("-m", "bench.source_front", upstream, str(latency_ms))
        front = stack.enter_context(_started("front", *arguments))
        printed = front.stdout.readline() if front.stdout is not None else b""
        source_url = printed.decode().strip()
        yield Place(crowd, source_url, broker.url, token)


@contextmanager
def _started(name: str, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program and end it; its log is shown if it ends by itself."""
    with tempfile.TemporaryFile() as log:
        program = subprocess.Popen(  # noqa: S603 - our own programs
            [sys.executable, *arguments],
            env={**os.environ, **settings},
            stdout=subprocess.PIPE if name == "front" else log,
            stderr=log,
        )
        try:
            yield program
            if program.poll() is not None:
                log.seek(0)
                say(f"{name} ended: {log.read().decode()}")
        finally:
            program.terminate()
            program.wait(60)


def _wait(worker: subprocess.Popen[bytes], count: Callable[[], int], expected: int) -> None:
    """Wait until the count is reached, or the worker ended or makes no progress any more.

    The result then shows what is missing.
    """
    last, give_up_at = -1, 0.0
    while worker.poll() is None:
        now = time.monotonic()
        if (found := count()) >= expected:
            return
        if found > last:
            last, give_up_at = found, now + _STALLED_S
        if now > give_up_at:
            return
        time.sleep(_POLL_S)


def _wait_until_quiet(worker: subprocess.Popen[bytes]) -> None:
    """Wait until all children of a worker have started, so that their start is not measured."""
    give_up_at = time.monotonic() + _STALLED_S
    last = -1.0
    while (used := _cpu_s(worker.pid)) - last > _QUIET_CPU_S and time.monotonic() < give_up_at:
        last = used
        time.sleep(_QUIET_S)


class _Stopwatch:
    """Measures time and the CPU time of a process tree. `began_at`: a Unix time."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        self._pid = worker.pid
        self.began_at = time.time()
        self._began, self._began_cpu = time.monotonic(), _cpu_s(worker.pid)

    def read(self) -> tuple[float, float]:
        """Return the seconds and the CPU seconds since the start."""
        return time.monotonic() - self._began, _cpu_s(self._pid) - self._began_cpu


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and all its children, those that ended included."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(value) for value in values[11:15])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return ticks / os.sysconf("SC_CLK_TCK") + sum(_cpu_s(int(child)) for child in children)


def _count(store: sqlite3.Connection, what: str) -> int:
    found: Any = store.execute(f"SELECT count(*) FROM {what}").fetchone()  # noqa: S608 - our words
    return int(found[0])


def show(figures: WorkerFigures) -> None:
    """Print one table."""
    crowd = figures.crowd
    say(f"{crowd.lessons} lessons of {crowd.members} members:")
    for name in figures.runs:
        rate = figures.spread(name, lambda run: run.per_s)
        cpu = figures.spread(name, lambda run: run.cpu_ms)
        reads = figures.spread(name, lambda run: run.reads_each)
        say(
            f"  {name:26} {rate.median:6.0f}/s ({rate.least:.0f}-{rate.most:.0f}),"
            f" CPU {cpu.median:5.2f} ms ({cpu.least:.2f}-{cpu.most:.2f}),"
            f" {reads.median:.3f} GETs an event"
        )
    for name in (COURSEBELL, SEVERAL):
        if name in figures.runs and PREFORK_2 in figures.runs:
            say(f"  {name} / {PREFORK_2}: {figures.ratio(name, PREFORK_2)}")
        if name in figures.runs and PREFORK_16 in figures.runs and THREADS_32 in figures.runs:
            best = figures.ratio(name, PREFORK_16, THREADS_32)
            say(f"  {name} / best of {PREFORK_16} and {THREADS_32}: {best}")
    for error in figures.errors():
        say(f"  INVALID: {error}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lessons", type=int, default=1000)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=LATENCY_MS)
    parser.add_argument("--only", action="append", choices=EVERY)
    asked = parser.parse_args()
    names = tuple(asked.only or EVERY)
    crowd = Crowd(asked.lessons, asked.members)
    figures = measure_workers(crowd, asked.rounds, names, asked.latency_ms)
    show(figures)
    return 1 if figures.errors() else 0


if __name__ == "__main__":
    sys.exit(main())
