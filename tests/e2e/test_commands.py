"""The command line as a person meets it: `up`, `demo`, wrong settings, nothing left behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import requests

from tests.e2e.house import House, living
from tests.servers.programs import is_alive, wait_until
from workers.broker.running import free_port


@contextlib.contextmanager
def command(
    *words: str, log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("COURSEBELL_")}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "service", *words],
            env={**clean, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)


def test_up_runs_everything_starts_the_dead_again_and_leaves_nothing(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "COURSEBELL_DATA_DIR": str(tmp_path / "var"),
        "COURSEBELL_LISTEN": f"127.0.0.1:{port}",
    }
    log = tmp_path / "up.log"
    with command("up", log=log, environment=environment) as process:
        wait_until(lambda: _ready(port), "ready")
        family = psutil.Process(process.pid).children(recursive=True)
        [worker] = [
            one
            for one in psutil.Process(process.pid).children()
            if "workers.entry" in one.cmdline() or "worker" in one.cmdline()
        ]
        worker.kill()
        wait_until(lambda: "starting again" in log.read_text(), "the worker missed")
        wait_until(lambda: _ready(port), "ready again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    wait_until(lambda: not any(is_alive(one.pid) for one in family), "all of them gone")
    assert "Stopped." in log.read_text()


def test_demo_plays_its_story_and_ctrl_c_stops_every_process(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with command("demo", log=log) as process:
        wait_until(lambda: "Still up" in log.read_text(), "the story told")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 5
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    told = log.read_text()
    for subject in (
        "You're in: Freelance Finance",
        "3 lessons done in Freelance Finance",
        "You finished Freelance Finance",
    ):
        assert told.count(f"Subject: {subject}") == 1
    wait_until(lambda: not any(is_alive(one.pid) for one in family), "all of them gone")


def test_wrong_settings_are_all_named_and_nothing_starts(tmp_path: Path) -> None:
    environment = {
        "COURSEBELL_DATA_DIR": str(tmp_path / "var"),
        "COURSEBELL_DATABASE_URL": "mysql://nobody:hush@example.org/x",
        "COURSEBELL_LISTEN": "somewhere",
        "COURSEBELL_MODUS": "sending",
    }
    for words in (("up",), ("serve",), ("worker",), ("clock",), ("migrate",), ("status",)):
        log = tmp_path / "wrong.log"
        with command(*words, log=log, environment=environment) as process:
            assert process.wait(timeout=60) == 2
        said = log.read_text()
        for name in ("COURSEBELL_DATABASE_URL", "COURSEBELL_LISTEN", "COURSEBELL_MODUS"):
            assert name in said
        assert "hush" not in said
        assert "Traceback" not in said
    assert not (tmp_path / "var").exists()


def test_a_wrong_rules_file_is_named_with_line_and_key(tmp_path: Path) -> None:
    rules = tmp_path / "mine.yaml"
    rules.write_text("version: 1\nrules:\n  - name: welcome\n    evnt: enrolled\n")
    environment = {"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_RULES": str(rules)}
    log = tmp_path / "rules.log"
    with command("up", log=log, environment=environment) as process:
        assert process.wait(timeout=60) == 2
    assert f"{rules}:4:5: rules[0].evnt" in log.read_text()


def test_a_ledger_out_of_reach_ends_with_a_sentence_and_4(tmp_path: Path) -> None:
    environment = {
        "COURSEBELL_DATA_DIR": str(tmp_path),
        "COURSEBELL_DATABASE_URL": f"postgresql://nobody:hush@127.0.0.1:{free_port()}/none",
    }
    log = tmp_path / "out.log"
    with command("status", log=log, environment=environment) as process:
        assert process.wait(timeout=60) == 4
    assert "Traceback" not in log.read_text()
    assert "hush" not in log.read_text()


def test_why_about_a_stranger_says_so_and_status_counts(tmp_path: Path) -> None:
    with living(tmp_path) as house:
        stranger = house.run("why", "nobody@example.org")
        assert stranger.returncode == 1
        assert "Try:" in stranger.stderr
        assert _says(house, "status").startswith("sending: 0 sent")
        assert "set, 20 characters" in _says(house, "config", "show")
        assert _says(house, "tail", "--no-follow") == ""


def _says(house: House, *words: str) -> str:
    done = house.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _ready(port: int) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    return False
