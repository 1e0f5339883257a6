"""Long lists of values in portions: databases take only so many in one statement."""

from collections.abc import Iterable, Iterator
from typing import Any

_AT_ONCE = 500


def portions(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Give these values in order, each once, some at a time."""
    whole = sorted(set(values))
    return (whole[first : first + _AT_ONCE] for first in range(0, len(whole), _AT_ONCE))
