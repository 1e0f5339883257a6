"""Deliveries are stored first, and repeats of one record merge."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Connection, Engine, open_engine, reading, writing
from ledger.group_writer import MAX_RETRY_S, GroupWriter
from ledger.intake import Origin, store_notifications
from ledger.lookups import fail_lookup, finish_lookups, postpone_lookup
from ledger.migrate import migrate
from ledger.tables import deliveries, lookups, notifications
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.errors import LedgerUnavailable
from schemas.notification import Notification
from schemas.reasons import Reason
from tests.contract.ledger_rig import NOW, arrival, at, at_once, claim, keep, rows
from tests.doubles.still_clock import StillClock
from tests.servers.programs import wait_until


@contextmanager
def writer_for(
    engine: Engine, calls: list[str] | None = None, *, max_retry_s: float = MAX_RETRY_S
) -> Iterator[GroupWriter]:
    noted = [] if calls is None else calls
    writer = GroupWriter(
        engine, lambda: noted.append("committed"), SYSTEM_CLOCK, max_retry_s=max_retry_s
    )
    try:
        yield writer
    finally:
        writer.close()


def test_a_delivery_is_stored_unchanged_with_its_notifications(ledger_engine: Engine) -> None:
    [delivery_id] = keep(ledger_engine, arrival(7, 8))
    [delivery] = rows(ledger_engine, deliveries)
    assert (delivery.id, delivery.body, delivery.received_at) == (delivery_id, b"[\x00\xff]", NOW)
    assert (delivery.route, delivery.signature_form) == ("/hooks/nexudus", "raw")
    said = rows(ledger_engine, notifications)
    assert [(one.delivery_id, one.origin, one.entity, one.record_id) for one in said] == [
        (delivery_id, "hook", "CourseMember", 7),
        (delivery_id, "hook", "CourseMember", 8),
    ]
    due = rows(ledger_engine, lookups)
    assert [(one.record_id, one.state, one.due_at, one.asked) for one in due] == [
        (7, LookupState.DUE, NOW, 1),
        (8, LookupState.DUE, NOW, 1),
    ]


def test_delivery_ids_come_back_in_the_order_of_the_deliveries(ledger_engine: Engine) -> None:
    ids = keep(ledger_engine, *(arrival(n, received_at=at(n)) for n in range(1, 40)))
    kept = {one.id: one.received_at for one in rows(ledger_engine, deliveries)}
    assert [kept[one] for one in ids] == [at(n) for n in range(1, 40)]


def test_an_unreadable_delivery_is_stored_and_makes_no_lookup_due(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(error="0: Id: Missing."))
    [delivery] = rows(ledger_engine, deliveries)
    assert delivery.error == "0: Id: Missing."
    assert rows(ledger_engine, notifications) == rows(ledger_engine, lookups) == []


def test_a_kind_we_do_not_follow_is_noted_and_not_looked_up(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7, entity=None))
    [one] = rows(ledger_engine, notifications)
    assert (one.entity, one.record_id) == (None, 7)
    assert rows(ledger_engine, lookups) == []


def test_an_id_of_63_bits_is_kept_whole(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(2**63 - 1))
    assert claim(ledger_engine)[0].record_id == 2**63 - 1


def test_repeats_of_one_record_merge_into_one_lookup(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    keep(ledger_engine, arrival(7, received_at=at(1)), arrival(7, received_at=at(2)))
    [lookup] = rows(ledger_engine, lookups)
    assert (lookup.asked, lookup.asked_at, lookup.due_at) == (3, NOW, NOW)
    assert len(rows(ledger_engine, notifications)) == 3


def test_the_same_id_of_another_kind_is_another_record(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7), arrival(7, entity=Entity.COMPLETED_LESSON))
    assert {one.entity for one in claim(ledger_engine)} == {
        Entity.COURSE_MEMBER,
        Entity.COMPLETED_LESSON,
    }


def test_a_record_notified_while_it_is_read_becomes_due_again(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [first] = claim(ledger_engine)
    keep(ledger_engine, arrival(7, received_at=at(1)))
    assert claim(ledger_engine, at(1)) == []
    with writing(ledger_engine) as connection:
        assert finish_lookups(connection, [first], at(2))
    [again] = claim(ledger_engine, at(2))
    assert (again.record_id, again.attempts, again.asked_at) == (7, 1, at(2))
    with writing(ledger_engine) as connection:
        assert finish_lookups(connection, [again], at(3))
    assert claim(ledger_engine, at(9)) == []


def test_a_record_notified_while_its_lookup_fails_becomes_due_again(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [first] = claim(ledger_engine)
    keep(ledger_engine, arrival(7, received_at=at(1)))
    with writing(ledger_engine) as connection:
        assert fail_lookup(connection, first, Reason.UNREADABLE, "CourseId")
    [again] = claim(ledger_engine, at(2))
    assert (again.record_id, again.attempts) == (7, 1)
    with writing(ledger_engine) as connection:
        assert fail_lookup(connection, again, Reason.UNREADABLE, "CourseId")
    assert claim(ledger_engine, at(9)) == []


def test_a_finished_lookup_becomes_due_when_its_record_changes(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7, 8))
    done, failed = claim(ledger_engine)
    with writing(ledger_engine) as connection:
        finish_lookups(connection, [done], at(1))
        fail_lookup(connection, failed, Reason.UNREADABLE, "no CourseId")
    assert claim(ledger_engine, at(60)) == []
    keep(ledger_engine, arrival(7, 8, received_at=at(90)))
    again = claim(ledger_engine, at(90))
    assert [(one.record_id, one.attempts, one.asked_at) for one in again] == [
        (7, 1, at(90)),
        (8, 1, at(90)),
    ]


def test_a_waiting_lookup_keeps_its_due_time(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    with writing(ledger_engine) as connection:
        postpone_lookup(connection, one, at(300), Reason.NEXUDUS_BUSY, "409")
    keep(ledger_engine, arrival(7, received_at=at(10)))
    assert claim(ledger_engine, at(299)) == []
    [again] = claim(ledger_engine, at(300))
    assert (again.attempts, again.asked_at) == (2, NOW)


def test_notifications_without_a_delivery_make_lookups_due_too(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        said = [Notification(Entity.COMPLETED_LESSON, 5)]
        store_notifications(connection, said, Origin.CHECK, NOW)
        store_notifications(connection, [], Origin.CHECK, NOW)
    [one] = rows(ledger_engine, notifications)
    assert (one.delivery_id, one.origin) == (None, "check")
    assert [one.record_id for one in claim(ledger_engine)] == [5]


def test_writers_of_the_same_records_in_opposite_order_do_not_block_each_other(
    ledger_engine: Engine,
) -> None:
    ids = list(range(1, 151))
    keep(ledger_engine, arrival(*ids))

    def keep_all(number: int) -> None:
        for _ in range(3):
            order = ids if number else ids[::-1]
            keep(ledger_engine, *(arrival(one) for one in order))

    at_once(2, keep_all)
    assert {one.asked for one in rows(ledger_engine, lookups)} == {7}


def test_every_thread_gets_its_own_answer_after_its_delivery_is_kept(
    ledger_engine: Engine,
) -> None:
    calls: list[str] = []
    with writer_for(ledger_engine, calls) as writer:

        def ask(number: int) -> bool:
            mine = at(number)
            writer.keep(arrival(number + 1, received_at=mine))
            return any(one.received_at == mine for one in rows(ledger_engine, deliveries))

        assert all(at_once(24, ask))
    assert len(rows(ledger_engine, deliveries)) == len(rows(ledger_engine, lookups)) == 24
    assert 1 <= len(calls) <= 24


def test_deliveries_that_wait_together_are_committed_together(ledger_engine: Engine) -> None:
    calls: list[str] = []
    entered, may_continue = threading.Event(), threading.Event()

    def after_commit() -> None:
        calls.append("committed")
        entered.set()
        may_continue.wait(30)

    writer = GroupWriter(ledger_engine, after_commit, SYSTEM_CLOCK)
    threads = [
        threading.Thread(target=writer.keep, args=[arrival(number)]) for number in range(1, 11)
    ]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    # The writer stands still in `after_commit`, so the others can only be waiting.
    queued = writer._queue  # noqa: SLF001 - no user of the writer needs to know who waits
    wait_until(lambda: queued.qsize() == 9, "nine deliveries wait")
    may_continue.set()
    for thread in threads:
        thread.join(30)
    writer.close()
    assert calls == ["committed", "committed"]
    assert len(rows(ledger_engine, deliveries)) == 10


def test_closing_writes_what_is_queued(ledger_engine: Engine) -> None:
    writer = GroupWriter(ledger_engine, lambda: None, SYSTEM_CLOCK)
    threads = [threading.Thread(target=writer.keep, args=[arrival(n)]) for n in range(1, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    writer.close()
    assert len(rows(ledger_engine, deliveries)) == 29


def test_stored_deliveries_are_logged_with_one_line_a_second(ledger_engine: Engine) -> None:
    clock = StillClock()
    clock.seconds = 100.0
    with capture_logs() as logs:
        writer = GroupWriter(ledger_engine, lambda: None, clock)
        for number in range(1, 30):
            writer.keep(arrival(number, 100 + number))
        writer.close()
    lines = [line for line in logs if line["event"] == "deliveries.kept"]
    # The first delivery at once, and the others when the writer is idle or closed.
    assert lines[0]["deliveries"] == 1
    assert sum(line["deliveries"] for line in lines) == 29
    assert sum(line["notifications"] for line in lines) == 58
    assert lines[0]["routes"] == {"/hooks/nexudus": 1}
    assert len(lines) < 29


def test_a_closed_writer_refuses_at_once(ledger_engine: Engine) -> None:
    writer = GroupWriter(ledger_engine, lambda: None, SYSTEM_CLOCK)
    writer.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        writer.keep(arrival(7))
    assert rows(ledger_engine, deliveries) == []


def test_a_fault_after_the_commit_neither_ends_the_writer_nor_loses_an_answer(
    ledger_engine: Engine,
) -> None:
    def broken() -> None:
        raise RuntimeError("no broker to publish to")

    writer = GroupWriter(ledger_engine, broken, SYSTEM_CLOCK)
    try:
        writer.keep(arrival(7))
        writer.keep(arrival(8))
    finally:
        writer.close()
    assert len(rows(ledger_engine, deliveries)) == 2


def test_a_failed_write_is_reported_and_the_writer_continues(
    ledger_engine: Engine,
) -> None:
    calls: list[str] = []
    with writer_for(ledger_engine, calls) as writer:
        with pytest.raises(LedgerUnavailable):
            writer.keep(arrival(7, received_at=NOW.replace(tzinfo=None)))
        with pytest.raises(LedgerUnavailable):
            writer.keep(arrival(2**70))
        assert rows(ledger_engine, deliveries) == rows(ledger_engine, lookups) == []
        assert calls == []
        writer.keep(arrival(9))
    assert [one.record_id for one in rows(ledger_engine, lookups)] == [9]


def test_a_locked_file_keeps_nothing_and_works_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{path}", busy_timeout_ms=50)
    migrate(engine)
    calls: list[str] = []
    with writer_for(engine, calls, max_retry_s=0.2) as writer:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")

        def refused(number: int) -> str:
            with pytest.raises(LedgerUnavailable) as caught:
                writer.keep(arrival(number + 1))
            return str(caught.value)

        assert set(at_once(8, refused)) == {
            "another program kept the ledger locked for too long (SQLITE_BUSY)"
        }
        other.execute("ROLLBACK")
        other.close()
        assert calls == []
        assert rows(engine, deliveries) == []
        writer.keep(arrival(7))
    assert calls == ["committed"]
    assert len(rows(engine, deliveries)) == 1
    engine.dispose()


def test_a_file_locked_for_longer_than_one_try_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    engine = open_engine(f"sqlite:///{path}", busy_timeout_ms=20)
    migrate(engine)
    tries = threading.Semaphore(0)
    event.listen(engine, "handle_error", lambda _: tries.release())
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    with writer_for(engine) as writer:
        other.execute("BEGIN IMMEDIATE")

        def unlock() -> None:
            for _ in range(3):  # three tries have failed
                assert tries.acquire(timeout=30)
            other.execute("ROLLBACK")

        unlocking = threading.Thread(target=unlock)
        unlocking.start()
        writer.keep(arrival(7))
        unlocking.join()
    other.close()
    assert len(rows(engine, deliveries)) == len(rows(engine, lookups)) == 1
    engine.dispose()


def test_a_delivery_of_very_many_records_is_kept_whole(ledger_engine: Engine) -> None:
    with writer_for(ledger_engine) as writer:
        writer.keep(arrival(*range(1, 5_001)))
    assert len(rows(ledger_engine, notifications)) == len(rows(ledger_engine, lookups)) == 5_000


@pytest.fixture
def postgres_ledger(postgres_database_url: str) -> Iterator[Engine]:
    engine = open_engine(postgres_database_url)
    migrate(engine)
    yield engine
    engine.dispose()


def undo_transactions(engine: Engine, times: int, state: str) -> None:
    """Let the server undo so many of the transactions to come that ask for a record."""
    with writing(engine) as connection:
        connection.execute(text("CREATE SEQUENCE undone"))  # what a sequence gave is not undone
        connection.execute(
            text(f"""
            CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF nextval('undone') <= {times} THEN
                RAISE EXCEPTION 'undone' USING ERRCODE = '{state}';
              END IF;
              RETURN NEW;
            END $$""")
        )
        connection.execute(
            text(
                "CREATE TRIGGER undoing BEFORE INSERT ON lookups FOR EACH ROW"
                " EXECUTE FUNCTION undo()"
            )
        )


@pytest.mark.postgres
@pytest.mark.parametrize("state", ["40P01", "40001"])
def test_a_transaction_that_the_server_rolled_back_is_stored_once(
    postgres_ledger: Engine, state: str
) -> None:
    undo_transactions(postgres_ledger, 2, state)
    calls: list[str] = []
    with writer_for(postgres_ledger, calls) as writer:
        writer.keep(arrival(7, 8))
    assert calls == ["committed"]
    assert len(rows(postgres_ledger, deliveries)) == 1
    assert len(rows(postgres_ledger, notifications)) == 2
    assert [(one.record_id, one.asked) for one in rows(postgres_ledger, lookups)] == [
        (7, 1),
        (8, 1),
    ]


@pytest.mark.postgres
@pytest.mark.parametrize(("times", "state"), [(99, "40P01"), (1, "55P03"), (1, "08006")])
def test_a_permanent_rollback_or_another_error_is_reported(
    postgres_ledger: Engine, times: int, state: str
) -> None:
    undo_transactions(postgres_ledger, times, state)
    refused = pytest.raises(LedgerUnavailable, match=state)
    with writer_for(postgres_ledger, max_retry_s=0.2) as writer, refused:
        writer.keep(arrival(7))
    assert rows(postgres_ledger, deliveries) == rows(postgres_ledger, lookups) == []


@pytest.mark.postgres
def test_a_delivery_in_a_deadlock_is_stored(postgres_ledger: Engine) -> None:
    keep(postgres_ledger, arrival(7, 8))

    def somebody_waits() -> bool:
        with reading(postgres_ledger) as connection:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(connection.scalar(waiting))

    def ask_for(connection: Connection, record_id: int) -> None:
        said = [Notification(Entity.COURSE_MEMBER, record_id)]
        store_notifications(connection, said, Origin.CHECK, at(1))

    with writer_for(postgres_ledger) as writer:
        hook = threading.Thread(target=writer.keep, args=[arrival(7, 8)])
        # The server undoes one of the two, whichever finds out first.
        with suppress(LedgerUnavailable), writing(postgres_ledger) as connection:
            ask_for(connection, 8)
            hook.start()
            wait_until(somebody_waits, "the hook waits for the other")
            ask_for(connection, 7)
        hook.join(30)
    assert not hook.is_alive()
    assert len(rows(postgres_ledger, deliveries)) == 2
