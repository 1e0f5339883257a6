"""Each program imports only the libraries that it uses, since importing takes most of its start.

Each case starts a new interpreter and reads its list of modules. Commands that may not import the
same run in one, since starting it takes longest.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source_tree import ROOT
from tests.servers.ready_ledgers import sqlite_copy

COMMANDS = """
import sys, service.__main__ as program
for words in sys.argv[1:]:
    sys.argv = ["coursebell", *words.split()]
    try:
        program.main()
    except SystemExit:
        pass
"""
REPORT = (
    "import atexit, json, os, sys;"
    "atexit.register(lambda: os.write({}, json.dumps(sorted(sys.modules)).encode()));"
)

POSTGRESQL = "sqlalchemy.dialects.postgresql"
OF_WORKERS = ("babel", "jinja2", "limits", "pyotp", "requests")  # to read records and to send
# What no program needs but `coursebell migrate`, and a web server or a broker's client.
NEITHER = ("alembic", "flask", "granian", "celery", "kombu", "redis", POSTGRESQL)
# Libraries by commands; one with --help only imports its module.
NOT_IMPORTED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("--help",): ("alembic", "celery", "flask", "marshmallow", "redis", "sqlalchemy", "structlog"),
    ("status",): (*NEITHER, *OF_WORKERS, "structlog", "smtplib"),
    ("config show", "up --help"): (*NEITHER, *OF_WORKERS, "structlog"),
    ("mode", "why 1", "held", "doctor --help"): (*NEITHER[:5], POSTGRESQL),
    ("scheduler --help",): ("alembic", "flask", "granian", *OF_WORKERS, POSTGRESQL),
    ("serve --help",): ("alembic", "celery", "kombu", "redis", *OF_WORKERS, POSTGRESQL),
    ("worker --help",): ("alembic", "flask", "granian", POSTGRESQL),
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
                stderr=subprocess.DEVNULL,
                check=False,
            )
        finally:
            os.close(write_end)
        return set(json.load(report))


@pytest.mark.parametrize("lines", NOT_IMPORTED, ids=" and ".join)
def test_a_command_imports_no_library_that_it_does_not_use(
    lines: tuple[str, ...], tmp_path: Path
) -> None:
    sqlite_copy(tmp_path / "coursebell.db")
    found = modules_of(COMMANDS, *lines, folder=tmp_path)
    ran = {f"service.cli.{line.split()[0]}" for line in lines} - {"service.cli.--help"}
    assert {"service.cli.main", *ran} <= found
    assert found & set(NOT_IMPORTED[lines]) == set()


def test_the_web_program_imports_nothing_that_reads_records_or_sends(tmp_path: Path) -> None:
    web = modules_of("import service.rsgi", folder=tmp_path)
    assert {"flask", "celery"} <= web
    assert web.isdisjoint({"alembic", POSTGRESQL, *OF_WORKERS} - {"jinja2"})  # Flask imports it


def test_workers_have_imported_everything_before_they_fork(tmp_path: Path) -> None:
    """What a child imported would be imported once for each child, and held in memory as often."""
    code = (
        "import sys, service.cli.worker, workers.context as context\n"
        "from schemas.settings import load_settings\n"
        "settings = load_settings({'COURSEBELL_DATA_DIR': sys.argv[1]})\n"
        "shared = context.read_shared_config(settings)\n"
        "before = set(sys.modules)\n"
        "context.make_context(settings, shared).close()\n"
        "sys.modules = {name: None for name in set(sys.modules) - before}\n"
    )
    sqlite_copy(tmp_path / "coursebell.db")
    late = modules_of(code, str(tmp_path), folder=tmp_path)
    assert {name for name in late if name.startswith(("workers.", "service.", "ledger."))} == set()
