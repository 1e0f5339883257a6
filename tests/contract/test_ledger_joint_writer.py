"""Changes of several threads that are committed together, each with its own fate."""

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import set_value, value_of
from ledger.engine import Connection, Engine, reading, writing
from ledger.joint_writer import JointWriter
from schemas.errors import LedgerUnavailable
from tests.contract.ledger_rig import while_one_commits


def setting(name: str) -> Callable[[Connection], str]:
    def change(connection: Connection) -> str:
        set_value(connection, name, name, "test", SYSTEM_CLOCK.now())
        return name

    return change


def failing(connection: Connection) -> None:
    set_value(connection, "failing", "yes", "test", SYSTEM_CLOCK.now())
    raise KeyError("mine")


def changes(*these: Callable[[Connection], object]) -> list[Callable[[JointWriter], object]]:
    """Return writes of these changes, in this order."""
    return [
        partial(JointWriter.write, order=("change", number), change=change)
        for number, change in enumerate(these)
    ]


def values(engine: Engine, *names: str) -> list[str | None]:
    with reading(engine) as connection:
        return [value_of(connection, name) for name in names]


def test_what_gathers_during_a_commit_is_committed_together(ledger_engine: Engine) -> None:
    commits: list[Connection] = []
    event.listen(ledger_engine, "commit", commits.append)
    names = ["a", "b", "c", "d"]
    assert while_one_commits(JointWriter(ledger_engine), *changes(*map(setting, names))) == names
    assert len(commits) == 2, "one of the first change, and one of all others"
    assert values(ledger_engine, *names) == names


def test_a_change_that_fails_raises_in_its_own_thread_and_undoes_no_other(
    ledger_engine: Engine,
) -> None:
    writer = JointWriter(ledger_engine)
    first, error, last = while_one_commits(writer, *changes(setting("a"), failing, setting("b")))
    assert (first, last) == ("a", "b")
    assert isinstance(error, KeyError)
    assert values(ledger_engine, "a", "failing", "b") == ["a", None, "b"]


@pytest.mark.engines("sqlite")
def test_all_changes_fail_while_the_ledger_is_unavailable(ledger_engine: Engine) -> None:
    def broken(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise LedgerUnavailable("the disk is full")

    found = while_one_commits(JointWriter(ledger_engine), *changes(broken, setting("a")))
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
    found = while_one_commits(JointWriter(ledger_engine), *changes(*map(counted, names)))
    assert all(isinstance(one, LedgerUnavailable) for one in found)
    assert made == names
