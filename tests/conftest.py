"""The real servers that tests run against, each started once for a whole run.

A server that was given by URL is used as it is; else one is started here, and nothing of it
is left afterwards.
"""

import gc
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from schemas.settings import PLATFORM_NAMES
from tests.sandbox.sandbox_rig import end_idle
from tests.servers.postgres import Databases, PostgresServer
from tests.servers.postgres_found import found_binaries, without_postgres
from workers.broker import choose_broker
from workers.local.server import start_broker

_LONGEST_FIRST = ("month", "emails", "e2e", "pitfalls", "contract", "sandbox", "house", "unit")

# Ignored in what a shell starts with `&` or `nohup`, and then in every program started by that.
_IGNORED_IN_BACKGROUND = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def pytest_configure() -> None:
    """Let the programs that tests start receive the signals that this run itself ignores.

    A signal with a Python function behind it has its default effect again in a program that is
    started, which one that is ignored has not.
    """
    for number in _IGNORED_IN_BACKGROUND:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    for name in PLATFORM_NAMES:
        os.environ.pop(name, None)  # the shell may have them for another application


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without collecting garbage: nearly all that is made then stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Lead to a PostgreSQL server, as a superuser or one who may create databases."""
    given = os.environ.get("COURSEBELL_TEST_POSTGRES_URL")
    if given:
        # The driver is always named; a bare scheme means a different one elsewhere.
        yield given.replace("postgresql://", "postgresql+psycopg://", 1)
        return
    binaries = next(found_binaries(), None)
    if binaries is None:
        without_postgres(os.environ)
        return
    with PostgresServer(binaries) as server:
        yield server.url


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Iterator[Databases]:
    """Make and drop databases on that server."""
    with Databases(postgres_url) as found:
        yield found


@pytest.fixture
def postgres_database_url(databases: Databases) -> Iterator[str]:
    """Lead to an empty database that this test has for itself."""
    name, url = databases.create()
    yield url
    databases.drop(name)


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """Lead to a real broker that all tests of this run share."""
    with tempfile.TemporaryDirectory(prefix="coursebell-broker-") as folder:
        choice = choose_broker(os.environ.get("COURSEBELL_TEST_BROKER_URL"), Path(folder))
        with start_broker(choice, Path(folder)) as broker:
            yield broker.url


@pytest.fixture(scope="session", autouse=True)
def no_sandbox_is_left() -> Iterator[None]:
    """End the stand-ins that tests handed on to each other."""
    yield
    end_idle()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that workers which share them end together."""
    places = {name: place for place, name in enumerate(_LONGEST_FIRST)}

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        return places.get(folder, len(places))

    items.sort(key=place)  # in a folder the order stays


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured; nothing is asserted about it."""
    for report in terminalreporter.getreports("passed"):
        for name, figure in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(str(figure))
