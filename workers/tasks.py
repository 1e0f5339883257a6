"""The Celery tasks: thin and without arguments. Each reads from the ledger what is due and does it.

A lookup or action task ends after some seconds even if more is due, and wakes a worker for the
rest, so that lookups and actions take turns. Upkeep may take minutes, in the few children that
`SharedState.upkeep_slot` allows; the others stay free for lookups and actions.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps

import structlog
from celery import shared_task

from ledger.engine import reading, writing
from ledger.heartbeats import release_lease, take_lease
from ledger.retention import delete_old
from schemas.errors import SourceRefused, Transient
from workers.deliver.claim import perform_batch, sweep
from workers.lookup.claim import drain_batch
from workers.lookup.timers import ask_for_timers
from workers.mail_reports import apply_reports
from workers.queues import (
    ACTION_PERFORM,
    HOOKS_CHECK,
    LEDGER_RETAIN,
    LOOKUP_DRAIN,
    OUTBOX_SWEEP,
    REPORTS_PLAN,
    REPORTS_SEND,
    SOURCE_CHECK,
    SOURCE_PROBE,
    SOURCE_RECONCILE,
)
from workers.reports.plan import plan_reports
from workers.reports.send import send_reports
from workers.source.limits import Patience, Urgency
from workers.source.reads import is_probe_due, probe_all
from workers.sync.backfill import backfill_gap
from workers.sync.poll import poll_all, refresh_catalogue
from workers.sync.reconcile import is_nightly_due, nightly
from workers.sync.webhooks import ROUND_S, check_webhooks, is_check_due
from workers.worker_process import WorkerProcess, this_process

_LONGEST_S = 10.0
_PAUSE_S = 0.05  # between two steps of deleting, for other writers
_PROBE_S = 120.0
_NIGHTLY_S = 240.0  # for reading the lists
_WEBHOOKS_LEASE_S = 300.0  # by then a task has been killed

_log = structlog.get_logger("task")


def _upkeep_task(name: str) -> Callable[[Callable[[WorkerProcess], None]], Callable[[], None]]:
    """Register a task of the queue `upkeep`, which does nothing while its slot is taken.

    The sweep wakes a worker for a task that was refused, until its slot is free.
    """

    def register(do: Callable[[WorkerProcess], None]) -> Callable[[], None]:
        @shared_task(name=name)
        @wraps(do)
        def run() -> None:
            child = this_process()
            with child.shared.upkeep_slot(name) as is_free:
                if is_free:
                    do(child)

        return run

    return register


@shared_task(name=LOOKUP_DRAIN)
def drain_lookups() -> None:
    """Read the records that are due, batch after batch."""
    child = this_process()
    tools = child.context

    def another_may_help() -> None:
        tools.wakeup.wake(LOOKUP_DRAIN)

    def batch() -> int:
        claimed, planned = drain_batch(tools.lookup_context, another_may_help)
        if planned:
            tools.wakeup.wake(ACTION_PERFORM)
        if claimed and is_probe_due(tools.engine, tools.clock.now()):
            # Now, because all children may have batches for a while, and the rest of a backlog
            # takes fewer requests after it.
            with child.shared.upkeep_slot(SOURCE_PROBE) as is_free:
                if is_free:
                    _probe(child)
        return claimed

    _until_done(batch, LOOKUP_DRAIN)


@shared_task(name=ACTION_PERFORM)
def perform_actions() -> None:
    """Perform the actions that are due, batch after batch, unless enough children do so already."""
    child = this_process()
    tools = child.context
    with child.shared.action_slot() as is_free, child.shared.finishing():
        if is_free:
            _until_done(
                lambda: perform_batch(tools.delivery, tools.lookup_context.source), ACTION_PERFORM
            )


@shared_task(name=OUTBOX_SWEEP)
def sweep_outbox() -> None:
    """Settle what a lost worker left behind, and wake workers for tasks that never started.

    Also applies what mail providers reported; the web process wakes a worker for it.
    """
    child = this_process()
    tools = child.context.delivery
    sweep(tools)
    ask_for_timers(tools.engine, tools.setup.rules, tools.clock.now())
    child.heartbeat.beat()
    child.context.wakeup.wake(LOOKUP_DRAIN, ACTION_PERFORM, *child.shared.take_refused())
    # Last, so that no fault in reports stops anything else.
    apply_reports(tools.engine, tools.setup.secret_key, tools.clock)


@_upkeep_task(LEDGER_RETAIN)
def retain_ledger(child: WorkerProcess) -> None:
    """Delete rows past their retention, in small steps with pauses between them."""
    tools, clock = child.context, child.context.clock
    end = clock.monotonic() + _LONGEST_S

    def may_continue() -> bool:
        clock.sleep(_PAUSE_S)
        return clock.monotonic() < end and not child.shared.is_stopping()

    deleted = delete_old(tools.engine, tools.clock.now(), may_continue=may_continue)
    _log.info("ledger.retained", **deleted.rows)
    if deleted.more and not child.shared.is_stopping():
        tools.wakeup.wake(LEDGER_RETAIN)


@_upkeep_task(SOURCE_PROBE)
def probe_source(child: WorkerProcess) -> None:
    """Test from time to time whether this tenant lets us read several records with one request."""
    _probe(child)


def _probe(child: WorkerProcess) -> None:
    tools = child.context
    patience = Patience(Urgency.WORK, tools.clock.monotonic() + _PROBE_S, lambda: None)
    try:
        with tools.sources.lend(patience) as source:
            probe_all(tools.engine, source, tools.clock.now())
    except (Transient, SourceRefused) as error:
        _log.info("source.unprobed", error=str(error))


@_upkeep_task(SOURCE_CHECK)
def check_source(child: WorkerProcess) -> None:
    """Poll: list what changed, and request lookups of it."""
    tools = child.context
    done = poll_all(tools.sync, for_s=_LONGEST_S)
    if done.news:
        tools.wakeup.wake(LOOKUP_DRAIN)
    if done.more:
        tools.wakeup.wake(SOURCE_CHECK)
    else:
        refresh_catalogue(tools.sync, tools.delivery.setup.rules)


@_upkeep_task(SOURCE_RECONCILE)
def reconcile_source(child: WorkerProcess) -> None:
    """Compare everything in Nexudus with everything in the ledger, once a night."""
    tools = child.context
    with reading(tools.engine) as connection:
        due = is_nightly_due(connection, tools.clock.now(), tools.delivery.setup.zone)
    if due and nightly(tools.sync, tools.clock.monotonic() + _NIGHTLY_S):
        tools.wakeup.wake(LOOKUP_DRAIN)


@_upkeep_task(REPORTS_PLAN)
def plan_due_reports(child: WorkerProcess) -> None:
    """Plan the alerts, summaries and digests that are due, and send them."""
    if plan_reports(child.context.reports):
        child.context.wakeup.wake(REPORTS_SEND)


@_upkeep_task(REPORTS_SEND)
def send_due_reports(child: WorkerProcess) -> None:
    """Send the reports that are due."""
    with child.shared.report_slot(), child.shared.finishing():
        send_reports(child.context.reports)


@_upkeep_task(HOOKS_CHECK)
def check_hooks(child: WorkerProcess) -> None:
    """Check the webhooks that call us."""
    tools = child.context
    now, holder = tools.clock.now(), tools.clock.new_id()
    with writing(tools.engine) as connection:
        if not is_check_due(connection, now):
            return
        if not take_lease(connection, HOOKS_CHECK, holder, now, lease_s=_WEBHOOKS_LEASE_S):
            return
    end = tools.clock.monotonic() + ROUND_S
    # The backfills of all webhooks share what is left of the check's time.
    backfill = partial(backfill_gap, tools.sync, end=end)
    try:
        if check_webhooks(replace(tools.webhooks, backfill=backfill), now, end=end).asked_for:
            tools.wakeup.wake(LOOKUP_DRAIN)
    finally:
        with writing(tools.engine) as connection:
            release_lease(connection, HOOKS_CHECK, holder)


def _until_done(batch: Callable[[], int], task: str) -> None:
    child = this_process()
    clock = child.context.clock
    end = clock.monotonic() + _LONGEST_S
    while not child.shared.is_stopping() and batch():
        if clock.monotonic() > end:
            child.context.wakeup.wake(task)
            return
