"""The Celery application that workers run, and the life of each worker process.

Celery carries the names of tasks to workers, and nothing depends on a message arriving. docs/why.md
has the reason for each setting. The most important: one retry mechanism (the ledger's), no results,
no ETA, no remote control, and sockets with timeouts.
"""

import warnings
from functools import partial
from typing import Any

from celery import Celery, Task, bootsteps, signals
from celery.exceptions import SecurityWarning
from celery.worker import WorkController

from ledger.clock import SYSTEM_CLOCK
from schemas.settings import Settings
from workers import tasks
from workers.broker import IN_MEMORY, celery_broker, named_broker, visibility_timeout_s
from workers.context import read_shared_config
from workers.heartbeat import EVERY_S
from workers.logs import set_up_logs
from workers.queues import HOOKS_CHECK, SOURCE_CHECK
from workers.shared_state import SharedState, children_of
from workers.stopping import Stopping
from workers.wakeup import Wakeup, celery_queues
from workers.worker_process import (
    LONGEST_TASK_S,
    MOST_PAUSE_S,
    close_process,
    start_process,
    task_ended,
    task_started,
)

__all__ = ["make_worker_app", "run_worker", "tasks"]


_CONFIGURATION: dict[str, Any] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_acks_late": False,
    "task_time_limit": LONGEST_TASK_S,  # kills a task that hangs beyond its own time limits
    "worker_prefetch_multiplier": 1,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_send_task_events": False,
    "worker_max_tasks_per_child": 5000,
    "worker_proc_alive_timeout": MOST_PAUSE_S + 30,  # a child that cannot start exits after a pause
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
}
_TRANSPORT: dict[str, Any] = {
    "socket_timeout": 15,
    "socket_connect_timeout": 3,
    "health_check_interval": 10,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "global_keyprefix": "coursebell:",
}

# One process has no children to kill or replace, and no sockets.
_IN_MEMORY: dict[str, Any] = {
    "worker_pool": "threads",
    "task_time_limit": None,
    "broker_transport_options": {"polling_interval": 0.05},
}


def make_worker_app(settings: Settings, *, heartbeat_every_s: float = EVERY_S) -> Celery:
    """Return the app that `coursebell worker` runs.

    Raises:
        ConfigurationError: no broker is set, or the rules are wrong.
    """
    broker_url = named_broker(settings)
    # No fixups: Celery would look for a Django application in the environment.
    app = Celery("coursebell", fixups=[])
    app.conf.update(
        _CONFIGURATION,
        **celery_broker(broker_url),
        **celery_queues(),
        worker_concurrency=children_of(settings.workers),
    )
    if broker_url == IN_MEMORY:
        app.conf.update(_IN_MEMORY)
        starts, ends = signals.worker_init, signals.worker_shutdown
    else:
        visible_s = visibility_timeout_s(broker_url)
        app.conf.broker_transport_options = {**_TRANSPORT, "visibility_timeout": visible_s}
        starts, ends = signals.worker_process_init, signals.worker_process_shutdown
    shared_config, shared = read_shared_config(settings), SharedState(settings.workers)

    def begin(**_: Any) -> None:  # noqa: ANN401 - Celery's own signature
        start_process(settings, shared_config, shared, heartbeat_every_s=heartbeat_every_s)

    starts.connect(begin, weak=False)
    ends.connect(_end, weak=False)
    _connect_signals(settings, broker_url)

    class Listen(bootsteps.StartStopStep):
        """Takes the place of Celery's handlers of signals before the first message is read."""

        requires = ("celery.worker.components:Pool",)

        def start(self, parent: WorkController) -> None:
            Stopping(shared, partial(_children, parent)).listen()

    app.steps["worker"].add(Listen)
    return app


def run_worker(app: Celery) -> int:
    """Run the worker until a signal stops it, and return its exit code.

    Celery's own command line is not used: it takes options from a dozen environment variables.
    """
    # Celery warns about root with advice for its own command line; `coursebell worker` has its own.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = app.Worker(
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    try:
        worker.start()
    finally:
        Stopping.close()
    return int(worker.exitcode or 0)


def _children(worker: WorkController) -> list[int]:
    """Return the process ids of a worker's children, of which threads have none."""
    pool: Any = worker.pool
    try:
        found: list[int] = pool.info.get("processes", [])
    except AttributeError:  # the pool has stopped
        return []
    return found


def _end(**_: Any) -> None:  # noqa: ANN401 - Celery's own signature
    close_process()


def _note_start(task: Task[..., Any], task_id: str, **_: Any) -> None:  # noqa: ANN401 - Celery's own signature
    task_started(task.name, task_id)


def _note_end(task_id: str, **_: Any) -> None:  # noqa: ANN401 - Celery's own signature
    task_ended(task_id)


def _connect_signals(settings: Settings, broker_url: str) -> None:
    """Call our code at each event in the worker's life."""

    def keep_our_logs(**_: Any) -> None:  # noqa: ANN401 - Celery's own signature
        set_up_logs("worker")

    def look_at_once(**_: Any) -> None:  # noqa: ANN401 - Celery's own signature
        # Credentials may be new, and wake-ups sent before this worker ran may be lost.
        wakeup = Wakeup(broker_url, SYSTEM_CLOCK)
        wakeup.wake(HOOKS_CHECK, *([SOURCE_CHECK] if settings.check_every_s else []))
        wakeup.close()

    signals.worker_ready.connect(look_at_once, weak=False)
    signals.setup_logging.connect(keep_our_logs, weak=False)
    signals.task_prerun.connect(_note_start, weak=False)
    signals.task_postrun.connect(_note_end, weak=False)
