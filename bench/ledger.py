"""Measure what operators and processes ask of a large ledger.

`python -m bench.ledger` fills a SQLite ledger and, where a server is found, a PostgreSQL one, and
prints a table. Each figure is the median of several rounds, in milliseconds of wall time, without
the start of a process.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from click.testing import CliRunner
from sqlalchemy import select

from bench.figures import Spread
from bench.ledger_fill import fill_study, fill_waiting
from bench.pages import pages_of
from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, open_engine, reading, writing
from ledger.lookups import claim_lookups, next_lookup_at
from ledger.outages import source_outages
from ledger.tables import people, records
from schemas.entity import FOLLOWED, Entity
from schemas.settings import Settings, load_settings
from service.app import make_web
from service.cli.status import status
from service.cli.why import why
from tests.doubles.fake_source import FakeSource
from tests.servers.postgres import Databases, PostgresServer
from tests.servers.postgres_found import found_binaries
from workers.rules_file import read_rules
from workers.source.lists import Changed, Changes
from workers.sync.certificate import certify
from workers.sync.evidence import window_of
from workers.sync.rows import SyncContext

EVENTS = 1_100_000
WAITING = (10_000, 1_000_000)
_LEASE_S, _BATCH, _PAGE = 60.0, 100, 1_000
_CERTIFIED = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of what something took, in milliseconds, and the shortest and the longest."""

    engine: str
    name: str
    found: Spread  # in milliseconds

    @property
    def line(self) -> str:
        """The figure in one line."""
        return f"{self.engine:<11} {self.name:<44} {self.found} ms"


def measure(
    *, events: int = EVENTS, waiting: tuple[int, ...] = WAITING, rounds: int = 5
) -> Iterator[Figure]:
    """Yield each figure of each engine as soon as it is measured."""
    for engine_name, empty in _engines():
        for number in waiting:
            with empty() as url, _opened(url) as engine:
                now = datetime.now(UTC)
                fill_waiting(engine, number, now)
                for name, ask in _asked_of_waiting(engine, now).items():
                    title = f"{name}, {number:,} waiting"
                    yield _figure(engine_name, title, ask, rounds)
        with empty() as url, _opened(url) as engine, tempfile.TemporaryDirectory() as folder:
            fill_study(engine, events, datetime.now(UTC))
            settings = load_settings(
                {"COURSEBELL_DATABASE_URL": url, "COURSEBELL_DATA_DIR": folder}
            )
            yield from measure_study(engine_name, engine, settings, rounds)


def measure_study(
    engine_name: str, engine: Engine, settings: Settings, rounds: int
) -> Iterator[Figure]:
    """Yield the figures of a ledger with a long history."""
    with ExitStack() as stack:
        for name, ask in _asked_of_study(stack, engine, settings).items():
            yield _figure(engine_name, name, ask, rounds)
    yield _figure(engine_name, "certify, 30 days", _certifying(engine, settings), 1)
    for name, ask in pages_of(engine, settings, rounds):
        yield _figure(engine_name, name, ask, rounds)


def _asked_of_waiting(engine: Engine, now: datetime) -> dict[str, Callable[[], object]]:
    """Return what is asked of the ledger each second, by name. `claim` takes rows due later."""
    later = now + timedelta(hours=2)

    def claim(at: datetime, most: int = _BATCH) -> object:
        with writing(engine) as connection:
            token = SYSTEM_CLOCK.new_id()
            found = claim_lookups(connection, at, token, lease_s=_LEASE_S, most=most)
            connection.rollback()
            return found

    def read(query: Callable[..., object], **options: float) -> object:
        with reading(engine) as connection:
            return query(connection, now, **options) if options else query(connection)

    return {
        "claim of 1": lambda: claim(later, 1),
        "claim of 100": lambda: claim(later),
        "empty claim": lambda: claim(now),
        "when a lookup is due": lambda: read(next_lookup_at, lease_s=_LEASE_S),
        "why the source is not read": lambda: read(source_outages),
    }


