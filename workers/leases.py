"""Leases on rows, renewed while work lasts, and a lock by key for the threads of one process.

A keyed lock lets one thread at a time read a shared record; the others then find it in the ledger.
"""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from ledger.clock import Clock

Renew = Callable[[], bool]  # writes the renewal; False if the lease is no longer ours


class LeaseLost(Exception):
    """The lease was lost; nothing of this work may be committed."""


class Lease:
    """The lease of one row. `keep` is cheap enough to be called before every request.

    `taken_at` is when it was last taken or renewed; None: unknown, so the first call renews it.
    """

    def __init__(
        self, renew: Renew, clock: Clock, lease_s: float, taken_at: datetime | None = None
    ) -> None:
        self._renew = renew
        self._clock = clock
        self._every = timedelta(seconds=lease_s / 3)
        self._renewed_at = taken_at

    def renewed(self) -> None:
        """Note that the lease was just taken or renewed elsewhere."""
        self._renewed_at = self._clock.now()

    def keep(self) -> None:
        """Renew the lease whenever a third of it has passed.

        Raises:
            LeaseLost: it was lost.
            LedgerUnavailable: it could not be renewed.
        """
        now = self._clock.now()
        # After a clock was set back, the lease ends too late and others take it for a leftover, so
        # it is renewed at once.
        if self._renewed_at is not None and timedelta() <= now - self._renewed_at < self._every:
            return
        if not self._renew():
            raise LeaseLost
        self._renewed_at = now


_KEEP_EVERY_S = 0.5  # while waiting


class KeyedLock:
    """One lock per key, for the threads of this process. A lock nobody holds takes no memory."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        """Return how many locks are held or waited for."""
        return len(self._locks)

    @contextmanager
    def hold(self, key: Hashable, keep: Callable[[], None]) -> Iterator[bool]:
        """Hold this key's lock; yield whether that took a wait.

        `keep` is called while waiting, and may raise. After a wait, look first whether another
        thread has read the record meanwhile.
        """
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        has_waited = not lock.acquire(blocking=False)
        while has_waited and not lock.acquire(timeout=_KEEP_EVERY_S):
            keep()
        try:
            yield has_waited
        finally:
            lock.release()
