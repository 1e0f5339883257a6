"""The budget and its double: the same cases on both."""

import time
from collections.abc import Iterator
from functools import partial

import pytest

from ledger.clock import SYSTEM_CLOCK
from tests.contract.budget_rig import key_space, nothing
from tests.doubles.open_gate import OpenGate
from workers.source.budget import Budget
from workers.source.limits import Budgeting, Patience, Urgency


@pytest.fixture(params=["shared", "alone", "double"])
def gate(request: pytest.FixtureRequest) -> Iterator[Budgeting]:
    if request.param == "double":
        yield OpenGate()
    elif request.param == "alone":
        yield Budget("100/minute", None, shares=1, clock=SYSTEM_CLOCK)
    else:
        url: str = request.getfixturevalue("broker_url")
        with key_space(url) as space:
            budget = Budget("100/minute", url, shares=1, clock=SYSTEM_CLOCK, space=space)
            yield budget
            assert budget.state().shared
            budget.close()


@pytest.mark.parametrize("urgency", Urgency)
def test_a_request_may_leave_without_any_patience(urgency: Urgency, gate: Budgeting) -> None:
    gate.take(Patience(urgency, time.monotonic() - 1, nothing))


def test_the_lease_is_renewed_before_each_request(gate: Budgeting) -> None:
    kept: list[int] = []
    for number in range(3):
        gate.take(Patience(Urgency.WORK, float("inf"), partial(kept.append, number)))
    assert kept == [0, 1, 2]


def test_exceptions_of_renewing_pass_through(gate: Budgeting) -> None:
    def lose() -> None:
        raise LookupError("the lease is lost")

    with pytest.raises(LookupError, match="the lease is lost"):
        gate.take(Patience(Urgency.WORK, float("inf"), lose))


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_back_off_of_zero_delays_nothing(seconds: float, gate: Budgeting) -> None:
    gate.back_off(seconds)
    gate.take(Patience(Urgency.PERSON, time.monotonic(), nothing))


def test_the_double_counts_requests_and_remembers_back_offs() -> None:
    gate = OpenGate()
    gate.take(Patience(Urgency.WORK, 0.0, nothing))
    gate.back_off(2.5)
    assert (gate.taken, gate.back_offs) == (1, [2.5])
