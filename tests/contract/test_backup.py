"""A backup is an exact copy of the ledger in one private file, from and to either engine."""

import json
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    LargeBinary,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from ledger.backup import (
    copy_ledger,
    is_in_use,
    make_backup,
    open_restored_gap,
    opened_file,
    put_in_place,
    put_into,
    stage,
    was_used,
)
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, value_of
from ledger.engine import Connection, Engine, open_file, reading, writing
from ledger.heartbeats import last_gap, last_heartbeats, record_heartbeat
from ledger.tables import Instant, checks, deliveries, lookups, metadata, tallies
from ledger.tallies import tallies_of
from ledger.upgrade import differences
from schemas.actions import Mode
from schemas.errors import BackupUnusable, LedgerUnavailable
from tests.contract.ledger_rig import NOW, arrival, keep, rows
from tests.contract.test_migration_steps import step
from tests.servers.ready_ledgers import sqlite_copy

ODD = "Zoë 🔔 \\ \"'; %s\n\t\u200f"


COPIED = [table for table in metadata.sorted_tables if table is not tallies]


def odd_value(column: Column[object], number: int) -> object:
    """Return a value that a careless copy would change."""
    if isinstance(column.type, (Instant, Date)):
        moment = datetime.fromisoformat("2026-05-04T09:30:00.123456+00:00") + timedelta(number)
        return moment if isinstance(column.type, Instant) else moment.date()
    if isinstance(column.type, JSON):
        return {"Id": 2**63 - number, "é": [None, 1.1, True, ODD], "b": {}, "a": []}
    if isinstance(column.type, LargeBinary):
        return bytes(range(256)) * number
    if isinstance(column.type, Boolean):
        return bool(number % 2)
    if isinstance(column.type, BigInteger) and not column.primary_key:
        return 2**63 - number
    return number if column.type.python_type is int else f"{number}{ODD}"[:32]


def fill(engine: Engine) -> None:
    """Put three rows into every table: two full, and one with nothing that may be left out."""
    with writing(engine) as connection:
        for table in COPIED:
            for number in (1, 2, 3):
                row = {
                    column.name: number if column.foreign_keys else odd_value(column, number)
                    for column in table.columns
                    if number < 3 or not column.nullable
                }
                connection.execute(insert(table).values(**row))


