"""Controls: settings give first values only, and sending starts once."""

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import Sending, begin_with, change_mode, client_id_of, sending_of
from ledger.engine import Engine, reading, writing
from schemas.actions import Mode
from tests.contract.ledger_rig import NOW, at, at_once


def sending(engine: Engine) -> Sending:
    with reading(engine) as connection:
        return sending_of(connection)


def begin(engine: Engine, mode: Mode, seconds: float) -> None:
    with writing(engine) as connection:
        begin_with(connection, mode, at(seconds), SYSTEM_CLOCK.new_id())


def change(engine: Engine, mode: Mode, seconds: float, who: str = "ana") -> Sending:
    with writing(engine) as connection:
        return change_mode(connection, mode, who, at(seconds))


def test_an_empty_ledger_observes_and_has_no_client_id(ledger_engine: Engine) -> None:
    found = sending(ledger_engine)
    assert (found.mode, found.started_at, found.changed_by) == (Mode.OBSERVE, None, "nobody")
    with reading(ledger_engine) as connection:
        assert client_id_of(connection) is None


def test_the_settings_give_the_first_values_and_never_again(ledger_engine: Engine) -> None:
    begin(ledger_engine, Mode.OBSERVE, 0)
    with reading(ledger_engine) as connection:
        client_id = client_id_of(connection)
    begin(ledger_engine, Mode.SENDING, 60)
    assert sending(ledger_engine) == Sending(Mode.OBSERVE, None, NOW, "settings", NOW)
    with reading(ledger_engine) as connection:
        assert client_id_of(connection) == client_id
    assert client_id


def test_beginning_with_sending_is_the_start(ledger_engine: Engine) -> None:
    begin(ledger_engine, Mode.SENDING, 0)
    begin(ledger_engine, Mode.SENDING, 60)
    assert sending(ledger_engine) == Sending(Mode.SENDING, NOW, NOW, "settings", NOW)


def test_processes_that_begin_at_once_agree_on_one_client_id(ledger_engine: Engine) -> None:
    def start(number: int) -> str | None:
        begin(ledger_engine, Mode.OBSERVE, number)
        with reading(ledger_engine) as connection:
            return client_id_of(connection)

    assert len(set(at_once(6, start))) == 1


def test_a_change_of_mode_says_who_and_when(ledger_engine: Engine) -> None:
    begin(ledger_engine, Mode.OBSERVE, 0)
    changed = change(ledger_engine, Mode.SENDING, 10, who="ana" * 40)
    assert changed == sending(ledger_engine)
    assert changed == Sending(Mode.SENDING, at(10), at(10), ("ana" * 40)[:64], NOW)


def test_sending_starts_once_however_often_it_is_switched_on(ledger_engine: Engine) -> None:
    begin(ledger_engine, Mode.OBSERVE, 0)
    change(ledger_engine, Mode.SENDING, 10)
    stopped = change(ledger_engine, Mode.OBSERVE, 20)
    assert (stopped.mode, stopped.started_at, stopped.changed_at) == (
        Mode.OBSERVE,
        at(10),
        at(20),
    )
    begin(ledger_engine, Mode.SENDING, 25)
    again = change(ledger_engine, Mode.SENDING, 30, who="joël")
    assert again == Sending(Mode.SENDING, at(10), at(30), "joël", NOW)


def test_choosing_observe_does_not_start_sending(ledger_engine: Engine) -> None:
    assert change(ledger_engine, Mode.OBSERVE, 10).started_at is None


def test_events_lead_to_emails_since_sending_began_or_since_the_ledger_began(
    ledger_engine: Engine,
) -> None:
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.OBSERVE, NOW, SYSTEM_CLOCK.new_id())
        assert sending_of(connection).watching_since == NOW
        change_mode(connection, Mode.SENDING, "ana", at(10))
        assert sending_of(connection).watching_since == at(10)
