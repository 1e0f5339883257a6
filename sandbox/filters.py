"""What a list request's filters mean, worked out once for all rows. Pure (contract, section 3)."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sandbox.wire import Record
from schemas.entity import Entity

# Relations by kind of record: these answer to their name without `Id`, and to nothing else.
_RELATIONS = frozenset(
    {
        *("CourseId", "CoworkerId", "LastCompletedLessonId", "CourseMemberId", "CourseLessonId"),
        *("SectionId", "InstructorId", "BusinessId", "HostId", "TariffId", "UserId"),
        *("InvoicingBusinessId", "PreferredLanguageId", "SpaceWebsiteLanguageId"),
    }
)
# What can be asked for from and to.
_RANGES = frozenset({"createdon", "updatedon", "errorcount"})

Condition = Callable[[Record], bool]


def relation_asked(
    entity: Entity, relations: tuple[str, ...], question: Mapping[str, str]
) -> tuple[str, int] | None:
    """Return the first of these relations that is asked for by one Id, with that Id."""
    asked = {name.lower(): value for name, value in question.items()}
    for relation in relations:
        value = asked.get(f"{entity.lower()}_{relation.removesuffix('Id').lower()}", "").strip()
        if value.isdecimal() and str(int(value)) == value:
            return relation, int(value)
    return None


def coworker_asked(entity: Entity, question: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of enrolments by what only the coworker's own record has.

    `CourseMember_Coworker_Email` becomes `Coworker_Email`.
    """
    prefix = f"{Entity.COURSE_MEMBER.lower()}_"
    below = f"{prefix}{Entity.COWORKER.lower()}_email"
    if entity is not Entity.COURSE_MEMBER:
        return {}
    asked = {name.lower(): value for name, value in question.items()}
    return {below.removeprefix(prefix): asked[below]} if below in asked else {}


def conditions(entity: Entity, sample: Record, question: Mapping[str, str]) -> list[Condition]:
    """Return what each row must meet; `sample` is any row of the kind, for its fields."""
    found = (_condition(entity, sample, name, value) for name, value in question.items())
    return [condition for condition in found if condition is not None]


def id_list(text: str) -> set[int]:
    """Return the Ids of a text such as `[1,2]`; of anything else, none."""
    try:
        found = json.loads(text)
    except ValueError:
        return set()
    return {n for n in (found if isinstance(found, list) else [found]) if isinstance(n, int)}


def _condition(entity: Entity, sample: Record, name: str, value: str) -> Condition | None:
    plain = name.lower()
    for bound in ("from_", "to_"):
        prefix = f"{bound}{entity.lower()}_"
        if plain.startswith(prefix):
            return _within(sample, plain.removeprefix(prefix), bound, value)
    prefix = f"{entity.lower()}_"
    if not plain.startswith(prefix):
        return None
    field = _field_named(sample, plain.removeprefix(prefix))
    if field is None:
        return None
    if field == "Id":
        ids = id_list(value)
        return lambda row: row["Id"] in ids
    return _equal(field, value.strip().lower())


def _field_named(sample: Record, name: str) -> str | None:
    # `Coworker_FullName` is the projected field CoworkerFullName.
    joined = name.replace("_", "")
    for field in sample:
        asked_as = field.removesuffix("Id") if field in _RELATIONS else field
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
    if bound == "from_":
        return lambda row: bool(row[field] >= limit)
    return lambda row: bool(row[field] <= limit)


def _number(value: str) -> int | None:
    return int(value) if value.strip().isdecimal() else None


def _minute(value: str) -> datetime | None:
    # Seconds and a `Z` are accepted and only the minute counts, which is always UTC.
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return aware.astimezone(UTC).replace(second=0, microsecond=0)