def _asked_of_study(
    stack: ExitStack, engine: Engine, settings: Settings
) -> dict[str, Callable[[], object]]:
    """Return what operators ask for, by name."""
    with reading(engine) as connection:
        email = connection.scalar(select(people.c.email).order_by(people.c.coworker_id.desc()))
    environ = {
        "COURSEBELL_DATABASE_URL": settings.database_url,
        "COURSEBELL_DATA_DIR": settings.data_dir,
    }
    web = make_web(settings)
    stack.callback(web.close)
    client, runner = web.app.test_client(), CliRunner(env=environ)
    return {
        "/readyz": lambda: client.get("/readyz"),
        "status": lambda: runner.invoke(status, ["--json"]),
        "why, by address": lambda: runner.invoke(why, [str(email), "--json"]),
        "why, by part of a name": lambda: runner.invoke(why, ["erson 500001", "--json"]),
    }


class _ListedSource(FakeSource):
    """A source whose lists show what the ledger has, prepared before they are asked for."""

    def __init__(self, pages: dict[Entity, list[Changes]]) -> None:
        super().__init__()
        self._pages = pages

    def created_between(self, entity: Entity, _: datetime, __: datetime) -> Iterator[Changes]:
        """Yield the prepared pages."""
        self.asked.append(("created", 0))
        yield from self._pages[entity]


def _certifying(engine: Engine, settings: Settings) -> Callable[[], object]:
    """Return a function that certifies the last thirty days, all of whose rows are listed."""
    now = datetime.now(UTC)
    zone = ZoneInfo(settings.zone)
    window = window_of((now - _CERTIFIED).date(), now.date(), zone, now)
    pages = {entity: _pages(engine, entity, window.since, window.until) for entity in FOLLOWED}

    @contextmanager
    def lend(_: object) -> Iterator[FakeSource]:
        yield _ListedSource(pages)

    sync, rules = SyncContext(engine, lend, SYSTEM_CLOCK), read_rules(settings)
    return lambda: certify(sync, window, rules)


def _pages(engine: Engine, entity: Entity, since: datetime, until: datetime) -> list[Changes]:
    made = records.c.updated_at
    with reading(engine) as connection:
        rows = connection.execute(
            select(records.c.record_id, made, records.c.record)
            .where(records.c.entity == entity, made >= since, made < until)
            .order_by(made)
        ).all()
    changed = [Changed(row.record_id, row.updated_at, row.record) for row in rows]
    parts = range(0, len(changed), _PAGE)
    return [Changes(changed[first : first + _PAGE], len(changed) - first) for first in parts]


def _figure(engine_name: str, name: str, ask: Callable[[], object], rounds: int) -> Figure:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - began))
    return Figure(engine_name, name, Spread.of(took))


Empty = Callable[[], AbstractContextManager[str]]


def _engines() -> Iterator[tuple[str, Empty]]:
    """Yield each engine of this machine, and a function that lends an empty database."""
    with tempfile.TemporaryDirectory() as folder:

        @contextmanager
        def empty_file() -> Iterator[str]:
            path = Path(folder) / "ledger.db"
            yield f"sqlite:///{path}"
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)

        yield "sqlite", empty_file
    binaries = next(found_binaries(), None)
    if binaries is None:
        return
    with PostgresServer(binaries) as server, Databases(server.url) as databases:

        @contextmanager
        def empty_database() -> Iterator[str]:
            name, url = databases.create()
            yield url
            databases.drop(name)

        yield "postgresql", empty_database


@contextmanager
def _opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--waiting", type=int, nargs="*", default=WAITING)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    waiting = tuple(asked.waiting)
    for figure in measure(events=asked.events, waiting=waiting, rounds=asked.rounds):
        click.echo(figure.line)


if __name__ == "__main__":
    main()
