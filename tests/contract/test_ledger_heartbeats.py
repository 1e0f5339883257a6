"""Heartbeats, and leases that one process holds at a time."""

from ledger.engine import Engine, reading, writing
from ledger.heartbeats import last_heartbeats, record_heartbeat, release_lease, take_lease
from ledger.tables import heartbeats
from tests.contract.ledger_rig import NOW, at, at_once, rows

LEASE = "clock"


def take(engine: Engine, holder: str, seconds: float = 0, *, name: str = LEASE) -> bool:
    with writing(engine) as connection:
        return take_lease(connection, name, holder, at(seconds), lease_s=10)


def give_back(engine: Engine, holder: str) -> None:
    with writing(engine) as connection:
        release_lease(connection, LEASE, holder)


def alive(engine: Engine, kind: str, process: str, seconds: float) -> None:
    with writing(engine) as connection:
        record_heartbeat(connection, kind, process, at(seconds))


def test_of_many_processes_one_gets_the_lease(ledger_engine: Engine) -> None:
    def want_in(seconds: float) -> list[bool]:
        return at_once(8, lambda number: take(ledger_engine, f"{seconds}-{number}", seconds))

    for again in range(5):
        # Long after the last lease ended, so that it is there to be had.
        assert sum(want_in(100.0 * again)) == 1


def test_a_lease_is_renewed_only_by_its_holder(ledger_engine: Engine) -> None:
    assert take(ledger_engine, "a")
    assert not take(ledger_engine, "b", 9)
    assert take(ledger_engine, "a", 9)
    assert not take(ledger_engine, "b", 18)
    assert take(ledger_engine, "b", 19)
    assert not take(ledger_engine, "a", 20)


def test_leases_of_other_names_are_other_leases(ledger_engine: Engine) -> None:
    assert take(ledger_engine, "a")
    assert take(ledger_engine, "b", name="sign-in")


def test_a_lease_given_back_is_free_at_once(ledger_engine: Engine) -> None:
    take(ledger_engine, "a")
    give_back(ledger_engine, "a")
    assert take(ledger_engine, "b")


def test_a_process_cannot_release_the_lease_of_another(ledger_engine: Engine) -> None:
    take(ledger_engine, "a")
    give_back(ledger_engine, "b")
    assert not take(ledger_engine, "c", 5)


def test_the_last_beat_of_each_kind_is_known(ledger_engine: Engine) -> None:
    alive(ledger_engine, "worker", "one", 0)
    alive(ledger_engine, "worker", "two", 5)
    alive(ledger_engine, "worker", "one", 3)
    alive(ledger_engine, "clock", "x" * 500, 1)
    with reading(ledger_engine) as connection:
        assert last_heartbeats(connection, NOW) == {"worker": at(5), "clock": at(1)}
    assert len(rows(ledger_engine, heartbeats)) == 3


def test_the_heartbeat_of_a_process_silent_for_a_day_is_deleted(ledger_engine: Engine) -> None:
    alive(ledger_engine, "worker", "old", 0)
    alive(ledger_engine, "clock", "new", 86_400)
    assert len(rows(ledger_engine, heartbeats)) == 2
    alive(ledger_engine, "clock", "new", 86_401)
    assert [one.process for one in rows(ledger_engine, heartbeats)] == ["new"]
    assert rows(ledger_engine, heartbeats)[0].beat_at > NOW
