"""Commands on terminals that cannot show everything, and with standard streams that are away."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from ledger.engine import open_engine, writing
from ledger.people import accept_person
from schemas.records import Coworker
from tests.contract.ledger_rig import NOW
from tests.servers.programs import wait_until
from tests.servers.ready_ledgers import sqlite_copy
from workers.local.server import free_port

NAME = "José 学 🎓"
Said = subprocess.CompletedProcess[bytes]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Lead to a ledger with one person, on a machine without a locale."""
    folder = tmp_path_factory.mktemp("terminal")
    engine = open_engine(sqlite_copy(folder / "coursebell.db"))
    with writing(engine) as connection:
        person = Coworker(7, NOW, None, NAME, None, email="jose@example.org")
        accept_person(connection, person, NOW)
    engine.dispose()
    prefixes = ("COURSEBELL_", "PYTHON", "LC_", "LANG")
    clean = {name: text for name, text in os.environ.items() if not name.startswith(prefixes)}
    return clean | {"COURSEBELL_DATA_DIR": str(folder)}


def run(environment: dict[str, str], *words: str | bytes, redirect: str = "", **more: str) -> Said:
    """Run a command; `redirect` is what a shell makes of its streams."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "service", *words],
        env=environment | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", NAME),
        ("cp1252", "José ? ?"),
        ("gbk", "José 学 ?"),
        ("ascii", "Jos? ? ?"),
    ],
)
def test_characters_that_a_terminal_cannot_show_are_substituted(
    environment: dict[str, str], encoding: str, shown: str
) -> None:
    done = run(environment, "why", "7", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding).splitlines()[0] == f"{shown}  j***@example.org"


@pytest.mark.parametrize("encoding", ["gbk", "ascii"])
def test_json_means_the_same_in_every_encoding(environment: dict[str, str], encoding: str) -> None:
    done = run(environment, "why", "7", "--json", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert json.loads(done.stdout.decode("ascii"))[0]["name"] == NAME


def test_an_argument_in_utf_8_is_understood_where_python_takes_the_terminal_for_ascii(
    environment: dict[str, str],
) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(environment, "why", "josé", **ascii_only)
    assert (done.returncode, done.stdout[:9]) == (0, b"Jos? ? ? ")


def test_an_argument_that_is_no_text_is_wrong_usage(environment: dict[str, str]) -> None:
    done = run(environment, "why", b"Jos\xe9")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"not UTF-8 text" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "redirect", "code", "said"),
    [
        ("why 7", ">&-", 4, "Bad file descriptor"),
        ("why 7 --json", ">/dev/full", 4, "No space left on device"),
        ("--help", ">&-", 4, "Bad file descriptor"),
        ("why nobody", "2>/dev/full", 1, ""),
        ("why nobody", "2>&-", 1, ""),
        ("mode sometimes", "2>/dev/full", 2, ""),
        ("why 7", ">&- 2>&- <&-", 4, ""),
        ("hooks enable 7", "<&-", 3, "needs --yes"),
        ("login --code 123456", "<&-", 2, "COURSEBELL_NEXUDUS_PASSWORD"),
    ],
)
def test_a_stream_that_is_closed_or_full_ends_in_a_code_and_no_traceback(
    environment: dict[str, str], words: str, redirect: str, code: int, said: str
) -> None:
    named = {"COURSEBELL_NEXUDUS_USERNAME": "api@example.org"}
    done = run(environment, *words.split(), redirect=redirect, **named)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert said.encode() in done.stderr


def test_wrong_settings_are_2_also_where_the_sentence_cannot_be_written(
    environment: dict[str, str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as unread:
        done = subprocess.run(
            [sys.executable, "-m", "service", "status"],
            env=environment | {"COURSEBELL_MODE": "sometimes"},
            stderr=unread,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2


def test_a_service_whose_log_cannot_be_written_serves_without_a_traceback(
    environment: dict[str, str], tmp_path: Path
) -> None:
    errors, port = tmp_path / "errors", free_port()
    with Path("/dev/full").open("wb") as full, errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            env=environment | {"COURSEBELL_LISTEN": f"127.0.0.1:{port}"},
            stdout=full,
            stderr=file,
        )
        try:
            wait_until(lambda: _answers(port), "the receiver up")
        finally:
            process.terminate()
            process.wait(timeout=60)
    assert errors.read_text() == ""


def _answers(port: int) -> bool:
    with suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    return False
