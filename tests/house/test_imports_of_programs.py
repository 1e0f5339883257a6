"""Each program imports only the libraries that it uses, since importing takes most of its start.

Each case starts a new interpreter and reads its list of modules.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source_tree import ROOT

COMMAND = "import sys, service.__main__ as program; sys.argv[0] = 'coursebell'; program.main()"
REPORT = (
    "import atexit, json, os, sys;"
    "atexit.register(lambda: os.write({}, json.dumps(sorted(sys.modules)).encode()));"
)

PROGRAMS = ("service.rsgi", "workers.entry")
# Libraries by program; the words are a command's, which with --help only imports its module.
NOT_IMPORTED = {
    "--help": ("alembic", "celery", "flask", "marshmallow", "redis", "sqlalchemy", "structlog"),
    "status --help": ("alembic", "celery", "flask", "kombu", "limits", "pyotp"),
    "scheduler --help": ("alembic", "flask", "granian", "jinja2", "limits", "requests"),
    "serve --help": ("alembic", "celery", "kombu", "limits", "pyotp", "redis"),
    "worker --help": ("alembic", "celery", "flask", "granian", "kombu", "limits", "redis"),
    "up --help": ("celery", "flask", "granian", "kombu", "limits", "redis"),
}


def modules_of(code: str, *words: str, folder: Path) -> set[str]:
    """Run this code in a new interpreter and return the names of all that it has imported."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as report:  # noqa: PTH123 - a number
        try:
            subprocess.run(
                [sys.executable, "-P", "-c", REPORT.format(write_end) + code, *words],
                cwd=ROOT,
                env={**os.environ, "COURSEBELL_DATA_DIR": str(folder)},
                pass_fds=[write_end],
                stdout=subprocess.DEVNULL,
                check=True,
            )
        finally:
            os.close(write_end)
        return set(json.load(report))


@pytest.mark.parametrize("words", NOT_IMPORTED)
def test_a_command_imports_no_library_that_it_does_not_use(words: str, tmp_path: Path) -> None:
    found = modules_of(COMMAND, *words.split(), folder=tmp_path)
    assert "service.cli.main" in found
    assert found & set(NOT_IMPORTED[words]) == set()


def test_the_programs_that_stay_import_no_alembic_and_workers_no_web_server(tmp_path: Path) -> None:
    web, worker = (modules_of(f"import {name}", folder=tmp_path) for name in PROGRAMS)
    assert {"flask", "celery"} <= web
    assert web.isdisjoint({"alembic", "limits", "pyotp"})
    assert {"celery", "limits"} <= worker
    assert worker.isdisjoint({"alembic", "flask", "granian"})
