"""Marshmallow fields for what stands in a seed file besides texts and numbers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields

from sandbox.misbehaviour.board import switch_named
from sandbox.refused import Refused


class Moment(fields.Field[datetime]):
    """A time, as YAML knows it or as a text; without a zone it is UTC."""

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **_: object
    ) -> datetime:
        del attr, data
        try:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError as error:
            raise ValidationError("Must be a time such as 2026-02-02T09:00:00Z.") from error
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Named(fields.Field[Any]):
    """Something else in the file: its Id, or its name or title."""

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **_: object
    ) -> int | str:
        del attr, data
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValidationError("Must be an Id, or a name.")
        return value


class Misbehaviour(fields.Field[Any]):
    """A switch that is on from the start: its name, or its name with parameters."""

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **_: object
    ) -> tuple[str, dict[str, object]]:
        del attr, data
        given = {"name": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise ValidationError("Must be a name, or an object with a name.")
        name = given["name"]
        chosen = {str(key): one for key, one in given.items() if key != "name"}
        try:
            switch_named(name).read(chosen)
        except Refused as refused:
            raise ValidationError(refused.sentence) from refused
        return name, chosen


class Quota(fields.Field[Any]):
    """The limits kept from the start: `true` for the published ones, or an object of others."""

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **_: object
    ) -> dict[str, object] | None:
        del attr, data
        if isinstance(value, bool):
            return {} if value else None
        if not isinstance(value, dict):
            raise ValidationError("Must be true, false or an object.")
        try:
            return dict(switch_named("quota").read(value))
        except Refused as refused:
            raise ValidationError(refused.sentence) from refused
