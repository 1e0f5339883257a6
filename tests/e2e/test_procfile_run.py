"""The Procfile, run by a real process manager on an empty PostgreSQL database and a real broker."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.house.source_tree import ROOT
from tests.servers import forking
from tests.servers.postgres import address
from tests.servers.programs import PATIENCE_S, wait_until
from workers.local.server import free_port

pytestmark = pytest.mark.postgres

COURSEBELL = str(Path(sys.executable).with_name("coursebell"))
OURS = ["ledger", "broker", "worker", "clock"]  # the parts of /readyz that need no Nexudus


@pytest.fixture
def platform(tmp_path: Path, postgres_database_url: str, broker_url: str) -> dict[str, str]:
    """Return an environment as platforms make it: their names, and ours only where they have none.

    Nexudus is an address where nothing listens.
    """
    settings = {
        "COURSEBELL_DATA_DIR": str(tmp_path / "my var"),
        "COURSEBELL_NEXUDUS_URL": f"http://127.0.0.1:{free_port()}",
        "COURSEBELL_CHECK_EVERY_S": "0",
        "COURSEBELL_WORKERS": "1",
    }
    lines = [f"{name}='{text}'\n" for name, text in settings.items()]
    (tmp_path / "env").write_text("".join(lines))
    inherited = {
        name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ
    }
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "DATABASE_URL": address(postgres_database_url).replace("postgresql://", "postgres://"),
        "REDIS_URL": broker_url,
    }


def honcho(*words: str) -> list[str]:
    """Return a call of honcho as docs/running-it.md has it; the file of settings is `env` here."""
    options = ("--procfile", str(ROOT / "Procfile"), "--env", "env")
    return [sys.executable, "-m", "honcho", *options, *words]


@contextlib.contextmanager
def started(
    log: Path, environment: dict[str, str], *words: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `honcho start` for as long as this lasts, and everything it starts."""
    with log.open("wb") as output:
        manager = subprocess.Popen(
            honcho("start", *words),
            cwd=log.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield manager
        manager.send_signal(signal.SIGTERM)
        manager.wait(timeout=PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(manager.pid, signal.SIGKILL)
        manager.wait()


def asked(port: int, path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).json()
    except requests.RequestException:
        return {}
    return found


def serves(port: int) -> bool:
    return bool(asked(port, "/readyz?for=web").get("ready", False))


def running(port: int, manager: subprocess.Popen[bytes]) -> Callable[[], bool]:
    def condition() -> bool:
        assert manager.poll() is None, "honcho ended"
        parts = asked(port, "/readyz").get("parts", {})
        return [parts.get(name) for name in OURS] == ["ok"] * len(OURS)

    return condition


def test_honcho_start_alone_makes_the_ledger_and_runs_everything(
    tmp_path: Path, platform: dict[str, str]
) -> None:
    port, log = free_port(), tmp_path / "honcho.log"
    with started(log, platform, "--port", str(port)) as manager:
        wait_until(running(port, manager), "everything running")
        shown = subprocess.run(
            [COURSEBELL, "config", "show", "--json"],
            env={**platform, "PORT": str(port)},
            capture_output=True,
            check=True,
            timeout=60,
        )
        lines = {line["name"]: line for line in json.loads(shown.stdout)}
        assert lines["COURSEBELL_LISTEN"]["origin"] == "PORT"
        assert lines["COURSEBELL_LISTEN"]["value"] == f"0.0.0.0:{port}"
        assert lines["COURSEBELL_DATABASE_URL"]["origin"] == "DATABASE_URL"
        assert lines["COURSEBELL_BROKER_URL"]["origin"] == "REDIS_URL"
    assert "DATABASE_URL is used instead" in log.read_text()


def two_free_ports() -> int:
    """Return a free port after which the next is free too.

    Other tests get theirs from the system, which hands out none of these.
    """
    for first in random.sample(range(20_000, 30_000, 2), 100):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("0.0.0.0", first))  # noqa: S104 - where the web processes listen
                other.bind(("0.0.0.0", first + 1))  # noqa: S104 - same
            except OSError:
                continue
            return first
    raise AssertionError("no two ports in a row are free")


def test_migrate_first_and_then_two_web_processes_each_on_its_own_port(
    tmp_path: Path, platform: dict[str, str]
) -> None:
    migrated = subprocess.run(
        honcho("run", "coursebell", "migrate"),
        cwd=tmp_path,
        env=platform,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    port, log = two_free_ports(), tmp_path / "honcho.log"
    with started(log, platform, "--port", str(port), "--concurrency", "web=2", "web"):
        wait_until(lambda: serves(port), "the first web process")
        wait_until(lambda: serves(port + 1), "the second")
    assert "web.2" in log.read_text()


def test_a_database_of_another_program_is_not_changed(
    postgres_database_url: str, platform: dict[str, str]
) -> None:
    def migrate(**ours: str) -> subprocess.CompletedProcess[str]:
        return forking.run("service", "migrate", env=platform | ours, timeout=60)

    with psycopg.connect(address(postgres_database_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE shop_orders (id int)")
        refused = migrate()
        assert refused.returncode == 2
        assert "DATABASE_URL: the database has tables of another program" in refused.stderr
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchone() == (1,)
    assert migrate(COURSEBELL_DATABASE_URL=postgres_database_url).returncode == 0
    assert migrate().returncode == 0
