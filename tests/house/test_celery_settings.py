"""Celery only wakes workers: nothing depends on a message, and nothing waits for the broker."""

import re
from pathlib import Path

import pytest
from celery import Celery

from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from tests.house.source_tree import modules, table_rows
from workers import queues
from workers.app import make_worker_app
from workers.wakeup import make_publisher

BROKER = "redis://no-broker-is-needed-for-this-test.invalid"


@pytest.fixture
def worker(tmp_path: Path) -> Celery:
    environment = {"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_BROKER_URL": BROKER}
    return make_worker_app(load_settings(environment))


def test_no_message_is_kept_repeated_or_answered(worker: Celery) -> None:
    assert worker.conf.task_acks_late is False
    assert worker.conf.task_ignore_result is True
    assert not worker.conf.result_backend
    assert worker.conf.worker_prefetch_multiplier == 1
    assert worker.conf.accept_content == ["json"]
    assert worker.conf.beat_schedule == {}


def test_workers_take_no_commands_through_the_broker(worker: Celery) -> None:
    assert worker.conf.worker_enable_remote_control is False
    assert worker.conf.worker_send_task_events is False


def test_a_worker_has_timeouts_and_reconnects_without_end(worker: Celery) -> None:
    options = worker.conf.broker_transport_options
    assert options["socket_timeout"] == 15
    assert options["socket_connect_timeout"] == 3
    assert options["health_check_interval"] == 10
    assert options["visibility_timeout"] == 900 > worker.conf.task_time_limit > 0
    assert options["unacked_restore_interval"] == 10
    assert options["unacked_restore_throttle"] == 1
    assert worker.conf.broker_connection_max_retries is None
    assert worker.conf.broker_connection_retry_on_startup is True


def test_publishing_gives_up_within_half_a_second() -> None:
    publisher = make_publisher(BROKER)
    options = publisher.conf.broker_transport_options
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.5)
    assert options["max_retries"] == 0
    assert publisher.conf.task_publish_retry is False
    assert publisher.conf.broker_pool_acquire_timeout == 1


def test_publisher_and_worker_use_the_same_queues(worker: Celery) -> None:
    publisher = make_publisher(BROKER)
    prefix = "global_keyprefix"
    options, other = worker.conf.broker_transport_options, publisher.conf.broker_transport_options
    assert options[prefix] == other[prefix]
    assert worker.conf.task_default_queue == publisher.conf.task_default_queue


def test_our_tasks_are_those_that_are_woken_and_none_retries(worker: Celery) -> None:
    worker.finalize()
    ours = {name: task for name, task in worker.tasks.items() if not name.startswith("celery.")}
    rung_for = {name for word, name in vars(queues).items() if word.isupper() and "." in name}
    assert ours.keys() == rung_for
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", name) for name in ours)
    assert not any(getattr(task, "autoretry_for", ()) for task in ours.values())


def test_a_worker_without_a_broker_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="COURSEBELL_BROKER_URL"):
        make_worker_app(load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)}))


def test_the_page_explains_only_existing_settings() -> None:
    source = "".join(text for _, _, text in modules())
    explained = {
        word
        for row in table_rows("why.md")
        if len(row) == 3
        for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row[0])
    }
    assert len(explained) > 10
    assert {word for word in explained if word not in source} == set()
