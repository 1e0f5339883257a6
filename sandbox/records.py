"""Whole records of every kind, with all fields the contract names (its section 2). Pure.

What tells one record from another comes in as an entry of a seed file (see `world`); the rest is
the same for all. A coworker's real record has some 200 fields, among them door codes, bank details
and other systems' keys. A few of these are here, and so are the subject and body of a message, all
marked with `MARKED_SECRET`, so that a test can search for them wherever they must not be kept.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.entity import CompletionType, CoworkerKind, Entity, UnlockType, Visibility

Record = dict[str, Any]  # field name -> value, as at the source; times are aware datetimes
Entry = Mapping[str, Any]

EDITOR = "desk@example.org"
MARKED_SECRET = "not-for-keeping"  # noqa: S105 - a marker to search for, no secret
_SECRET_FIELDS = (
    *("Address", "MobilePhone", "AccessPincode", "AccessCardId", "BankAccount", "GoogleApiToken"),
    *("DoordeckPrivateKey", "Notes", "Custom3"),
)
FIRST_LOCATION_ID = 1_416_000_001  # of the built-in world; its webhooks belong to it

# Windows time zones by Id (contract, section 2.6). The real Ids are not published.
DEFAULT_ZONE = "W. Europe Standard Time"
ZONES = {
    2023: DEFAULT_ZONE,
    2001: "GMT Standard Time",
    2002: "UTC",
    2003: "Israel Standard Time",
    2004: "Egypt Standard Time",
    2005: "Arabian Standard Time",
    2006: "Eastern Standard Time",
    2007: "Pacific Standard Time",
    2008: "India Standard Time",
    2009: "Tokyo Standard Time",
    2010: "Romance Standard Time",
    2011: "Central European Standard Time",
    2012: "AUS Eastern Standard Time",
}
_ZONE_IDS = {name: zone_id for zone_id, name in ZONES.items()}
# Culture -> Id, name, and the number a User has for it in `Language`.
LANGUAGES = {
    "en-GB": (3001, "English (United Kingdom)", 1),
    "de-DE": (3002, "Deutsch", 6),
    "ar": (3003, "العربية", 14),
    "he": (3004, "עברית", 15),
    "es-ES": (3005, "Español", 2),
    "pt-BR": (3006, "Português (Brasil)", 3),
    "fr-FR": (3007, "Français", 4),
    "it-IT": (3008, "Italiano", 7),
    "ja-JP": (3009, "日本語", 16),
    "nl-NL": (3010, "Nederlands", 8),
    "nb-NO": (3011, "Norsk", 9),
    "pl-PL": (3012, "Polski", 10),
    "sv-SE": (3013, "Svenska", 11),
}
_HOST = {"Id": 1_416_010_099, "FullName": "Noor de Vries"}  # of the built-in world
# Ours have no action, because Nexudus has none for courses; the third is of another receiver.
HOOK_IDS = {Entity.COURSE_MEMBER: 1_416_050_000, Entity.COMPLETED_LESSON: 1_416_050_001}
_FOREIGN_HOOK_ID = 1_416_050_002
NO_ACTION = 1
_HELP_DESK_MESSAGE_CREATED = 45
_USER_IDS_BEGIN = 500_000  # above the coworker's own Id


def common(entity: Entity, record_id: int, at: datetime, text: str) -> Record:
    """Return the fields that every record has (contract, section 2.0)."""
    return {
        "Id": record_id,
        "UniqueId": _guid(f"{entity}/{record_id}"),
        "CreatedOn": at,
        "UpdatedOn": at,
        "UpdatedBy": EDITOR,
        "IsNew": False,
        "ToStringText": text,
        **_empty("SystemId LocalizationDetails CustomFields"),
    }


def business(entry: Entry, at: datetime) -> Record:
    """Return a location (contract, section 2.7)."""
    language_id, _, number = LANGUAGES[entry["language"]]
    return {
        "Name": entry["name"],
        "WebAddress": entry["web_address"],
        "DefaultLanguage": number,
        "SpaceWebsiteLanguageId": language_id,
        "SpaceWebsiteLanguageCulture": entry["language"],
        "RootLocationId": entry["parent"],
        "SimpleTimeZoneId": _ZONE_IDS[entry["time_zone"]],
        "CountryId": 1056,
        "CurrencyCode": entry["currency"],
        "EmailContact": f"desk@{entry['web_address']}.example.org",
        "Address": entry["address"],
        "TownCity": entry["town"],
        "PostalCode": entry["postal_code"],
        "Suspended": False,
        **_empty("CountryName Phone WebContact"),
        **common(Entity.BUSINESS, entry["id"], at, entry["name"]),
    }


def languages(at: datetime) -> list[Record]:
    """Return all languages."""
    return [
        {"Name": name, "Culture": culture, **common(Entity.LANGUAGE, record_id, at, name)}
        for culture, (record_id, name, _) in LANGUAGES.items()
    ]


def time_zones(at: datetime) -> list[Record]:
    """Return all time zones."""
    return [
        {"Name": name, "Utc": None, **common(Entity.TIME_ZONE, record_id, at, name)}
        for record_id, name in ZONES.items()
    ]


def coworker(entry: Entry, at: datetime, place: Record) -> Record:
    """Return a coworker (contract, section 2.6) whose home location is the Business `place`."""
    has_account = entry["account"]
    return {
        "CoworkerType": CoworkerKind[entry["kind"].upper()].value,
        "FullName": entry["name"],
        "GuessedFirstName": entry["first_name"],
        "Salutation": entry["salutation"],
        "Email": entry["email"],
        "Active": entry["active"],
        "Archived": entry["archived"],
        "Gender": 1,
        "SimpleTimeZoneId": _ZONE_IDS[entry["time_zone"]],
        "CompanyName": entry["company"],
        "TeamNames": entry["teams"],
        "Teams": [],
        "Businesses": [place["Id"]],
        "BusinessNames": place["Name"],
        "InvoicingBusinessId": place["Id"],
        "InvoicingBusinessName": place["Name"],
        "RegistrationDate": at,
        "SignUpToNewsletter": False,
        "CanAccessCommunity": True,
        "UserId": entry["id"] + _USER_IDS_BEGIN if has_account else None,
        "UserFullName": entry["name"] if has_account else None,
        "UserActive": entry["active"] if has_account else None,
        "UserIsAdmin": False,
        "UserReceiveCommunityDigest": True,
        "UserReceiveEveryMessage": False,
        "BillingName": entry["company"] or entry["name"],
        "BillingEmail": "billing@example.org",
        **{name: f"{MARKED_SECRET} {name}" for name in _SECRET_FIELDS},
        **_empty("GuessedLastName NickName RenewalDate UserLastAccess DateOfBirth Custom1 Custom2"),
        **common(Entity.COWORKER, entry["id"], at, entry["name"]),
    }


def user(entry: Entry, at: datetime, place: Record) -> Record | None:
    """Return a coworker's portal account; None without one."""
    if not entry["account"]:
        return None
    culture = entry["language"]
    language_id, _, number = LANGUAGES[culture] if culture else (None, "", 1)
    return {
        "FullName": entry["name"],
        "Email": entry["email"],
        "Active": entry["active"],
        "IsAdmin": False,
        "APIAccess": False,
        "Language": number,
        "PreferredLanguageId": language_id,
        "DefaultBusinessId": place["Id"],
        "Businesses": [place["Id"]],
        "InvalidLoginAttempts": 0,
        "LastAccess": None,
        "AccessToken": f"{MARKED_SECRET}-user-token",
        **common(Entity.USER, entry["id"] + _USER_IDS_BEGIN, at, entry["name"]),
    }


