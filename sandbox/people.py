"""A coworker's record (contract, section 2.6) and the people of the sandbox. Pure.

The real record has some 200 fields, among them door codes, bank details and other systems' keys. A
few of these are here, recognisable by `MARKED_SECRET`, so that a test can look for them where
nothing of the kind may ever be kept.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sandbox.shapes import BUSINESS_ID, BUSINESS_NAME, EDITOR
from sandbox.wire import Record
from schemas.vocabulary import CoworkerKind

MARKED_SECRET = "not-for-keeping"  # noqa: S105 - a marker to search for, no secret


@dataclass(frozen=True, slots=True)
class Person:
    """What tells one coworker from another; the rest of the record is the same for all."""

    name: str
    email: str
    kind: CoworkerKind = CoworkerKind.INDIVIDUAL
    company: str | None = None
    teams: str | None = None
    first_name: str | None = None
    active: bool = True


PEOPLE = (
    Person("Joël Núñez", "joel.nunez@example.org", first_name="Joël"),
    Person("Zoë 🎓 Brandt", "zoe.brandt@example.org", teams="Studio 3", first_name="Zoë"),
    Person("ليلى حداد", "layla.haddad@example.org", first_name="ليلى"),
    Person("נועה לוי", "noa.levi@example.org", first_name="נועה"),
    Person(
        "Mara Kontor",
        "office@kontor.example.org",
        kind=CoworkerKind.COMPANY,
        company="Kontor & Söhne GmbH",
        teams="Kontor & Söhne GmbH",
        first_name="Mara",
    ),
    Person("Siobhán  O'Neill", "siobhan+courses@example.org"),  # two spaces, no guessed name
    Person("Tomasz Zieliński", "", first_name="Tomasz"),  # no address at all
    Person("Ada Okafor", "ada.okafor@example.org", first_name="Ada", active=False),
)


def coworker(record_id: int, moment: datetime, person: Person) -> Record:
    """Return the record of one coworker."""
    return {
        "CoworkerType": person.kind.value,
        "FullName": person.name,
        "GuessedFirstName": person.first_name,
        "GuessedLastName": None,
        "Salutation": None,
        "NickName": None,
        "Email": person.email,
        "Active": person.active,
        "Archived": False,
        "Gender": 1,
        "SimpleTimeZoneId": 2023,
        "CompanyName": person.company,
        "TeamNames": person.teams,
        "Teams": [],
        "Businesses": [BUSINESS_ID],
        "BusinessNames": BUSINESS_NAME,
        "InvoicingBusinessId": BUSINESS_ID,
        "InvoicingBusinessName": BUSINESS_NAME,
        "RegistrationDate": moment,
        "RenewalDate": None,
        "SignUpToNewsletter": False,
        "CanAccessCommunity": True,
        **_portal_account(record_id, person),
        **_not_our_business(person),
        "Id": record_id,
        "UniqueId": str(uuid.uuid5(uuid.NAMESPACE_OID, f"Coworker/{record_id}")),
        "CreatedOn": moment,
        "UpdatedOn": moment,
        "UpdatedBy": EDITOR,
        "IsNew": False,
        "SystemId": None,
        "ToStringText": person.name,
        "LocalizationDetails": None,
        "CustomFields": None,
    }


def _portal_account(record_id: int, person: Person) -> Record:
    has_account = bool(person.email)
    return {
        "UserId": record_id + 500_000 if has_account else None,
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
