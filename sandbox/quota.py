"""The published limits, as exact moving windows for each client (contract, section 4, newer table).

Windows are counted always, so that a test can judge a rhythm; requests are refused only when the
switch is on. What was refused takes no room in a window.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

WINDOWS_S: Mapping[str, float] = {
    "per_100ms": 0.1,
    "per_minute": 60.0,
    "per_hour": 3_600.0,
    "per_day": 86_400.0,
    "writes_per_minute": 60.0,
    "writes_per_day": 86_400.0,
}
_OF_WRITES = "writes_"  # a window that only wishes to change something count in
_LOG_LENGTH = 10_000

Limits = Mapping[str, int | None]


@dataclass(slots=True)
class _Client:
    windows: dict[str, deque[float]] = field(
        default_factory=lambda: {name: deque() for name in WINDOWS_S}
    )


class Quota:
    """How often each client asks. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all that was counted."""
        with self._lock:
            self._clients: dict[str, _Client] = {}
            self._asked = self._refused = 0
            self._largest = dict.fromkeys(WINDOWS_S, 0)
            self._times: deque[tuple[float, str]] = deque(maxlen=_LOG_LENGTH)

    def admits(
        self, client: str, path: str, limits: Limits | None, *, is_write: bool = False
    ) -> bool:
        """Count one more request and return whether the limits let it through.

        `limits` are requests by the name of a window, None for no limit; without limits all pass.
        """
        with self._lock:
            now = self._clock()
            self._asked += 1
            self._times.append((now, path))
            kept = self._clients.setdefault(client, _Client()).windows
            windows = {
                name: window
                for name, window in kept.items()
                if is_write or not name.startswith(_OF_WRITES)
            }
            is_within = True
            for name, window in windows.items():
                length_s = WINDOWS_S[name]
                while window and window[0] <= now - length_s:
                    window.popleft()
                self._largest[name] = max(self._largest[name], len(window) + 1)
                limit = (limits or {}).get(name)
                is_within = is_within and (limit is None or len(window) < limit)
            if is_within:
                for window in windows.values():
                    window.append(now)
            else:
                self._refused += 1
            return is_within

    def report(self, limits: Limits | None) -> dict[str, Any]:
        """Return how many asked and were refused, and the most that any window saw.

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

    def times(self) -> list[dict[str, Any]]:
        """Return when the last requests came, oldest first, in seconds of a steady clock."""
        with self._lock:
            return [{"at_s": at, "path": path} for at, path in self._times]
