"""Customers, with what is needed to email them (contract, section 2.6).

A coworker's full record has some 200 properties, among them access PINs and bank data, a user's
record has the account's address, and a message has a subject and a body. These have no field here,
so they cannot be stored, logged or printed.
"""

from dataclasses import dataclass
from datetime import datetime

from schemas.entity import CoworkerKind
from schemas.fields import (
    CoworkerKindField,
    Flag,
    RecordId,
    SourceSchema,
    SourceTime,
    Text,
    optional_id,
    optional_text,
)


@dataclass(frozen=True, slots=True)
class Coworker:
    """A customer. `email` is None when the profile has none.

    `user_id` is None for a person without an account in the portal.
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
    """Loads a Coworker read by Id."""

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


@dataclass(frozen=True, slots=True)
class User:
    """A portal account."""

    record_id: int
    updated_at: datetime
    active: bool
    preferred_language_id: int | None


class UserSchema(SourceSchema):
    """Loads a User read by Id."""

    record_class = User

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    active = Flag(data_key="Active", load_default=True)
    preferred_language_id = optional_id("PreferredLanguageId")


@dataclass(frozen=True, slots=True)
class SourceLanguage:
    """A language that the source knows. `culture` is a code such as en-GB."""

    record_id: int
    updated_at: datetime
    name: str | None
    culture: str | None


class SourceLanguageSchema(SourceSchema):
    """Loads a Language read by Id."""

    record_class = SourceLanguage

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    name = optional_text("Name")
    culture = optional_text("Culture")


@dataclass(frozen=True, slots=True)
class TimeZone:
    """A time zone. `name` is the Windows name, such as GMT Standard Time."""

    record_id: int
    updated_at: datetime
    name: str


class TimeZoneSchema(SourceSchema):
    """Loads a SimpleTimeZone, read by Id or as a row of a list."""

    record_class = TimeZone

    record_id = RecordId(data_key="Id", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    name = Text(data_key="Name", required=True)


@dataclass(frozen=True, slots=True)
class Business:
    """A location. `culture` is the language of its website, such as en-GB."""

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
    """Loads a Business read by Id."""

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


@dataclass(frozen=True, slots=True)
class Message:
    """A message between the source and a coworker (contract, section 9a, N3), without its text.

    `incoming`: the coworker sent it. `reminder_id` names the source's own reminder that led to it.
    """

    record_id: int
    created_at: datetime
    updated_at: datetime
    coworker_id: int
    incoming: bool = False
    reminder_id: str | None = None

    @property
    def is_reminder(self) -> bool:
        """Whether a reminder of the source led to it. .NET writes zeros for an id never set."""
        return bool((self.reminder_id or "").strip("{0-}"))


class MessageSchema(SourceSchema):
    """Loads a CoworkerMessage, read by Id or as a row of a list."""

    record_class = Message

    record_id = RecordId(data_key="Id", required=True)
    created_at = SourceTime(data_key="CreatedOn", required=True)
    updated_at = SourceTime(data_key="UpdatedOn", required=True)
    coworker_id = RecordId(data_key="CoworkerId", required=True)
    incoming = Flag(data_key="Incoming", load_default=False)
    reminder_id = optional_text("ReminderUniqueId")
