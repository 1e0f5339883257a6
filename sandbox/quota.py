"""How often the API is asked: counts by path, and the published limits as exact moving windows.

Windows are counted for each client at all times, so that a test can judge a rhythm (contract,
section 4, newer table); requests are refused only when the switch is on. A refused request takes
no room in a window. Safe to use from several threads.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

WINDOWS_S: Mapping[str, float] = {
    "per_100ms": 0.1,
    "per_minute": 60.0,
    "per_hour": 3_600.0,
    "per_day": 86_400.0,
    "writes_per_minute": 60.0,
    "writes_per_day": 86_400.0,
}
_OF_WRITES = "writes_"  # the prefix of windows that count writes only

Limits = Mapping[str, int | None]


class Quota:
    """The requests of each client within the windows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._clients: dict[str, dict[str, deque[float]]] = {}
            self._asked = self._refused = 0
            self._largest = dict.fromkeys(WINDOWS_S, 0)

    def admits(self, client: str, limits: Limits | None, *, is_write: bool = False) -> bool:
        """Count one more request and return whether it is within the limits.

        `limits` are numbers of requests by window; None is no limit.
        """
        with self._lock:
            now = self._clock()
            self._asked += 1
            kept = self._clients.setdefault(client, {name: deque() for name in WINDOWS_S})
            windows = {
                name: window
                for name, window in kept.items()
                if is_write or not name.startswith(_OF_WRITES)
            }
            is_within = True
            for name, window in windows.items():
                while window and window[0] <= now - WINDOWS_S[name]:
                    window.popleft()
                self._largest[name] = max(self._largest[name], len(window) + 1)
                limit = (limits or {}).get(name)
                is_within = is_within and (limit is None or len(window) < limit)
            for window in windows.values() if is_within else ():
                window.append(now)
            self._refused += not is_within
            return is_within

    def report(self, limits: Limits | None) -> dict[str, Any]:
        """Return how many requests came and were refused, and the most within each window.

        A figure in `largest` above its limit means that a client asked too often.
        """
        with self._lock:
            return {
                "on": limits is not None,
                "limits": dict(limits) if limits is not None else None,
                "asked": self._asked,
                "refused": self._refused,
                "largest": dict(self._largest),
            }


class RequestCounts:
    """Reads and writes by path and token requests, including refused ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def count(self, kind: str, path: str) -> None:
        """Count one request of the kind `reads`, `writes` or `tokens`."""
        with self._lock:
            self._counts[kind, path] += 1

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._counts.clear()

    def report(self) -> dict[str, Any]:
        """Return `total` and `by_path` of reads, `writes` by path, and `token_grants`."""
        with self._lock:
            of_kind = {
                kind: {path: n for (one, path), n in self._counts.items() if one == kind}
                for kind in ("reads", "writes", "tokens")
            }
        return {
            "total": sum(of_kind["reads"].values()),
            "by_path": of_kind["reads"],
            "writes": of_kind["writes"],
            "token_grants": sum(of_kind["tokens"].values()),
        }
