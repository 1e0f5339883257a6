"""Opens the ledger's database and its transactions, the same way for SQLite and PostgreSQL.

PostgreSQL may be behind a pooler that assigns a connection per transaction, so nothing here
outlives a transaction: no prepared statements, session settings or session locks.
SQLite uses WAL, so that readers never wait, and FULL, so that a commit survives a power cut. A
transaction that writes begins as a writer, because a reader cannot become one under load: it fails
with "database is locked" whatever the busy timeout. Open engines after a fork.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    any_,
    bindparam,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ledger.clock import Clock
from ledger.faults import POSTGRESQL, unavailable
from schemas.errors import LedgerUnavailable

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

__all__ = [
    "MANY_AT_ONCE",
    "Connection",
    "Engine",
    "Insert",
    "among",
    "check_writable",
    "chunks",
    "insert_for",
    "insert_into",
    "ledger_file",
    "lock_decisions",
    "open_engine",
    "open_file",
    "reading",
    "repeat_write",
    "writing",
]


Written = TypeVar("Written")

# Limits how long a vanished machine can hold a lock or make others wait; TCP alone allows hours.
# All are client-side settings of libpq: a pooler would refuse settings sent to the server.
_SERVER_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
BUSY_TIMEOUT_MS = 5_000  # how long a SQLite writer waits for another
_ATTEMPT_MS = 3  # in which SQLite makes three attempts to begin a transaction
_TURN = "coursebell_turn"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0  # between two attempts of `repeat_write`


def open_engine(url: str | URL, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Engine:
    """Return an engine for `url`. Creates a SQLite file and its folder, readable by the owner only.

    Raises:
        LedgerUnavailable: the file cannot be created.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        stated = parsed.query.keys()
        patience = {name: s for name, s in _SERVER_PATIENCE.items() if name not in stated}
        # A pooler gives each transaction another connection, which lacks prepared statements.
        arguments: dict[str, Any] = {**patience, "prepare_threshold": None}
        engine = create_engine(parsed, pool_pre_ping=True, pool_size=8, connect_args=arguments)
        event.listen(engine, "begin", _limit_waiting)
        return engine
    if parsed.database:
        _make_private(Path(parsed.database))
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=8,
        connect_args={"timeout": busy_timeout_ms / 1000, "check_same_thread": False},
        execution_options={_TURN: WriteTurn(busy_timeout_ms)},
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def open_file(path: Path) -> Engine:
    """Return an engine for a SQLite file with any path. Raises as `open_engine`."""
    return open_engine(URL.create("sqlite", database=str(path)))


def ledger_file(url: str) -> Path | None:
    """Return the file of a SQLite ledger; None for a ledger on a server."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    return Path(parsed.database).absolute() if is_file and parsed.database else None


def _make_private(path: Path) -> None:
    """Create the file before SQLite does, so that it and its journals are readable by us only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger's file cannot be created ({type(error).__name__})",
            next_step="Check that COURSEBELL_DATA_DIR names a folder this user may write to.",
            needs_person=True,
        ) from None


def _limit_waiting(connection: Connection) -> None:
    """Limit waits in this transaction only; session settings would leak to others in a pool.

    Compiling queries takes longer than the slowest of them, so the server does not do it.
    """
    connection.exec_driver_sql(
        "SELECT set_config('lock_timeout', '20s', true),"
        " set_config('idle_in_transaction_session_timeout', '60s', true),"
        " set_config('jit', 'off', true)"
    )


def _set_pragmas(connection: Any, _: Any) -> None:  # noqa: ANN401 - the driver's own connection
    connection.isolation_level = None  # `_begin` starts transactions, not the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("coursebell_writes", False):
        options[_TURN].begin(connection)
    else:
        connection.exec_driver_sql("BEGIN")


