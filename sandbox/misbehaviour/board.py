"""The switches that are on now. Safe to use from several threads.

Random choices come from one seeded generator, so that a run can be repeated.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.misbehaviour.catalogue import SWITCHES, switch_named
from sandbox.misbehaviour.switch import Settings
from schemas.entity import Entity

TOKEN_PATH = "/api/token"  # noqa: S105 - a path
DEFAULT_SEED = 7


@dataclass(slots=True)
class _On:
    settings: Settings
    left: int | None


class Board:
    """The switches. One with `times` switches itself off after that many requests."""

    def __init__(self, random_seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.Lock()
        self._random_seed = random_seed
        self._on: dict[str, _On] = {}
        self._used_up: dict[str, Settings] = {}  # off, but a request may still wait on `over`
        self._taken: Counter[str] = Counter()
        self._shown: Counter[tuple[str, Entity, int]] = Counter()
        self._random = random.Random(random_seed)  # noqa: S311 - chance, not secrecy

    def switch_on(self, name: str, given: Mapping[str, object]) -> None:
        """Switch a misbehaviour on, replacing earlier parameters.

        Raises:
            Refused: there is no such misbehaviour, or a parameter does not fit.
        """
        settings = Settings(switch_named(name).read(given))
        times = settings.maybe_whole("times") if "times" in settings.values else None
        with self._lock:
            self._end(name)
            if times != 0:
                self._on[name] = _On(settings, times)

    def switch_off(self, name: str) -> None:
        """Switch a misbehaviour off; requests that wait because of it continue at once."""
        switch_named(name)
        with self._lock:
            self._end(name)

    def clear(self) -> None:
        """Switch everything off."""
        with self._lock:
            for name in [*self._on, *self._used_up]:
                self._end(name)

    def reset(self) -> None:
        """Switch everything off, and forget what was counted."""
        self.clear()
        with self._lock:
            self._taken.clear()
            self._shown.clear()
            self._random.seed(self._random_seed)

    def now(self, name: str) -> Settings | None:
        """Return the parameters of a switch that is on, without using it up."""
        with self._lock:
            found = self._on.get(name)
            return None if found is None else found.settings

    def is_on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.now(name) is not None

    def about(self, name: str, entity: Entity) -> Settings | None:
        """Return the parameters of a switch that is on for this kind of record."""
        found = self.now(name)
        return found if found is not None and found.is_about(entity) else None

    def take(self, name: str, path: str) -> Settings | None:
        """Return the parameters if this request meets the switch, and use it up once."""
        with self._lock:
            found = self._on.get(name)
            if found is None or not _meets(found.settings, path):
                return None
            chance = found.settings.values.get("chance", 1)
            if chance != 1 and self._random.random() >= found.settings.number("chance"):
                return None
            self._taken[name] += 1
            if found.left is not None:
                found.left -= 1
                if found.left == 0:
                    self._used_up[name] = self._on.pop(name).settings
            return found.settings

    def count_shown(self, name: str, entity: Entity, record_id: int) -> int:
        """Count one more read of a record, and return how many came before it."""
        with self._lock:
            self._shown[name, entity, record_id] += 1
            return self._shown[name, entity, record_id] - 1

    def spread(self, most: float) -> float:
        """Return a random number from 0 to `most`."""
        with self._lock:
            return self._random.uniform(0, most)

    def report(self) -> list[dict[str, Any]]:
        """Return all switches with their defaults and, if on, their parameters."""
        with self._lock:
            lines = [(switch, self._on.get(switch.name)) for switch in SWITCHES.values()]
            return [
                {
                    "name": switch.name,
                    "group": switch.group.value,
                    "sentence": switch.sentence,
                    "pitfalls": list(switch.pitfalls),
                    "parameters": {one.name: one.default for one in switch.parameters},
                    "on": found is not None,
                    "settings": dict(found.settings.values) if found else None,
                    "left": found.left if found else None,
                    "taken": self._taken[switch.name],
                }
                for switch, found in lines
            ]

    def _end(self, name: str) -> None:
        used_up, found = self._used_up.pop(name, None), self._on.pop(name, None)
        if used_up is not None:
            used_up.over.set()
        if found is not None:
            found.settings.over.set()
        for one in [one for one in self._shown if one[0] == name]:
            del self._shown[one]


def _meets(settings: Settings, path: str) -> bool:
    if "path" not in settings.values:
        return True
    prefix = settings.text("path")
    # Sign-in only where it is named: otherwise no request would get past it.
    return path.startswith(prefix) and (path != TOKEN_PATH or prefix.startswith(TOKEN_PATH))
