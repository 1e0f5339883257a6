"""Runs the migrations of the ledger's tables. Only what migrates imports this and Alembic.

Each migration states `oldest_code`: the oldest revision whose code may use the tables after it. It
is stored in the table `revisions`, where `ledger.revision` reads it.
"""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from ledger.engine import reading, writing
from ledger.revision import MIGRATIONS, newer_revision_in, newest_revision
from ledger.tables import metadata

_MIGRATION_LOCK = 0xC0DE


def migrate(engine: Engine) -> str:
    """Run missing migrations, all in one transaction; return the ledger's revision.

    Safe to run concurrently: the second process waits and finds nothing to do. A ledger newer than
    this code is left unchanged.

    Raises:
        ConfigurationError: this code must not use the database.
        LedgerUnavailable: the database could not be opened or changed.
    """
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        newer = newer_revision_in(connection)
        if newer is not None:
            return newer
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest_revision()


def differences(engine: Engine) -> list[object]:
    """Return the differences between the database and `ledger.tables`."""
    with reading(engine) as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
