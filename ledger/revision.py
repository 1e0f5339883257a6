"""Which revision the ledger's tables have, and whether this code may use them.

Each migration states `oldest_code`: the oldest revision whose code may use the tables after it. It
is stored in the table `revisions`, where older code can read it. So processes of two versions can
share a ledger during an upgrade, or the older ones are refused.

Every process checks the revision. Alembic takes long to import and only migrates, so what it stores
is read without it.
"""

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, column, func, inspect, select, table

from ledger.clock import Clock
from ledger.controls import MOVED_AT, value_of
from ledger.engine import reading
from ledger.tables import lookups, revisions
from schemas.errors import ConfigurationError, LedgerNotReady

MIGRATIONS = Path(__file__).parent / "migrations"  # Alembic's folder
_STORED = table("alembic_version", column("version_num"))  # Alembic's table
_WATCH_EVERY_S = 5.0
_OURS = re.compile(r"\d{4}")
_FOREIGN = (
    "COURSEBELL_DATABASE_URL: the database holds the tables of another program; "
    "give Coursebell a database of its own"
)


@cache
def newest_revision() -> str:
    """Return the revision that this version needs: the number of the newest migration."""
    return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def current_revision(engine: Engine) -> str | None:
    """Return the database's revision; None for an empty one.

    Raises:
        ConfigurationError: the database belongs to another program.
    """
    with reading(engine) as connection:
        return _revision_in(connection)


def has_only_other_tables(engine: Engine) -> bool:
    """Return whether the database has tables but no ledger."""
    with reading(engine) as connection:
        names = inspect(connection).get_table_names()
    return bool(names) and lookups.name not in names


def check_revision(engine: Engine) -> None:
    """Check that this code may use the ledger as it is now.

    Raises:
        LedgerNotReady: tables are missing or older; `migrate` is needed.
        ConfigurationError: the ledger needs newer code, or belongs to another program.
        LedgerUnavailable: the database could not be read.
    """
    with reading(engine) as connection:
        revision = _revision_in(connection)
        if revision is not None:
            _check_not_moved(connection)
        if revision is None:
            raise LedgerNotReady(
                "COURSEBELL_DATABASE_URL: the database holds no ledger yet; "
                "run `coursebell migrate`"
            )
        if revision < newest_revision():
            raise LedgerNotReady(
                f"COURSEBELL_DATABASE_URL: the ledger is at revision {revision} and this version "
                f"needs {newest_revision()}; make a backup, then run `coursebell migrate`"
            )
        if revision > newest_revision():
            _check_newer(connection, revision)


def usable_revision_in(connection: Connection) -> str | None:
    """Return the ledger's revision if this code can use it; None if it must be migrated first.

    Raises:
        ConfigurationError: this code must not use the database.
    """
    revision = _revision_in(connection)
    if revision is None:
        return None
    _check_not_moved(connection)
    if revision < newest_revision():
        return None
    if revision > newest_revision():
        _check_newer(connection, revision)
    return revision


class RevisionWatch:
    """Checks regularly, while a process runs, that its code may still use the ledger."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._next = 0.0

    def check(self) -> None:
        """Check again if the last check that passed is some seconds old.

        Raises as `check_revision`.
        """
        if self._clock.monotonic() >= self._next:
            check_revision(self._engine)
            self._next = self._clock.monotonic() + _WATCH_EVERY_S


# Which of these tables exist: asked with one statement, since every health check asks it.
_NAMES = f"'{_STORED.name}', '{lookups.name}'"
_THERE = {
    "sqlite": f"SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ({_NAMES})",  # noqa: S608 - our own names
    "postgresql": (
        f"SELECT relname FROM pg_class WHERE relname IN ({_NAMES})"  # noqa: S608 - our own names
        " AND relkind IN ('r', 'p') AND pg_table_is_visible(oid)"
    ),
}


def _revision_in(connection: Connection) -> str | None:
    there = set(connection.exec_driver_sql(_THERE[connection.dialect.name]).scalars())
    if _STORED.name not in there:
        return None
    found = connection.scalars(select(_STORED.c.version_num)).all()
    if not found:
        return None
    is_ours = len(found) == 1 and _OURS.fullmatch(found[0])
    if not is_ours or lookups.name not in there:
        raise ConfigurationError([_FOREIGN])
    return str(found[0])


def _check_newer(connection: Connection, revision: str) -> None:
    if not inspect(connection).has_table(revisions.name):
        raise ConfigurationError([_FOREIGN])
    oldest_code = connection.scalar(select(func.max(revisions.c.oldest_code)))
    if oldest_code is None or oldest_code > newest_revision():
        raise ConfigurationError(
            [
                (
                    f"COURSEBELL_DATABASE_URL: the ledger is at revision {revision}, which this "
                    f"version of Coursebell ({newest_revision()}) must not use; install the "
                    "version that upgraded it, or a newer one"
                )
            ]
        )


def _check_not_moved(connection: Connection) -> None:
    moved_at = value_of(connection, MOVED_AT)
    if moved_at is not None:
        raise ConfigurationError(
            [
                (
                    f"COURSEBELL_DATABASE_URL: this ledger was moved to PostgreSQL on "
                    f"{moved_at[:16].replace('T', ' ')} UTC; set COURSEBELL_DATABASE_URL to that "
                    "database. To use this file again instead: `coursebell restore` with its path"
                )
            ]
        )
