"""The budget while the broker is unreachable: a share of the limits, never unlimited."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ledger.clock import SYSTEM_CLOCK
from tests.contract.budget_rig import count_leaving, may_leave, order_of_turns, retry_after_s
from tests.contract.ledger_rig import at_once
from tests.servers.programs import wait_until
from workers.broker import choose_broker
from workers.local.server import RunningBroker, start_broker
from workers.source.budget import Budget
from workers.source.limits import BudgetState, Urgency, Usage

PERSON, WORK = Urgency.PERSON, Urgency.WORK


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with start_broker(choose_broker(None, tmp_path, search_path=""), tmp_path) as broker:
        yield broker


def end(broker: RunningBroker) -> None:
    assert broker.pid is not None
    os.kill(broker.pid, 9)


def restart_if_dead(broker: RunningBroker, budget: Budget) -> None:
    wait_until(broker.restart_if_dead, "the broker is revived")
    wait_until(lambda: budget.state().shared, "the budget is shared again")


@pytest.mark.parametrize("broker_url", [None, "memory://"])
def test_without_a_broker_it_uses_its_share_from_the_start_and_logs_nothing(
    broker_url: str | None,
) -> None:
    budget = Budget("60/minute;80/hour", broker_url, shares=6, clock=SYSTEM_CLOCK)
    with capture_logs() as logs:
        assert count_leaving(budget, WORK, 50) == 10
        budget.back_off(30)
        assert 20 < retry_after_s(budget, PERSON) <= 30
        state = budget.state()
    assert logs == []
    assert state.shared is False
    assert state.usage == (Usage("60/minute", 10, 10), Usage("80/hour", 10, 13))


def test_a_share_is_at_least_one_request() -> None:
    assert count_leaving(Budget("3/minute", None, shares=8, clock=SYSTEM_CLOCK), WORK, 5) == 1


def test_a_share_has_a_reserve_for_people_in_every_window() -> None:
    for unit in ("minute", "hour", "day"):
        budget = Budget(f"60/{unit}", None, shares=2, clock=SYSTEM_CLOCK)
        assert count_leaving(budget, WORK, 50) == 29
        assert count_leaving(budget, PERSON, 50) == 1


def test_a_share_has_its_part_of_the_pace() -> None:
    budget = Budget("1/second", None, shares=5, clock=SYSTEM_CLOCK)
    assert may_leave(budget)
    assert not may_leave(budget)
    assert 4 < retry_after_s(budget) <= 5.5


def test_within_a_share_work_lets_a_waiting_person_take_the_next_turn() -> None:
    budget = Budget("2/second", None, shares=2, clock=SYSTEM_CLOCK)
    assert order_of_turns(budget, budget) == [PERSON, WORK, WORK]


def test_many_threads_never_exceed_a_share() -> None:
    budget = Budget("38/minute;38/hour;38/day", None, shares=2, clock=SYSTEM_CLOCK)
    assert sum(at_once(8, lambda _: count_leaving(budget, WORK, 5))) == 19


def test_an_outage_of_the_broker_leaves_a_share_and_its_return_the_shared_budget(
    own_broker: RunningBroker,
) -> None:
    with capture_logs() as logs:
        budget = Budget("60/minute", own_broker.url, shares=6, clock=SYSTEM_CLOCK, away_s=0.1)
        assert count_leaving(budget, WORK, 4) == 4
        assert budget.state() == BudgetState(
            shared=True, back_off_s=0.0, usage=(Usage("60/minute", 4, 60),)
        )
        end(own_broker)
        # What it took from the shared budget counts as used of its share.
        assert count_leaving(budget, WORK, 50) == 6
        assert budget.state().shared is False
        restart_if_dead(own_broker, budget)
        assert count_leaving(budget, WORK, 5) == 5
        budget.close()
    assert [(log["event"], log["log_level"]) for log in logs] == [
        ("budget.alone", "warning"),
        ("budget.shared", "warning"),
    ]
    assert own_broker.url not in str(logs)
    assert own_broker.url.split(":")[2].partition("@")[0] not in str(logs)


def test_an_unreachable_broker_is_logged_once(
    own_broker: RunningBroker,
) -> None:
    end(own_broker)
    budget = Budget("60/minute", own_broker.url, shares=6, clock=SYSTEM_CLOCK, away_s=0)
    with capture_logs() as logs:
        assert count_leaving(budget, WORK, 20) == 10
        assert budget.state().shared is False
    assert [log["event"] for log in logs] == ["budget.alone"]
    budget.close()


def test_a_process_that_used_more_than_its_share_gets_nothing_during_an_outage(
    own_broker: RunningBroker,
) -> None:
    budget = Budget("60/minute;600/hour", own_broker.url, shares=6, clock=SYSTEM_CLOCK, away_s=60)
    assert count_leaving(budget, WORK, 30) == 30
    end(own_broker)
    assert count_leaving(budget, WORK, 10) == 0
    assert budget.state().usage == (Usage("60/minute", 30, 10), Usage("600/hour", 30, 100))
    budget.close()


def test_a_back_off_continues_when_the_broker_becomes_unreachable(
    own_broker: RunningBroker,
) -> None:
    asked = Budget("60/minute", own_broker.url, shares=1, clock=SYSTEM_CLOCK)
    other = Budget("60/minute", own_broker.url, shares=1, clock=SYSTEM_CLOCK)
    asked.back_off(40)
    # The other one learns of it with its next request.
    assert not may_leave(other)
    end(own_broker)
    assert 30 < retry_after_s(asked) <= 40
    assert 30 < retry_after_s(other) <= 40
    assert other.state().shared is False
    for budget in (asked, other):
        budget.close()


def test_it_connects_with_the_first_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        Budget("60/minute", url, shares=6, clock=SYSTEM_CLOCK).close()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_broker_that_never_answers_counts_as_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        budget = Budget(
            "60/minute", f"redis://127.0.0.1:{port}/0", shares=6, clock=SYSTEM_CLOCK, away_s=60
        )
        with capture_logs() as logs:
            assert count_leaving(budget, WORK, 50) == 10
        assert [log["event"] for log in logs] == ["budget.alone"]
        budget.close()


def test_a_broker_that_refuses_us_counts_as_unreachable(own_broker: RunningBroker) -> None:
    _, _, place = own_broker.url.rpartition("@")
    budget = Budget("60/minute", f"redis://:guess@{place}", shares=6, clock=SYSTEM_CLOCK, away_s=60)
    with capture_logs() as logs:
        assert count_leaving(budget, WORK, 50) == 10
        budget.back_off(20)
    assert [log["event"] for log in logs] == ["budget.alone"]
    assert "guess" not in str(logs)
    budget.close()
