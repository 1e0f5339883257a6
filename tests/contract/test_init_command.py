"""`coursebell init` as a process: the file it writes, and the files it does not replace."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from schemas.settings import SETTINGS
from tests.servers import forking
from workers.environment import load

FRESH = ["COURSEBELL_HOOK_SECRETS", "COURSEBELL_RELAY_TOKENS", "COURSEBELL_SECRET_KEY"]


def run_init(
    *words: str, folder: Path, environment: dict[str, str] | None = None, stdin: int | None = None
) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("COURSEBELL_")}
    return forking.run(
        "service",
        "init",
        *words,
        cwd=folder,
        env={**clean, **(environment or {})},
        stdin=stdin,
        timeout=60,
    )


def assignments(text: str) -> dict[str, str]:
    """Read the lines of a settings file, every value of which stands in single quotes."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(line.endswith("'") for line in lines)
    return {name: value[:-1] for name, _, value in (line.partition("='") for line in lines)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    done = run_init("settings with space", folder=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    path = folder / "settings with space"
    assert ". './settings with space'" in done.stderr
    assert not any(
        value in done.stderr for value in assignments(path.read_text(encoding="utf-8")).values()
    )
    return path


def test_the_file_has_every_setting_and_fresh_secrets(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert set(re.findall(r"^#?(COURSEBELL_\w+)=", text, re.MULTILINE)) == {
        doc.name for doc in SETTINGS
    }
    found = assignments(text)
    assert sorted(found) == FRESH
    assert len(set(found.values())) == len(FRESH)
    assert all(len(value) >= 43 for value in found.values())
    assert load(found).relay_tokens == (found["COURSEBELL_RELAY_TOKENS"],)


def test_only_its_owner_can_read_the_file(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_an_existing_file_is_kept_without_a_terminal(written: Path) -> None:
    before = written.read_bytes()
    done = run_init(written.name, folder=written.parent)
    assert done.returncode == 3
    assert "coursebell init --yes 'settings with space'" in done.stderr
    assert written.read_bytes() == before


def test_an_existing_file_is_replaced_only_after_confirmation(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("COURSEBELL_ZONE=Europe/London\n", encoding="utf-8")
    terminal, stdin = pty.openpty()
    os.write(terminal, b"n\n")
    done = run_init("env", folder=tmp_path, stdin=stdin)
    os.close(stdin)
    os.close(terminal)
    assert "Replace it?" in done.stderr
    assert done.returncode == 1
    assert path.read_text(encoding="utf-8") == "COURSEBELL_ZONE=Europe/London\n"


def test_with_yes_a_file_is_replaced_and_is_private_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.touch(mode=0o644)
    assert run_init("--yes", "env", folder=tmp_path).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(assignments(path.read_text(encoding="utf-8"))) == FRESH


def test_settings_of_the_environment_are_copied_unless_they_have_a_quote(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-ours")
    environment = {
        "COURSEBELL_DATA_DIR": "/var/lib/coursebell",
        "COURSEBELL_MAIL_FROM": "Harbour Works <courses@example.org>",
        "COURSEBELL_RELAY_TOKENS_FILE": str(token),
        "COURSEBELL_NEXUDUS_PASSWORD": "it's $ecret",
    }
    done = run_init("--compose", "-", folder=tmp_path, environment=environment)
    found = assignments(done.stdout)
    # What Compose puts into the database's address needs no percent-encoding.
    assert re.fullmatch(r"[\w-]{43}", found["POSTGRES_PASSWORD"])
    assert found["COURSEBELL_DATA_DIR"] == "/var/lib/coursebell"
    assert found["COURSEBELL_MAIL_FROM"] == environment["COURSEBELL_MAIL_FROM"]
    assert found["COURSEBELL_RELAY_TOKENS_FILE"] == str(token)
    assert not {"COURSEBELL_RELAY_TOKENS", "COURSEBELL_NEXUDUS_PASSWORD"} & found.keys()
    assert "a line break: COURSEBELL_NEXUDUS_PASSWORD." in done.stderr
    assert "ecret" not in done.stderr.replace("secret", "")
    assert list(tmp_path.iterdir()) == [token]


@pytest.mark.parametrize("where", ["missing/env", "."])
def test_a_path_that_cannot_be_written_is_reported_in_a_sentence(
    tmp_path: Path, where: str
) -> None:
    done = run_init(where, folder=tmp_path)
    assert done.returncode == 2
    assert where in done.stderr
    assert "Traceback" not in done.stderr
