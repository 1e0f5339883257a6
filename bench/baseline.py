"""Measure the baseline of a large tenant, and a poll of it afterwards.

`python -m bench.baseline` starts the stand-in with a crowd and its real quota, and polls until the
baseline is complete; then some lessons are finished, and it polls again. Memory is that of the
polling process.
"""

import argparse
import resource
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import structlog

from bench.source_economy import FAST, REAL, Bench, drop_logs, opened, say
from ledger.engine import reading
from ledger.record_queries import count_seen
from sandbox.world import CROWD_ENROLMENT_ID
from schemas.entity import FOLLOWED
from tests.contract.source_rig import HandClock
from workers.sync.poll import poll_all
from workers.sync.rows import SyncContext

_SEED = """\
crowd: {{people: {people}, courses: 20, lessons: 12, enrolments: {enrolments},
  completions: {completions}, random_seed: 7}}
"""
_FRESH = 20


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--completions", type=int, default=100_000)
    parser.add_argument("--no-quota", action="store_true", help="run without the quota")
    asked = parser.parse_args()
    structlog.configure(processors=[drop_logs])
    enrolments = asked.completions // 10
    world = _SEED.format(
        people=enrolments // 4, enrolments=enrolments, completions=asked.completions
    )
    with ExitStack() as stack:
        bench = opened(stack, world, FAST if asked.no_quota else REAL)
        if not asked.no_quota:
            bench.sandbox.post("/sandbox/misbehaviours", name="quota", on=True)
        _measure_baseline(bench)
        _measure_poll(bench)
    return 0


def _measure_baseline(bench: Bench) -> None:
    before, began = _memory_mb(), time.monotonic()
    slices = _until_done(bench)
    took_s = time.monotonic() - began
    with reading(bench.engine) as connection:
        rows = {entity.value: count_seen(connection, entity) for entity in FOLLOWED}
    say(
        f"baseline: {rows}, {bench.reads()} requests, {took_s:.0f} s in {slices} runs; "
        f"memory {before} MB before, {_memory_mb()} MB at most"
    )
    say(f"  the stand-in says {bench.sandbox.get('/sandbox/quota').json()}")


def _measure_poll(bench: Bench) -> None:
    moment = datetime.now(UTC)
    for number in range(_FRESH):
        bench.sandbox.post(
            "/sandbox/finish-lesson",
            course_member_id=CROWD_ENROLMENT_ID + number,
            at=moment.isoformat(),
        )
    before, began, asked = _memory_mb(), time.monotonic(), bench.reads()
    later = moment + timedelta(minutes=5)
    tools = bench.children[0].sync
    done = poll_all(SyncContext(bench.engine, tools.source, HandClock(later)), for_s=60)
    say(
        f"a poll with {_FRESH} new rows: {done.news} changes, {bench.reads() - asked} requests, "
        f"{time.monotonic() - began:.2f} s; memory {before} MB before, {_memory_mb()} MB at most"
    )


def _until_done(bench: Bench) -> int:
    turns, sync = 1, bench.children[0].sync
    while poll_all(sync, for_s=10).more:
        turns += 1
    return turns


def _memory_mb() -> int:
    """Return the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
