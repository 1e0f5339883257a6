"""Brings the ledger's tables to the shape this version needs. Safe to run at any time."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from ledger.engine import reading, writing
from ledger.tables import metadata

_MIGRATION_LOCK = 0xC0DE


def migrate(engine: Engine) -> str:
    """Run the revisions that are missing, all in one transaction; return the newest one's name.

    Two processes may do so at once: the second waits and finds nothing left.

    Raises:
        LedgerUnavailable: the database could not be opened or changed.
    """
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest_revision()


@cache
def newest_revision() -> str:
    """Return the revision this version of the code needs; the files are read once."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current_revision(engine: Engine) -> str | None:
    """Return the revision the database is at; None for an empty one."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(engine: Engine) -> list[object]:
    """Return what the database has that `ledger.tables` has not, and the other way round."""
    with reading(engine) as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
