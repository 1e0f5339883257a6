"""Lends ways to the source to threads, and keeps them, so that connections are used again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.source.budget import Patience
from workers.source.client import Source


class Sources:
    """As many ways to the source as there were ever threads at once."""

    def __init__(self, make: Callable[[], Source]) -> None:
        self._make = make
        self._free: list[Source] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, patience: Patience) -> Iterator[Source]:
        """Give a way to the source to one thread, for a while; `patience` says who waits."""
        with self._lock:
            source = self._free.pop() if self._free else None
        source = source or self._make()
        source.asking.patience = patience
        try:
            yield source
        finally:
            with self._lock:
                self._free.append(source)

    def close(self) -> None:
        """Close those that are free."""
        with self._lock:
            while self._free:
                self._free.pop().close()
