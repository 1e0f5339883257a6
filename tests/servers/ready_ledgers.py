"""Ledgers whose tables were made once, then copied or emptied: making them takes much longer.

That a copy is what a migration makes is held by tests/contract/test_migrations.py, which migrate.
"""

import atexit
import functools
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Dialect, event

from ledger.engine import Engine, open_engine
from ledger.migrate import migrate
from ledger.tables import metadata
from tests.servers.postgres import Databases, address

# Tables whose rows refer to others come first; triggers of them write to the last.
_LAST = ("tallies", "alembic_version")
_TABLES = [str(table.name) for table in reversed(metadata.sorted_tables)]
_TABLES = [*(name for name in _TABLES if name not in _LAST), *_LAST]
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"
_END_WAIT_S = 10.0
_DIALECTS: dict[str, Dialect] = {}  # by name; a compiled statement is found by its dialect
_COMPILED: dict[Any, Any] = {}
# All that a test may alter but rows, and what the planner knows of their number.
_SHAPE = r"""
    SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
      SELECT concat_ws(' ', oid, xmin, reltuples) FROM pg_class
       WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT concat_ws(' ', attrelid, attnum, a.xmin)
        FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
       WHERE relnamespace = 'public'::regnamespace
      UNION ALL SELECT concat_ws(' ', 'constraint', oid, xmin) FROM pg_constraint
      UNION ALL SELECT concat_ws(' ', 'trigger', oid, xmin) FROM pg_trigger
      UNION ALL SELECT concat_ws(' ', 'function', oid, xmin) FROM pg_proc
       WHERE pronamespace = 'public'::regnamespace
      UNION ALL SELECT concat_ws(' ', 'schema', oid, xmin) FROM pg_namespace
       WHERE nspname NOT LIKE 'pg\_%'
      UNION ALL SELECT concat_ws(' ', 'database', xmin) FROM pg_database
       WHERE datname = current_database()
      UNION ALL SELECT concat_ws(' ', 'setting', xmin, setrole) FROM pg_db_role_setting
       WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ) AS lines (line)
"""
_OTHERS = """
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
     AND backend_type = 'client backend'
"""


def migrated(url: str) -> str:
    """Make the tables of a database, and return where it is."""
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


def sqlite_copy(path: Path) -> str:
    """Put a migrated ledger at that path, and return where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_migrated_file(), path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@functools.cache
def _migrated_file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="coursebell-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrated(f"sqlite:///{folder / 'ledger.db'}")
    return folder / "ledger.db"


def quick_engine(url: str) -> Engine:
    """Open a ledger for a test that is not about compiled statements or power cuts."""
    engine = open_engine(url)
    make_quick(engine)
    return engine


def make_quick(engine: Engine) -> None:
    """Let an engine wait for no disk, and compile no statement that another one has compiled."""
    engine.dialect = _DIALECTS.setdefault(engine.dialect.name, engine.dialect)
    engine.update_execution_options(compiled_cache=_COMPILED)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _wait_for_no_disk)


def _wait_for_no_disk(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
    connection.execute("PRAGMA synchronous = OFF")


@dataclass(frozen=True, slots=True)
class _Database:
    """A migrated database, a connection to empty it, and how it was when it was made."""

    name: str
    url: str
    connection: psycopg.Connection
    shape: object
    restore: bytes  # the statements that give it the rows which it had


class ReadyPostgres:
    """Lends migrated databases, and empties each for the next test.

    Emptying one takes a few milliseconds, making one sixty. If a test altered tables, rights or
    settings of a database, it is dropped.
    """

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._template, url = databases.create()
        migrated(url)
        self._free: list[_Database] = []

    def close(self) -> None:
        """Drop all that were made."""
        for one in self._free:
            self._drop(one)
        self._databases.drop(self._template)

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Lead to a migrated ledger that the caller has for itself meanwhile."""
        one = self._free.pop() if self._free else self._make()
        yield one.url
        try:
            is_empty = _emptied(one)
        except psycopg.Error:
            is_empty = False
        if is_empty:
            self._free.append(one)
        else:
            self._drop(one)

    def _make(self) -> _Database:
        name, url = self._databases.create(self._template)
        connection = psycopg.connect(address(url), autocommit=True)
        connection.execute("SET lock_timeout = '10s'")
        return _Database(name, url, connection, _shape(connection), _restoring(connection))

    def _drop(self, one: _Database) -> None:
        one.connection.close()
        self._databases.drop(one.name)


def _emptied(database: _Database) -> bool:
    """Give a database the rows it had when it was made; False if it was altered, or is in use."""
    connection = database.connection
    connection.execute(f"SELECT pg_terminate_backend(pid) {_OTHERS}")
    give_up_at = time.monotonic() + _END_WAIT_S
    while connection.execute(f"SELECT 1 {_OTHERS}").fetchone():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    if _shape(connection) != database.shape:
        return False
    connection.execute(database.restore)
    return True


def _shape(connection: psycopg.Connection) -> object:
    return connection.execute(_SHAPE).fetchone()


def _restoring(connection: psycopg.Connection) -> bytes:
    """Return statements that give the database the rows it has now, in one transaction."""
    deletes, inserts, resets = [], [], []
    for table in _TABLES:
        name = sql.Identifier(table)
        deletes.append(sql.SQL("DELETE FROM {}").format(name))
        [rows] = _one(connection, sql.SQL("SELECT json_agg(t)::text FROM {} t").format(name))
        if rows:
            insert = "INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, {1})"
            inserts.append(sql.SQL(insert).format(name, sql.Literal(rows)))
    for (sequence,) in connection.execute(_SEQUENCES).fetchall():
        name = sql.Identifier(sequence)
        now = sql.SQL("SELECT last_value, is_called FROM {}").format(name)
        reset = sql.SQL("SELECT setval({}, {}, {})")
        resets.append(reset.format(sequence, *_one(connection, now)))
    return sql.SQL("; ").join((*deletes, *reversed(inserts), *resets)).as_bytes(connection)


def _one(connection: psycopg.Connection, statement: sql.Composed) -> tuple[Any, ...]:
    found = connection.execute(statement).fetchone()
    assert found is not None
    return found