def course(entry: Entry, at: datetime, place: Record, order: int) -> Record:
    """Return a course of the location `place` (contract, section 2.5)."""
    return {
        "BusinessId": place["Id"],
        "BusinessName": place["Name"],
        "BusinessAddress": place["Address"],
        "BusinessTownCity": place["TownCity"],
        "BusinessPostalCode": place["PostalCode"],
        "HostId": _HOST["Id"],
        "HostFullName": _HOST["FullName"],
        "Title": entry["title"],
        "FullDescription": "<p>Everything about this course.</p>",
        "OverviewText": "<p>What you will learn.</p>",
        "ShowOverview": True,
        "HasCommunityGroup": False,
        "Active": True,
        "ShowInHomePage": True,
        "GroupName": entry["group"],
        "DisplayOrder": order,
        "Visibility": int(Visibility.PUBLIC),
        **_empty("HostCompanyName HostTeamNames SummaryText ImageFileName NewImageUrl"),
        **_empty("LargeImageFileName NewLargeImageUrl ClearImageFile ClearLargeImageFile"),
        **_empty("TariffId TariffName TariffInvoiceEvery TariffInvoiceEveryWeeks TariffPrice"),
        **_empty("TariffCurrencyCode"),
        **common(Entity.COURSE, entry["id"], at, entry["title"]),
    }


def section(entry: Entry, at: datetime, course: Record, order: int) -> Record:
    """Return a section of a course (contract, section 2.4)."""
    return {
        "SectionContents": "<p>What this section is about.</p>",
        **_part_of(course, entry, order),
        **common(Entity.SECTION, entry["id"], at, entry["title"]),
    }


