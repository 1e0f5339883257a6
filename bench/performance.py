"""All figures that docs/performance.md shows, each with its goal.

A part is measured in interleaved rounds: every program of a part runs once in each round, so that
what else the machine does falls on all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import Goal, InvalidMeasurementError, Row, Spread
from bench.ledger import EVENTS, WAITING
from bench.ledger import measure as measure_ledger
from bench.receivers import (
    P99_BESIDE_BEST,
    POSTGRESQL_BESIDE_BEST,
    SQLITE,
    SQLITE_BESIDE_BEST,
    SQLITE_BESIDE_NOTHING,
    Comparison,
    compare,
)
from bench.startup import measure as measure_startup
from bench.workers import (
    COURSEBELL,
    EVERY,
    NEW_LEDGER,
    PREFORK_2,
    PREFORK_16,
    SEVERAL,
    THREADS_32,
    Crowd,
    WorkerFigures,
    measure_workers,
)

RECEIVER, WORKER, LEDGER, START = "Receiver", "Workers", "Large ledger", "Start"
PARTS = (RECEIVER, WORKER, LEDGER, START)

_RECEIVER_GOALS = {
    SQLITE_BESIDE_BEST: Goal(4),
    POSTGRESQL_BESIDE_BEST: Goal(2.5),
    SQLITE_BESIDE_NOTHING: Goal(0.8),
    P99_BESIDE_BEST: Goal(0.35, less_is_better=True),
}
PER_SECOND = "requests: "
_FIVE_EACH, _ONE_EACH = "five lessons a member", "one lesson a member"
_CPU_US = Goal(250, less_is_better=True)
_CPU_MS = Goal(3, less_is_better=True)
_CPU_BESIDE = Goal(1, less_is_better=True)
_FIRST_SEVERAL_S = Goal(5, less_is_better=True)
_LEDGER_GOALS_MS = {  # by the first words of a figure's name
    "claim of 1,": 5,
    "claim of 100": 5,
    "empty claim": 5,
    "when a lookup is due": 5,
    "why the source is not read": 5,
    "/readyz": 20,
    "status": 700,
    "why": 500,
    "certify": 30_000,
    # Up to fifty emails are checked, each as a worker would.
    "page Resume": 500,
    "page Start, before sending": 500,
    "page": 100,
}
_START_GOALS_S = {"--help": 0.4, "status": 0.6, "up until ready": 2.5}


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    receiver_rounds: int
    receiver_s: float
    lessons: int  # of members with five each
    lessons_apart: int  # of members with one each; 0: only CPU time is compared
    worker_rounds: int
    workers: tuple[str, ...]
    waiting: tuple[int, ...]
    events: int
    ledger_rounds: int
    start_rounds: int


FULL = Effort(5, 3, 1000, 1000, 2, EVERY, WAITING, EVENTS, 3, 5)
# Events a second depend on what else the machine does: a hand-written worker with two processes
# mostly waits for the source, and ours mostly works. So the quick run compares their CPU time. It
# takes as many lessons as the whole one: our worker uses 1.6 s for the first, whatever follows.
QUICK = Effort(3, 1, 1000, 0, 1, (COURSEBELL, SEVERAL, PREFORK_2), (), 0, 0, 0)


def measure(parts: tuple[str, ...], effort: Effort) -> Iterator[Row]:
    """Yield the rows of these parts as soon as they are measured.

    Raises:
        InvalidMeasurementError: an answer was an error, or something accepted was lost or not done.
    """
    if RECEIVER in parts:
        yield from _receiver(compare(effort.receiver_rounds, effort.receiver_s))
    if WORKER in parts:
        yield from _workers(effort)
    if LEDGER in parts:
        yield from _ledger(effort)
    if START in parts:
        yield from _start(effort)


def _receiver(found: Comparison) -> Iterator[Row]:
    for name, ratio in found.ratios.items():
        yield Row(RECEIVER, name, "", ratio, _RECEIVER_GOALS[name])
    for name, used in found.cpu_us.items():
        goal = _CPU_US if name == SQLITE else None
        yield Row(RECEIVER, f"CPU for each delivery: {name}", "µs", used, goal)
    for name, rate in found.per_second.items():
        yield Row(RECEIVER, f"{PER_SECOND}{name}", "/s", rate)
    for name, latency in found.p99_ms.items():
        yield Row(RECEIVER, f"99th percentile of the answer time: {name}", "ms", latency)


def _workers(effort: Effort) -> Iterator[Row]:
    usual = tuple(name for name in effort.workers if name != NEW_LEDGER)
    found = measure_workers(Crowd(effort.lessons, effort.lessons // 5), effort.worker_rounds, usual)
    for error in found.errors():
        raise InvalidMeasurementError(error)
    for name in (COURSEBELL, SEVERAL):
        title = f"CPU for each event, {_FIVE_EACH}, {name} ÷ hand-written {PREFORK_2}"
        yield Row(WORKER, title, "", found.cost_ratio(name, PREFORK_2), _CPU_BESIDE)
    if not effort.lessons_apart:
        return
    apart = measure_workers(
        Crowd(effort.lessons_apart, effort.lessons_apart),
        effort.worker_rounds,
        (COURSEBELL, PREFORK_2),
    )
    for error in apart.errors():
        raise InvalidMeasurementError(error)
    beside = f"÷ hand-written {PREFORK_2}"
    best = f"÷ the better of hand-written {PREFORK_16} and {THREADS_32}"
    for crowd, figures, name, others, words, bound in (
        (_FIVE_EACH, found, COURSEBELL, (PREFORK_2,), beside, 6),
        (_FIVE_EACH, found, SEVERAL, (PREFORK_2,), beside, 12),
        (_FIVE_EACH, found, COURSEBELL, (PREFORK_16, THREADS_32), best, 1.5),
        (_FIVE_EACH, found, SEVERAL, (PREFORK_16, THREADS_32), best, 3),
        (_ONE_EACH, apart, COURSEBELL, (PREFORK_2,), beside, 3),
    ):
        title = f"lookups/s, {crowd}, {name} {words}"
        yield Row(WORKER, title, "", figures.ratio(name, *others), Goal(bound))
    yield from _worker_costs(_FIVE_EACH, found)
    yield from _worker_costs(_ONE_EACH, apart)
    if NEW_LEDGER in effort.workers:
        # So many that the workers are not done before they find out.
        many = Crowd(8 * effort.lessons, 8 * effort.lessons // 5)
        yield _first_several(measure_workers(many, effort.worker_rounds, (NEW_LEDGER,)))


def _first_several(found: WorkerFigures) -> Row:
    firsts = [run.first_several_s for run in found.runs[NEW_LEDGER]]
    if None in firsts:
        raise InvalidMeasurementError("several records by Id were not read in one request")
    first = Spread.of([one for one in firsts if one is not None])
    title = "first read of several by Id, after the start with a backlog"
    return Row(WORKER, title, "s", first, _FIRST_SEVERAL_S)


def _worker_costs(crowd: str, figures: WorkerFigures) -> Iterator[Row]:
    for name in figures.runs:
        used = figures.spread(name, lambda run: run.cpu_ms)
        goal = _CPU_MS if name in {COURSEBELL, SEVERAL} else None
        yield Row(WORKER, f"CPU for each event, {crowd}, {name}", "ms", used, goal)
    for name in figures.runs:
        rate = figures.spread(name, lambda run: run.per_s)
        yield Row(WORKER, f"lookups, {crowd}, {name}", "/s", rate)


def _ledger(effort: Effort) -> Iterator[Row]:
    figures = measure_ledger(
        events=effort.events, waiting=effort.waiting, rounds=effort.ledger_rounds
    )
    for figure in figures:
        bound = next(
            bound for words, bound in _LEDGER_GOALS_MS.items() if figure.name.startswith(words)
        )
        goal = Goal(bound, less_is_better=True)
        yield Row(LEDGER, f"{figure.name}: {figure.engine}", "ms", figure.found, goal)


def _start(effort: Effort) -> Iterator[Row]:
    for figure in measure_startup(rounds=effort.start_rounds):
        goal = Goal(_START_GOALS_S[figure.name], less_is_better=True)
        yield Row(START, f"coursebell {figure.name}", "s", figure.found, goal)
