"""Questions to Nexudus about one person, which take too long for a page.

One thread of this process asks them, one after the other. Results are kept in memory for some
minutes: another process or a restart knows nothing of them, and a page then offers to ask again.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from ledger.clock import Clock
from schemas.checkup import at_nexudus
from schemas.errors import SourceError, frames_of

if TYPE_CHECKING:
    from workers.sync.person_check import PersonCheck

KEPT_FOR = timedelta(minutes=15)
_MOST_WAITING = 20
_log = structlog.get_logger("desk")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question, and what came of it. `is_open`: it is being asked, or what differs is brought.

    `brought` is how many records were requested after it. `error` is why it could not be asked, in
    Nexudus's words, or "" for a fault of ours; None if there was none.
    """

    asked_at: datetime
    is_open: bool = True
    check: "PersonCheck | None" = None
    error: str | None = None
    brought: int | None = None
    is_emailed: bool = False

    @property
    def may_bring(self) -> bool:
        """Whether there are differences that nobody brought in yet."""
        is_answered = not self.is_open and self.check is not None
        return is_answered and bool(self.check and self.check.differences) and self.brought is None


class Inquiries:
    """Asks in one thread, which ends when nothing is left to ask."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, Inquiry] = {}
        self._waiting: deque[tuple[int, Callable[[Inquiry], Inquiry]]] = deque()
        self._is_running = False

    def of(self, coworker_id: int) -> Inquiry | None:
        """Return what is known of the last question about this person."""
        with self._lock:
            self._forget()
            return self._known.get(coworker_id)

    def ask(self, coworker_id: int, ask: "Callable[[], PersonCheck]") -> bool:
        """Ask about a person, unless that is under way; False if too many wait already."""
        with self._lock:
            self._forget()
            known = self._known.get(coworker_id)
            if known is not None and known.is_open:
                return True
            begun = Inquiry(self._clock.now())
            return self._begin(coworker_id, begun, lambda one: replace(one, check=ask()))

    def bring(
        self, coworker_id: int, bring: "Callable[[PersonCheck], int]", *, is_emailed: bool
    ) -> bool:
        """Bring in what differs; False if there is nothing to bring, or no longer."""
        with self._lock:
            self._forget()
            known = self._known.get(coworker_id)
            if known is None or known.check is None or not known.may_bring:
                return False
            check, begun = known.check, replace(known, is_open=True, is_emailed=is_emailed)
            return self._begin(coworker_id, begun, lambda one: replace(one, brought=bring(check)))

    def _begin(self, coworker_id: int, begun: Inquiry, work: Callable[[Inquiry], Inquiry]) -> bool:
        if len(self._waiting) >= _MOST_WAITING:
            return False
        self._known[coworker_id] = begun
        self._waiting.append((coworker_id, work))
        if not self._is_running:
            self._is_running = True
            threading.Thread(target=self._run, name="inquiries", daemon=True).start()
        return True

    def _forget(self) -> None:
        begin = self._clock.now() - KEPT_FOR
        self._known = {
            coworker_id: one
            for coworker_id, one in self._known.items()
            if one.is_open or one.asked_at > begin
        }

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_running = False
                    return
                coworker_id, work = self._waiting.popleft()
                begun = self._known[coworker_id]
            ended = replace(self._ended(begun, work), is_open=False)
            with self._lock:
                self._known[coworker_id] = ended

    @staticmethod
    def _ended(begun: Inquiry, work: Callable[[Inquiry], Inquiry]) -> Inquiry:
        try:
            return replace(work(begun), error=None)
        except SourceError as error:
            return replace(begun, error=at_nexudus(error).rstrip(". "))
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault
            _log.error("inquiry.fault", error=frames_of(error))
            return replace(begun, error="")
