"""A migrated ledger for each test, on both engines or on SQLite only.

A test runs on both engines where the engine can decide its outcome: the functions of the ledger,
migrations, locks, races, and what only a server has. What workers and commands decide with the
rows they read is plain Python. Modules about that carry `pytest.mark.engines("sqlite")`, and
a test in them that depends on the engine carries `pytest.mark.engines(*BOTH)` itself.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import Space, rules_of
from tests.e2e.house import RULES
from tests.servers.postgres import Databases
from tests.servers.ready_ledgers import ReadyPostgres, quick_engine, sqlite_copy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the ledger once for each of its engines."""
    if "engine_name" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("engines")
        names = [
            pytest.param(name, marks=pytest.mark.postgres if name == "postgres" else ())
            for name in (marked.args if marked else BOTH)
        ]
        # A fixture of a module may use it too.
        metafunc.parametrize("engine_name", names, scope="module")


@pytest.fixture
def empty_database_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Lead to a database without a table, that this test has for itself."""
    if engine_name == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_database_url")
    return url


@pytest.fixture
def ledger_url(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Lead to a migrated ledger, for tests that start processes of their own."""
    if engine_name == "sqlite":
        yield sqlite_copy(tmp_path / "ledger.db")
        return
    ready: ReadyPostgres = request.getfixturevalue("ready_postgres")
    with ready.lend() as url:
        yield url


@pytest.fixture(scope="session")
def ready_postgres(databases: Databases) -> Iterator[ReadyPostgres]:
    """Lend migrated databases."""
    with closing(ReadyPostgres(databases)) as ready:
        yield ready


@pytest.fixture
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """Give a migrated ledger."""
    engine = quick_engine(ledger_url)
    yield engine
    engine.dispose()


@pytest.fixture
def desk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """Lend a desk and a clock that can be moved, with a ledger in SQLite.

    A test that carries `on_both_engines` of `ledger_rig` gets one of each engine.
    """
    url: str = (
        request.getfixturevalue("ledger_url")
        if "engine_name" in request.fixturenames
        else sqlite_copy(tmp_path / "ledger.db")
    )
    engine = quick_engine(url)
    rules = rules_of(RULES.read_text(encoding="utf-8"))
    monkeypatch.setenv("COURSEBELL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COURSEBELL_DATABASE_URL", url)
    monkeypatch.setenv("COURSEBELL_MAIL_FROM", "Rita <rita@example.org>")
    monkeypatch.setenv("COURSEBELL_RULES", str(RULES))  # no quiet hours
    yield Desk(Space(engine, rules, HandClock(SYSTEM_CLOCK.now())), tmp_path)
    structlog.reset_defaults()  # `doctor` makes the logs of its process silent
    engine.dispose()
