"""How times, limits and choices are written in the rules file.

Each parser takes one text and raises `ValidationError` with what was expected.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import time
from enum import Enum
from typing import Any, TypeVar

from marshmallow import ValidationError, fields

from schemas.rules.shape import Flood, QuietHours
from schemas.text import Text, one_of
from schemas.vocabulary import CompletionType, CoworkerKind, Visibility

Parsed = TypeVar("Parsed")
Word = TypeVar("Word", bound=Enum)

NOTHING = "none"  # switches off what else would have a value
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_S = 366 * 86_400
_LONGEST_QUIET_MIN = 20 * 60  # at least four hours of a day must be left to write in
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")
_NAME = re.compile(r"[a-z0-9-]{1,60}")

COMPLETION_TYPES = {member.name.lower(): member for member in CompletionType}
COWORKER_TYPES = {member.name.lower(): member for member in CoworkerKind}
VISIBILITIES = {member.name.lower(): member for member in Visibility}


def duration_s(text: str) -> int:
    """Return the seconds of `30s`, `30m`, `3h` or `7d`."""
    written = _DURATION.fullmatch(text)
    seconds = int(written[1]) * _UNITS_S[written[2]] if written else 0
    if not 0 < seconds <= _LONGEST_S:
        raise ValidationError("expected a duration such as 30s, 30m, 3h or 7d, at most 366d")
    return seconds


def quiet_hours(text: str) -> QuietHours:
    """Return the hours of `20:00-08:00`, which may go past midnight."""
    written = _HOURS.fullmatch(text)
    if not written:
        raise ValidationError("expected hours such as 20:00-08:00, or none")
    start = time(int(written[1]), int(written[2]))
    end = time(int(written[3]), int(written[4]))
    minutes = (end.hour * 60 + end.minute - start.hour * 60 - start.minute) % (24 * 60)
    if not 0 < minutes <= _LONGEST_QUIET_MIN:
        raise ValidationError("expected more than no time and at most 20 hours, or none")
    return QuietHours(start, end)


def flood(text: str) -> Flood:
    """Return the count and the window of `25/10m`."""
    count, _, window = text.partition("/")
    try:
        return Flood(cap(count), duration_s(window))
    except ValidationError:
        raise ValidationError("expected a number per duration such as 25/10m, or none") from None


def cap(text: str) -> int:
    """Return a whole number of emails, at least 1."""
    if not _COUNT.fullmatch(text):
        raise ValidationError("expected a whole number from 1 to 999999, or none")
    return int(text)


def name(text: str) -> str:
    """Return the name of a rule."""
    if not _NAME.fullmatch(text):
        raise ValidationError("expected 1 to 60 of a-z, 0-9 and -")
    return text


def words(text: str) -> str:
    """Return any text that is not empty."""
    if not text.strip():
        raise ValidationError("expected a value; take the line out if there is none")
    return text.strip()


def choice(choices: Mapping[str, Parsed]) -> Callable[[str], Parsed]:
    """Return a parser for one of these words."""
    expected = f"expected {one_of(choices)}"

    def parse(text: str) -> Parsed:
        if text not in choices:
            raise ValidationError(expected)
        return choices[text]

    return parse


def member_of(kind: type[Word]) -> Callable[[str], Word]:
    """Return a parser for the value of one member of a word enum."""
    return choice({str(member.value): member for member in kind})


def or_none(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed | None]:
    """Return a parser that also takes the word `none`."""
    return lambda text: None if text == NOTHING else parse(text)


class OneOrMany(fields.Field[tuple[Any, ...]]):
    """One value or a list of values, each typed by `parse`; loads into a tuple without repeats."""

    def __init__(self, parse: Callable[[str], Any], **options: Any) -> None:  # noqa: ANN401 - marshmallow's own options
        super().__init__(**options)
        self.item = Text(parse)

    def _deserialize(
        self,
        value: Any,  # noqa: ANN401 - marshmallow's own signature
        attr: str | None,  # noqa: ARG002 - same
        data: Mapping[str, Any] | None,  # noqa: ARG002 - same
        **_: Any,  # noqa: ANN401 - same
    ) -> tuple[Any, ...]:
        if isinstance(value, str):
            return (self.item.deserialize(value),)
        if not isinstance(value, list) or not value:
            raise ValidationError("expected one value or a list of values")
        return tuple(dict.fromkeys(self._each(value)))

    def _each(self, values: Iterable[Any]) -> list[Any]:
        loaded: list[Any] = []
        errors: dict[int, Any] = {}
        for index, value in enumerate(values):
            try:
                loaded.append(self.item.deserialize(value))
            except ValidationError as error:
                errors[index] = error.messages
        if errors:
            # marshmallow files nested errors under the index, as its own List does.
            raise ValidationError(errors)
        return loaded