def everything(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table; JSON as stored, with NULL distinct from null."""
    with reading(engine) as connection:
        found = {}
        for table in COPIED:
            nulls = [column.is_(None) for column in table.columns]
            order = list(table.primary_key)
            found[table.name] = [
                tuple(row) for row in connection.execute(select(table, *nulls).order_by(*order))
            ]
    return found


@pytest.fixture
def other_engine(tmp_path: Path) -> Engine:
    return open_file(Path(sqlite_copy(tmp_path / "a ?#%41 name" / "other.db")[10:]))


def test_every_row_of_every_table_is_the_same_after_going_there_and_back(
    ledger_engine: Engine, other_engine: Engine
) -> None:
    with writing(ledger_engine) as connection:
        for table in reversed(COPIED):
            connection.execute(table.delete())
    fill(ledger_engine)
    before = everything(ledger_engine)
    assert {len(found) for found in before.values()} == {3}
    with reading(ledger_engine) as source, writing(other_engine) as target:
        copied = copy_ledger(source, target)
    assert copied == {table.name: 3 for table in COPIED}
    assert everything(other_engine) == before
    with reading(other_engine) as source, writing(ledger_engine) as target:
        copy_ledger(source, target)
    assert everything(ledger_engine) == before
    with reading(ledger_engine) as one, reading(other_engine) as other:
        assert tallies_of(one, lookups, deliveries) == tallies_of(other, lookups, deliveries)
    other_engine.dispose()


def test_new_rows_are_numbered_after_those_that_were_copied(
    ledger_engine: Engine, other_engine: Engine
) -> None:
    fill_ids = [5, 70_000]
    with writing(other_engine) as connection:
        for number in fill_ids:
            connection.execute(insert(checks).values(id=number, kind="check", begun_at=NOW))
    with reading(other_engine) as source, writing(ledger_engine) as target:
        copy_ledger(source, target)
    with writing(ledger_engine) as connection:
        connection.execute(insert(checks).values(kind="check", begun_at=NOW))
    keep(ledger_engine, arrival(7))
    assert [row.id for row in rows(ledger_engine, checks)] == [5, 70_000, 70_001]
    assert [row.id for row in rows(ledger_engine, deliveries)] == [1]
    other_engine.dispose()


def test_a_copy_that_fails_half_way_leaves_the_ledger_as_it_was(
    ledger_engine: Engine, other_engine: Engine
) -> None:
    keep(ledger_engine, arrival(1, 2, 3))
    with writing(other_engine) as connection:
        connection.execute(text("DROP TABLE people"))
    before = everything(ledger_engine)
    with (
        pytest.raises(LedgerUnavailable, match="tables"),
        reading(other_engine) as source,
        writing(ledger_engine) as target,
    ):
        copy_ledger(source, target)
    assert everything(ledger_engine) == before
    other_engine.dispose()


def test_a_backup_is_one_private_file_and_takes_nothing_from_the_ledger(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    keep(ledger_engine, arrival(1, 2, 3))
    before = everything(ledger_engine)
    folder = tmp_path / "backups"
    folder.mkdir()
    made = make_backup(ledger_engine, folder / "one.db", "the-key", NOW)
    assert [path.name for path in folder.iterdir()] == ["one.db"]
    assert stat.S_IMODE((folder / "one.db").stat().st_mode) == 0o600
    assert (made.made_at, made.secret_key) == (NOW, "the-key")
    assert everything(ledger_engine) == before
    with closing(sqlite3.connect(folder / "one.db")) as copy:
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT count(*) FROM lookups").fetchone() == (3,)


def test_no_file_is_overwritten(ledger_engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    with pytest.raises(FileExistsError):
        make_backup(ledger_engine, target, None, NOW)
    assert target.read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        make_backup(ledger_engine, tmp_path / "link", None, NOW)


def test_a_backup_made_while_everything_is_written_is_of_one_moment(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            keep(ledger_engine, arrival(number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            make_backup(ledger_engine, tmp_path / f"{number}.db", None, NOW)
    finally:
        ended.set()
        writer.join()
    for number in range(3):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as copy:
            counts = {
                copy.execute(f"SELECT count(*) FROM {table}").fetchone()
                for table in ("deliveries", "notifications", "lookups")
            }
        assert len(counts) == 1


def restored(engine: Engine, backup: Path, folder: Path) -> None:
    contents = stage(backup, folder / "staged.db")
    with opened_file(folder / "staged.db") as copy:
        open_restored_gap(copy, contents.made_at, "a test", NOW + timedelta(hours=1))
    put_into(engine, folder / "staged.db", lambda _: None)


def test_what_is_restored_is_the_backup_and_knows_its_gap(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    keep(ledger_engine, arrival(1, 2, 3))
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.SENDING, NOW, SYSTEM_CLOCK.new_id())
        record_heartbeat(connection, "worker", "one", NOW)
    kept = rows(ledger_engine, lookups)
    make_backup(ledger_engine, tmp_path / "one.db", "the-key", NOW)
    keep(ledger_engine, arrival(4))
    restored(ledger_engine, tmp_path / "one.db", tmp_path)
    assert rows(ledger_engine, lookups) == kept
    with reading(ledger_engine) as connection:
        gap = last_gap(connection)
        assert gap is not None
        assert (gap.began_at, gap.ended_at) == (NOW, NOW + timedelta(hours=1))
        # Nothing of the backup's own, and no process that seems to be alive.
        assert value_of(connection, "secret_key") is None
        assert value_of(connection, "backed_up_at") is None
        assert last_heartbeats(connection, NOW) == {}
    assert differences(ledger_engine) == []


def test_a_process_that_starts_meanwhile_stops_a_restore_or_waits_for_its_end(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    keep(ledger_engine, arrival(1))
    make_backup(ledger_engine, tmp_path / "one.db", None, NOW)
    keep(ledger_engine, arrival(2))
    before = everything(ledger_engine)
    stage(tmp_path / "one.db", tmp_path / "staged.db")

    def refuse(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            # What a heartbeat takes before its row.
            locking = text("LOCK TABLE heartbeats IN ROW EXCLUSIVE MODE NOWAIT")
            with pytest.raises(DBAPIError), ledger_engine.connect() as other:
                other.execute(locking)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put_into(ledger_engine, tmp_path / "staged.db", refuse)
    assert everything(ledger_engine) == before


def test_a_backup_of_an_older_version_is_brought_up_to_date(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    with opened_file(tmp_path / "old.db") as old:
        step(old, "upgrade", "0003")
        with writing(old) as connection:
            begin_with_mode = "INSERT INTO controls VALUES ('mode', '\"sending\"', :at, 'a test')"
            connection.execute(text(begin_with_mode), {"at": "2026-05-04 09:30:00.000000"})
    restored(ledger_engine, tmp_path / "old.db", tmp_path)
    with reading(ledger_engine) as connection:
        assert value_of(connection, "mode") == "sending"


def _truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy, copy:
        copy.execute("UPDATE alembic_version SET version_num = '9999'")


def _without_revision(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy, copy:
        copy.execute("DELETE FROM alembic_version")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as copy, copy:
        copy.execute("DROP TABLE people")


def _made_at(path: Path, when: str) -> None:
    with closing(sqlite3.connect(path)) as copy, copy:
        copy.execute(
            "UPDATE controls SET value = ? WHERE name = 'backed_up_at'", (json.dumps(when),)
        )


def _undated(path: Path) -> None:
    _made_at(path, "yesterday")


def _without_zone(path: Path) -> None:
    _made_at(path, "2026-03-01T12:00:00")


def _text(path: Path) -> None:
    path.write_text("not a database at all" * 100)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_truncated, "is damaged"),
        (_overwritten, "is damaged"),
        (_newer, "is at revision 9999"),
        (_without_revision, "is not a Coursebell ledger"),
        (_foreign, "is not a Coursebell ledger"),
        (_undated, "does not state when it was made"),
        (_without_zone, "does not state when it was made"),
        (_text, "is damaged or not a SQLite database"),
        (_empty, "is not a Coursebell ledger"),
    ],
)
def test_an_unusable_backup_is_refused_with_the_reason(
    tmp_path: Path, spoil: object, says: str
) -> None:
    with opened_file(Path(sqlite_copy(tmp_path / "ledger.db")[10:])) as engine:
        keep(engine, arrival(*range(500)))
        make_backup(engine, tmp_path / "one.db", None, NOW)
    assert callable(spoil)
    spoil(tmp_path / "one.db")
    before = (tmp_path / "one.db").read_bytes()
    with pytest.raises(BackupUnusable, match=says):
        stage(tmp_path / "one.db", tmp_path / "staged.db")
    assert (tmp_path / "one.db").read_bytes() == before


def test_the_file_that_was_there_is_kept_with_all_it_has(tmp_path: Path) -> None:
    target, staged = tmp_path / "ledger.db", tmp_path / "staged.db"
    for path in (target, staged):
        sqlite_copy(path)
    with opened_file(target) as engine:
        keep(engine, arrival(1, 2, 3))
    # A journal of the old file would damage the new one.
    (tmp_path / "ledger.db-wal").write_bytes(b"of the old file")
    kept = put_in_place(staged, target, NOW)
    assert kept == tmp_path / "ledger.db.before-20260504T093000.123456Z"
    assert (tmp_path / f"{kept.name}-wal").read_bytes() == b"of the old file"
    (tmp_path / f"{kept.name}-wal").unlink()
    assert not staged.exists()
    for path, number in ((kept, 3), (target, 0)):
        with opened_file(path) as engine, reading(engine) as connection:
            assert connection.scalar(select(func.count()).select_from(lookups)) == number


def test_a_file_that_another_process_has_open_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    assert not is_in_use(path)
    sqlite_copy(path)
    assert not is_in_use(path)
    with opened_file(path) as engine:
        keep(engine, arrival(1))
        assert is_in_use(path)
    assert not is_in_use(path)
    path.write_text("no database at all" * 100)
    assert not is_in_use(path)


def test_only_a_ledger_with_data_counts_as_used(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.SENDING, NOW, SYSTEM_CLOCK.new_id())
        assert not was_used(connection)
    keep(ledger_engine, arrival(1))
    with reading(ledger_engine) as connection:
        assert was_used(connection)
