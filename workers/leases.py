"""Leases on rows, renewed while work lasts, and a lock by key for the threads of one process.

Keeps a lease alive while its work goes on, and stops the work once the lease is lost.

Lets one thread at a time ask the same question; the others find the answer in the ledger.
"""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ledger.clock import Clock

Renew = Callable[[], bool]  # writes the renewal; False if the lease is no longer ours


class LeaseLost(Exception):
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
            LeaseLost: it was lost.
            LedgerUnavailable: it could not be renewed.
        """
        now = self._clock.now()
        # After a clock was set back the end of the lease is too late, and others take it for a
        # leftover: it is written anew at once.
        if self._renewed_at is not None and timedelta() <= now - self._renewed_at < self._every:
            return
        if not self._renew():
            raise LeaseLost
        self._renewed_at = now


_LOOK_UP_S = 0.5  # how long a wait lasts before the waiting work shows that it is alive


class KeyedLock:
    """One lock for each question that threads of this process ask for everybody."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}

    @contextmanager
    def hold(self, question: Hashable, keep: Callable[[], None]) -> Iterator[None]:
        """Wait until nobody else asks this; `keep` is called meanwhile, and what it raises ends it.

        Whoever waited should look first whether the answer is there now.
        """
        with self._guard:
            lock = self._locks.setdefault(question, threading.Lock())
        while not lock.acquire(timeout=_LOOK_UP_S):
            keep()
        try:
            yield
        finally:
            lock.release()
