"""Backs up, verifies, restores and moves ledgers.

A backup is a SQLite file whatever the engine: `VACUUM INTO` for SQLite, a copy of all rows for
PostgreSQL. A restore works on a staged copy, so that the ledger in use is replaced in one step.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import JSON, Connection, MetaData, delete, func, insert, select, text

from ledger.controls import (
    BACKED_UP_AT,
    MOVED_AT,
    REMEMBERED_SINCE,
    SECRET_KEY,
    client_id_of,
    delete_values,
    set_value,
    value_of,
)
from ledger.engine import Engine, open_file, reading, writing
from ledger.heartbeats import Gap, known_until, open_gap, parse_stored_time
from ledger.migrate import migrate
from ledger.revision import current_revision, newest_revision
from ledger.tables import (
    actions,
    heartbeats,
    leases,
    metadata,
    operator_links,
    operator_sessions,
    people,
    tallies,
)
from schemas.actions import ActionState
from schemas.errors import BackupUnusable, LedgerUnavailable

_LOG = "control_log"
_AT_ONCE = 1_000  # rows in memory at the same time


def _exact_tables() -> MetaData:
    """Return our tables, with None in a JSON column stored as NULL, as it is when left out."""
    exact = MetaData()
    for table in metadata.sorted_tables:
        for column in table.to_metadata(exact).columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    return exact


_EXACT = _exact_tables()
# Triggers of the copy keep its tallies.
_TABLES = [table for table in _EXACT.sorted_tables if table.name != tallies.name]
# Rows in these tables show that a ledger was in use; the other tables are never empty.
_EVIDENCE = ("deliveries", "notifications", "lookups", "records", "events", "people")


def copy_ledger(source: Connection, target: Connection) -> dict[str, int]:
    """Replace all rows of `target` with those of `source`; return how many each table has.

    Both must have the same tables. The caller's transactions decide which snapshot is copied and
    whether the copy is committed.

    Raises:
        LedgerUnavailable: the copy does not have as many rows as the original.
    """
    for table in reversed(_TABLES):
        target.execute(delete(table))
    copied = {}
    for table in _TABLES:
        rows = source.execute(select(table).execution_options(yield_per=_AT_ONCE)).mappings()
        copied[table.name] = 0
        for some in rows.partitions():
            target.execute(insert(table), [dict(row) for row in some])
            copied[table.name] += len(some)
        arrived = target.scalar(select(func.count()).select_from(table))
        if arrived != copied[table.name]:
            raise LedgerUnavailable(
                f"the table {table.name} has {copied[table.name]} rows, and its copy {arrived}"
            )
    if target.dialect.name == "postgresql":
        _continue_numbering(target)
    return copied


def was_used(connection: Connection) -> bool:
    """Return whether a ledger holds anything worth keeping."""
    tables = [table for table in _TABLES if table.name in _EVIDENCE]
    return any(connection.execute(select(table).limit(1)).first() for table in tables)


def row_counts(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    return {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0
        for table in _TABLES
    }


def is_unchanged_copy(source: Connection, target: Connection) -> bool:
    """Return whether `target` is a logged copy of `source` and neither was used since."""
    here, there = row_counts(source), row_counts(target)
    here[_LOG] += 1
    beats = _EXACT.tables["heartbeats"]
    last = [one.scalar(select(func.max(beats.c.beat_at))) for one in (source, target)]
    is_same = client_id_of(source) == client_id_of(target)
    return here == there and last[0] == last[1] and is_same


def _continue_numbering(connection: Connection) -> None:
    """Let PostgreSQL continue numbering after the copied ids."""
    for table in _TABLES:
        column = table.autoincrement_column
        if column is None:
            continue
        largest = connection.scalar(select(func.max(column)))
        sequence = {"table": table.name, "column": column.name}
        connection.execute(
            text("SELECT setval(pg_get_serial_sequence(:table, :column), :next, false)"),
            sequence | {"next": (largest or 0) + 1},
        )


_WAL = "-wal"  # what SQLite appends to the name of a file for its journal


@dataclass(frozen=True, slots=True)
class Contents:
    """What a ledger file holds. `made_at` is when it was copied, as far as it shows.

    `used_until` is the latest time stored in it. `secret_key` is None where the file has none: the
    key was set by hand, or this is a plain copy.
    """

    made_at: datetime | None
    used_until: datetime | None
    people: int
    sent: int
    secret_key: str | None = field(repr=False)


def make_backup(engine: Engine, target: Path, secret_key: str | None, now: datetime) -> Contents:
    """Write a verified copy of the ledger to `target`, readable by its owner only.

    Raises:
        FileExistsError: `target` exists; nothing is overwritten.
        OSError: the folder cannot be written.
        LedgerUnavailable: the ledger cannot be read or copied.
        BackupUnusable: the copy is damaged, as the ledger may be.
    """
    if os.path.lexists(target):
        raise FileExistsError(target)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    fresh = Path(name)
    try:
        _copy_to(engine, fresh)
        with opened_file(fresh) as copy, writing(copy) as connection:
            set_value(connection, BACKED_UP_AT, now.isoformat(), "backup", now)
            if secret_key is not None:
                set_value(connection, SECRET_KEY, secret_key, "backup", now)
            contents = contents_of(connection)
        close_file(fresh)
        verify(fresh)
        _keep_new(fresh, target)
    finally:
        _remove(fresh)
    return contents


def _copy_to(engine: Engine, fresh: Path) -> None:
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            try:
                connection.cursor().execute("VACUUM INTO ?", (str(fresh),))
            except sqlite3.Error as error:
                name = getattr(error, "sqlite_errorname", type(error).__name__)
                raise LedgerUnavailable(f"the copy could not be written: {name}") from None
        return
    if current_revision(engine) != newest_revision():
        raise LedgerUnavailable("the ledger was upgraded; make the backup with the newer version")
    with opened_file(fresh) as copy:
        migrate(copy)
        with reading(engine) as source, writing(copy) as target:
            copy_ledger(source, target)


def stage(path: Path, staged: Path) -> Contents:
    """Copy a backup, or any ledger file, to `staged`, upgrade it, and return what it holds.

    `path` is only read.

    Raises:
        BackupUnusable: it cannot be restored; the text says why.
        OSError: it cannot be read or copied.
    """
    staged.touch(mode=0o600)
    shutil.copyfile(path, staged)
    with suppress(FileNotFoundError):
        shutil.copyfile(f"{path}{_WAL}", f"{staged}{_WAL}")
    try:
        verify(staged)
        with opened_file(staged) as engine:
            with writing(engine) as connection:
                delete_values(connection, MOVED_AT)
            migrate(engine)
            with reading(engine) as connection:
                return contents_of(connection)
    except LedgerUnavailable as error:
        raise BackupUnusable(f"{path} cannot be read as a ledger: {error}") from None
    except BackupUnusable as error:
        raise BackupUnusable(f"{path} {error}") from None


def verify(path: Path) -> None:
    """Check that a file is a whole ledger of this version or an older one.

    Raises:
        BackupUnusable: it is not; the text says why, without the path.
    """
    with closing(sqlite3.connect(path)) as connection:
        try:
            checked = connection.execute("PRAGMA integrity_check").fetchall()
            tables = set(connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        except sqlite3.DatabaseError:
            raise BackupUnusable("is damaged or not a SQLite database") from None
        if checked != [("ok",)]:
            raise BackupUnusable("is damaged")
        if not tables >= {("alembic_version",), ("controls",), ("actions",), ("people",)}:
            raise BackupUnusable("is not a Coursebell ledger")
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is None:
            raise BackupUnusable("is not a Coursebell ledger")
        [revision] = row
    if revision > newest_revision():
        raise BackupUnusable(
            f"is at revision {revision}, but this version of Coursebell supports at most"
            f" {newest_revision()}; install the version that made it"
        )


def contents_of(connection: Connection) -> Contents:
    """Return what a ledger holds. Raises `BackupUnusable` if its time cannot be read."""
    backed_up_at = value_of(connection, BACKED_UP_AT)
    used_until = known_until(connection)
    made_at = parse_stored_time(backed_up_at) if backed_up_at else used_until
    if made_at is None and backed_up_at:
        raise BackupUnusable(
            "does not state when it was made: its control backed_up_at is no date with a time zone"
        )
    is_done = actions.c.state == ActionState.DONE
    sent = select(func.count()).select_from(actions).where(is_done)
    return Contents(
        made_at,
        used_until,
        connection.scalar(select(func.count()).select_from(people)) or 0,
        connection.scalar(sent) or 0,
        value_of(connection, SECRET_KEY),
    )


def open_restored_gap(
    engine: Engine,
    since: datetime | None,
    who: str,
    now: datetime,
    *,
    last_alive: datetime | None = None,
) -> int:
    """Prepare a staged copy for use from `now` on; return how many actions are held.

    `last_alive` is when the replaced ledger was last used, as far as this machine has stored it.
    """
    with writing(engine) as connection:
        traces = (now, last_alive, known_until(connection))
        delete_values(connection, BACKED_UP_AT, SECRET_KEY, REMEMBERED_SINCE)
        # Who signed out, or was shut out, since the copy was made stays out.
        for table in (heartbeats, leases, operator_sessions, operator_links):
            connection.execute(delete(table))
        until = max(at for at in traces if at is not None)
        return open_gap(connection, Gap(since, until, "restore"), who)


def put_into(engine: Engine, staged: Path, check: Callable[[Connection], None]) -> None:
    """Replace all rows of a migrated ledger with those of a staged copy, in one transaction.

    `check` is called first, in that transaction: no process can start to use the ledger, or
    write a heartbeat, between the check and the commit.

    Raises:
        LedgerUnavailable: it could not be written. The ledger stays unchanged, also if `check`
            raises.
    """
    with opened_file(staged) as copy, reading(copy) as source, writing(engine) as target:
        if target.dialect.name == "postgresql":
            target.execute(text("LOCK TABLE heartbeats IN SHARE ROW EXCLUSIVE MODE"))
        check(target)
        copy_ledger(source, target)


def put_in_place(staged: Path, target: Path, now: datetime) -> Path | None:
    """Make `staged` the ledger at `target`; return the new path of the replaced file, if any.

    There is a ledger at `target` at every moment, the old or the new one.
    """
    aside = target.with_name(f"{target.name}.before-{now:%Y%m%dT%H%M%S.%fZ}")
    close_file(staged)
    for suffix in (_WAL, "-shm"):  # they belong to the old file and would damage the new one
        with suppress(FileNotFoundError):
            Path(f"{target}{suffix}").rename(f"{aside}{suffix}")
    is_there = target.exists()
    if is_there:
        try:
            aside.hardlink_to(target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            target.rename(aside)
    staged.replace(target)
    _sync(target.parent)
    return aside if is_there else None


def is_in_use(path: Path) -> bool:
    """Return whether any process has this ledger file open; False for other files."""
    if not path.exists():
        return False
    try:
        close_file(path)
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:
        return False
    return False


def close_file(path: Path) -> None:
    """Merge a SQLite database into one file, and sync it to disk.

    Raises:
        sqlite3.OperationalError: another process has it open.
        sqlite3.DatabaseError: it is damaged.
    """
    with closing(sqlite3.connect(path, timeout=0)) as connection:
        # Only the last connection can leave WAL mode.
        connection.execute("PRAGMA journal_mode = DELETE")
    _sync(path)


@contextmanager
def opened_file(path: Path) -> Iterator[Engine]:
    """Yield the engine of a ledger file, and dispose of it at the end."""
    engine = open_file(path)
    try:
        yield engine
    finally:
        engine.dispose()


def _keep_new(fresh: Path, target: Path) -> None:
    """Give a finished file its final name, unless that exists.

    Raises:
        FileExistsError: another process created it meanwhile.
    """
    try:
        target.hardlink_to(fresh)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        fresh.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    for suffix in ("", _WAL, "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
