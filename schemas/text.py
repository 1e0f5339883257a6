"""Text that people write, for settings and rules alike: typed by a parser, helped when misspelt.

Not for the source's records: those come typed, and their strings are not ours to judge.
"""

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from marshmallow import ValidationError, fields

Parsed = TypeVar("Parsed")

# Control characters, half surrogates, line and paragraph separators: none belongs in a line.
_UNFIT_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


class Text(fields.Field[Parsed]):
    """A field that is written as one line of text and typed by `parse`.

    `parse` raises `ValidationError` with a sentence saying what was expected. Its other errors are
    bugs: a library's own words may repeat a secret, so they must not reach anybody.
    """

    def __init__(self, parse: Callable[[str], Parsed], **options: Any) -> None:  # noqa: ANN401 - marshmallow's own options
        super().__init__(**options)
        self.parse = parse

    def _deserialize(
        self,
        value: Any,  # noqa: ANN401 - marshmallow's own signature
        attr: str | None,  # noqa: ARG002 - same
        data: Mapping[str, Any] | None,  # noqa: ARG002 - same
        **_: Any,  # noqa: ANN401 - same
    ) -> Parsed:
        if not isinstance(value, str):
            raise ValidationError("expected a single value")
        if not is_one_line(value):
            raise ValidationError("expected one line of text without control characters")
        return self.parse(value)


def is_one_line(text: str) -> bool:
    """Whether the text is free of control characters, line breaks and broken Unicode."""
    return not any(unicodedata.category(character) in _UNFIT_CATEGORIES for character in text)


def closest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return `; did you mean …?` with the nearest known name, or nothing if none is near.

    A prefix that all names share is left out of the comparison, else all of them would be near.
    """
    rests = sorted(one.removeprefix(prefix) for one in known)
    found = difflib.get_close_matches(name.removeprefix(prefix)[:100], rests, n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def one_of(words: Iterable[str]) -> str:
    """Write words as a choice: `a, b or c`."""
    listed = list(words)
    return " or ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