class WriteTurn:
    """Lets one thread of this process at a time begin to write to a SQLite file.

    SQLite has no queue: a writer that has to wait sleeps for up to 100 ms between two attempts, and
    threads that come later overtake it. Here threads wait for each other without sleeping, and
    attempts against other processes are at most 2 ms apart.
    """

    def __init__(self, busy_timeout_ms: int) -> None:
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for the turn. After too long a wait go ahead: SQLite's own error then says why."""
        is_taken = self._lock.acquire(timeout=self._busy_timeout_ms / 1000)
        try:
            yield
        finally:
            if is_taken:
                self._lock.release()

    def begin(self, connection: Connection) -> None:
        """Begin a transaction that writes, waiting for other processes."""
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            raise TypeError("only connections to SQLite take turns")
        driver.execute(f"PRAGMA busy_timeout = {_ATTEMPT_MS}")
        try:
            for _ in range(self._busy_timeout_ms // _ATTEMPT_MS):
                try:
                    driver.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        break
                else:
                    return
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            driver.execute(f"PRAGMA busy_timeout = {self._busy_timeout_ms}")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose changes are committed together at the end, or not at all.

    Raises:
        LedgerUnavailable: the database could not be opened, written or committed.
    """
    turn = engine.get_execution_options().get(_TURN)
    with _translated(), turn.take() if turn else nullcontext(), engine.connect() as bare:
        connection = bare.execution_options(coursebell_writes=True)
        with connection.begin():
            yield connection


def repeat_write(
    write: Callable[[], Written],
    *,
    clock: Clock,
    give_up_at: float,
    on_failure: Callable[[LedgerUnavailable], None],
    only_undone: bool = False,
) -> Written:
    """Call `write` until it succeeds, retrying while the ledger is busy or unreachable.

    `write` is one whole transaction that may be repeated. SQLite itself waits for another writer
    (`BUSY_TIMEOUT_MS`), but not in every case. No attempt begins after `give_up_at`, a time of
    `clock.monotonic`. `on_failure` is called before each retry. With `only_undone`, only failures
    that certainly rolled back are retried.

    Raises:
        LedgerUnavailable: the last attempt failed.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return write()
        except LedgerUnavailable as error:
            is_final = only_undone and not error.is_undone
            if is_final or clock.monotonic() + pause_s > give_up_at:
                raise
            on_failure(error)
        clock.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def check_writable(engine: Engine) -> None:
    """Check that a delivery could be stored, with a transaction that is rolled back.

    Raises:
        LedgerUnavailable: the database cannot be opened, is locked, or accepts no writes.
    """
    with writing(engine) as connection:
        wrong = _unwritable(connection) if connection.dialect.name == "postgresql" else None
        connection.rollback()
    if wrong is not None:
        fault = POSTGRESQL[wrong]
        raise LedgerUnavailable(
            fault.sentence, next_step=fault.next_step, needs_person=fault.needs_person
        )


def _unwritable(connection: Connection) -> str | None:
    """Return the SQLSTATE with which PostgreSQL would refuse to store a delivery, if it would."""
    if connection.scalar(text("SHOW transaction_read_only")) == "on":
        return "25006"
    may_insert = connection.scalar(text("SELECT has_table_privilege('deliveries', 'INSERT')"))
    return None if may_insert else "42501"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a read-only connection with one consistent snapshot.

    Raises:
        LedgerUnavailable: the database could not be opened or read.
    """
    with _translated(), engine.connect() as bare:
        # Every SQLite transaction has one snapshot; PostgreSQL needs REPEATABLE READ.
        on_postgres = bare.dialect.name == "postgresql"
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        connection = bare.execution_options(**options) if on_postgres else bare
        with connection.begin():
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise unavailable(error) from error


def lock_decisions(connection: Connection) -> None:
    """Wait until no other transaction makes decisions; held until this transaction ends.

    On SQLite, writing transactions are exclusive already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0xC0075E})


Insert: TypeAlias = "postgresql.Insert | sqlite.Insert"

_AT_ONCE = 500
MANY_AT_ONCE = 1_000  # values of one list for `among`; with more PostgreSQL reads the whole table


def insert_into(connection: Connection, table: Table) -> Insert:
    """Return an INSERT in the connection's dialect, with `on_conflict_do_update`."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> Insert:
    """Return an INSERT in this dialect, with `on_conflict_do_update`."""
    return _insert_of(dialect)(table)


@cache
def _insert_of(dialect: str) -> "Callable[[Table], Insert]":
    """Return a dialect's `insert`. Only the dialect in use is imported, since each takes long."""
    insert: Callable[[Table], Insert] = resolve_name(f"sqlalchemy.dialects.{dialect}:insert")
    return insert


def chunks(values: Iterable[Any], most: int = _AT_ONCE) -> Iterator[list[Any]]:
    """Yield these values sorted, without repeats, as many at a time as one statement takes."""
    whole = sorted(set(values))
    return (whole[first : first + most] for first in range(0, len(whole), most))


def among(dialect: str, column: Column[Any]) -> ColumnElement[bool]:
    """Return the condition that `column` is in the list given as parameter `these`.

    The list is one parameter, so that a statement has the same text, and the same plan, for a list
    of any length.
    """
    if dialect == "sqlite":
        each = func.json_each(bindparam("these", type_=JSON)).table_valued("value")
        return column.in_(select(each.c.value))
    return column == any_(bindparam("these", type_=ARRAY(column.type)))
