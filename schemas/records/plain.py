"""Loads records whose values are all in their plain form, as nearly all are, without marshmallow.

That takes a tenth of the time. Whatever is not plain is left to the schema, which decides.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, fields, missing

from schemas.entity import CoworkerKind
from schemas.fields import (
    MAX_ID,
    CoworkerKindField,
    Flag,
    MaybeId,
    MaybeKnown,
    RecordId,
    SourceTime,
    Text,
    clean_text,
)

Loader = Callable[[Mapping[str, Any]], Any]
_Reader = Callable[[Any], Any]


class NotPlain(Exception):
    """A value is not in its plain form."""


def loader_of(schema: Schema) -> Loader | None:
    """Return a function that loads what `schema` loads, or raises `NotPlain`; None if it cannot.

    The schema may have no hooks but those of `SourceSchema`.
    """
    readers = []
    for name, field in schema.load_fields.items():
        reader = _READERS.get(type(field))
        if reader is None or field.data_key is None:
            return None
        default = missing if field.required else field.load_default
        readers.append((name, field.data_key, reader(field), field.allow_none, default))
    record_class = schema.record_class  # type: ignore[attr-defined]  # a SourceSchema

    def load(values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any record
        found = {}
        for name, key, read, allow_none, default in readers:
            value = values.get(key, missing)
            if value is missing:
                if default is missing:
                    raise NotPlain
                found[name] = default
            elif allow_none and (value is None or value == ""):
                found[name] = None
            else:
                found[name] = read(value)
        return record_class(**found)

    return load


def reader_of(field: fields.Field[Any]) -> Callable[[object], Any]:
    """Return a function that returns what `field` makes of one value that is not null.

    It raises `ValidationError` if the value does not fit.
    """
    reader = _READERS.get(type(field))
    if reader is None:
        return field.deserialize
    read_plain = reader(field)

    def read(value: object) -> Any:  # noqa: ANN401 - as the field says
        try:
            return read_plain(value)
        except NotPlain:
            return field.deserialize(value)

    return read


def _id(value: object) -> int:
    if type(value) is int and 0 < value <= MAX_ID:
        return value
    raise NotPlain


def _number(value: object) -> int:
    if type(value) is int:
        return value
    raise NotPlain


def _flag(value: object) -> bool:
    if type(value) is bool:
        return value
    raise NotPlain


def _text(value: object) -> str:
    if type(value) is not str:
        raise NotPlain
    return value if value.isascii() and "\x00" not in value else clean_text(value)


def _time(value: object) -> datetime:
    if type(value) is not str:
        raise NotPlain
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotPlain from None


def _maybe_id(value: object) -> int | None:
    return None if type(value) is int and value == 0 else _id(value)


def _known(field: Any) -> _Reader:  # noqa: ANN401 - a MaybeKnown, whose enum has no type
    members = {member.value: member for member in field.enum}
    return lambda value: members.get(_number(value))


def _member(field: Any) -> _Reader:  # noqa: ANN401 - an Enum by value, whose enum has no type
    members = {member.value: member for member in field.enum}

    def read(value: object) -> object:
        member = members.get(_number(value))
        if member is None:
            raise NotPlain
        return member

    return read


def _kind(value: object) -> CoworkerKind:
    try:
        return CoworkerKind(_number(value))
    except ValueError:
        raise NotPlain from None


def _always(read: _Reader) -> Callable[[Any], _Reader]:
    return lambda _: read


_READERS: Mapping[type, Callable[[Any], _Reader]] = {
    RecordId: _always(_id),
    MaybeId: _always(_maybe_id),
    fields.Integer: _always(_number),
    Flag: _always(_flag),
    Text: _always(_text),
    SourceTime: _always(_time),
    MaybeKnown: _known,
    fields.Enum: _member,
    CoworkerKindField: _always(_kind),
}
