"""Lookups: one worker at a time, and one that lost its lease changes nothing."""

import json
from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import Connection, text, update

from ledger.engine import Engine, writing
from ledger.lookups import (
    Claim,
    begin_lookups,
    fail_lookup,
    finish_lookups,
    next_lookup_at,
    postpone_lookup,
    renew_lookup,
    return_lookup,
)
from ledger.tables import lookups
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.reasons import Reason
from tests.contract.ledger_rig import (
    LEASE_S,
    NOW,
    arrival,
    at,
    at_once,
    claim,
    keep,
    processes_at_once,
    rows,
)

Settle = Callable[[Connection, Claim], bool]

SETTLES: dict[str, Settle] = {
    "finish": lambda connection, one: bool(finish_lookups(connection, [one], at(1))),
    "fail": lambda connection, one: fail_lookup(connection, one, Reason.UNREADABLE, "Id"),
    "return": lambda connection, one: return_lookup(connection, one, at(9), Reason.NEXUDUS_BUSY),
    "postpone": lambda connection, one: postpone_lookup(
        connection, one, at(9), Reason.NEXUDUS_DOWN, "500"
    ),
}


def settle(engine: Engine, one: Claim, how: str) -> bool:
    with writing(engine) as connection:
        return SETTLES[how](connection, one)


def next_at(engine: Engine, now: datetime = NOW) -> datetime | None:
    with writing(engine) as connection:
        return next_lookup_at(connection, now, lease_s=60)


def test_a_claim_says_what_to_read(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7, received_at=NOW))
    [one] = claim(ledger_engine, at(5))
    assert (one.entity, one.record_id) == (Entity.COURSE_MEMBER, 7)
    assert (one.attempts, one.lost_leases, one.asked_at) == (1, 0, NOW)


def test_the_longest_overdue_are_claimed_first_and_no_more_than_requested(
    ledger_engine: Engine,
) -> None:
    keep(ledger_engine, *(arrival(n, received_at=at(-n)) for n in range(1, 6)))
    assert {one.record_id for one in claim(ledger_engine, most=2)} == {5, 4}
    assert {one.record_id for one in claim(ledger_engine, most=2)} == {3, 2}
    assert {one.record_id for one in claim(ledger_engine, most=2)} == {1}
    assert claim(ledger_engine, most=2) == []


@pytest.mark.parametrize("count", [2, 3, 30])
def test_no_more_are_claimed_than_requested_whatever_the_query_plan(
    ledger_engine: Engine, count: int
) -> None:
    keep(ledger_engine, *(arrival(n) for n in range(1, count + 1)))
    with writing(ledger_engine) as connection:
        connection.execute(text("ANALYZE"))
    assert len(claim(ledger_engine, most=1)) == 1


def test_a_lookup_that_is_not_due_is_not_claimed(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7, received_at=at(10)))
    assert claim(ledger_engine, at(9)) == []
    assert len(claim(ledger_engine, at(10))) == 1


def test_threads_that_claim_at_once_never_get_the_same_lookup(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(*range(1, 201)))

    def work(_: int) -> list[int]:
        mine: list[int] = []
        while some := claim(ledger_engine, most=7):
            mine += [one.record_id for one in some]
        return mine

    taken = [record_id for mine in at_once(8, work) for record_id in mine]
    assert sorted(taken) == list(range(1, 201))


def test_processes_that_claim_at_once_never_get_the_same_lookup(
    ledger_url: str, ledger_engine: Engine
) -> None:
    keep(ledger_engine, arrival(*range(1, 121)))
    ids = [one.id for one in rows(ledger_engine, lookups)]
    with writing(ledger_engine) as connection:
        connection.execute(update(lookups).values(due_at=at(-1)))
    printed = processes_at_once(3, "tests.contract.ledger_program", ledger_url, "lookups")
    taken = [one for line in printed for one in json.loads(line)]
    assert sorted(taken) == ids


def begin(engine: Engine, one: Claim, now: datetime) -> bool:
    with writing(engine) as connection:
        return begin_lookups(connection, [one], now, lease_s=LEASE_S) == {one.lookup_id}


def test_a_lease_that_ended_is_taken_by_the_next_and_counted_if_it_was_begun(
    ledger_engine: Engine,
) -> None:
    keep(ledger_engine, arrival(7))
    [first] = claim(ledger_engine)
    assert claim(ledger_engine, at(LEASE_S - 1)) == []
    [second] = claim(ledger_engine, at(LEASE_S))
    assert (second.lost_leases, second.attempts) == (0, 2)
    assert not begin(ledger_engine, first, at(LEASE_S))
    assert begin(ledger_engine, second, at(LEASE_S))
    [third] = claim(ledger_engine, at(2 * LEASE_S))
    assert (third.lost_leases, third.attempts) == (1, 3)


