"""Shared by tests of the budget: kinds of patience, and budgets that are closed afterwards."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from schemas.errors import SourceThrottled
from workers.source.budget import Budget
from workers.source.limits import Patience, Urgency

LONG_S = 30.0


def nothing() -> None:
    """Do nothing: for requests without a lease."""


def at_once(urgency: Urgency = Urgency.WORK) -> Patience:
    """Return the patience of a request that does not wait."""
    return Patience(urgency, time.monotonic(), nothing)


def patient(
    urgency: Urgency = Urgency.WORK, keep: Callable[[], None] = nothing, for_s: float = LONG_S
) -> Patience:
    """Return the patience of a request that can wait."""
    return Patience(urgency, time.monotonic() + for_s, keep)


def may_leave(budget: Budget, urgency: Urgency = Urgency.WORK) -> bool:
    """Take a request; return whether it may leave right now."""
    try:
        budget.take(at_once(urgency))
    except SourceThrottled:
        return False
    return True


def count_leaving(budget: Budget, urgency: Urgency, tries: int) -> int:
    """Return how many of so many requests might leave without waiting."""
    return sum(may_leave(budget, urgency) for _ in range(tries))


def retry_after_s(budget: Budget, urgency: Urgency = Urgency.WORK) -> float:
    """Return `retry_after_s` of a request that may not leave now."""
    with pytest.raises(SourceThrottled) as caught:
        budget.take(at_once(urgency))
    assert caught.value.retry_after_s is not None
    return caught.value.retry_after_s


def order_of_turns(people: Budget, work: Budget) -> list[Urgency]:
    """Return the order in which two requests of work and then one of a person leave.

    The turn is taken when they come, and the person comes last.
    """
    order: list[Urgency] = []
    work_waits = threading.Semaphore(0)

    def take(urgency: Urgency, budget: Budget, keep: Callable[[], None]) -> None:
        budget.take(patient(urgency, keep))
        order.append(urgency)

    people.take(patient(Urgency.PERSON))
    threads = [
        threading.Thread(target=take, args=(Urgency.WORK, work, work_waits.release))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert work_waits.acquire(timeout=LONG_S)
    take(Urgency.PERSON, people, nothing)
    for thread in threads:
        thread.join(LONG_S)
    return order


@contextmanager
def key_space(broker_url: str) -> Iterator[str]:
    """Yield a key prefix that no other test uses; delete its keys afterwards."""
    space = f"budget-{uuid.uuid4().hex}:"
    yield space
    with redis.Redis.from_url(broker_url, socket_timeout=5) as client:
        for key in client.scan_iter(match=f"coursebell:{space}*"):
            client.delete(key)
