"""The tables are those the code speaks of, on both engines, and the wheel can make them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from ledger.engine import Engine, open_engine, writing
from ledger.migrate import migrate
from ledger.revision import current_revision, newest_revision
from ledger.upgrade import differences
from tests.contract.ledger_rig import ROOT, arrival, at_once, keep, processes_at_once


def test_migrating_brings_an_empty_database_to_the_newest_revision(
    empty_database_url: str,
) -> None:
    engine = open_engine(empty_database_url)
    assert current_revision(engine) is None
    assert migrate(engine) == newest_revision() != ""
    assert current_revision(engine) == newest_revision()
    engine.dispose()


def test_migrating_again_changes_nothing(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    assert migrate(ledger_engine) == current_revision(ledger_engine)
    with writing(ledger_engine) as connection:
        assert connection.scalar(text("SELECT count(*) FROM lookups")) == 1


def test_the_migrated_tables_are_those_of_the_code(ledger_engine: Engine) -> None:
    assert differences(ledger_engine) == []


def test_a_missing_column_is_a_difference(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        connection.execute(text("ALTER TABLE lookups DROP COLUMN last_error"))
    assert differences(ledger_engine) != []


def test_a_trigger_that_a_replaced_table_lost_is_a_difference(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        operations = Operations(MigrationContext.configure(connection))
        if connection.dialect.name == "sqlite":  # the table is copied, and the old one dropped
            with operations.batch_alter_table("lookups", recreate="always"):
                pass
        else:
            operations.execute("DROP TRIGGER tally_lookups_insert ON lookups")
    assert ("lookups", "tally_lookups_insert") in differences(ledger_engine)


def test_processes_that_migrate_at_once_make_the_tables_once(empty_database_url: str) -> None:
    processes_at_once(3, "tests.contract.ledger_program", empty_database_url, "migrate")
    engine = open_engine(empty_database_url)
    assert current_revision(engine) == newest_revision()
    assert differences(engine) == []
    engine.dispose()


def test_many_can_open_a_new_file_at_once(tmp_path: Path) -> None:
    def open_and_write(_: int) -> None:
        engine = open_engine(f"sqlite:///{tmp_path / 'new' / 'ledger.db'}")
        with writing(engine) as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS one (id integer)"))
        engine.dispose()

    at_once(8, open_and_write)


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def tracked(*patterns: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file()
    }


@pytest.mark.parametrize(
    "pattern",
    [
        "ledger/migrations/versions/*.py",
        "ledger/migrations/env.py",
        "workers/actions/email/*.html",
        "workers/locales/**/*.po",
        "sandbox/templates/**/*",
        "sandbox/static/**/*",
        "sandbox/world.yaml",
        "service/cli/demo-*.yaml",
        "service/pages/*.html",
        "service/pages/*.css",
    ],
)
def test_the_wheel_has_the_files_that_the_program_reads(
    wheel_names: list[str], pattern: str
) -> None:
    wanted = tracked(pattern)
    assert wanted
    assert wanted <= set(wheel_names)


def test_the_wheel_has_the_rules_and_no_tests(wheel_names: list[str]) -> None:
    assert "schemas/rules.yaml" in wheel_names
    assert not [name for name in wheel_names if name.startswith(("tests/", "docs/", ".ci/"))]
