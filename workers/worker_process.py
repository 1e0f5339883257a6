"""What one worker process holds: made in the child after the fork, and never shared."""

import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.controls import KeyCheck
from ledger.revision import RevisionWatch
from schemas.errors import CoursebellError, LedgerUnavailable, frames_of
from schemas.settings import Settings
from workers.context import Context, SharedConfig, make_context
from workers.heartbeat import EVERY_S, BusyHeartbeats, Heartbeat
from workers.shared_state import SharedState
from workers.zones import iana_zone

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0  # before a child that could not initialise exits
_LOOK_EVERY_S = 0.5  # at whether the worker is stopping
MOST_PAUSE_S = _LONGEST_PAUSE_S + _LOOK_EVERY_S
SWITCH_INTERVAL_S = 0.0005  # between two threads that compute
LONGEST_TASK_S = 300  # a task that takes longer hangs

_log = structlog.get_logger("worker")


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """What this process works with."""

    context: Context
    heartbeat: Heartbeat
    busy: BusyHeartbeats
    watch: RevisionWatch
    key: KeyCheck
    shared: SharedState


_children: list[WorkerProcess] = []  # none or one


def start_process(
    settings: Settings,
    shared_config: SharedConfig,
    shared: SharedState,
    clock: Clock = SYSTEM_CLOCK,
    *,
    heartbeat_every_s: float = EVERY_S,
) -> None:
    """Initialise this process, or exit after a pause, so that another takes its place.

    The pause grows while one child after another fails. Only the first failure is logged.

    Raises:
        SystemExit: the process could not be initialised.
    """
    try:
        initialise_process(
            settings, shared_config, shared, clock, heartbeat_every_s=heartbeat_every_s
        )
    except Exception as error:  # noqa: BLE001 - a child that stayed would fail every task
        failures = shared.count_failure()
        if failures == 1:
            _log_failure(error)
        left_s = min(_FIRST_PAUSE_S * 2.0 ** (failures - 1), _LONGEST_PAUSE_S)
        while left_s > 0 and not shared.is_stopping():
            clock.sleep(min(left_s, _LOOK_EVERY_S))
            left_s -= _LOOK_EVERY_S
        raise SystemExit(1) from None
    failures = shared.forget_failures()
    if failures:
        _log.info("child.ready", failures=failures)


def _log_failure(error: Exception) -> None:
    is_ours = isinstance(error, CoursebellError)
    _log.error(
        "child.unready",
        error=str(error) if is_ours else frames_of(error),
        next_step=getattr(error, "next_step", None) or "Fix what the error names.",
        then="The worker tries again by itself, at least every 30 seconds.",
    )


def initialise_process(
    settings: Settings,
    shared_config: SharedConfig,
    shared: SharedState,
    clock: Clock = SYSTEM_CLOCK,
    *,
    heartbeat_every_s: float = EVERY_S,
) -> None:
    """Make what this process works with. Call it once, after the fork.

    Raises:
        LedgerUnavailable: the ledger's file cannot be created.
    """
    close_process()
    # The thread that writes to the ledger loses its turn with each statement. With Python's
    # default of 5 ms, all writers would wait for threads that only compute.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    iana_zone("UTC")  # reads the table of zones now, so that no lookup waits for it
    context = make_context(settings, shared_config, clock=clock, is_stopping=shared.is_stopping)
    folder, every_s = Path(settings.data_dir), heartbeat_every_s
    heartbeat = Heartbeat(context.engine, "worker", clock, folder, every_s=every_s)
    busy = BusyHeartbeats(heartbeat, clock, every_s=every_s, longest_task_s=LONGEST_TASK_S)
    key = KeyCheck(context.engine, shared_config.secret_key)
    watch = RevisionWatch(context.engine, clock)
    _children.append(WorkerProcess(context, heartbeat, busy, watch, key, shared))


def this_process() -> WorkerProcess:
    """Return what this process works with.

    Raises:
        LedgerUnavailable: this process was not initialised, or the ledger cannot be written.
        ConfigurationError: the ledger has been upgraded to tables this code must not use, or
            belongs to another secret key.
    """
    if not _children:
        raise LedgerUnavailable("this process is not ready to work")
    child = _children[0]
    child.watch.check()
    child.key.check(child.context.clock.now())
    child.heartbeat.begin()
    return child


def task_started(task: str, task_id: str) -> None:
    """Note that this process starts a task, before the task reads what is due."""
    for child in _children:
        child.busy.task_started(task_id)
        child.context.wakeup.task_started(task)


def task_ended(task_id: str) -> None:
    """Note that a task of this process ended, however it did."""
    for child in _children:
        child.busy.task_ended(task_id)


def close_process() -> None:
    """Close everything, at the end of the process."""
    while _children:
        child = _children.pop()
        child.busy.close()
        child.heartbeat.close()
        child.context.close()
