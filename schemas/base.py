"""The two kinds of shape: the source's, which may grow, and ours, which may not.

A schema loads into a frozen, typed record. Schema instances are costly to build (about 180 µs)
and safe to share, so each module keeps one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import EXCLUDE, RAISE, Schema, post_load, pre_load


class RecordSchema(Schema):
    """Loads into `record_class`."""

    record_class: ClassVar[type[Any]]

    @post_load
    def make_record(self, fields: dict[str, Any], **_: Any) -> Any:
        """Build the frozen record from the loaded fields."""
        return self.record_class(**fields)


class SourceSchema(RecordSchema):
    """A shape of the source: unknown keys are its business (not inherited by nested schemas)."""

    class Meta:
        """Marshmallow's place for options."""

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


class HouseSchema(RecordSchema):
    """A shape of ours: an unknown key is a mistake and is named."""

    class Meta:
        """Marshmallow's place for options."""

        unknown = RAISE
