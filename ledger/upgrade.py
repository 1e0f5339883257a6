"""Runs the migrations with Alembic, and compares the database with `ledger.tables`."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine

from ledger.engine import reading
from ledger.revision import MIGRATIONS
from ledger.tables import metadata
from ledger.tallies import missing_triggers


def upgrade(connection: Connection) -> None:
    """Run all missing migrations in the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def differences(engine: Engine) -> list[object]:
    """Return the differences between the database and `ledger.tables`, and missing triggers.

    Alembic does not know triggers, and SQLite drops those of a table that a batch migration
    replaces.
    """
    with reading(engine) as connection:
        found: list[object] = list(
            compare_metadata(MigrationContext.configure(connection), metadata)
        )
        return [*found, *sorted(missing_triggers(connection))]
