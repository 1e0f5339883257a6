"""What takes too long for a page is found in the background, and pages show what was found last.

It is looked for again once an operator opens such a page and the last result is old.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import structlog

from ledger.clock import Clock
from schemas.errors import LedgerUnavailable, frames_of

_log = structlog.get_logger("desk")
_PATIENCE_S = 0.05

T = TypeVar("T")


class BackgroundLook(Generic[T]):
    """Keeps what `look` found last, and calls it again, with the time, once that is old.

    Safe to share. `look` runs once at a time; pages wait `patience_s` for it.
    """

    def __init__(
        self,
        look: Callable[[datetime], T],
        clock: Clock,
        kept_for: timedelta,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._patience_s = patience_s
        self._look = look
        self._clock = clock
        self._kept_for = kept_for
        self._lock = threading.Lock()
        self._last: tuple[datetime, T] | None = None
        self._looking: threading.Thread | None = None

    def newest(self) -> T | None:
        """Return what was found last, a moment later if it is old; None until it was found once."""
        now = self._clock.now()
        with self._lock:
            last = self._last
            is_old = last is None or not last[0] <= now < last[0] + self._kept_for
            if is_old and self._looking is None:
                self._looking = self._begun(now)
            looking = self._looking
        if is_old and looking is not None:
            looking.join(self._patience_s)
        return self.last

    @property
    def last(self) -> T | None:
        """What was found last, however long ago."""
        return None if self._last is None else self._last[1]

    @property
    def is_looking(self) -> bool:
        """Whether a look is under way."""
        return self._looking is not None

    def close(self) -> None:
        """Wait for the look that is under way, which uses the ledger."""
        looking = self._looking
        if looking is not None:
            looking.join()

    def _begun(self, now: datetime) -> threading.Thread | None:
        """Begin a look; None if no thread can be had now, and the next page tries again."""
        thread = threading.Thread(target=self._look_again, args=[now], daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _log.error("desk.fault", error=frames_of(error))
            return None
        return thread

    def _look_again(self, now: datetime) -> None:
        try:
            self._last = now, self._look(now)
        except LedgerUnavailable as error:
            _log.error("desk.unavailable", error=str(error))
        except Exception as error:  # noqa: BLE001 - the next page starts another look
            _log.error("desk.fault", error=frames_of(error))
        finally:
            with self._lock:  # it is set once the thread has started
                self._looking = None
