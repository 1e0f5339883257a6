"""WebHook: where the source calls when something happens, and how that goes (contract, 5.6)."""

from dataclasses import dataclass, field
from datetime import datetime

from marshmallow import fields

from schemas.base import SourceSchema
from schemas.fields import Flag, RecordId, SourceTime, optional_text, optional_time


@dataclass(frozen=True, slots=True)
class WebHook:
    """A hook as the source has it: one action, one location.

    `action` is a number of `schemas.hook_actions`, or one added since. `error_count` failures in a
    row; at ten the source switches it off. Addresses may hold a key, and the last error may repeat
    the address, so neither is printed.
    """

    record_id: int
    updated_at: datetime
    business_id: int
    name: str | None
    action: int
    url: str | None = field(repr=False)
    active: bool
    error_count: int | None
    last_error: str | None = field(repr=False)
    last_trigger_at: datetime | None


class WebHookSchema(SourceSchema):
    """Loads a WebHook, by Id or as a row of a list."""

    record_class = WebHook

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    business_id = RecordId(data_key="BusinessId", required=True)
    name = optional_text("Name")
    action = fields.Integer(data_key="Action", strict=True, required=True)
    url = optional_text("URL")
    active = Flag(data_key="Active", required=True)
    error_count = fields.Integer(
        data_key="ErrorCount", strict=True, load_default=0, allow_none=True
    )
    last_error = optional_text("LastError")
    last_trigger_at = optional_time("LastTrigger")
