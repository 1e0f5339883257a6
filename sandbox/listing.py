"""Which rows a list request gets: filters, order and pages as the source does them. Pure.

The traps are kept on purpose (contract, section 3): a filter that is not known is ignored without
a word and the whole table comes back, and a relation is named without its `Id`.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from sandbox.wire import Record, as_listed
from schemas.entity import Entity

DEFAULT_SIZE = 25
LARGEST_SIZE = 1000

# Relations by kind of record: these answer to their name without `Id`, and to nothing else.
_RELATIONS = frozenset(
    {
        "CourseId",
        "CoworkerId",
        "LastCompletedLessonId",
        "CourseMemberId",
        "CourseLessonId",
        "SectionId",
        "InstructorId",
        "BusinessId",
        "HostId",
        "TariffId",
        "UserId",
        "InvoicingBusinessId",
    }
)


def listed(entity: Entity, rows: list[Record], question: Mapping[str, str]) -> Record:
    """Return the envelope with one page of the rows that the question asks for."""
    order_field = _order_field(question.get("orderBy", ""), rows)
    direction = -1 if question.get("dir", "1").strip().lower() in {"-1", "descending"} else 1
    matching = [row for row in rows if _matches(entity, row, question)]
    # By Id first, so that equal values have a steady order (and `None` never meets a number).
    matching.sort(key=lambda row: row["Id"])
    matching.sort(key=lambda row: _place(row[order_field]), reverse=direction < 0)
    page = max(1, _whole(question.get("page"), 1))
    size = min(LARGEST_SIZE, max(1, _whole(question.get("size"), DEFAULT_SIZE)))
    first = (page - 1) * size
    shown = matching[first : first + size]
    pages = -(-len(matching) // size)
    return {
        "Records": [as_listed(row) for row in shown],
        "CurrentPage": page,
        "CurrentPageSize": size,
        "CurrentOrderField": order_field,
        "CurrentSortDirection": direction,
        "FirstItem": first + 1 if shown else 0,
        "LastItem": first + len(shown) if shown else 0,
        "TotalItems": len(matching),
        "TotalPages": pages,
        "HasNextPage": page < pages,
        "HasPreviousPage": page > 1,
    }


def _place(value: object) -> tuple[object, ...]:
    return (False,) if value is None else (True, value)


def several(rows: Iterable[Record], ids: str) -> list[Record]:
    """Return the rows with these Ids (`[1,2]`) as a bare list (contract, section 2.8)."""
    wanted = _id_list(ids)
    return [as_listed(row) for row in rows if row["Id"] in wanted]


def _matches(entity: Entity, row: Record, question: Mapping[str, str]) -> bool:
    return all(_passes(entity, row, name, value) for name, value in question.items())


def _passes(entity: Entity, row: Record, name: str, value: str) -> bool:
    plain = name.lower()
    for bound in ("from_", "to_"):
        prefix = f"{bound}{entity.lower()}_"
        if plain.startswith(prefix):
            return _within(row, plain.removeprefix(prefix), bound, value)
    prefix = f"{entity.lower()}_"
    if not plain.startswith(prefix):
        return True
    field = _field_named(row, plain.removeprefix(prefix))
    if field is None:
        return True
    if field == "Id":
        return row["Id"] in _id_list(value)
    return _equal(row[field], value)


def _field_named(row: Record, name: str) -> str | None:
    # `Coworker_FullName` is the projected field CoworkerFullName.
    joined = name.replace("_", "")
    for field in row:
        asked_as = field.removesuffix("Id") if field in _RELATIONS else field
        if asked_as.lower() == joined:
            return field
    return None


def _equal(value: object, asked: str) -> bool:
    if value is None:
        return asked == ""
    return str(value).lower() == asked.strip().lower()


def _within(row: Record, name: str, bound: str, value: str) -> bool:
    if name not in {"createdon", "updatedon"}:
        return True
    limit = _minute(value)
    if limit is None:
        return True
    moment: datetime = row["CreatedOn" if name == "createdon" else "UpdatedOn"]
    return moment >= limit if bound == "from_" else moment <= limit


def _minute(value: str) -> datetime | None:
    # Seconds and a `Z` are accepted and only the minute counts, which is always UTC.
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return aware.astimezone(UTC).replace(second=0, microsecond=0)


def _order_field(name: str, rows: list[Record]) -> str:
    for field in rows[0] if rows else ():
        if field.lower() == name.lower() and not isinstance(rows[0][field], (list, bool)):
            return field
    return "Id"


def _id_list(text: str) -> set[int]:
    try:
        found = json.loads(text)
    except ValueError:
        return set()
    return {n for n in (found if isinstance(found, list) else [found]) if isinstance(n, int)}


def _whole(text: str | None, otherwise: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        return otherwise
