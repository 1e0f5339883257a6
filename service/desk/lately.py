"""What was sent lately: counted at most every few minutes, as it reads a month of emails."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.clock import Clock
from ledger.engine import Engine, reading
from ledger.report_queries import done_by_report, done_by_rule
from workers.actions.email import KIND

_COUNTED = timedelta(days=30)
_KEPT_FOR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class LatelySent:
    """How many emails were sent in 30 days: by rule, and by the name of a digest."""

    at: datetime
    by_rule: Mapping[str, int]
    by_digest: Mapping[str, int]


class SentLately:
    """Counts what was sent, and keeps the result for a few minutes. Safe to share."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._last: LatelySent | None = None

    def count(self) -> LatelySent:
        """Return what was counted at most five minutes ago. Raises `LedgerUnavailable`."""
        with self._lock:
            now = self._clock.now()
            if self._last is None or not self._last.at <= now < self._last.at + _KEPT_FOR:
                self._last = self._counted(now)
            return self._last

    def _counted(self, now: datetime) -> LatelySent:
        since = now - _COUNTED
        with reading(self._engine) as connection:
            by_rule = done_by_rule(connection, KIND, since)
            return LatelySent(now, by_rule, done_by_report(connection, since))
