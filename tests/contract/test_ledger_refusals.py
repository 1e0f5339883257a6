"""Refused deliveries are counted on both engines, and strangers cannot make the counts grow."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from ledger.engine import Engine, open_engine, reading, writing
from ledger.intake import BEARER
from ledger.monitoring import Refused, count_refusals, refused_since
from ledger.tables import refusals
from schemas.reasons import HOOK_REFUSALS, REFUSALS, RELAY_REFUSALS, UNAUTHENTICATED, Refusal
from service.app import Refusals
from service.limits import MOST_PER_MINUTE, AddressLimit
from tests.contract.ledger_rig import NOW, arrival, at, keep, rows
from tests.contract.source_rig import HandClock
from tests.doubles.still_clock import StillClock
from tests.servers.programs import wait_until

DAY = timedelta(days=1)


def count(engine: Engine, reason: Refusal, number: int, moment: datetime = NOW) -> None:
    with writing(engine) as connection:
        count_refusals(connection, {reason: number}, moment)


def refused(engine: Engine, since: datetime = NOW - DAY) -> list[Refused]:
    with reading(engine) as connection:
        return refused_since(connection, since)


@contextmanager
def counting(engine: Engine, pause_s: float) -> Iterator[Refusals]:
    counter = Refusals(engine, HandClock(NOW), pause_s=pause_s)
    yield counter
    counter.close()


def test_every_refusal_is_explained_and_belongs_to_one_kind_of_sender() -> None:
    assert list(REFUSALS) == list(Refusal)
    assert not HOOK_REFUSALS & RELAY_REFUSALS
    assert UNAUTHENTICATED > HOOK_REFUSALS | RELAY_REFUSALS


def test_counts_add_up_in_one_row_for_each_hour_and_reason(ledger_engine: Engine) -> None:
    for second in range(5):
        count(ledger_engine, Refusal.WRONG_SIGNATURE, 2, at(second))
    count(ledger_engine, Refusal.UNSIGNED, 1, at(4))
    count(ledger_engine, Refusal.WRONG_SIGNATURE, 3, at(3600))
    assert len(rows(ledger_engine, refusals)) == 3
    assert [(one.reason, one.count, one.last_at) for one in refused(ledger_engine)] == [
        (Refusal.WRONG_SIGNATURE, 13, at(3600)),
        (Refusal.UNSIGNED, 1, at(4)),
    ]
    assert refused(ledger_engine, at(7200)) == []


def test_a_refusal_is_over_once_its_kind_of_sender_was_accepted(ledger_engine: Engine) -> None:
    for reason in (Refusal.WRONG_SIGNATURE, Refusal.WRONG_TOKEN, Refusal.TOO_LARGE):
        count(ledger_engine, reason, 1, at(10))

    def over() -> set[Refusal]:
        return {one.reason for one in refused(ledger_engine) if one.is_over}

    keep(ledger_engine, arrival(7, received_at=at(9)))
    assert over() == set()
    keep(ledger_engine, replace(arrival(8, received_at=at(11)), signature_form=BEARER))
    assert over() == {Refusal.WRONG_TOKEN, Refusal.TOO_LARGE}
    keep(ledger_engine, arrival(9, received_at=at(12)))
    assert over() == {Refusal.WRONG_SIGNATURE, Refusal.WRONG_TOKEN, Refusal.TOO_LARGE}


def test_a_flood_is_one_row_and_few_writes(ledger_engine: Engine) -> None:
    with counting(ledger_engine, pause_s=60) as counter:
        counter.count(Refusal.UNSIGNED)
        wait_until(lambda: len(refused(ledger_engine)) == 1, "the first is written at once")
        for _ in range(5_000):
            counter.count(Refusal.UNSIGNED)
        assert [one.count for one in refused(ledger_engine)] == [1]
    assert [one.count for one in refused(ledger_engine)] == [5_001]
    assert len(rows(ledger_engine, refusals)) == 1


def test_counts_that_could_not_be_written_are_written_later(ledger_url: str) -> None:
    engine = open_engine(ledger_url)
    with writing(engine) as connection:
        refusals.drop(connection)
    with counting(engine, pause_s=0.01) as counter:
        for _ in range(3):
            counter.count(Refusal.UNSIGNED)
        with writing(engine) as connection:
            refusals.create(connection)
        wait_until(lambda: [one.count for one in refused(engine)] == [3], "written after all")
    engine.dispose()


def test_an_address_is_over_the_limit_for_a_minute() -> None:
    clock = StillClock()
    limit = AddressLimit(clock)
    said = [limit.count("192.0.2.1") for _ in range(MOST_PER_MINUTE + 2)]
    assert said == [False] * MOST_PER_MINUTE + [True, True]
    assert not limit.count("192.0.2.2")
    clock.seconds = 60.0
    assert not limit.count("192.0.2.1")


def test_neighbours_in_an_ipv6_network_share_a_limit_and_ipv4_keeps_its_own() -> None:
    limit = AddressLimit(StillClock())
    said = [limit.count(f"2001:db8::{number:x}") for number in range(1, MOST_PER_MINUTE + 2)]
    assert said[-1]
    assert not limit.count("2001:db8:0:1::1")
    mapped = [limit.count(f"::ffff:192.0.2.{number}") for number in range(1, 40)]
    assert not any(mapped)


def test_no_more_addresses_are_remembered_than_fit() -> None:
    limit = AddressLimit(StillClock())
    for number in range(10_000):
        limit.count(f"10.0.{number // 256}.{number % 256}")
    assert len(limit) < 5_000
