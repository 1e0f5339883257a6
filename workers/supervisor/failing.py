"""Which programs of `coursebell up` keep failing, in a file for the processes that report it.

The file is there only while something fails, and is refreshed while its writer lives; an old one is
what a killed writer left behind, and counts for nothing.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

FILE = "up-failing.json"
_REFRESH_S = 10.0
_OLD_AFTER_S = 60.0
_LARGEST = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Failing:
    """Since when a program fails, and how it ended the last time with its last words."""

    since: datetime
    why: str


@dataclass(slots=True)
class FailingFile:
    """Keeps the file in a data folder up to date. A fault of the disk is not raised."""

    data_dir: Path
    _written: dict[str, Failing] = field(init=False, default_factory=dict)
    _next_s: float = field(init=False, default=0.0)

    def update(self, failing: Mapping[str, Failing]) -> None:
        """Write or remove the file if that is due."""
        now_s = time.monotonic()
        if failing == self._written and (not failing or now_s < self._next_s):
            return
        self._written, self._next_s = dict(failing), now_s + _REFRESH_S
        path = self.data_dir / FILE
        try:
            if not failing:
                path.unlink(missing_ok=True)
                return
            shown = {name: [one.since.isoformat(), one.why] for name, one in failing.items()}
            part = path.with_suffix(f".{os.getpid()}")
            part.touch(mode=0o600)
            part.write_text(json.dumps(shown), encoding="ascii")
            part.replace(path)
        except OSError:
            self._written = {}

    def remove(self) -> None:
        """Remove the file, also one that a killed process left behind."""
        try:
            (self.data_dir / FILE).unlink(missing_ok=True)
        except OSError:
            return


def failing_programs(data_dir: Path) -> dict[str, Failing]:
    """Return what `coursebell up` on this data folder reports as failing now."""
    try:
        with (data_dir / FILE).open("rb") as file:
            if abs(time.time() - os.fstat(file.fileno()).st_mtime) > _OLD_AFTER_S:
                return {}
            shown = json.loads(file.read(_LARGEST))
        return {
            name: Failing(datetime.fromisoformat(since), why)
            for name, (since, why) in shown.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
