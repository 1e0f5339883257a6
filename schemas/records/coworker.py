"""Coworker: the customer, allow-listed to what an email needs (contract, section 2.6).

The full record has some 200 properties, among them access PINs and bank data. None of these has
a field here, so none can be kept, logged or printed.
"""

from dataclasses import dataclass
from datetime import datetime

from schemas.base import SourceSchema
from schemas.fields import (
    CoworkerKindField,
    Flag,
    RecordId,
    SourceTime,
    Text,
    optional_id,
    optional_text,
)
from schemas.vocabulary import CoworkerKind


@dataclass(frozen=True, slots=True)
class Coworker:
    """A customer as the source has it. `email` is None when the profile has none.

    `user_id` is None for somebody without an account in the portal.
    """

    record_id: int
    updated_at: datetime
    kind: CoworkerKind | None
    full_name: str
    first_name: str | None
    email: str | None = None
    active: bool = True
    archived: bool = False
    time_zone_id: int | None = None
    user_id: int | None = None
    home_business_id: int | None = None


class CoworkerSchema(SourceSchema):
    """Loads a Coworker as GET by Id answers it."""

    record_class = Coworker

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    kind = CoworkerKindField(data_key="CoworkerType", load_default=None, allow_none=True)
    full_name = Text(data_key="FullName", required=True)
    first_name = optional_text("GuessedFirstName")
    email = optional_text("Email")
    active = Flag(data_key="Active", load_default=True)
    archived = Flag(data_key="Archived", load_default=False)
    time_zone_id = optional_id("SimpleTimeZoneId")
    user_id = optional_id("UserId")
    home_business_id = optional_id("InvoicingBusinessId")
