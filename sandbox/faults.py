"""Trouble on demand: answers that are held back, replaced, or wrong for deleted records.

Each fault is switched on by a test and happens the same way every time. Paths are matched from
their beginning; a fault with `times` is used up after that many requests.
"""

import threading
from dataclasses import dataclass, field
from typing import TypeVar

from schemas.entity import Entity


@dataclass(frozen=True, slots=True)
class Replaced:
    """The answer given instead of the true one."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Hold:
    path: str
    times: int | None
    seconds: float | None
    released: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class _Replacement:
    path: str
    times: int | None
    answer: Replaced


FaultT = TypeVar("FaultT", _Hold, _Replacement)


class Faults:
    """All faults that are switched on now. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds: list[_Hold] = []
        self._replacements: list[_Replacement] = []
        self._dead: set[tuple[Entity, int | None]] = set()
        self._holding = 0

    def hold(self, path: str, *, times: int | None = None, seconds: float | None = None) -> None:
        """Keep finished answers back, for some seconds or until `release`."""
        with self._lock:
            self._holds.append(_Hold(path, times, seconds))

    def replace(self, path: str, answer: Replaced, *, times: int | None = None) -> None:
        """Answer this instead of the truth."""
        with self._lock:
            self._replacements.append(_Replacement(path, times, answer))

    def let_die(self, entity: Entity, record_id: int | None) -> None:
        """Answer 500 where 404 would be right, for one Id or for all of the entity."""
        with self._lock:
            self._dead.add((entity, record_id))

    def release(self) -> int:
        """Let all held answers go and hold no more. Returns how many were held."""
        with self._lock:
            released, self._holds = self._holds, []
            held = self._holding
        for fault in released:
            fault.released.set()
        return held

    def clear(self) -> None:
        """Switch everything off, and let held answers go."""
        with self._lock:
            self._replacements.clear()
            self._dead.clear()
        self.release()

    def holding(self) -> int:
        """How many requests are being held at this moment."""
        with self._lock:
            return self._holding

    def replacement(self, path: str) -> Replaced | None:
        """Return the answer to give instead, using the fault up once."""
        with self._lock:
            fault = _take(self._replacements, path)
            return fault.answer if fault else None

    def wait_if_held(self, path: str) -> None:
        """Return when the answer for this path may go."""
        with self._lock:
            fault = _take(self._holds, path)
            if fault is None:
                return
            self._holding += 1
        try:
            fault.released.wait(fault.seconds)
        finally:
            with self._lock:
                self._holding -= 1

    def is_dead(self, entity: Entity, record_id: int) -> bool:
        """Whether this missing Id should answer 500."""
        with self._lock:
            return bool({(entity, record_id), (entity, None)} & self._dead)


def _take(faults: list[FaultT], path: str) -> FaultT | None:
    for fault in faults:
        if path.startswith(fault.path) and fault.times != 0:
            if fault.times is not None:
                fault.times -= 1
            return fault
    return None
