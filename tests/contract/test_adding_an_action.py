"""Following docs/adding-an-action.md gives a kind of action that works and can be shown."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.records import NOON
from tests.contract.ledger_rig import ROOT

PAGE = (ROOT / "docs" / "adding-an-action.md").read_text(encoding="utf-8")
STEP = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`(workers/[\w./]+\.py)`")

# A start of the interpreter takes longer than any command.
IN_ONE_PROCESS = """
import json, sys
from click.testing import CliRunner
from service.cli.main import commands

run = CliRunner()
done = [run.invoke(commands, words.split(), catch_exceptions=False) for words in sys.argv[1:]]
assert [one.exit_code for one in done] == [0] * len(done), [one.output for one in done]
print(json.dumps([one.stdout for one in done]))
"""


def apply_change(file: Path, change: str) -> None:
    """Insert the added lines of a change, each behind the line that stands above it."""
    text, above = file.read_text(encoding="utf-8"), ""
    for line in change.splitlines():
        if line.startswith("+"):
            assert text.count(f"{above}\n") == 1, above
            text = text.replace(f"{above}\n", f"{above}\n{line[1:]}\n")
        above = line[1:]
    file.write_text(text, encoding="utf-8")


def follow_page(tree: Path) -> None:
    """Do in a copy of the project what the page says about a new kind."""
    for _, step in STEP.findall(PAGE.partition("## A new kind")[2]):
        for language, indented in BLOCK.findall(step):
            block = textwrap.dedent(indented)
            if language == "yaml":
                (tree / "my-rules.yaml").write_text(block, encoding="utf-8")
                continue
            file = tree / NAMED.findall(step)[-1 if language == "python" else 0]
            if language == "diff":
                apply_change(file, block)
            else:
                file.parent.mkdir(exist_ok=True)
                file.write_text(block, encoding="utf-8")


@dataclass
class Extended:
    """A copy of the project with the new kind."""

    tree: Path

    def python(self, *words: str) -> str:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TZ") if name in os.environ},
            "PYTHONPATH": f"{self.tree}:{ROOT}",
            "COURSEBELL_DATA_DIR": str(self.tree / "data"),
            "COURSEBELL_RULES": str(self.tree / "my-rules.yaml"),
        }
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.tree,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def printed(self, *commands: str) -> list[str]:
        """Return what each of these commands prints."""
        found: list[str] = json.loads(self.python("-c", IN_ONE_PROCESS, *commands))
        return found


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    tree = tmp_path_factory.mktemp("tree")
    for package in ("service", "workers", "ledger", "schemas"):
        shutil.copytree(
            ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tree / "data").mkdir()
    follow_page(tree)
    found = Extended(tree)
    found.python("-m", "tests.contract.logbook_program")
    return found


def test_the_new_kind_is_performed_once_and_its_receipt_and_title_are_shown(
    extended: Extended,
) -> None:
    title = "lesson_completed in Freelance Finance by Person 1"
    line = f"{NOON:%Y-%m-%d %H:%M} {title}\n"
    assert (extended.tree / "data" / "logbook.txt").read_text(encoding="utf-8") == line
    as_json, shown, why = extended.printed("show 1 --json", "show 1", "why 1")
    found: dict[str, Any] = json.loads(as_json)
    assert (found["state"], found["reason"], found["rule"]) == ("done", None, "log-lesson")
    assert found["detail"] == f"{len(line)} bytes appended"
    assert found["logbook"]["to"] is None
    assert found["logbook"]["text"] == line
    assert shown.startswith("Logbook:    1\nState:      Sent\n")
    assert f"\nTitle:      {title}\n" in shown
    assert "\nType:       text/plain\n\n" in shown
    assert "To:" not in shown
    assert shown.endswith(f" {title}\n")
    assert title in why
