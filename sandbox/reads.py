"""How often the API was asked, by path: the figure that says whether we are a light guest."""

import threading
from collections import Counter
from typing import Any


class Reads:
    """Counts of data reads and of token requests, also of those that were refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_path: Counter[str] = Counter()
        self._writes: Counter[str] = Counter()
        self._token_grants = 0

    def count_read(self, path: str) -> None:
        """One more question about records."""
        with self._lock:
            self._by_path[path] += 1

    def count_write(self, path: str) -> None:
        """One more wish to change something."""
        with self._lock:
            self._writes[path] += 1

    def count_grant(self) -> None:
        """One more request for a token."""
        with self._lock:
            self._token_grants += 1

    def reset(self) -> None:
        """Begin again at nothing."""
        with self._lock:
            self._by_path.clear()
            self._writes.clear()
            self._token_grants = 0

    def report(self) -> dict[str, Any]:
        """Return `total` and `by_path` of data reads, `writes` by path, and `token_grants`."""
        with self._lock:
            return {
                "total": self._by_path.total(),
                "by_path": dict(self._by_path),
                "writes": dict(self._writes),
                "token_grants": self._token_grants,
            }
