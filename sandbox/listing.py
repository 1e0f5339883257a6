"""The rows of a list request: filters, order and pages as the source does them (contract, 3).

Its traps are kept on purpose: an unknown filter is ignored silently and the whole table returned,
and a relation is named without its `Id`.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter

from sandbox.misbehaviour.board import Board
from sandbox.records import Record
from sandbox.tenant import RELATIONS, Tenant
from sandbox.wire import row_maker
from schemas.entity import Entity

DEFAULT_SIZE = 25
LARGEST_SIZE = 1000
_WORDS = {"ascending": 1, "descending": -1}
_NUMBERS = {"1": 1, "-1": -1}
# Fields that are filtered by their name without `Id`.
_RELATION_FIELDS = frozenset(
    {
        *("CourseId", "CoworkerId", "LastCompletedLessonId", "CourseMemberId", "CourseLessonId"),
        *("SectionId", "InstructorId", "BusinessId", "HostId", "TariffId", "UserId"),
        *("InvoicingBusinessId", "PreferredLanguageId", "SpaceWebsiteLanguageId"),
    }
)
_RANGES = frozenset({"createdon", "updatedon", "errorcount"})

Question = Mapping[str, str]
Condition = Callable[[Record], bool]


@dataclass(frozen=True, slots=True)
class Ways:
    """How lists behave. Each page starts `shift` rows early, or late if it is negative."""

    show: Callable[[Record], Record]
    knows_filters: bool = True
    knows_numbers: bool = True  # as a direction, beside the words
    knows_order: bool = True
    largest_size: int = LARGEST_SIZE
    never_ends: bool = False
    repeats_last_page: bool = False
    shift: int = 0


def listed(board: Board, tenant: Tenant, entity: Entity, question: Question) -> Record:
    """Return the envelope with the requested page."""
    ways = _ways(board, entity)
    rows = _candidates(tenant, entity, question) if ways.knows_filters else tenant.rows(entity)
    return _page(entity, up_to_date(board, tenant, entity, rows), question, ways)


def up_to_date(board: Board, tenant: Tenant, entity: Entity, rows: list[Record]) -> list[Record]:
    """Return the rows without those that are too new for lists."""
    lagging = board.about("lagging-lists", entity)
    if lagging is None:
        return rows
    seconds = lagging.number("seconds")
    return [row for row in rows if tenant.age_s(entity, row["Id"]) >= seconds]


def id_list(text: str) -> set[int]:
    """Return the Ids of a text such as `[1,2]`; of anything else, none."""
    try:
        found = json.loads(text)
    except ValueError:
        return set()
    return {n for n in (found if isinstance(found, list) else [found]) if isinstance(n, int)}


def relation_asked(entity: Entity, question: Question) -> tuple[str, int] | None:
    """Return the first indexed relation that is filtered by one Id, with that Id."""
    asked = _lower_case(question)
    for relation in RELATIONS.get(entity, ()):
        value = asked.get(f"{entity.lower()}_{relation.removesuffix('Id').lower()}", "").strip()
        if value.isdecimal() and str(int(value)) == value:
            return relation, int(value)
    return None


def _ways(board: Board, entity: Entity) -> Ways:
    endless, cut = board.about("never-ending-list", entity), board.now("cut-size")
    shifting = board.about("shifting-pages", entity)
    shift = 0
    if shifting is not None:
        shift = 1 if shifting.text("way") == "repeat" else -1
    return Ways(
        show=row_maker(board, entity, "partial-rows"),
        knows_filters=board.about("ignore-filters", entity) is None,
        knows_numbers=not board.is_on("words-for-direction"),
        knows_order=not board.is_on("ignore-order"),
        largest_size=LARGEST_SIZE if cut is None else max(1, cut.whole("rows")),
        never_ends=endless is not None,
        repeats_last_page=endless is not None and endless.flag("repeat"),
        shift=shift,
    )


def _candidates(tenant: Tenant, entity: Entity, question: Question) -> list[Record]:
    """Return the rows that can match, found by an index where there is one."""
    indexed = relation_asked(entity, question)
    rows = tenant.rows(entity) if indexed is None else tenant.rows_with(entity, *indexed)
    email = _lower_case(question).get("coursemember_coworker_email")
    if entity is Entity.COURSE_MEMBER and email is not None:
        # The one filter by a field that only the coworker's own record has.
        people = tenant.rows(Entity.COWORKER)
        matching = _matching(Entity.COWORKER, people, {"coworker_email": email})
        meant = {person["Id"] for person in matching}
        rows = [row for row in rows if row["CoworkerId"] in meant]
    return rows


def _page(entity: Entity, rows: list[Record], question: Question, ways: Ways) -> Record:
    order_field = _order_field(question.get("orderBy", ""), rows) if ways.knows_order else "Id"
    direction = _direction(question.get("dir", ""), ways) if ways.knows_order else 1
    matching = _matching(entity, rows, question) if ways.knows_filters else list(rows)
    # By Id first, so that equal values have a stable order (and None is never compared).
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


def _whole(text: str | None, default: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        return default


def _lower_case(question: Question) -> dict[str, str]:
    return {name.lower(): value for name, value in question.items()}


def _matching(entity: Entity, rows: Iterable[Record], question: Question) -> list[Record]:
    matching = list(rows)
    sample = matching[0] if matching else {}
    for name, value in _lower_case(question).items():
        condition = _condition(entity, sample, name, value)
        if condition is not None:
            matching = [row for row in matching if condition(row)]
    return matching


def _condition(entity: Entity, sample: Record, name: str, value: str) -> Condition | None:
    bound, _, rest = name.partition("_")
    if bound in {"from", "to"} and rest.startswith(f"{entity.lower()}_"):
        return _within(sample, rest.removeprefix(f"{entity.lower()}_"), bound, value)
    if not name.startswith(f"{entity.lower()}_"):
        return None
    field = _field_named(sample, name.removeprefix(f"{entity.lower()}_"))
    if field == "Id":
        ids = id_list(value)
        return lambda row: row["Id"] in ids
    return None if field is None else _equal(field, value.strip().lower())


def _field_named(sample: Record, name: str) -> str | None:
    # `Coworker_FullName` is the projected field CoworkerFullName.
    joined = name.replace("_", "")
    for field in sample:
        asked_as = field.removesuffix("Id") if field in _RELATION_FIELDS else field
        if asked_as.lower() == joined:
            return field
    return None


def _equal(field: str, asked: str) -> Condition:
    def is_equal(row: Record) -> bool:
        value = row[field]
        return asked == "" if value is None else str(value).lower() == asked

    return is_equal


def _within(sample: Record, name: str, bound: str, value: str) -> Condition | None:
    field = next((field for field in sample if field.lower() == name), None)
    if field is None or name not in _RANGES:
        return None
    limit = _number(value) if name == "errorcount" else _minute(value)
    if limit is None:
        return None
    if bound == "from":
        return lambda row: bool(row[field] >= limit)
    return lambda row: bool(row[field] <= limit)


def _number(value: str) -> int | None:
    return int(value) if value.strip().isdecimal() else None


def _minute(value: str) -> datetime | None:
    # Seconds and a `Z` are accepted, but only the minute counts, always in UTC.
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return aware.astimezone(UTC).replace(second=0, microsecond=0)
