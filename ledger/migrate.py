"""Makes the ledger's tables, or brings them up to date. Alembic is imported only if it has work.

Each migration states `oldest_code`: the oldest revision whose code may use the tables after it. It
is stored in the table `revisions`, where `ledger.revision` reads it.
"""

from pkgutil import resolve_name

from sqlalchemy import Engine, text

from ledger.engine import writing
from ledger.revision import newest_revision, usable_revision_in

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
        usable = usable_revision_in(connection)
        if usable is not None:
            return usable
        resolve_name("ledger.upgrade:upgrade")(connection)
    return newest_revision()
