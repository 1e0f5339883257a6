"""Lets one thread at a time ask the same question; the others find the answer in the ledger."""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

_LOOK_UP_S = 0.5  # how long a wait lasts before the waiting work shows that it is alive


class Once:
    """One lock for each question that threads of this process ask for everybody."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}

    @contextmanager
    def at_a_time(self, question: Hashable, keep: Callable[[], None]) -> Iterator[None]:
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
