"""What a seed file may contain, as marshmallow schemas. Every unknown key is a mistake."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from sandbox.misbehaviour.catalogue import switch_named
from sandbox.misbehaviour.switch import Refused
from sandbox.records import DEFAULT_ZONE, LANGUAGES, ZONES
from schemas.entity import CompletionType, CoworkerKind

_LARGEST_CROWD = 1_000_000


def _id() -> fields.Integer:
    in_range = validate.Range(min=1, max=2**63 - 1, error="Must be between 1 and 2^63-1.")
    return fields.Integer(strict=True, load_default=None, validate=in_range)


def _flag(*, default: bool) -> fields.Boolean:
    return fields.Boolean(truthy={True}, falsy={False}, load_default=default)


def _one_of(words: Iterable[str], default: str | None) -> fields.String:
    known = validate.OneOf(tuple(words), error="Must be one of: {choices}.")
    return fields.String(validate=known, load_default=default, allow_none=default is None)


def _text(default: str | None = None) -> fields.String:
    return fields.String(load_default=default, allow_none=True)


def _name() -> fields.String:
    return fields.String(required=True, validate=validate.Length(min=1))


def _number(default: int, least: int = 0) -> fields.Integer:
    within = validate.Range(min=least, max=_LARGEST_CROWD)
    return fields.Integer(strict=True, load_default=default, validate=within)


def _read_by(read: Callable[[Any], object], **options: Any) -> fields.Function:  # noqa: ANN401 - marshmallow's options
    if not options.get("required"):
        options.setdefault("load_default", None)
    return fields.Function(deserialize=read, **options)


def _list_of(schema: type[Schema], *, least: int = 0, **options: Any) -> fields.List[Any]:  # noqa: ANN401 - same
    return fields.List(fields.Nested(schema), validate=validate.Length(min=least), **options)


def _as_time(value: object) -> datetime:
    """Read a time, which YAML may have read already; without a zone it is UTC."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValidationError("Must be a time such as 2026-02-02T09:00:00Z.") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _as_reference(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValidationError("Must be an Id, or a name.")
    return value


def _as_misbehaviour(value: object) -> tuple[str, dict[str, object]]:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise ValidationError("Must be a name, or an object with a name.")
    chosen = {str(key): one for key, one in given.items() if key != "name"}
    _check(given["name"], chosen)
    return given["name"], chosen


def _as_quota(value: object) -> Mapping[str, object] | None:
    """Read `true` for the published limits, or an object of others."""
    if isinstance(value, bool):
        return {} if value else None
    if not isinstance(value, dict):
        raise ValidationError("Must be true, false or an object.")
    return _check("quota", value)


def _check(name: str, given: Mapping[str, object]) -> dict[str, object]:
    try:
        return dict(switch_named(name).read(given))
    except Refused as refused:
        raise ValidationError(refused.sentence) from refused


_LOCATION = Schema.from_dict(
    {
        "id": _id(),
        "name": _name(),
        "time_zone": _one_of(ZONES.values(), DEFAULT_ZONE),
        "language": _one_of(LANGUAGES, "en-GB"),
        "web_address": _text("werkhof"),
        "address": _text("Hofgasse 4"),
        "town": _text("Berlin"),
        "postal_code": _text("10999"),
        "currency": _text("EUR"),
        "parent": _read_by(_as_reference, allow_none=True),
    }
)
PERSON_SCHEMA = Schema.from_dict(
    {
        "id": _id(),
        "name": _name(),
        "email": fields.String(load_default=""),
        "kind": _one_of([kind.name.lower() for kind in CoworkerKind], "individual"),
        "company": _text(),
        "teams": _text(),
        "first_name": _text(),
        "salutation": _text(),
        "active": _flag(default=True),
        "archived": _flag(default=False),
        "account": _flag(default=True),
        "time_zone": _one_of(ZONES.values(), DEFAULT_ZONE),
        "language": _one_of(LANGUAGES, None),
        "location": _read_by(_as_reference, allow_none=True),
    }
)
_SECTION = Schema.from_dict({"id": _id(), "title": _name(), "active": _flag(default=True)})
LESSON_SCHEMA = Schema.from_dict(
    {
        "id": _id(),
        "title": _name(),
        "completion": _one_of([kind.name.lower() for kind in CompletionType], "button"),
        "section": _read_by(_as_reference, allow_none=True),
        "active": _flag(default=True),
    }
)
_COURSE = Schema.from_dict(
    {
        "id": _id(),
        "title": _name(),
        "location": _read_by(_as_reference, allow_none=True),
        "group": _text(),
        "sections": _list_of(_SECTION, load_default=list),
        "lessons": _list_of(LESSON_SCHEMA, load_default=list),
    }
)
_ENROLMENT = Schema.from_dict(
    {
        "id": _id(),
        "person": _read_by(_as_reference, required=True),
        "course": _read_by(_as_reference, required=True),
        "at": _read_by(_as_time),
        "approved": _flag(default=True),
        "blocked": _flag(default=False),
    }
)
_COMPLETION = Schema.from_dict(
    {
        "id": _id(),
        "enrolment": fields.Integer(strict=True, required=True),
        "lesson": _read_by(_as_reference, required=True),
        "at": _read_by(_as_time),
    }
)
_CROWD = Schema.from_dict(
    {
        "people": _number(100),
        "courses": _number(5),
        "lessons": _number(10, least=1),
        "enrolments": _number(100),
        "completions": _number(0),
        "random_seed": fields.Integer(strict=True, load_default=7),
    }
)
SEED_SCHEMA = Schema.from_dict(
    {
        "locations": _list_of(_LOCATION, least=1),
        "people": _list_of(PERSON_SCHEMA),
        "courses": _list_of(_COURSE),
        "enrolments": _list_of(_ENROLMENT, load_default=list),
        "completions": _list_of(_COMPLETION, load_default=list),
        "crowd": fields.Nested(_CROWD),
        "misbehaviours": fields.List(_read_by(_as_misbehaviour), load_default=list),
        "quota": _read_by(_as_quota, allow_none=True),
        "first_new_id": _id(),
    }
)
