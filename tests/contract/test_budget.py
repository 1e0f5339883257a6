"""The budget of requests on a real broker: shared by all, people first, with back-off."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import pytest
import redis

from ledger.clock import SYSTEM_CLOCK
from schemas.errors import SourceThrottled
from tests.contract.budget_rig import (
    at_once,
    count_leaving,
    key_space,
    may_leave,
    order_of_turns,
    patient,
    retry_after_s,
)
from tests.contract.ledger_rig import at_once as at_once_in_threads
from tests.contract.ledger_rig import processes_at_once
from tests.servers.programs import wait_until
from workers.source.budget import Budget
from workers.source.limits import BudgetState, Patience, Urgency, Usage

PERSON, WORK = Urgency.PERSON, Urgency.WORK
PROGRAM = "tests.contract.budget_program"

Open = Callable[[str], Budget]


@pytest.fixture
def space(broker_url: str) -> Iterator[str]:
    with key_space(broker_url) as space:
        yield space


@pytest.fixture
def open_budget(broker_url: str, space: str) -> Iterator[Open]:
    with ExitStack() as opened:

        def open_one(limits: str) -> Budget:
            budget = Budget(limits, broker_url, shares=1, clock=SYSTEM_CLOCK, space=space)
            opened.callback(budget.close)
            return budget

        yield open_one


def keys_of(broker_url: str, space: str) -> set[str]:
    with redis.Redis.from_url(broker_url, decode_responses=True) as client:
        return {str(key) for key in client.scan_iter(match=f"coursebell:{space}*")}


@pytest.mark.parametrize("unit", ["minute", "hour", "day"])
def test_many_processes_together_never_exceed_a_window(
    unit: str, broker_url: str, space: str
) -> None:
    printed = processes_at_once(4, PROGRAM, broker_url, f"7/{unit}", space, "5", "0")
    lines = "".join(printed).split("\n")
    assert len([line for line in lines if line and not line.startswith("throttled")]) == 7
    waits = [float(line.split()[1]) for line in lines if line.startswith("throttled")]
    assert len(waits) == 4 * 5 - 7
    longest = {"minute": 61, "hour": 3601, "day": 86_401}[unit]
    assert all(0 < wait <= longest for wait in waits)


def test_many_processes_together_keep_the_pace(broker_url: str, space: str) -> None:
    printed = processes_at_once(4, PROGRAM, broker_url, "2/second", space, "2", "30")
    stamps = sorted(float(line) for line in "".join(printed).split())
    assert len(stamps) == 8
    # A process may be held up before it reads its clock: the pace itself is 550 ms.
    assert min(later - earlier for earlier, later in pairwise(stamps)) > 0.2


def test_a_waiting_request_leaves_as_soon_as_the_pace_allows(open_budget: Open) -> None:
    budget = open_budget("10/second")
    for _ in range(5):
        budget.take(patient())
    assert budget.state().shared


def test_a_request_that_has_to_wait_for_the_pace_uses_up_no_window(open_budget: Open) -> None:
    budget = open_budget("1/second;100/minute;100/hour")
    assert count_leaving(budget, WORK, 10) == 1
    assert [one.used for one in budget.state().usage] == [1, 1]


def test_a_request_that_a_longer_window_refuses_uses_up_no_shorter_one(open_budget: Open) -> None:
    budget = open_budget("100/minute;3/hour;100/day")
    assert count_leaving(budget, WORK, 10) == 3
    assert [one.used for one in budget.state().usage] == [3, 3, 3]


def test_a_request_that_a_window_refuses_does_not_take_the_turn_of_another(
    open_budget: Open, broker_url: str, space: str
) -> None:
    budget = open_budget("1000/second;20/minute")
    wait_until(lambda: count_leaving(budget, WORK, 1) == 0 and used(budget) == 19, "work is spent")
    pace = f"coursebell:{space}pace"
    wait_until(lambda: pace not in keys_of(broker_url, space), "the pace has passed")
    assert not may_leave(budget, WORK)
    assert pace not in keys_of(broker_url, space)


def used(budget: Budget) -> int:
    return budget.state().usage[0].used


def test_work_leaves_a_reserve_of_each_window_to_people(open_budget: Open) -> None:
    budget = open_budget("60/minute;90/hour")
    assert count_leaving(budget, WORK, 70) == 58
    with pytest.raises(SourceThrottled):
        budget.take(at_once(WORK))
    assert count_leaving(budget, PERSON, 10) == 2
    assert not may_leave(budget, PERSON)


def test_people_and_work_together_never_exceed_a_window(open_budget: Open) -> None:
    budget = open_budget("60/minute")
    assert count_leaving(budget, PERSON, 30) == 30
    assert count_leaving(budget, WORK, 40) == 28
    assert count_leaving(budget, PERSON, 40) == 2
    assert count_leaving(budget, WORK, 10) == 0


def test_many_threads_of_one_process_never_exceed_a_window(open_budget: Open) -> None:
    budget = open_budget("19/minute;19/hour;19/day")
    assert sum(at_once_in_threads(8, lambda _: count_leaving(budget, WORK, 5))) == 19
    assert [one.used for one in budget.state().usage] == [19, 19, 19]


def test_a_limit_that_was_lowered_counts_what_is_already_used(open_budget: Open) -> None:
    assert count_leaving(open_budget("100/minute"), WORK, 5) == 5
    assert retry_after_s(open_budget("3/minute"), PERSON) > 0


def test_a_day_too_keeps_a_reserve_for_people(open_budget: Open) -> None:
    budget = open_budget("30/day")
    assert count_leaving(budget, WORK, 40) == 29
    assert count_leaving(budget, PERSON, 40) == 1


def test_a_small_limit_has_no_reserve(open_budget: Open) -> None:
    assert count_leaving(open_budget("19/minute"), WORK, 30) == 19


def test_work_lets_a_waiting_person_take_the_next_turn(open_budget: Open) -> None:
    order = order_of_turns(open_budget("1/second"), open_budget("1/second"))
    assert order == [PERSON, WORK, WORK]


def test_work_leaves_a_free_turn_to_a_waiting_person(
    open_budget: Open, broker_url: str, space: str
) -> None:
    budget = open_budget("10/second")
    budget.take(at_once(PERSON))
    assert not may_leave(budget, PERSON)
    with redis.Redis.from_url(broker_url) as client:
        # As if the person were on their way: the mark stays for as long as this test needs.
        assert 0 < client.pttl(f"coursebell:{space}person") <= 2 * 110 + 100
        client.pexpire(f"coursebell:{space}person", 60_000)
        wait_until(lambda: not client.exists(f"coursebell:{space}pace"), "the turn is free")
        assert not may_leave(budget, WORK)
        assert may_leave(budget, PERSON)
        assert not client.exists(f"coursebell:{space}person")
    budget.take(patient(WORK))


def test_a_person_who_gave_up_does_not_delay_work_for_long(open_budget: Open) -> None:
    budget = open_budget("10/second")
    budget.take(at_once(PERSON))
    assert not may_leave(budget, PERSON)
    budget.take(patient(WORK))


def test_a_back_off_requested_from_one_process_applies_to_all(open_budget: Open) -> None:
    asked, other = open_budget("100/minute"), open_budget("100/minute")
    asked.back_off(40)
    assert 30 < retry_after_s(other) <= 40
    assert 30 < retry_after_s(asked, PERSON) <= 40
    assert 30 < open_budget("100/minute").state().back_off_s <= 40
    assert used(other) == 0


def test_a_shorter_back_off_never_shortens_a_longer_one(open_budget: Open) -> None:
    first, second, third = (open_budget("100/minute") for _ in range(3))
    first.back_off(40)
    second.back_off(1)
    assert retry_after_s(third) > 30
    third.back_off(80)
    assert retry_after_s(open_budget("100/minute")) > 70


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_back_off_of_zero_seconds_is_ignored(seconds: float, open_budget: Open) -> None:
    budget = open_budget("100/minute")
    budget.back_off(seconds)
    budget.take(at_once())
    assert budget.state().back_off_s == 0


def test_a_back_off_lasts_at_most_an_hour(open_budget: Open) -> None:
    asked, other = open_budget("100/minute"), open_budget("100/minute")
    asked.back_off(float("inf"))
    assert 3500 < retry_after_s(asked) <= 3600
    assert 3500 < retry_after_s(other) <= 3600


def test_after_a_back_off_requests_leave_again(open_budget: Open) -> None:
    asked, other = open_budget("100/minute"), open_budget("100/minute")
    asked.back_off(0.2)
    other.take(patient())
    asked.take(patient())
    assert other.state() == BudgetState(
        shared=True, back_off_s=0.0, usage=(Usage("100/minute", 2, 100),)
    )


def test_the_lease_is_renewed_before_and_while_a_request_waits(open_budget: Open) -> None:
    budget = open_budget("100/minute")
    kept = threading.Semaphore(0)
    budget.take(patient(keep=kept.release))
    assert kept.acquire(blocking=False)
    assert not kept.acquire(blocking=False)
    budget.back_off(1.6)
    budget.take(patient(keep=kept.release))
    assert sum(kept.acquire(blocking=False) for _ in range(10)) >= 3


def test_waiting_ends_when_renewing_raises(open_budget: Open) -> None:
    budget = open_budget("100/minute")
    budget.back_off(20)
    kept: list[float] = []

    def keep() -> None:
        kept.append(time.monotonic())
        if len(kept) == 2:
            raise LookupError("the lease is lost")

    with pytest.raises(LookupError, match="the lease is lost"):
        budget.take(Patience(WORK, float("inf"), keep))
    assert used(budget) == 0


def test_a_request_that_cannot_leave_in_time_fails_at_once(open_budget: Open) -> None:
    budget = open_budget("1/minute")
    budget.take(at_once())
    kept: list[None] = []
    with pytest.raises(SourceThrottled) as caught:
        budget.take(patient(keep=lambda: kept.append(None), for_s=20))
    assert caught.value.retry_after_s is not None
    assert 20 < caught.value.retry_after_s <= 61
    assert len(kept) == 1


def test_the_state_has_the_usage_of_each_limit(open_budget: Open) -> None:
    budget = open_budget("1000/second;120/minute;5000/hour;200000/day")
    other = open_budget("1000/second;120/minute;5000/hour;200000/day")
    budget.take(patient())
    other.take(patient(PERSON))
    assert budget.state() == other.state()
    assert budget.state() == BudgetState(
        shared=True,
        back_off_s=0.0,
        usage=(
            Usage("120/minute", 2, 120),
            Usage("5000/hour", 2, 5000),
            Usage("200000/day", 2, 200_000),
        ),
    )


def test_everything_on_the_broker_has_our_prefix_and_expires(
    open_budget: Open, broker_url: str, space: str
) -> None:
    budget = open_budget("1/second;120/minute;5000/hour;200000/day")
    budget.take(at_once())
    assert not may_leave(budget, PERSON)
    budget.back_off(20)
    names = {"pace", "person", "calm", "minute", "hour", "{day}"}
    assert keys_of(broker_url, space) <= {f"coursebell:{space}{name}" for name in names}
    with redis.Redis.from_url(broker_url) as client:
        assert all(client.ttl(key) != -1 for key in keys_of(broker_url, space))
