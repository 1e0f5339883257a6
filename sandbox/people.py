"""A coworker's record and that of their account (contract, section 2.6), and who there is. Pure.

The real record has some 200 fields, among them door codes, bank details and other systems' keys. A
few of these are here, recognisable by `MARKED_SECRET`, so that a test can look for them where
nothing of the kind may ever be kept.
"""

from dataclasses import dataclass
from datetime import datetime

from sandbox.places import LANGUAGES, ZONES, zone_id
from sandbox.shapes import common
from sandbox.wire import Record
from schemas.entity import Entity
from schemas.vocabulary import CoworkerKind

MARKED_SECRET = "not-for-keeping"  # noqa: S105 - a marker to search for, no secret
_USER_IDS_BEGIN = 500_000  # above the coworker's own Id


@dataclass(frozen=True, slots=True)
class Person:
    """What tells one coworker from another; the rest of the record is the same for all.

    `language` is the culture chosen in the portal, None when nothing was chosen there.
    """

    name: str
    email: str
    kind: CoworkerKind = CoworkerKind.INDIVIDUAL
    company: str | None = None
    teams: str | None = None
    first_name: str | None = None
    salutation: str | None = None  # a title for some, a first name for others
    active: bool = True
    archived: bool = False
    has_account: bool = True
    zone: str = ZONES[2023]
    language: str | None = None


PEOPLE = (
    Person("Joël Núñez", "joel.nunez@example.org", first_name="Joël", salutation="Mr"),
    Person(
        "Zoë 🎓 Brandt",
        "zoe.brandt@example.org",
        teams="Studio 3",
        first_name="Zoë",
        language="en-GB",
    ),
    Person(
        "ليلى حداد",
        "layla.haddad@example.org",
        first_name="ليلى",
        salutation="Dr",
        zone="Arabian Standard Time",
        language="ar",
    ),
    Person(
        "נועה לוי",
        "noa.levi@example.org",
        first_name="נועה",
        zone="Israel Standard Time",
        language="he",
    ),
    Person(
        "Mara Kontor",
        "office@kontor.example.org",
        kind=CoworkerKind.COMPANY,
        company="Kontor & Söhne GmbH",
        teams="Kontor & Söhne GmbH",
        first_name="Mara",
        language="de-DE",
    ),
    # Two spaces, no guessed name; the salutation holds what other tenants write there.
    Person("Siobhán  O'Neill", "siobhan+courses@example.org", salutation="Siobhán"),
    Person("Tomasz Zieliński", "", first_name="Tomasz", has_account=False),  # no address at all
    Person("Ada Okafor", "ada.okafor@example.org", first_name="Ada", active=False),
    Person("Priya Raman", "priya.raman@example.org", first_name="Priya", archived=True),
    Person("Jonas Weber", "jonas.weber@example.org", first_name="Jonas", has_account=False),
)


def coworker(record_id: int, moment: datetime, person: Person, place: Record) -> Record:
    """Return the record of one coworker at home in a location, the Business `place`."""
    return {
        "CoworkerType": person.kind.value,
        "FullName": person.name,
        "GuessedFirstName": person.first_name,
        "GuessedLastName": None,
        "Salutation": person.salutation,
        "NickName": None,
        "Email": person.email,
        "Active": person.active,
        "Archived": person.archived,
        "Gender": 1,
        "SimpleTimeZoneId": zone_id(person.zone),
        "CompanyName": person.company,
        "TeamNames": person.teams,
        "Teams": [],
        "Businesses": [place["Id"]],
        "BusinessNames": place["Name"],
        "InvoicingBusinessId": place["Id"],
        "InvoicingBusinessName": place["Name"],
        "RegistrationDate": moment,
        "RenewalDate": None,
        "SignUpToNewsletter": False,
        "CanAccessCommunity": True,
        **_portal_account(record_id, person),
        **_not_our_business(person),
        **common(Entity.COWORKER, record_id, moment, person.name),
    }


def user(coworker_id: int, moment: datetime, person: Person, place: Record) -> Record | None:
    """Return the record of a coworker's portal account, if they have one."""
    if not person.has_account:
        return None
    language_id, _, number = LANGUAGES[person.language] if person.language else (None, "", 1)
    record_id = coworker_id + _USER_IDS_BEGIN
    return {
        "FullName": person.name,
        "Email": person.email,
        "Active": person.active,
        "IsAdmin": False,
        "APIAccess": False,
        "Language": number,
        "PreferredLanguageId": language_id,
        "DefaultBusinessId": place["Id"],
        "Businesses": [place["Id"]],
        "InvalidLoginAttempts": 0,
        "LastAccess": None,
        "AccessToken": f"{MARKED_SECRET}-user-token",
        **common(Entity.USER, record_id, moment, person.name),
    }


def _portal_account(record_id: int, person: Person) -> Record:
    has_account = person.has_account
    return {
        "UserId": record_id + _USER_IDS_BEGIN if has_account else None,
        "UserFullName": person.name if has_account else None,
        "UserActive": person.active if has_account else None,
        "UserLastAccess": None,
        "UserIsAdmin": False,
        "UserReceiveCommunityDigest": True,
        "UserReceiveEveryMessage": False,
    }


def _not_our_business(person: Person) -> Record:
    return {
        "BillingName": person.company or person.name,
        "BillingEmail": "billing@example.org",
        "Address": f"{MARKED_SECRET} street 1",
        "MobilePhone": f"{MARKED_SECRET} 030 555 0100",
        "DateOfBirth": None,
        "AccessPincode": f"{MARKED_SECRET}-4711",
        "AccessCardId": f"{MARKED_SECRET}-card",
        "BankAccount": f"{MARKED_SECRET}-iban",
        "GoogleApiToken": f"{MARKED_SECRET}-token",
        "DoordeckPrivateKey": f"{MARKED_SECRET}-key",
        "Notes": f"{MARKED_SECRET} remark of the staff",
        "Custom1": None,
        "Custom2": None,
        "Custom3": f"{MARKED_SECRET} answer",
    }
