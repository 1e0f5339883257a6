"""Keeps a lease alive while its work goes on, and stops the work once the lease is lost."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ledger.clock import Clock

Renew = Callable[[], bool]  # writes the renewal; False if the lease is no longer ours


class Overtaken(Exception):
    """The lease was lost; nothing of this work may be committed."""


class Lease:
    """One piece of work's lease. `keep` is cheap enough to be called before every question."""

    def __init__(self, renew: Renew, clock: Clock, lease_s: float) -> None:
        self._renew = renew
        self._clock = clock
        self._every = timedelta(seconds=lease_s / 3)
        self._renewed_at: datetime | None = None

    def renewed(self) -> None:
        """Note that the lease was taken or renewed just now, in another way."""
        self._renewed_at = self._clock.now()

    def keep(self) -> None:
        """Renew the lease if a third of it has gone by, and the first time.

        Raises:
            Overtaken: it was lost.
            LedgerUnavailable: it could not be renewed.
        """
        now = self._clock.now()
        # After a clock was set back the end of the lease is too late, and others take it for a
        # leftover: it is written anew at once.
        if self._renewed_at is not None and timedelta() <= now - self._renewed_at < self._every:
            return
        if not self._renew():
            raise Overtaken
        self._renewed_at = now
