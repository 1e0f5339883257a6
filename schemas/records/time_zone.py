"""SimpleTimeZone: a time zone behind a number, by its Windows name (contract, section 2.6)."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import RecordId, SourceTime, Text


@dataclass(frozen=True, slots=True)
class TimeZone:
    """A time zone as the source has it. `name` is Windows' own, such as GMT Standard Time."""

    record_id: int
    updated_at: datetime
    name: str


class TimeZoneSchema(SourceSchema):
    """Loads a SimpleTimeZone, by Id or as a row of a list."""

    record_class = TimeZone

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    name = Text(data_key="Name", required=True)
