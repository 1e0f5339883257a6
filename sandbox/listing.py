"""Which rows a list request gets: filters, order and pages as the source does them. Pure.

The traps are kept on purpose (contract, section 3): a filter that is not known is ignored without
a word and the whole table comes back, and a relation is named without its `Id`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from sandbox.filters import conditions
from sandbox.wire import Record, as_listed
from schemas.entity import Entity

DEFAULT_SIZE = 25
LARGEST_SIZE = 1000
_WORDS = {"ascending": 1, "descending": -1}
_NUMBERS = {"1": 1, "-1": -1}


@dataclass(frozen=True, slots=True)
class Ways:
    """How lists behave. `shift` is how many rows each page begins too early, or too late."""

    show: Callable[[Record], Record] = as_listed
    knows_filters: bool = True
    knows_numbers: bool = True  # as a direction, beside the words
    knows_order: bool = True
    largest_size: int = LARGEST_SIZE
    never_ends: bool = False
    repeats_last_page: bool = False
    shift: int = 0


WELL_BEHAVED = Ways()


def listed(
    entity: Entity, rows: list[Record], question: Mapping[str, str], ways: Ways = WELL_BEHAVED
) -> Record:
    """Return the envelope with one page of the rows that the question asks for."""
    order_field = _order_field(question.get("orderBy", ""), rows) if ways.knows_order else "Id"
    direction = _direction(question.get("dir", ""), ways) if ways.knows_order else 1
    matching = _matching(entity, rows, question) if ways.knows_filters else list(rows)
    # By Id first, so that equal values have a steady order (and `None` never meets a number).
    matching.sort(key=itemgetter("Id"))
    if order_field != "Id":
        matching = _ordered(matching, order_field, is_falling=direction < 0)
    elif direction < 0:
        matching.reverse()
    page = max(1, _whole(question.get("page"), 1))
    size = min(ways.largest_size, max(1, _whole(question.get("size"), DEFAULT_SIZE)))
    pages = -(-len(matching) // size)
    from_page = min(page, max(1, pages)) if ways.repeats_last_page else page
    first = max(0, (from_page - 1) * (size - ways.shift))
    shown = matching[first : first + size]
    has_next = first + size < len(matching) if ways.shift else page < pages
    return {
        "Records": [ways.show(row) for row in shown],
        "CurrentPage": page,
        "CurrentPageSize": size,
        "CurrentOrderField": order_field,
        "CurrentSortDirection": direction,
        "FirstItem": first + 1 if shown else 0,
        "LastItem": first + len(shown) if shown else 0,
        "TotalItems": len(matching),
        "TotalPages": pages,
        "HasNextPage": ways.never_ends or has_next,
        "HasPreviousPage": page > 1,
    }


def _matching(entity: Entity, rows: list[Record], question: Mapping[str, str]) -> list[Record]:
    matching = list(rows)
    for passes in conditions(entity, rows[0], question) if rows else []:
        matching = [row for row in matching if passes(row)]
    return matching


def _direction(asked: str, ways: Ways) -> int:
    known = _WORDS | _NUMBERS if ways.knows_numbers else _WORDS
    return known.get(asked.strip().lower(), 1)


def _ordered(rows: list[Record], field: str, *, is_falling: bool) -> list[Record]:
    # Rows without a value come before all others.
    without = [row for row in rows if row[field] is None]
    having = [row for row in rows if row[field] is not None]
    having.sort(key=itemgetter(field), reverse=is_falling)
    return having + without if is_falling else without + having


def _order_field(name: str, rows: list[Record]) -> str:
    for field in rows[0] if rows else ():
        if field.lower() == name.lower() and not isinstance(rows[0][field], (list, bool)):
            return field
    return "Id"


def _whole(text: str | None, otherwise: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        return otherwise
