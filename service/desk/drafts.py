"""Report drafts: digests and the weekly summary as they would be now, written in the background.

A digest of a large space takes seconds. What was written is kept for some minutes, so that the page
and the frame in it show the same.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from ledger.clock import Clock
from ledger.engine import Engine, reading
from schemas.actions import HOST, Outcome, audience_of
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from schemas.rules import Digest, Rules
from schemas.settings import Settings
from service.cli.readers import report_tools
from service.desk.background import BackgroundLook
from workers.actions.base import Prepared
from workers.reports.listing import draft_now, previewed

_NEW_FOR, _SHOWN_FOR = timedelta(minutes=2), timedelta(minutes=10)
_MOST_KEPT = 8
_PATIENCE_S = 0.3  # most are written within it
_Key = tuple[str, str, int | None]  # the digest of the rules, a name, and the Id of a host


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report as it would have been sent `at` a time; `why_not` is why there would be none."""

    at: datetime
    why_not: Reason | None = None
    reader: str = field(default="", repr=False)
    address: str | None = field(default=None, repr=False)
    prepared: Prepared | None = field(default=None, repr=False)


class ReportDrafts:
    """Writes one report at a time, and keeps the last ones. Safe to share.

    `settings` name whom the summary is to.
    """

    def __init__(self, settings: Settings, engine: Engine, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._looks: dict[_Key, BackgroundLook[WrittenReport]] = {}

    def newest(self, rules: Rules, name: str, host_id: int | None) -> WrittenReport | None:
        """Return a report that was written minutes ago at most; None while it is being written."""
        key = rules.digest, name, host_id
        with self._lock:
            look = self._looks.pop(key, None)
            if look is None:
                write = partial(self._written, rules, name, host_id)
                look = BackgroundLook(write, self._clock, _NEW_FOR, patience_s=_PATIENCE_S)
            must_wait = any(one.is_looking for one in self._looks.values())
            done = [one for one, known in self._looks.items() if not known.is_looking]
            for one in done[: max(0, len(self._looks) - _MOST_KEPT + 1)]:
                del self._looks[one]
            self._looks[key] = look
        found = look.last if must_wait else look.newest()
        is_old = found is not None and not found.at <= self._clock.now() < found.at + _SHOWN_FOR
        return None if is_old else found

    def close(self) -> None:
        """Wait for what is being written, which uses the ledger."""
        for one in self._looks.values():
            one.close()

    def _written(
        self, rules: Rules, name: str, host_id: int | None, now: datetime
    ) -> WrittenReport:
        def reader(one: Digest) -> tuple[str, int | None]:
            return (HOST if one.is_to_hosts else audience_of(one.to[0]) or ""), host_id

        tools = report_tools(self._settings, self._engine, rules)
        with reading(self._engine) as connection:
            report, draft = draft_now(connection, tools, name, reader, now)
        if isinstance(draft, Outcome):
            return WrittenReport(now, draft.reason)
        try:
            prepared = previewed(tools, report, draft, now)
        except DeliveryRefused:
            return WrittenReport(now, Reason.TEMPLATE_ERROR)
        return WrittenReport(now, None, draft.reader.name or "", draft.reader.address, prepared)
