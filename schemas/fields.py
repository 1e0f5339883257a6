"""Base classes of all schemas, and marshmallow fields for what the source really sends.

A source schema ignores unknown keys, because the source may add fields; an internal schema reports
them. The fields follow the contract, sections 2.1, 2.8 and 2.9.

A schema loads into a frozen, typed record. Schema instances are costly to build (about 180 µs) and
safe to share, so each module keeps one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar

from marshmallow import (
    EXCLUDE,
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validate,
)

from schemas.entity import CoworkerKind


class RecordSchema(Schema):
    """Loads into `record_class`."""

    record_class: ClassVar[type[Any]]

    @post_load
    def make_record(self, fields: dict[str, Any], **_: Any) -> Any:
        """Build the frozen record from the loaded fields."""
        return self.record_class(**fields)


class SourceSchema(RecordSchema):
    """Loads data of the source; ignores unknown keys (nested schemas do not inherit that)."""

    class Meta:
        """Options of the schema."""

        unknown = EXCLUDE

    @pre_load
    def read_empty_as_none(self, given: Any, **_: Any) -> Any:
        """Read an empty string as null wherever null is allowed (contract, section 2.9)."""
        if not isinstance(given, Mapping):
            return given
        empty = {
            field.data_key: None
            for field in self.load_fields.values()
            if field.allow_none and field.data_key and given.get(field.data_key) == ""
        }
        return {**given, **empty}


class InternalSchema(RecordSchema):
    """Loads data of our own; reports unknown keys as mistakes."""

    class Meta:
        """Options of the schema."""

        unknown = RAISE


MAX_ID = 2**63 - 1  # the source's ids are signed 64-bit (contract, section 2)

_ID_RANGE = validate.Range(min=1, max=MAX_ID, error="Must be between 1 and 2^63-1.")


class RecordId(fields.Integer):
    """A record's Id: a whole JSON number from 1 to 2^63-1. Refuses true and 7.0."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strict=True, validate=_ID_RANGE, **options)


class Flag(fields.Boolean):
    """A JSON true or false. Words such as "yes" are refused."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class SourceTime(fields.AwareDateTime):
    """A time of the source as aware UTC: 0 to 7 fraction digits, with or without a zone.

    REST and webhook times without a zone are UTC too (contract, section 2.9).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", default_timezone=UTC, **options)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> datetime:
        loaded = super()._deserialize(value, attr, data, **kwargs)
        try:
            return loaded.astimezone(UTC)
        except OverflowError as error:
            raise ValidationError("Not a valid datetime.") from error


class Text(fields.String):
    """A text that people typed, without the one character that PostgreSQL cannot store.

    NUL becomes a space; removing it could leave an empty text, which is read as null.
    """

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> str:
        return clean_text(super()._deserialize(value, attr, data, **kwargs))


def clean_text(text: str) -> str:
    """Return a text as PostgreSQL can store it."""
    return text.replace("\x00", " ").encode("utf-8", "replace").decode()


class CoworkerKindField(fields.Field[CoworkerKind]):
    """Individual or Company, as a word or as 1 and 2 (contract, section 2.1)."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> CoworkerKind:
        if isinstance(value, str | int) and not isinstance(value, bool):
            spelling = str(value).strip().upper()
            for kind in CoworkerKind:
                if spelling in {kind.name, str(kind.value)}:
                    return kind
        raise ValidationError('Must be "Individual", "Company", 1 or 2.')

    def _serialize(
        self, value: CoworkerKind | None, attr: str | None, obj: Any, **kwargs: Any
    ) -> int | None:
        return None if value is None else value.value


def optional_text(key: str) -> Text:
    """Return a text field that may be null or absent."""
    return Text(data_key=key, load_default=None, allow_none=True)


class MaybeId(RecordId):
    """An Id that may be null. Reads 0 as null: .NET writes 0 for an Id that was never set."""

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Read 0 as null."""
        unset = value == 0 and isinstance(value, int) and not isinstance(value, bool)
        return super().deserialize(None if unset else value, attr, data, **kwargs)


def optional_id(key: str) -> MaybeId:
    """Return an Id field that may be null, 0 or absent."""
    return MaybeId(data_key=key, load_default=None, allow_none=True)


def optional_time(key: str) -> SourceTime:
    """Return a time field that may be null, empty or absent."""
    return SourceTime(data_key=key, load_default=None, allow_none=True)


class MaybeKnown(fields.Enum[Any]):
    """A number of an enumeration. Reads a number that we do not know yet as None.

    Only for optional detail: a new value at the source must not make a record unreadable.
    """

    def __init__(self, known: type[Enum], **options: Any) -> None:
        super().__init__(
            known,
            by_value=fields.Integer(strict=True),
            load_default=None,
            allow_none=True,
            **options,
        )

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Any:
        known = {member.value for member in self.enum}
        if isinstance(value, int) and not isinstance(value, bool) and value not in known:
            return None
        return super()._deserialize(value, attr, data, **kwargs)
