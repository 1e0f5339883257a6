"""User: a coworker's account in the portal, read for its language only (contract, section 2.6).

The record also has the name and the address somebody signs in with; neither has a field here.
"""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import Flag, RecordId, SourceTime, optional_id


@dataclass(frozen=True, slots=True)
class User:
    """A portal account as the source has it."""

    record_id: int
    updated_at: datetime
    active: bool
    preferred_language_id: int | None


class UserSchema(SourceSchema):
    """Loads a User as GET by Id answers it."""

    record_class = User

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    active = Flag(data_key="Active", load_default=True)
    preferred_language_id = optional_id("PreferredLanguageId")
