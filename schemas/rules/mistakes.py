"""Where in the file a mistake is, and how it is told: `file:line:column: path: message`."""

import re
from dataclasses import dataclass

from yaml import Mark

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake; line and column count from 1. They sort in the order of the file."""

    line: int
    column: int
    path: str
    message: str

    def told(self, file_name: str) -> str:
        """Return the one line that a person reads, and an editor jumps to."""
        return f"{file_name}:{self.line}:{self.column}: {self.path}: {self.message}"


def mistake_at(mark: Mark | None, path: Path, message: str) -> Mistake:
    """Make a mistake at a place that PyYAML marked; without a mark it is the file's beginning."""
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return Mistake(line + 1, column + 1, written(path), message)


def written(path: Path) -> str:
    """Write a path as `rules[0].gather`. Odd keys are quoted, so that a mistake stays one line."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _PLAIN_KEY.fullmatch(step) else ascii(step[:60])
            text += f".{key}" if text else key
    return text or "file"
