"""Processes that start before the ledger's tables exist, or beside a ledger of another version."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import requests
from sqlalchemy import update

from ledger.engine import open_engine, writing
from ledger.revision import newest_revision
from ledger.tables import revisions
from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from service.cli.common import wait_for_ledger
from tests.servers import forking
from tests.servers.forking import Program
from tests.servers.later_ledgers import LATER, upgrade_beyond
from tests.servers.programs import wait_until
from workers.local.server import free_port

PROCESSES = ("serve", "worker", "clock")
PATIENCE_S = 60.0


@dataclass(slots=True)
class Site:
    """A folder, its settings, and the processes that were started with them."""

    folder: Path
    environment: dict[str, str]
    running: dict[str, Program] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        for name in names:
            with self.log(name).open("wb") as log:
                self.running[name] = forking.start(
                    "service", name, env=self.environment, stdout=log, stderr=log
                )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        return self.log(name).read_text()

    def has_said(self, name: str, words: str) -> bool:
        return words in self.said(name)

    def restart(self, name: str) -> None:
        self.running[name].terminate()
        self.running[name].wait(PATIENCE_S)
        self.start(name)

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment | settings
        return forking.run("service", *words, env=environment, timeout=PATIENCE_S)

    def readiness(self) -> requests.Response | None:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://{self.environment['COURSEBELL_LISTEN']}/readyz", timeout=9)
        return None

    def answers(self) -> bool:
        return self.readiness() is not None

    def is_ready(self) -> bool:
        """Say whether all processes run; Nexudus is not set here."""
        answer = self.readiness()
        parts = {} if answer is None else answer.json()["parts"]
        return {name for name, says in parts.items() if says != "ok"} == {"nexudus"}


@contextlib.contextmanager
def site(folder: Path, settings: Mapping[str, str]) -> Iterator[Site]:
    """Give a site where nothing runs yet; end what was started in it."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("COURSEBELL_")}
    found = Site(
        folder,
        clean
        | {
            "COURSEBELL_DATA_DIR": str(folder / "var"),
            "COURSEBELL_LISTEN": f"127.0.0.1:{free_port()}",
            "COURSEBELL_CHECK_EVERY_S": "0",
            **settings,
        },
    )
    try:
        yield found
    finally:
        for process in found.running.values():
            process.terminate()
        for process in found.running.values():
            process.wait(PATIENCE_S)


def test_processes_that_start_before_migrate_wait_for_it_and_a_typed_command_does_not(
    tmp_path: Path, broker_url: str
) -> None:
    with site(tmp_path, {"COURSEBELL_BROKER_URL": broker_url}) as here:
        here.start(*PROCESSES)
        for name in PROCESSES:
            wait_until(partial(here.has_said, name, "waiting up to 60 s"), f"{name} waits")
        typed = here.run("status")
        assert typed.returncode == 2
        assert "coursebell migrate" in typed.stderr
        assert here.run("migrate").returncode == 0
        wait_until(here.is_ready, "ready")
        for name in PROCESSES:
            assert here.said(name).count("waiting up to") == 1


def test_a_wait_for_the_ledger_ends_with_what_to_do(tmp_path: Path) -> None:
    settings = load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)})
    with pytest.raises(ConfigurationError, match="coursebell migrate"):
        wait_for_ledger(settings, patience_s=0)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def begun(
    request: pytest.FixtureRequest, tmp_path: Path, broker_url: str
) -> Iterator[tuple[Site, str]]:
    """Give a site on either engine where every process runs, and where its ledger is."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database_url")
    settings = {"COURSEBELL_BROKER_URL": broker_url, "COURSEBELL_DATABASE_URL": url}
    with site(tmp_path, settings) as here:
        assert here.run("migrate").returncode == 0
        here.start(*PROCESSES)
        wait_until(here.is_ready, "ready")
        yield here, url


def test_processes_of_this_version_share_a_later_ledger_until_it_forbids_them(
    begun: tuple[Site, str], tmp_path: Path
) -> None:
    here, url = begun
    upgrade_beyond(url, tmp_path / "later", oldest_code=newest_revision())
    assert here.is_ready()
    here.restart("worker")
    wait_until(here.is_ready, "ready with a process that started beside the later tables")
    migrated = here.run("migrate")
    assert migrated.returncode == 0
    assert f"revision {LATER}, newer than this version" in migrated.stdout
    assert here.run("status").returncode == 1

    forbid(url)
    answer = here.readiness()
    assert answer is not None
    assert answer.status_code == 503
    assert "install the version that upgraded it" in answer.json()["parts"]["ledger"]
    wait_until(partial(here.has_said, "clock", "clock.ledger-unusable"), "the clock stops waking")
    for words in (("migrate",), ("up",), ("worker",), ("status",)):
        done = here.run(*words, COURSEBELL_LISTEN=f"127.0.0.1:{free_port()}")
        assert done.returncode == 2
        assert "install the version that upgraded it" in done.stderr
        assert "Traceback" not in done.stderr


def forbid(url: str) -> None:
    """Say in a ledger that only later code may run on it, as a second later migration would."""
    engine = open_engine(url)
    with writing(engine) as connection:
        connection.execute(update(revisions).values(oldest_code=LATER))
    engine.dispose()


def test_a_second_up_on_one_data_folder_or_one_file_is_refused_until_the_first_is_gone(
    tmp_path: Path, broker_url: str
) -> None:
    file = tmp_path / "elsewhere" / "ledger.db"
    settings = {
        "COURSEBELL_BROKER_URL": broker_url,
        "COURSEBELL_DATABASE_URL": f"sqlite:///{file}",
    }
    with site(tmp_path, settings) as here:
        here.start("up")
        lock = tmp_path / "var" / "up.lock"
        wait_until(partial(_is_held_by, lock, here.running["up"]), "the first holds the folder")
        wait_until(file.exists, "the ledger made")
        port = {"COURSEBELL_LISTEN": f"127.0.0.1:{free_port()}"}
        for other in ({}, {"COURSEBELL_DATA_DIR": str(tmp_path / "another")}):
            second = here.run("up", **port, **other)
            assert second.returncode == 2
            assert f"(process {here.running['up'].pid}); stop it" in second.stderr
        wait_until(here.answers, "the web server of the first")
        assert "observe: 0 sent" in here.run("status").stdout
        here.running["up"].kill()
        here.running["up"].wait(PATIENCE_S)
        here.start("up")
        wait_until(partial(_is_held_by, lock, here.running["up"]), "the third holds the folder")


def _is_held_by(lock: Path, process: Program) -> bool:
    return lock.exists() and lock.read_text() == f"{process.pid}\n"
