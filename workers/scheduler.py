"""Asks the ledger each second what is due, and wakes workers for it.

Any number of schedulers may run; a lease in the ledger lets one at a time act. Because of it a lost
broker, a lost message or a lost worker costs a delay and nothing else.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from ledger.checks import is_baseline_due
from ledger.clock import Clock
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import lease_holder, release_lease, take_lease
from ledger.lookups import next_lookup_at
from ledger.outbox import next_action_at
from ledger.revision import RevisionWatch
from schemas.errors import ConfigurationError, LedgerUnavailable
from workers.heartbeat import Heartbeat
from workers.logs import RepeatedFault
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
from workers.wakeup import Wakeup

TICK_S = 1.0
SWEEP_EVERY = 15  # ticks; it also proves that workers respond, so more often than needed
BASELINE_EVERY = 15  # ticks; until the first poll has ended
RETAIN_EVERY = 3600  # ticks
PROBE_EVERY = 60  # ticks; usually finds that the last probe is recent enough
HOOKS_CHECK_EVERY = 300  # ticks; usually finds that the webhooks were checked recently
REPORTS_PLAN_EVERY = 300  # ticks
REPORTS_SEND_EVERY = 60  # ticks; usually finds that none is due
RECONCILE_EVERY = 300  # ticks; usually finds that it is not night
_LEASE = "clock"
_LEASE_S = 5.0
_RENEW_AFTER = timedelta(seconds=2)

_log = structlog.get_logger("clock")


class Scheduler:
    """Wakes workers each second until `stop` is set.

    Its heartbeats are recorded under `kinds`. `lease_s` is how long workers claim rows for.
    """

    def __init__(  # noqa: PLR0913 - independent parts
        self,
        engine: Engine,
        wakeup: Wakeup,
        clock: Clock,
        *,
        check_every_s: float = 0.0,
        lease_s: float = 60.0,
        kinds: Sequence[str] = ("clock",),
        data_folder: Path | None = None,
    ) -> None:
        self._engine = engine
        self._wakeup = wakeup
        self._clock = clock
        self._lease_s = lease_s
        self._holder = clock.new_id()
        self._heartbeats = [Heartbeat(engine, kind, clock, data_folder) for kind in kinds]
        self._watch = RevisionWatch(engine, clock)
        self._ticks = 0
        self._leased_at: datetime | None = None
        self._rhythm = {
            OUTBOX_SWEEP: (SWEEP_EVERY, 0),
            LEDGER_RETAIN: (RETAIN_EVERY, 0),
            SOURCE_PROBE: (PROBE_EVERY, PROBE_EVERY - 1),
            HOOKS_CHECK: (HOOKS_CHECK_EVERY, 0),
            REPORTS_PLAN: (REPORTS_PLAN_EVERY, REPORTS_SEND_EVERY // 2),
            REPORTS_SEND: (REPORTS_SEND_EVERY, REPORTS_SEND_EVERY // 2),
        }
        if check_every_s:
            self._rhythm[SOURCE_CHECK] = (max(1, round(check_every_s / TICK_S)), 0)
            self._rhythm[SOURCE_RECONCILE] = (RECONCILE_EVERY, RECONCILE_EVERY - 1)

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set."""
        faults = RepeatedFault(_log, "clock.ledger-available", self._clock)
        while not stop.is_set():
            try:
                self.tick()
            except LedgerUnavailable as error:
                faults.occurred(logging.WARNING, "clock.ledger-unavailable", str(error))
            except ConfigurationError as error:
                faults.occurred(logging.ERROR, "clock.ledger-unusable", str(error))
            else:
                faults.is_over()
            stop.wait(TICK_S)
        for heartbeat in self._heartbeats:
            heartbeat.close()
        try:
            with writing(self._engine) as connection:
                release_lease(connection, _LEASE, self._holder)
        except LedgerUnavailable as error:
            _log.warning("clock.ledger-unavailable", error=str(error))

    def tick(self) -> list[str]:
        """Wake workers for what is due now; return the names of those tasks.

        Raises:
            ConfigurationError: the ledger has been upgraded to tables this code must not use.
            LedgerUnavailable: the ledger could not be read or written.
        """
        self._watch.check()
        for heartbeat in self._heartbeats:
            heartbeat.beat()
        now = self._clock.now()
        if not self._has_lease(now):
            return []
        with reading(self._engine) as connection:
            lookup_at = next_lookup_at(connection, now, lease_s=self._lease_s)
            action_at = next_action_at(connection, now, lease_s=self._lease_s)
            wants_baseline = (
                SOURCE_CHECK in self._rhythm
                and self._ticks % BASELINE_EVERY == 0
                and is_baseline_due(connection)
            )
        due = []
        if lookup_at is not None and lookup_at <= now:
            due.append(LOOKUP_DRAIN)
        if action_at is not None and action_at <= now:
            due.append(ACTION_PERFORM)
        due += [task for task, (every, at) in self._rhythm.items() if self._ticks % every == at]
        if wants_baseline and SOURCE_CHECK not in due:
            due.append(SOURCE_CHECK)
        self._ticks += 1
        self._wakeup.wake(*due)
        return due

    def _has_lease(self, now: datetime) -> bool:
        """Return whether this scheduler may act. Writes only when the lease must be renewed."""
        if self._leased_at is not None and timedelta() <= now - self._leased_at < _RENEW_AFTER:
            return True
        self._leased_at = None
        with reading(self._engine) as connection:
            holder = lease_holder(connection, _LEASE, now, lease_s=_LEASE_S)
        if holder not in {None, self._holder}:
            return False
        with writing(self._engine) as connection:
            if not take_lease(connection, _LEASE, self._holder, now, lease_s=_LEASE_S):
                return False
        self._leased_at = now
        return True
