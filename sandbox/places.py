"""The locations, languages and time zones of the sandbox, and their records. Pure.

Contract, sections 2.6 and 2.7. A time zone is a Windows name behind a number, as at the source.
"""

from dataclasses import dataclass
from datetime import datetime

from sandbox.shapes import common
from sandbox.wire import Record
from schemas.entity import Entity

# Some of Windows' names, in the order of their Ids here; the real Ids are not published.
ZONES = {
    2023: "W. Europe Standard Time",
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
# Culture -> Id, name, and the number that a User has for it in `Language`.
LANGUAGES = {
    "en-GB": (3001, "English (United Kingdom)", 1),
    "de-DE": (3002, "Deutsch", 6),
    "ar": (3003, "العربية", 14),
    "he": (3004, "עברית", 15),
}


@dataclass(frozen=True, slots=True)
class Place:
    """What tells one location from another. `language` is a culture, `zone` a Windows name."""

    id: int
    name: str
    zone: str = ZONES[2023]
    language: str = "en-GB"
    web_address: str = "werkhof"
    address: str | None = "Hofgasse 4"
    town: str | None = "Berlin"
    postal_code: str | None = "10999"
    currency: str = "EUR"
    root_id: int | None = None


WERKHOF = Place(1_416_000_001, "Werkhof Coworking")
MARSA = Place(
    1_416_000_003,
    "المرسى Coworking",
    zone="Arabian Standard Time",
    language="ar",
    web_address="marsa",
    address="Dock 7",
    town="Dubai",
    postal_code=None,
    currency="AED",
    root_id=WERKHOF.id,
)
PLACES = (WERKHOF, MARSA)


def zone_id(zone: str) -> int:
    """Return the Id of a Windows time zone; `KeyError` for one that is not here."""
    return {name: number for number, name in ZONES.items()}[zone]


def business(moment: datetime, place: Place) -> Record:
    """Return a location's record."""
    language_id, _, number = LANGUAGES[place.language]
    return {
        "Name": place.name,
        "WebAddress": place.web_address,
        "DefaultLanguage": number,
        "SpaceWebsiteLanguageId": language_id,
        "SpaceWebsiteLanguageCulture": place.language,
        "RootLocationId": place.root_id,
        "SimpleTimeZoneId": zone_id(place.zone),
        "CountryId": 1056,
        "CountryName": None,
        "CurrencyCode": place.currency,
        "EmailContact": f"desk@{place.web_address}.example.org",
        "Phone": None,
        "Address": place.address,
        "TownCity": place.town,
        "PostalCode": place.postal_code,
        "WebContact": None,
        "Suspended": False,
        **common(Entity.BUSINESS, place.id, moment, place.name),
    }


def languages(moment: datetime) -> list[Record]:
    """Return the records of all languages."""
    return [
        {"Name": name, "Culture": culture, **common(Entity.LANGUAGE, record_id, moment, name)}
        for culture, (record_id, name, _) in LANGUAGES.items()
    ]


def time_zones(moment: datetime) -> list[Record]:
    """Return the records of all time zones."""
    return [
        {"Name": name, "Utc": None, **common(Entity.TIME_ZONE, record_id, moment, name)}
        for record_id, name in ZONES.items()
    ]
