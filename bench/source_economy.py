"""Measure how many requests a burst of finished lessons costs, and how long it takes.

`python -m bench.source_economy` starts the stand-in with a crowd, notifies the ledger of all their
finished lessons in random order, and processes the lookups as two worker children would, over real
HTTP. A naive client makes six requests for each lesson: the completion, its lesson, the enrolment,
the course, the person, and the lessons done.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, open_engine, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.lookups import next_lookup_at
from ledger.migrate import migrate
from ledger.queries import count_totals
from sandbox.world import CROWD_COMPLETION_ID
from schemas.actions import LookupState, Mode
from schemas.entity import Entity
from schemas.notification import Notification
from schemas.settings import Settings
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from workers.broker import choose_broker
from workers.context import Context, make_context, read_shared_config
from workers.environment import load
from workers.local.server import start_broker
from workers.lookup.claim import drain_batch
from workers.source.limits import Patience, Urgency
from workers.source.reads import probe_all

CHILDREN = 2
FAST = "1000/second;100000/minute"
REAL = "10/second;120/minute;5000/hour;200000/day"
_SEED = """\
crowd: {{people: {members}, courses: {courses}, lessons: 12, enrolments: {members},
  completions: {lessons}, random_seed: 7}}
"""


@dataclass(frozen=True, slots=True)
class Burst:
    """How many lessons are finished, by how many members, over how many courses."""

    lessons: int
    members: int
    courses: int


@dataclass(frozen=True, slots=True)
class Bench:
    """One stand-in, one ledger, and the children that work between them."""

    sandbox: Running
    engine: Engine
    children: tuple[Context, ...]

    def notify(self, record_ids: list[int]) -> None:
        """Notify the ledger of these finished lessons."""
        news = [Notification(Entity.COMPLETED_LESSON, one) for one in record_ids]
        with writing(self.engine) as connection:
            store_notifications(connection, news, Origin.RELAY, datetime.now(UTC))

    def work(self) -> float:
        """Process everything with all children at once; return the seconds it took."""
        began = time.monotonic()
        threads = [threading.Thread(target=self._child, args=(one,)) for one in self.children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    def _child(self, context: Context) -> None:
        while True:
            claimed, _ = drain_batch(context.lookup_context)
            if claimed:
                continue
            with reading(self.engine) as connection:
                if next_lookup_at(connection, datetime.now(UTC), lease_s=60) is None:
                    return
            time.sleep(0.2)

    def reads(self) -> int:
        """Return how many requests the stand-in received."""
        return int(self.sandbox.get("/sandbox/reads").json()["total"])

    def done(self) -> int:
        """Return how many lookups are done."""
        with reading(self.engine) as connection:
            counted = count_totals(connection, datetime.now(UTC)).lookups
        return sum(counted.get(LookupState.DONE, {}).values())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lessons", type=int, default=1000)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--courses", type=int, default=10)
    parser.add_argument("--no-quota", action="store_true", help="skip the slow part")
    asked = parser.parse_args()
    burst = Burst(asked.lessons, asked.members, asked.courses)
    structlog.configure(processors=[drop_logs])
    say(f"{burst.lessons} lessons, {burst.members} members, {burst.courses} courses:")
    _count(burst, "one by one", proved=False)
    _count(burst, "several by Id, proved", proved=True)
    if not asked.no_quota:
        _pace(burst)
    return 0


def _count(burst: Burst, name: str, *, proved: bool) -> None:
    with ExitStack() as stack:
        bench = opened(stack, _seed(burst), FAST)
        rest = _news(burst)
        if proved:
            rest = _prove(bench, rest)
        before = bench.reads()
        bench.notify(rest)
        bench.work()
        asked = bench.reads() - before
        say(f"  {name}: {asked} GETs for {len(rest)} events, {asked / len(rest):.3f} each")
        _check(bench, burst)


def _pace(burst: Burst) -> None:
    with ExitStack() as stack:
        bench = opened(stack, _seed(burst), REAL)
        bench.sandbox.post("/sandbox/misbehaviours", name="quota", on=True)
        news = _news(burst)
        bench.notify(news)
        took_s = bench.work()
        quota = bench.sandbox.get("/sandbox/quota").json()
        say(
            f"  at 120 requests a minute, one by one: {len(news)} events in {took_s:.0f} s, "
            f"{len(news) * 60 / took_s:.0f} a minute; the stand-in says {quota}"
        )
        _check(bench, burst)


def _seed(burst: Burst) -> str:
    return _SEED.format(members=burst.members, courses=burst.courses, lessons=burst.lessons)


def opened(stack: ExitStack, world: str, limits: str) -> Bench:
    """Return a bench over a stand-in that begins with this seed file's text."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coursebell-bench-")))
    seed = folder / "seed.yaml"
    seed.write_text(world)
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    sandbox = stack.enter_context(running("--no-deliver", *sign_in, "--seed", str(seed)))
    broker = stack.enter_context(start_broker(choose_broker(None, folder), folder))
    settings = load(
        {
            "COURSEBELL_DATA_DIR": str(folder),
            "COURSEBELL_BROKER_URL": broker.url,
            "COURSEBELL_NEXUDUS_URL": sandbox.addresses["api"],
            "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
            "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
            "COURSEBELL_NEXUDUS_LIMITS": limits,
        }
    )
    return _furnished(stack, sandbox, settings)


def _furnished(stack: ExitStack, sandbox: Running, settings: Settings) -> Bench:
    engine = open_engine(settings.database_url)
    stack.callback(engine.dispose)
    migrate(engine)
    with writing(engine) as connection:
        begin_with(connection, Mode.OBSERVE, datetime.now(UTC), SYSTEM_CLOCK.new_id())
    shared_config = read_shared_config(settings)
    children = tuple(make_context(settings, shared_config) for _ in range(CHILDREN))
    for child in children:
        stack.callback(child.close)
    return Bench(sandbox, engine, children)


def _news(burst: Burst) -> list[int]:
    ids = [CROWD_COMPLETION_ID + number for number in range(burst.lessons)]
    random.Random(7).shuffle(ids)  # noqa: S311 - chance, not secrecy
    return ids


def _prove(bench: Bench, news: list[int]) -> list[int]:
    """Look some lessons up, so that the probe has records to compare; return the others."""
    bench.notify(news[:5])
    bench.work()
    patience = Patience(Urgency.WORK, time.monotonic() + 60, lambda: None)
    with bench.children[0].sources.lend(patience) as source:
        found = probe_all(bench.engine, source, datetime.now(UTC), anew=True)
    say("  probe: " + "; ".join(f"{kind} {proof.sentence}" for kind, proof in found.items()))
    return news[5:]


def _check(bench: Bench, burst: Burst) -> None:
    if bench.done() != burst.lessons:
        say(f"  NOT ALL DONE: {bench.done()} of {burst.lessons}")


def drop_logs(*_: object) -> str:
    """Keep logs out of the figures."""
    raise structlog.DropEvent


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + os.linesep)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
