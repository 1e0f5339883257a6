"""Compare the receiver with hand-written ones: requests a second, p99 and processor time.

`python -m bench.receivers` starts every receiver as processes, and sends each the same load in
turn, in several rounds. A ratio is taken within a round; the median over the rounds counts. The
hand-written receivers call `delay()` and answer, and keep nothing that survives a power cut; ours
commits first. Servers have one processor and everything else the others, if there are two.

Any answer other than 202 makes the measurement invalid, as does an accepted delivery without a row.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import requests
from sqlalchemy import func, select

from bench.figures import InvalidMeasurementError, Spread
from bench.load import Answers
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, open_engine, reading, writing
from ledger.migrate import migrate
from ledger.tables import deliveries
from schemas.actions import Mode
from tests.servers.postgres import PostgresServer
from tests.servers.postgres_found import found_binaries
from workers.broker import choose_broker
from workers.local.programs import start_program, stop_program
from workers.local.server import free_port, start_broker

SECRET = "a-secret-that-is-long-enough-for-a-measurement"  # noqa: S105 - of this measurement only
PATH = "/hooks/nexudus/course-members"
CONNECTIONS = 64
_START_WAIT_S = 30.0
_WARM_UP_S = 1.0
_BIN = Path(sys.executable).parent

SQLITE, POSTGRESQL, NOTHING = "Coursebell, SQLite", "Coursebell, PostgreSQL", "storing nothing"
SQLITE_BESIDE_BEST = "requests/s, SQLite ÷ best hand-written"
POSTGRESQL_BESIDE_BEST = "requests/s, PostgreSQL ÷ best hand-written"
SQLITE_BESIDE_NOTHING = "requests/s, SQLite ÷ storing nothing"
P99_BESIDE_BEST = "99th percentile of the answer time, SQLite ÷ best hand-written"
_HANDWRITTEN = {
    "hand-written, gunicorn gthread 8": ("gunicorn", 8),
    "hand-written, gunicorn gthread 64": ("gunicorn", 64),
    "hand-written, granian 16": ("granian", 16),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One receiver in one round."""

    receiver: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # of the server's processes, for each request


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures, by receiver, and the ratios that the goals are about."""

    rounds: int
    per_second: Mapping[str, Spread]
    p50_ms: Mapping[str, Spread]
    p99_ms: Mapping[str, Spread]
    cpu_us: Mapping[str, Spread]
    ratios: Mapping[str, Spread]


@dataclass(slots=True)
class _Server:
    """A receiver that runs, and the ledger in which its deliveries must be found."""

    name: str
    port: int
    program: subprocess.Popen[bytes]
    engine: Engine | None = None
    accepted: int = 0
    measured: list[Measured] = field(default_factory=list)


def compare(rounds: int, seconds: float, *, connections: int = CONNECTIONS) -> Comparison:
    """Start all receivers and measure them.

    Raises:
        InvalidMeasurementError: an answer was not 202, or an accepted delivery has no row.
    """
    with ExitStack() as stack:
        servers = list(_servers(stack))
        for server in servers:
            _send(server, connections, _WARM_UP_S)
        for _ in range(rounds):
            for server in servers:
                answers = _send(server, connections, seconds)
                server.measured.append(_measured(server.name, answers))
        for server in servers:
            _check_rows(server)
    return _compared(rounds, {server.name: server.measured for server in servers})


def _servers(stack: ExitStack) -> Iterator[_Server]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coursebell-bench-")))
    with _pinned(is_server=False):
        broker = stack.enter_context(start_broker(choose_broker(None, folder), folder))
        postgres = PostgresServer(next(found_binaries()), is_durable=True)
        stack.callback(postgres.stop)
    theirs = {"BENCH_BROKER_URL": broker.url, "BENCH_SECRET": SECRET}
    for name, (kind, threads) in _HANDWRITTEN.items():
        port = free_port()
        yield _started(stack, name, port, _handwritten(kind, threads, port), theirs)
    for name, url, words in (
        (SQLITE, f"sqlite:///{folder}/ledger.db", ("service", "serve")),
        (POSTGRESQL, postgres.url, ("service", "serve")),
        (NOTHING, f"sqlite:///{folder}/unused.db", ("bench.storing_nothing",)),
    ):
        engine, port = _ledger(url), free_port()
        stack.callback(engine.dispose)
        ours = {
            "COURSEBELL_DATA_DIR": str(folder),
            "COURSEBELL_DATABASE_URL": url,
            "COURSEBELL_BROKER_URL": broker.url,
            "COURSEBELL_HOOK_SECRETS": SECRET,
            "COURSEBELL_LISTEN": f"127.0.0.1:{port}",
        }
        argv = [sys.executable, "-m", *words]
        server = _started(stack, name, port, argv, ours)
        server.engine = None if name == NOTHING else engine
        yield server


def _handwritten(kind: str, threads: int, port: int) -> list[str]:
    app = "bench.handwritten:app"
    if kind == "gunicorn":
        options = f"-k gthread -w 1 --threads {threads} --keep-alive 75 -b 127.0.0.1:{port}"
        return [f"{_BIN}/gunicorn", *options.split(), app]
    options = f"--interface wsgi --workers 1 --blocking-threads {threads} --no-access-log"
    address = f"--log-level error --host 127.0.0.1 --port {port}"
    return [f"{_BIN}/granian", *options.split(), *address.split(), app]


def _ledger(url: str) -> Engine:
    engine = open_engine(url)
    migrate(engine)
    with writing(engine) as connection:
        begin_with(connection, Mode.OBSERVE, datetime.now(UTC), SYSTEM_CLOCK.new_id())
    return engine


def _started(
    stack: ExitStack, name: str, port: int, argv: Sequence[str], variables: Mapping[str, str]
) -> _Server:
    root = str(Path(__file__).parent.parent)
    kept = {key: text for key, text in os.environ.items() if "COURSEBELL" not in key}
    log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))) / "log"
    with _pinned(is_server=True):
        program = start_program(argv, env={**kept, "PYTHONPATH": root, **variables}, log=log)
    stack.callback(stop_program, program, wait_s=10)
    give_up_at = time.monotonic() + _START_WAIT_S
    while not _answers(port):
        if program.poll() is not None or time.monotonic() > give_up_at:
            raise InvalidMeasurementError(f"{name} did not start: {log.read_text()[-1000:]}")
        time.sleep(0.1)
    return _Server(name, port, program)


def _answers(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
    except requests.RequestException:
        return False
    return True


@contextmanager
def _pinned(*, is_server: bool) -> Iterator[None]:
    """Pin the programs that are started within: servers to the first processor, if there are more.

    A child inherits the processors of the thread that starts it.
    """
    everything = os.sched_getaffinity(0)
    first = {min(everything)}
    rest = everything - first
    if rest:
        os.sched_setaffinity(0, first if is_server else rest)
    try:
        yield
    finally:
        os.sched_setaffinity(0, everything)


def _send(server: _Server, connections: int, seconds: float) -> Answers:
    words = [str(server.port), PATH, SECRET, str(server.program.pid)]
    words += ["--connections", str(connections), "--seconds", str(seconds)]
    with _pinned(is_server=False):
        sent = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "bench.load", *words], check=True, capture_output=True
        )
    answers = Answers(**json.loads(sent.stdout))
    if answers.errors:
        found = f"{answers.errors} of {answers.errors + answers.accepted} answers were not 202"
        raise InvalidMeasurementError(f"{server.name}: {found}; first: {answers.first_error}")
    server.accepted += answers.accepted
    return answers


def _measured(name: str, answers: Answers) -> Measured:
    cuts = statistics.quantiles(answers.latencies_s, n=100)
    return Measured(
        name,
        answers.accepted / answers.seconds,
        cuts[49] * 1e3,
        cuts[98] * 1e3,
        answers.server_cpu_s / answers.accepted * 1e6,
    )


def _check_rows(server: _Server) -> None:
    if server.engine is None:
        return
    with reading(server.engine) as connection:
        stored = connection.scalar(select(func.count()).select_from(deliveries))
    if stored != server.accepted:
        raise InvalidMeasurementError(f"{server.name}: {server.accepted} accepted, {stored} stored")


def _compared(rounds: int, measured: Mapping[str, Sequence[Measured]]) -> Comparison:
    def spreads(figure: str) -> dict[str, Spread]:
        return {
            name: Spread.of([getattr(one, figure) for one in found])
            for name, found in measured.items()
        }

    best = [max(found, key=lambda one: one.per_second) for found in _by_round(measured)]
    sqlite, postgres, nothing = (measured[name] for name in (SQLITE, POSTGRESQL, NOTHING))
    fastest = [min(one.p99_ms for one in found) for found in _by_round(measured)]

    def rate(ours: Sequence[Measured], theirs: Sequence[Measured]) -> Spread:
        pairs = zip(ours, theirs, strict=True)
        return Spread.of([own.per_second / other.per_second for own, other in pairs])

    pairs = zip(sqlite, fastest, strict=True)
    ratios = {
        SQLITE_BESIDE_BEST: rate(sqlite, best),
        POSTGRESQL_BESIDE_BEST: rate(postgres, best),
        SQLITE_BESIDE_NOTHING: rate(sqlite, nothing),
        P99_BESIDE_BEST: Spread.of([own.p99_ms / other for own, other in pairs]),
    }
    return Comparison(
        rounds,
        per_second=spreads("per_second"),
        p50_ms=spreads("p50_ms"),
        p99_ms=spreads("p99_ms"),
        cpu_us=spreads("cpu_us"),
        ratios=ratios,
    )


def _by_round(measured: Mapping[str, Sequence[Measured]]) -> Iterator[tuple[Measured, ...]]:
    """Yield the hand-written receivers' figures, round by round."""
    return zip(*(measured[name] for name in _HANDWRITTEN), strict=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the servers too
    try:
        found = compare(asked.rounds, asked.seconds, connections=asked.connections)
    except InvalidMeasurementError as error:
        sys.stderr.write(f"INVALID: {error}\n")
        return 1
    if asked.json:
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
        return 0
    for name, rate in found.per_second.items():
        p50, p99, cpu = (one[name] for one in (found.p50_ms, found.p99_ms, found.cpu_us))
        sys.stdout.write(f"{name}: {rate}/s, p50 {p50} ms, p99 {p99} ms, CPU {cpu} us\n")
    for name, ratio in found.ratios.items():
        sys.stdout.write(f"{name}: {ratio}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