def lesson(
    entry: Entry, at: datetime, course: Record, section: Record | None, order: int
) -> Record:
    """Return a lesson of a course (contract, section 2.3)."""
    return {
        "SectionId": section["Id"] if section else None,
        "SectionDisplayOrder": section["DisplayOrder"] if section else None,
        "SectionTitle": section["Title"] if section else None,
        "InstructorId": _HOST["Id"],
        "InstructorFullName": _HOST["FullName"],
        "LessonContents": "<p>" + "The long text of this lesson. " * 40 + "</p>",
        "CompletionType": int(CompletionType[entry["completion"].upper()]),
        **_empty("InstructorCompanyName InstructorTeamNames SummaryText"),
        **_part_of(course, entry, order),
        **common(Entity.LESSON, entry["id"], at, entry["title"]),
    }


def course_member(
    record_id: int,
    at: datetime,
    course: Record,
    coworker: Record,
    *,
    approved: bool,
) -> Record:
    """Return a new enrolment (contract, section 2.1)."""
    kind = CoworkerKind(coworker["CoworkerType"])
    return {
        "CourseId": course["Id"],
        "CourseTitle": course["Title"],
        "CoworkerId": coworker["Id"],
        "CoworkerCoworkerType": kind.name.capitalize(),  # a word here, a number on the coworker
        "CoworkerFullName": coworker["FullName"],
        "CoworkerCompanyName": coworker["CompanyName"],
        "CoworkerTeamNames": coworker["TeamNames"],
        "CoworkerBillingName": coworker["BillingName"],
        "Approved": approved,
        "Blocked": False,
        **_empty("LastCompletedLessonId LastCompletedLessonTitle LastAccess"),
        **common(Entity.COURSE_MEMBER, record_id, at, f"#{record_id}"),
    }


def completed_lesson(record_id: int, at: datetime, lesson: Record, member: Record) -> Record:
    """Return a new completion; it names neither course nor coworker (contract, section 2.2)."""
    return {
        "CourseLessonId": lesson["Id"],
        "CourseLessonTitle": lesson["Title"],
        "CourseMemberId": member["Id"],
        "CourseMemberCoworkerFullName": member["CoworkerFullName"],
        "CourseMemberCoworkerCompanyName": member["CoworkerCompanyName"],
        "CourseMemberCoworkerTeamNames": member["CoworkerTeamNames"],
        **common(Entity.COMPLETED_LESSON, record_id, at, f"#{record_id}"),
    }


def message(
    record_id: int, at: datetime, coworker: Record, *, incoming: bool, reminder: bool
) -> Record:
    """Return a message between the source and a coworker (contract, section 9a, N3)."""
    return {
        "CoworkerId": coworker["Id"],
        "CoworkerFullName": coworker["FullName"],
        "Subject": f"{MARKED_SECRET} subject",
        "Body": f"<p>{MARKED_SECRET} body</p>",
        "IsNewMessage": True,
        "Incoming": incoming,
        "ReminderUniqueId": _guid(f"reminder/{record_id}") if reminder else None,
        **_empty("MessageId EmailAccountId"),
        **common(Entity.MESSAGE, record_id, at, f"#{record_id}"),
    }


def after_lesson(member: Record, lesson: Record, at: datetime) -> Record:
    """Return the enrolment after this lesson was completed."""
    return {
        **member,
        "LastCompletedLessonId": lesson["Id"],
        "LastCompletedLessonTitle": lesson["Title"],
        "LastAccess": at,
        "UpdatedOn": at,
    }


def web_hook(record_id: int, at: datetime, name: str, action: int, url: str) -> Record:
    """Return an active webhook of the first location (contract, section 5.6)."""
    return {
        "BusinessId": FIRST_LOCATION_ID,
        "Name": name,
        "Action": action,
        "URL": url,
        "Active": True,
        "ErrorCount": 0,
        **_empty("Description LastError LastTrigger"),
        **common(Entity.WEB_HOOK, record_id, at, name),
    }


def foreign_hook(at: datetime) -> Record:
    """Return a webhook of another receiver, about something else."""
    url = "https://desk.example.org/hooks?action_name=HelDeskMessageCreated"
    return web_hook(_FOREIGN_HOOK_ID, at, "Help desk", _HELP_DESK_MESSAGE_CREATED, url)


def _part_of(course: Record, entry: Entry, order: int) -> Record:
    return {
        "CourseId": course["Id"],
        "CourseTitle": course["Title"],
        "Title": entry["title"],
        "Active": entry["active"],
        "DisplayOrder": order,
        "UnlockType": int(UnlockType.IMMEDIATE),
        "UnlockAfterDays": 0,
        **_empty("ImageFileName NewImageUrl ClearImageFile"),
    }


def _empty(names: str) -> Record:
    return dict.fromkeys(names.split())


def _guid(name: str) -> str:
    # Always the same for a name; built by hand because a world may have 100,000 of them.
    text = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-a{text[17:20]}-{text[20:32]}"
