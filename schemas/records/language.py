"""Language: what a portal account's language is called (contract, section 2.6)."""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import RecordId, SourceTime, optional_text


@dataclass(frozen=True, slots=True)
class Language:
    """A language as the source has it. `culture` is such as en-GB."""

    record_id: int
    updated_at: datetime
    name: str | None
    culture: str | None


class LanguageSchema(SourceSchema):
    """Loads a Language as GET by Id answers it."""

    record_class = Language

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    name = optional_text("Name")
    culture = optional_text("Culture")
