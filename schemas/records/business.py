"""Business: one location of the tenant (contract, section 2.7)."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import Flag, RecordId, SourceTime, Text, optional_id, optional_text


@dataclass(frozen=True, slots=True)
class Business:
    """A location as the source has it. `culture` is its website's language, such as en-GB."""

    record_id: int
    updated_at: datetime
    name: str
    web_address: str | None
    root_location_id: int | None
    time_zone_id: int | None
    language_id: int | None
    culture: str | None
    suspended: bool


class BusinessSchema(SourceSchema):
    """Loads a Business as GET by Id answers it."""

    record_class = Business

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    name = Text(data_key="Name", required=True)
    web_address = optional_text("WebAddress")
    root_location_id = optional_id("RootLocationId")
    time_zone_id = optional_id("SimpleTimeZoneId")
    language_id = optional_id("SpaceWebsiteLanguageId")
    culture = optional_text("SpaceWebsiteLanguageCulture")
    suspended = Flag(data_key="Suspended", load_default=False)
