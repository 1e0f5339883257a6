"""The envelopes of two answers: a page of a list, and the token of a sign-in."""

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from marshmallow import ValidationError, fields, validate

from schemas.base import SourceSchema
from schemas.errors import RecordUnreadable
from schemas.fields import Flag


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as the source sent them, and whether another page follows.

    `total` is how many rows all pages have together; None if the source did not say.
    """

    rows: list[dict[str, Any]]
    has_next: bool
    total: int | None


class PageSchema(SourceSchema):
    """Loads the envelope of a list."""

    record_class = Page

    rows = fields.List(fields.Dict(), data_key="Records", required=True)
    has_next = Flag(data_key="HasNextPage", required=True)
    total = fields.Integer(data_key="TotalItems", strict=True, load_default=None, allow_none=True)


_PAGE = PageSchema()


def load_page(answer: object) -> Page:
    """Return the page of one list answer.

    Raises:
        RecordUnreadable: it is not a list's envelope.
    """
    try:
        page: Page = _PAGE.load(answer)  # type: ignore[arg-type]  # refused when no mapping
    except (ValidationError, TypeError, AttributeError):
        raise RecordUnreadable("not a page of a list") from None
    return page


_LIFE_IF_UNSAID_S = 900  # "do not assume more than minutes or hours"
_LONGEST_LIFE_S = 1_000_000_000  # some thirty years; Python's times end soon after the absurd
_DIGITS = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Token:
    """What a sign-in gives. `expires_in` is in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int


class Life(fields.Field[int]):
    """Whole seconds. A token that is good is not lost because of how its life is written."""

    def deserialize(self, value: object, *_: object, **__: object) -> int:
        """Return the seconds; a careful few if none are given in a way we understand."""
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if isinstance(value, float) and isfinite(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return _LIFE_IF_UNSAID_S
        return min(max(value, 0), _LONGEST_LIFE_S)


class TokenSchema(SourceSchema):
    """Loads a token answer."""

    record_class = Token

    # It travels in a header, where only visible ASCII is safe.
    access_token = fields.String(required=True, validate=validate.Regexp(r"[\x21-\x7e]+\Z"))
    refresh_token = fields.String(data_key="refresh_token", load_default=None, allow_none=True)
    expires_in = Life()


_TOKEN = TokenSchema()


def load_token(answer: object) -> Token:
    """Return the token of a sign-in's answer.

    Raises:
        RecordUnreadable: it is none. The message holds nothing of the answer.
    """
    if not isinstance(answer, dict):
        raise RecordUnreadable("not a token")
    try:
        token: Token = _TOKEN.load(answer)
    except ValidationError:
        raise RecordUnreadable("not a token") from None
    return token
