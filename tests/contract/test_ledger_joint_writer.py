"""Changes of several threads that are committed together, each with its own fate."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import set_value, value_of
from ledger.engine import Connection, Engine, reading, writing
from ledger.joint_writer import JointWriter
from schemas.errors import LedgerUnavailable

_PATIENCE_S = 30.0
_THREADS = 8


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def setting(name: str) -> Callable[[Connection], str]:
    def change(connection: Connection) -> str:
        set_value(connection, name, name, "test", SYSTEM_CLOCK.now())
        return name

    return change


def failing(connection: Connection) -> None:
    set_value(connection, "failing", "yes", "test", SYSTEM_CLOCK.now())
    raise KeyError("mine")


def values(engine: Engine, *names: str) -> list[str | None]:
    with reading(engine) as connection:
        return [value_of(connection, name) for name in names]


def while_one_commits(
    writer: JointWriter, *changes: Callable[[Connection], object]
) -> list[object]:
    """Write these changes from a thread each, all while the writer is busy with another."""
    is_busy = threading.Event()

    def first(_: Connection) -> None:
        is_busy.set()
        until(lambda: len(writer) == len(changes))

    def written(change: Callable[[Connection], object], number: int) -> object:
        try:
            return writer.write(("change", number), change)
        except (KeyError, LedgerUnavailable) as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        busy = pool.submit(writer.write, ("first", 0), first)
        assert is_busy.wait(_PATIENCE_S)
        found = [pool.submit(written, change, n) for n, change in enumerate(changes)]
        busy.result(_PATIENCE_S)
        return [one.result(_PATIENCE_S) for one in found]


def test_what_gathers_during_a_commit_is_committed_together(ledger_engine: Engine) -> None:
    commits: list[Connection] = []
    event.listen(ledger_engine, "commit", commits.append)
    names = ["a", "b", "c", "d"]
    assert while_one_commits(JointWriter(ledger_engine), *map(setting, names)) == names
    assert len(commits) == 2, "one of the first change, and one of all others"
    assert values(ledger_engine, *names) == names


def test_a_change_that_fails_raises_in_its_own_thread_and_undoes_no_other(
    ledger_engine: Engine,
) -> None:
    writer = JointWriter(ledger_engine)
    first, error, last = while_one_commits(writer, setting("a"), failing, setting("b"))
    assert (first, last) == ("a", "b")
    assert isinstance(error, KeyError)
    assert values(ledger_engine, "a", "failing", "b") == ["a", None, "b"]


@pytest.mark.engines("sqlite")
def test_all_changes_fail_while_the_ledger_is_unavailable(ledger_engine: Engine) -> None:
    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise LedgerUnavailable("the disk is full")

    found = while_one_commits(JointWriter(ledger_engine), broken, setting("a"))
    assert all(isinstance(one, LedgerUnavailable) for one in found)
    assert values(ledger_engine, "a") == [None]


def test_the_writer_works_on_after_a_failure(ledger_engine: Engine) -> None:
    writer = JointWriter(ledger_engine)
    with pytest.raises(KeyError):
        writer.write(("a", 0), failing)
    assert writer.write(("a", 0), setting("a")) == "a"
    with writing(ledger_engine) as connection:
        assert value_of(connection, "a") == "a"


def test_no_change_is_made_again_when_the_answer_to_a_commit_was_lost(
    ledger_engine: Engine,
) -> None:
    made: list[str] = []

    def counted(name: str) -> Callable[[Connection], str]:
        def change(connection: Connection) -> str:
            made.append(name)
            return setting(name)(connection)

        return change

    def lose_the_answer(connection: Connection) -> None:
        if len(made) == len(names):
            committing = connection.connection.dbapi_connection
            assert committing is not None
            committing.commit()
            raise OperationalError("COMMIT", None, OSError("the connection was lost"))

    names = ["a", "b"]
    event.listen(ledger_engine, "commit", lose_the_answer)
    found = while_one_commits(JointWriter(ledger_engine), *map(counted, names))
    assert all(isinstance(one, LedgerUnavailable) for one in found)
    assert made == names
