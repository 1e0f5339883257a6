"""One page of a list: the envelope around its rows (contract, section 3).

Rows may be partial; they are loaded by whoever knows which of their fields to trust.
"""

from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError, fields

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


_SCHEMA = PageSchema()


def load_page(answer: object) -> Page:
    """Return the page of one list answer.

    Raises:
        RecordUnreadable: it is not a list's envelope.
    """
    try:
        page: Page = _SCHEMA.load(answer)  # type: ignore[arg-type]  # refused when no mapping
    except (ValidationError, TypeError, AttributeError):
        raise RecordUnreadable("not a page of a list") from None
    return page
