"""Wake-up messages on a real broker: none expires by a worker's clock, and no backlog builds up."""

import json
from collections.abc import Iterator

import pytest
import redis
from celery import Celery

from ledger.clock import SYSTEM_CLOCK
from tests.servers.programs import wait_until
from workers.broker import IN_MEMORY
from workers.queues import ACTION_PERFORM, LEDGER_RETAIN, LOOKUP_DRAIN, UPKEEP, WORK
from workers.wakeup import MOST_WAITING, Wakeup

QUEUE_KEY, UPKEEP_KEY = f"coursebell:{WORK}", f"coursebell:{UPKEEP}"


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    """Give the broker with nothing of ours in it."""
    with redis.Redis.from_url(broker_url, decode_responses=True) as client:
        _empty(client)
        yield client
        _empty(client)


def _empty(client: redis.Redis) -> None:
    client.delete(QUEUE_KEY, UPKEEP_KEY, *client.scan_iter(match="coursebell:waiting:*"))


def wake(broker_url: str, *tasks: str) -> None:
    """Wake workers as another process would, and wait until everything was sent."""
    wakeup = Wakeup(broker_url, SYSTEM_CLOCK)
    wakeup.wake(*tasks)
    wakeup.close()


def messages(broker: redis.Redis, key: str = QUEUE_KEY) -> list[tuple[str, object]]:
    """Return the task of each message in a queue, and when it expires."""
    headers = [json.loads(message)["headers"] for message in broker.lrange(key, 0, -1)]
    return [(one["task"], one["expires"]) for one in headers]


def test_a_task_that_waits_is_sent_once_and_again_after_it_started(
    broker_url: str, broker: redis.Redis
) -> None:
    for _ in range(5):
        wake(broker_url, LOOKUP_DRAIN, ACTION_PERFORM)
    assert broker.llen(QUEUE_KEY) == 2
    expected = [(ACTION_PERFORM, None), (LOOKUP_DRAIN, None)]
    assert sorted(messages(broker)) == expected
    # A worker takes one of the two and starts it.
    [(task, _)] = messages(broker)[-1:]
    broker.rpop(QUEUE_KEY)
    worker = Wakeup(broker_url, SYSTEM_CLOCK)
    worker.task_started(task)
    worker.close()
    wake(broker_url, LOOKUP_DRAIN, ACTION_PERFORM)
    assert sorted(messages(broker)) == expected


def test_a_task_is_sent_once_however_long_it_waits(broker_url: str, broker: redis.Redis) -> None:
    for _ in range(3):
        wake(broker_url, LOOKUP_DRAIN, ACTION_PERFORM)
        for mark in broker.scan_iter(match="coursebell:waiting:*"):
            broker.delete(mark)  # as after ten seconds
    assert broker.llen(QUEUE_KEY) == 2


def test_a_lost_message_delays_its_task_by_seconds_only(
    broker_url: str, broker: redis.Redis
) -> None:
    wake(broker_url, LOOKUP_DRAIN)
    [mark] = broker.scan_iter(match="coursebell:waiting:*")
    assert 0 < broker.pttl(mark) <= 10_000
    broker.delete(QUEUE_KEY)
    broker.pexpire(mark, 1)
    wait_until(lambda: not broker.exists(mark), "the mark gone")
    wake(broker_url, LOOKUP_DRAIN)
    assert broker.llen(QUEUE_KEY) == 1


def test_while_no_worker_runs_a_queue_stays_short_and_does_not_block_the_other(
    broker_url: str, broker: redis.Redis
) -> None:
    broker.rpush(QUEUE_KEY, *["a message"] * MOST_WAITING)
    wake(broker_url, LOOKUP_DRAIN)
    assert broker.llen(QUEUE_KEY) == MOST_WAITING
    wake(broker_url, LEDGER_RETAIN)
    assert messages(broker, UPKEEP_KEY) == [(LEDGER_RETAIN, None)]
    broker.lpop(QUEUE_KEY)
    wake(broker_url, LOOKUP_DRAIN)
    assert broker.llen(QUEUE_KEY) == MOST_WAITING


def test_within_one_process_too_the_queue_stays_short() -> None:
    for number in range(MOST_WAITING + 5):
        wake(IN_MEMORY, f"{LOOKUP_DRAIN}.{number}")
    with Celery(broker=IN_MEMORY, set_as_current=False) as app, app.connection() as connection:
        queue = connection.SimpleQueue(WORK)
        assert queue.qsize() == MOST_WAITING
        queue.clear()
        queue.close()


def test_an_unreachable_broker_is_no_error_when_a_task_starts() -> None:
    wakeup = Wakeup("redis://127.0.0.1:1/0", SYSTEM_CLOCK)
    wakeup.task_started(LOOKUP_DRAIN)
    wakeup.close()