def test_of_several_lookups_those_that_are_still_ours_are_begun_and_ended(
    ledger_engine: Engine,
) -> None:
    keep(ledger_engine, arrival(7, 8, 9))
    first, lost, last = claim(ledger_engine)
    with writing(ledger_engine) as connection:
        assert begin_lookups(connection, [], NOW, lease_s=LEASE_S) == set()
        connection.execute(
            update(lookups).where(lookups.c.id == lost.lookup_id).values(lease_token="another")
        )
        ours = {first.lookup_id, last.lookup_id}
        assert begin_lookups(connection, [first, lost, last], NOW, lease_s=LEASE_S) == ours
        # A notification that arrived meanwhile makes its lookup due again.
        connection.execute(update(lookups).where(lookups.c.record_id == 9).values(asked=9))
        assert finish_lookups(connection, [first, lost, last], at(1)) == ours
    found = [(one.state, one.lost_leases, one.lease_token) for one in rows(ledger_engine, lookups)]
    assert found == [("done", 0, None), ("leased", 0, "another"), ("due", 0, None)]


def renew(engine: Engine, one: Claim, now: datetime) -> bool:
    with writing(engine) as connection:
        return renew_lookup(connection, one, now, lease_s=LEASE_S)


def test_a_renewed_lease_holds_longer_and_still_ends(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    assert renew(ledger_engine, one, at(50))
    assert claim(ledger_engine, at(50 + LEASE_S - 1)) == []
    assert len(claim(ledger_engine, at(50 + LEASE_S))) == 1


def test_a_lookup_of_another_worker_or_one_that_ended_is_not_renewed(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [slow] = claim(ledger_engine)
    [quick] = claim(ledger_engine, at(LEASE_S))
    assert not renew(ledger_engine, slow, at(LEASE_S))
    assert settle(ledger_engine, quick, "finish")
    assert not renew(ledger_engine, quick, at(LEASE_S))


@pytest.mark.parametrize("how", SETTLES)
def test_lost_leases_are_counted_in_a_row_only(ledger_engine: Engine, how: str) -> None:
    keep(ledger_engine, arrival(7))
    claim(ledger_engine)
    [second] = claim(ledger_engine, at(LEASE_S))
    assert settle(ledger_engine, second, how)
    keep(ledger_engine, arrival(7, received_at=at(2 * LEASE_S)))
    [third] = claim(ledger_engine, at(2 * LEASE_S))
    assert third.lost_leases == 0


@pytest.mark.parametrize("how", SETTLES)
def test_a_worker_that_lost_its_lease_changes_nothing(ledger_engine: Engine, how: str) -> None:
    keep(ledger_engine, arrival(7))
    [slow] = claim(ledger_engine)
    [quick] = claim(ledger_engine, at(LEASE_S))
    before = rows(ledger_engine, lookups)
    assert not settle(ledger_engine, slow, how)
    assert rows(ledger_engine, lookups) == before
    assert settle(ledger_engine, quick, "finish")
    assert not settle(ledger_engine, slow, how)
    assert rows(ledger_engine, lookups)[0].state == LookupState.DONE


@pytest.mark.parametrize("how", SETTLES)
def test_a_lookup_ends_once(ledger_engine: Engine, how: str) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    assert settle(ledger_engine, one, how)
    assert not settle(ledger_engine, one, "finish")


def test_only_one_of_many_can_end_it(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    assert sum(at_once(6, lambda _: settle(ledger_engine, one, "finish"))) == 1


def test_a_finished_lookup_is_not_due(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    settle(ledger_engine, one, "postpone")
    [one] = claim(ledger_engine, at(9))
    settle(ledger_engine, one, "finish")
    [row] = rows(ledger_engine, lookups)
    assert (row.state, row.attempts, row.reason, row.last_error) == ("done", 0, None, None)
    assert (row.lease_until, row.lease_token) == (None, None)
    assert claim(ledger_engine, at(10**6)) == []


def test_a_postponed_lookup_has_a_reason_and_counts_its_attempts(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    settle(ledger_engine, one, "postpone")
    [row] = rows(ledger_engine, lookups)
    assert (row.state, row.due_at) == (LookupState.WAITING, at(9))
    assert (row.reason, row.last_error) == (Reason.NEXUDUS_DOWN, "500")
    assert claim(ledger_engine, at(8)) == []
    assert claim(ledger_engine, at(9))[0].attempts == 2


def test_a_returned_lookup_counts_no_attempt(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    settle(ledger_engine, one, "return")
    assert claim(ledger_engine, at(8)) == []
    assert claim(ledger_engine, at(9))[0].attempts == 1


def test_a_failed_lookup_has_a_reason_and_is_not_read_again(ledger_engine: Engine) -> None:
    keep(ledger_engine, arrival(7))
    [one] = claim(ledger_engine)
    settle(ledger_engine, one, "fail")
    [row] = rows(ledger_engine, lookups)
    assert (row.state, row.reason, row.last_error) == ("failed", Reason.UNREADABLE, "Id")
    assert claim(ledger_engine, at(10**6)) == []


def test_the_next_due_time_is_the_earliest_of_due_waiting_and_ended_leases(
    ledger_engine: Engine,
) -> None:
    assert next_at(ledger_engine) is None
    keep(ledger_engine, arrival(7, received_at=at(5)))
    assert next_at(ledger_engine) == at(5)
    [one] = claim(ledger_engine, at(5))
    assert next_at(ledger_engine, at(6)) is None
    assert next_at(ledger_engine, at(5 + LEASE_S)) == at(5 + LEASE_S)
    settle(ledger_engine, one, "postpone")
    assert next_at(ledger_engine) == at(9)
    [one] = claim(ledger_engine, at(9))
    settle(ledger_engine, one, "finish")
    assert next_at(ledger_engine, at(10**6)) is None
