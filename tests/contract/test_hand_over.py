"""One hand-over: what is committed when, what a stop leaves, and what a busy ledger causes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from ledger.engine import Connection, Engine, open_engine, writing
from ledger.outbox import expire_handovers
from ledger.tables import actions, attempts, people
from schemas.entity import Entity
from schemas.errors import LedgerUnavailable
from tests.contract.ledger_rig import rows
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from tests.servers.programs import wait_until
from tests.servers.ready_ledgers import sqlite_copy
from workers.actions.base import Action, ActionContext, Prepared
from workers.actions.email.action import EmailAction
from workers.deliver.claim import perform_batch

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Space]:
    """Give a space whose ledger says at once that it is busy."""
    engine = open_engine(sqlite_copy(tmp_path / "ledger.db"), busy_timeout_ms=50)
    yield Space(engine, rules_of(SHIPPED))
    engine.dispose()


@contextmanager
def locked(engine: Engine) -> Iterator[Callable[[], None]]:
    """Hold the ledger's write lock from when the function given is called until the end."""
    begun, ending = threading.Event(), threading.Event()

    def hold() -> None:
        begun.wait(20)
        with writing(engine):
            taken.set()
            ending.wait(20)

    taken = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()

    def lock() -> None:
        begun.set()
        assert taken.wait(20)

    try:
        yield lock
    finally:
        ending.set()
        begun.set()
        thread.join()


def only(engine: Engine) -> Any:  # noqa: ANN401 - a row
    [row] = rows(engine, actions)
    return row


def test_the_last_step_is_taken_only_after_the_mark_is_committed(space: Space) -> None:
    seen: list[tuple[str, object]] = []

    def observe() -> None:
        seen.append((only(space.engine).state, only(space.engine).committed_at))

    space.enrol(1)
    space.mailer.meanwhile(observe)
    space.mailer.at_end = observe
    space.work()
    assert seen == [("performing", None), ("performing", space.clock.now())]
    assert (only(space.engine).state, only(space.engine).committed_at) == ("done", None)


def test_a_worker_whose_lease_was_lost_does_not_take_the_last_step(space: Space) -> None:
    def lose() -> None:
        with writing(space.engine) as connection:
            later = space.clock.now() + timedelta(hours=2)
            assert expire_handovers(connection, later, lease_s=60, repeatable=set()).repeated == 1

    space.enrol(1)
    space.mailer.meanwhile(lose)
    space.work()
    space.later(hours=3)
    assert space.mailer.asked == 2
    assert len(space.mailer.caught) == 1


def test_a_receipt_is_stored_although_the_ledger_is_busy_for_a_while(impatient: Space) -> None:
    space = impatient
    space.enrol(1)
    worker = threading.Thread(target=space.work)
    with capture_logs() as logs, locked(space.engine) as lock:
        space.mailer.at_end = lock
        worker.start()
        wait_until(lambda: any(line["event"] == "receipt.again" for line in logs), "a try failed")
    worker.join()
    assert space.outcomes() == [("done", None)]


def test_a_sent_email_is_logged_as_done_although_the_answer_to_the_commit_was_lost(
    space: Space,
) -> None:
    armed: list[str] = []

    def lose_the_answer(connection: Connection) -> None:
        if armed:
            armed.clear()
            committing = connection.connection.dbapi_connection
            assert committing is not None
            committing.commit()
            raise OperationalError("COMMIT", None, OSError("the connection was lost"))

    event.listen(space.engine, "commit", lose_the_answer)
    space.enrol(1)
    space.mailer.at_end = lambda: armed.append("for the receipt")
    with capture_logs() as logs:
        space.work()
    assert [line["event"] for line in logs if line["event"] == "receipt.again"] != []
    assert [line["outcome"] for line in logs if line["event"] == "action.ended"] == ["done"]
    assert [row.outcome for row in rows(space.engine, attempts)] == ["done"]
    assert space.outcomes() == [("done", None)]


def test_nothing_is_sent_if_the_ledger_is_busy_before_the_last_step(impatient: Space) -> None:
    space = impatient
    space.enrol(1)
    space.look_up()
    with locked(space.engine) as lock:
        space.mailer.meanwhile(lock)
        with pytest.raises(LedgerUnavailable):  # from claiming the next one
            perform_batch(space.delivery, space.lend)
    assert space.mailer.caught == []
    with writing(space.engine) as connection:
        later = space.clock.now() + timedelta(hours=2)
        assert expire_handovers(connection, later, lease_s=60, repeatable=set()).unknown == 0


def test_an_email_is_composed_without_blocking_the_ledger(impatient: Space) -> None:
    space = impatient
    written = []

    class Watching(EmailAction):
        def __init__(self, email: Action) -> None:
            self.email = email

        def in_a_row(self) -> AbstractContextManager[None]:
            return self.email.in_a_row()

        def prepare(self, context: ActionContext) -> Prepared:
            with writing(space.engine) as connection:
                connection.execute(people.update().values(first_name="Person"))
            written.append(context.person.full_name)
            if len(written) == 1:
                # What it was written from is not true any more: it has to be written again.
                with writing(space.engine) as connection:
                    connection.execute(people.update().values(full_name="Another Name"))
            return self.email.prepare(context)

    space.enrol(1)
    space.look_up()
    tools = space.delivery
    watching = Watching(tools.actions["email"])
    tools = replace(tools, setup=replace(tools.setup, actions={"email": watching}))
    perform_batch(tools, space.lend)
    assert written == ["Person 1", "Another Name"]
    assert "Another Name" in str(space.mailer.caught[0].message["To"])


def test_each_email_is_claimed_just_before_it_is_sent_so_that_workers_share(space: Space) -> None:
    helped: list[int] = []
    for number in range(1, 5):
        space.enrol(number)
    space.mailer.meanwhile(lambda: helped.append(perform_batch(space.delivery, space.lend)))
    space.work()
    assert helped == [3]
    assert len(space.mailer.caught) == 4


def test_a_worker_that_is_stopping_finishes_the_email_it_began_and_begins_none(
    space: Space,
) -> None:
    stopping = threading.Event()
    for number in range(1, 5):
        space.enrol(number)
    space.look_up()
    tools = replace(space.delivery, is_stopping=stopping.is_set)
    space.mailer.meanwhile(lambda: None, stopping.set)
    assert perform_batch(tools, space.lend) == 2
    assert perform_batch(tools, space.lend) == 0
    assert sorted(state for state, _ in space.outcomes()) == ["done", "done", "planned", "planned"]
    space.work()
    assert len(space.mailer.caught) == 4


def test_a_worker_asked_to_stop_while_it_reads_gives_the_email_back_at_once(space: Space) -> None:
    asked = 0

    def after_some_questions() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    space.enrol(1)
    space.look_up()
    tools = replace(space.delivery, is_stopping=after_some_questions)
    perform_batch(tools, space.lend)
    row = only(space.engine)
    assert (row.state, row.lease_until, row.attempts) == ("planned", None, 0)
    assert space.mailer.asked == 0


def test_an_address_that_we_refuse_counts_as_no_email_address(space: Space) -> None:
    space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, email="ana@-people.example"))
    space.work()
    assert space.outcomes() == [("skipped", "no-email")]
