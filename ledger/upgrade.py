"""Runs the migrations with Alembic, and compares the database with `ledger.tables`."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine

from ledger.engine import reading
from ledger.revision import MIGRATIONS
from ledger.tables import metadata


def upgrade(connection: Connection) -> None:
    """Run all missing migrations in the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def differences(engine: Engine) -> list[object]:
    """Return the differences between the database and `ledger.tables`."""
    with reading(engine) as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))
