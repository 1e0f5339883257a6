"""Which ways to misbehave are switched on now, and since when. Safe to use from several threads.

Random choices come from one seeded generator, so that a run can be repeated.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.misbehaviour.catalogue import SWITCHES
from sandbox.misbehaviour.switch import Settings, Switch
from sandbox.refused import Refused
from schemas.entity import Entity

TOKEN_PATH = "/api/token"  # noqa: S105 - a path
DEFAULT_SEED = 7


@dataclass(slots=True)
class _On:
    settings: Settings
    left: int | None


class Board:
    """The switches. A switch with `times` goes off by itself when it has been used so often."""

    def __init__(self, random_seed: int = DEFAULT_SEED) -> None:
        self._lock = threading.Lock()
        self._random_seed = random_seed
        self._on: dict[str, _On] = {}
        self._spent: dict[str, Settings] = {}  # used up, though somebody may still be waiting
        self._taken: Counter[str] = Counter()
        self._shown: Counter[tuple[str, Entity, int]] = Counter()
        self._random = random.Random(random_seed)  # noqa: S311 - chance, not secrecy

    def switch_on(self, name: str, given: Mapping[str, object]) -> None:
        """Switch a way on, with what was given and defaults for the rest; again begins anew.

        Raises:
            Refused: there is no such way, or a parameter does not fit.
        """
        settings = Settings(switch_named(name).read(given))
        times = settings.maybe_whole("times") if "times" in settings.values else None
        with self._lock:
            self._end(name)
            if times != 0:
                self._on[name] = _On(settings, times)

    def switch_off(self, name: str) -> None:
        """Switch a way off; whatever waits because of it goes on at once."""
        switch_named(name)
        with self._lock:
            self._end(name)

    def clear(self) -> None:
        """Switch all ways off."""
        with self._lock:
            for name in [*self._on, *self._spent]:
                self._end(name)

    def begin_again(self) -> None:
        """Switch all ways off, and forget that they were ever on."""
        self.clear()
        with self._lock:
            self._taken.clear()
            self._shown.clear()
            self._random.seed(self._random_seed)

    def now(self, name: str) -> Settings | None:
        """Return what was chosen about a way that is on, without using it up."""
        with self._lock:
            found = self._on.get(name)
            return None if found is None else found.settings

    def take(self, name: str, path: str) -> Settings | None:
        """Return what was chosen if this request is to meet it, and use it up once."""
        with self._lock:
            found = self._on.get(name)
            if found is None or not _is_meant(found.settings, path):
                return None
            chance = found.settings.values.get("chance", 1)
            if chance != 1 and self._random.random() >= found.settings.number("chance"):
                return None
            self._taken[name] += 1
            if found.left is not None:
                found.left -= 1
                if found.left == 0:
                    self._spent[name] = self._on.pop(name).settings
            return found.settings

    def count_shown(self, name: str, entity: Entity, record_id: int) -> int:
        """Count one more look at a record and return how many there were before, while it is on."""
        with self._lock:
            self._shown[name, entity, record_id] += 1
            return self._shown[name, entity, record_id] - 1

    def spread(self, most: float) -> float:
        """Return a number from 0 to `most`, the next of the seeded generator."""
        with self._lock:
            return self._random.uniform(0, most)

    def report(self) -> list[dict[str, Any]]:
        """Return every way with its defaults and, where it is on, with what was chosen."""
        with self._lock:
            return [self._line(switch) for switch in SWITCHES.values()]

    def _line(self, switch: Switch) -> dict[str, Any]:
        found = self._on.get(switch.name)
        return {
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

    def _end(self, name: str) -> None:
        spent, found = self._spent.pop(name, None), self._on.pop(name, None)
        if spent is not None:
            spent.over.set()
        if found is not None:
            found.settings.over.set()
        for one in [one for one in self._shown if one[0] == name]:
            del self._shown[one]


def switch_named(name: str) -> Switch:
    """Return the switch of that name."""
    if name not in SWITCHES:
        raise Refused(f"There is no misbehaviour called {name!r}.", 400)
    return SWITCHES[name]


def _is_meant(settings: Settings, path: str) -> bool:
    if "path" not in settings.values:
        return True
    prefix = settings.text("path")
    # Sign-in is meant only where it is named: else nothing would ever get as far as the rest.
    return path.startswith(prefix) and (path != TOKEN_PATH or prefix.startswith(TOKEN_PATH))
