"""The table of all settings: name, parser, default and description of each.

The loader, the tests, the example environment, the docs and `config show` all use `SETTINGS`.
Parsers take the text and raise `ValidationError` with what was expected, without the text.
"""

import ipaddress
import re
from base64 import b32decode
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import ValidationError

from schemas.actions import Mode
from schemas.settings import addresses, mail
from schemas.settings.addresses import Listen, Network
from schemas.settings.mail import MailAddress, SendingRate, SmtpServer
from schemas.text import one_of

Parsed = TypeVar("Parsed")

PREFIX = "COURSEBELL_"  # all settings begin with it; any other name that does is refused
_SHORTEST_KEY = 16  # characters, which are 80 bits: the shortest key of authenticator apps
_AUTHENTICATOR_KEY = "expected the key of an authenticator app: 16 or more of A to Z and 2 to 7"
MIN_SECRET_LENGTH = 8  # characters; shorter ones can be guessed
_NUMBER = re.compile(r"[0-9]{1,9}")
_LIMIT = r"[1-9][0-9]{0,8}/(second|minute|hour|day)"
_LIMITS = re.compile(rf"{_LIMIT}(;{_LIMIT})*")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_MAX_POSTAL_ADDRESS = 300  # characters
_A_DAY_S = 86_400
_AN_HOUR_S = 3_600
_MOST_WORKERS = 64
# Those that Nexudus has notices in (contract, section 9a, N5).
LANGUAGES = ("en", "es", "pt", "fr", "de", "it", "he", "ar", "ja", "nl", "no", "pl", "sv")


def plain(text: str) -> str:
    """Return the text as it is."""
    return text


def folder(text: str) -> str:
    """Return a folder's path without a trailing slash. Refuses `?`, which would end it in a URL."""
    if "?" in text:
        raise ValidationError("expected a folder without ? in its name")
    return text.rstrip("/") or "/"


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser for a whole number in this range, inclusive."""

    def parse(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
            raise ValidationError(f"expected a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def flag(text: str) -> bool:
    """Return true or false. Refuses other words."""
    if text.lower() not in {"true", "false"}:
        raise ValidationError("expected true or false")
    return text.lower() == "true"


def secret(text: str) -> str:
    """Return a secret. Refuses one that is too short."""
    if len(text) < MIN_SECRET_LENGTH:
        raise ValidationError(f"expected at least {MIN_SECRET_LENGTH} characters")
    return text


def authenticator_key(text: str) -> str:
    """Return the key of an authenticator app in base32, without spaces."""
    key = "".join(text.split()).upper().rstrip("=")
    try:
        # Apps show the key without the padding that base32 requires.
        b32decode(key + "=" * (-len(key) % 8))
    except ValueError:
        raise ValidationError(_AUTHENTICATOR_KEY) from None
    if len(key) < _SHORTEST_KEY:
        raise ValidationError(_AUTHENTICATOR_KEY)
    return key


def hook_secrets(text: str) -> tuple[str, ...]:
    """Split secrets at commas. Refuses non-ASCII ones, since the source folds its own to ASCII."""
    secrets = _listed(text)
    if not all(one.isascii() for one in secrets):
        raise ValidationError("expected ASCII characters only: Nexudus loses all others")
    return secrets


def relay_tokens(text: str) -> tuple[str, ...]:
    """Split tokens at commas. They are sent in a header, where only visible ASCII is safe."""
    tokens = _listed(text)
    if not all(one.isascii() and " " not in one for one in tokens):
        raise ValidationError(
            "expected ASCII characters without spaces: tokens are sent in a header"
        )
    return tokens


def mode(text: str) -> Mode:
    """Return the mode of a new ledger: observe or sending."""
    try:
        return Mode(text)
    except ValueError:
        raise ValidationError(f"expected {one_of(Mode)}") from None


def zone(text: str) -> str:
    """Return the name of a time zone that this machine knows."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A name that is a folder's or points outside the zone data raises ValueError or OSError.
        raise ValidationError("expected an IANA time zone, such as Europe/London") from None
    return text


def language(text: str) -> str:
    """Return the code of a language that emails are written in."""
    if text.lower() not in LANGUAGES:
        raise ValidationError(f"expected {one_of(LANGUAGES)}")
    return text.lower()


def networks(text: str) -> tuple[Network, ...]:
    """Return networks such as `10.0.0.0/8`, separated by commas."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValidationError(
            "expected networks such as 10.20.0.0/16 or addresses, separated by commas"
        ) from None


def limits(text: str) -> str:
    """Return the requests per unit of time, separated by semicolons."""
    if not _LIMITS.fullmatch(text):
        raise ValidationError("expected limits such as 10/second;120/minute;5000/hour;200000/day")
    return text


def colour(text: str) -> str:
    """Return a colour such as #0E6655, in upper case."""
    if not _COLOUR.fullmatch(text):
        raise ValidationError("expected a colour such as #0E6655")
    return text.upper()


def postal_address(text: str) -> str:
    """Return a postal address on one line."""
    if len(text) > _MAX_POSTAL_ADDRESS:
        raise ValidationError(f"expected at most {_MAX_POSTAL_ADDRESS} characters")
    return text


def _listed(text: str) -> tuple[str, ...]:
    parts = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(secret(part) for part in parts if part))


@dataclass(frozen=True, slots=True)
class SettingDoc:
    """One setting. `default` is the value when unset, as written in the environment, or None.

    `attribute` is its name in `Settings`; `unset` is its value there if it has neither value nor
    default.
    """

    name: str
    default: str | None
    secret: bool
    sentence: str
    attribute: str
    parse: Callable[[str], Any]
    unset: object


def setting(  # noqa: PLR0913 - all there is to say of a setting
    parse: Callable[[str], Parsed],
    sentence: str,
    *,
    default: str | None = None,
    name: str | None = None,
    secret: bool = False,
    private: bool = False,
    unset: object = None,
) -> Parsed:
    """Declare a setting. `private` and `secret` values are left out of `repr`."""
    stated = {"parse": parse, "sentence": sentence, "default": default, "secret": secret}
    named: dict[str, object] = {"name": name} if name else {}
    declared: Parsed = field(
        repr=not (secret or private), metadata={**stated, **named, "unset": unset}
    )
    return declared


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, typed. None is unset; each setting's sentence says what that means."""

    data_dir: str = setting(
        folder, "The folder for the files that Coursebell keeps on this machine.", default="./var"
    )
    database_url: str = setting(
        addresses.database_url,
        "The ledger's address, as sqlite:///file or postgresql://user:password@host/name; if"
        " unset, the SQLite file coursebell.db in the data folder.",
        private=True,
    )
    broker_url: str | None = setting(
        addresses.broker_url,
        "The broker that wakes workers, as redis://, rediss:// or redis+socket://; if unset,"
        " `coursebell up` starts its own.",
        private=True,
    )
    nexudus_url: str = setting(
        addresses.nexudus_url,
        "The address of the Nexudus REST API.",
        default="https://spaces.nexudus.com",
    )
    nexudus_username: str | None = setting(
        plain,
        "The email address of the Nexudus user that Coursebell signs in as; it needs API access.",
        private=True,
    )
    nexudus_password: str | None = setting(plain, "The password of that Nexudus user.", secret=True)
    nexudus_totp: str | None = setting(
        authenticator_key,
        "The key of that user's authenticator app, if it has a second factor; if unset,"
        " `coursebell login` asks for a code.",
        secret=True,
    )
    nexudus_client_id: str | None = setting(
        plain,
        "The name that this installation signs in with; if unset, it is generated once and kept"
        " in the ledger.",
    )
    hook_secrets: tuple[str, ...] = setting(
        hook_secrets,
        "The shared secrets of Nexudus webhooks, newest first, separated by commas; if unset, the"
        " webhook routes answer 401.",
        unset=(),
        secret=True,
    )
    relay_tokens: tuple[str, ...] = setting(
        relay_tokens,
        "The bearer tokens a relay may use, newest first, separated by commas; if unset, the"
        " relay route answers 401.",
        unset=(),
        secret=True,
    )
    smtp: SmtpServer | None = setting(
        mail.smtp_server,
        "The mail server, as smtp://user:password@host:587?tls=starttls (tls: none, starttls or"
        " implicit); if unset, no email can be sent.",
        name="COURSEBELL_SMTP_URL",
    )
    mail_from: MailAddress | None = setting(
        mail.mail_address, "The sender of emails, as Harbour Works <courses@example.org>."
    )
    mail_reply_to: MailAddress | None = setting(
        mail.reply_address, "Where replies to emails go, if not to the sender."
    )
    mail_rate: SendingRate | None = setting(
        mail.mail_rate,
        "How many emails may go at a time, such as 30/1m or 500/1h, for all workers together; more"
        " wait their turn. none: no limit.",
        default="none",
    )
    mail_signs_as_host: bool = setting(
        flag,
        "Whether emails are signed by the host of the course as well, true or false; ask the hosts"
        " first.",
        default="false",
    )
    mail_reads_replies: bool = setting(
        flag,
        "Whether emails invite the member to reply, true or false; only if a person reads replies.",
        default="false",
    )
    space_name: str | None = setting(
        plain, "The name of the space in emails, if not the one that Nexudus has."
    )
    space_logo: str | None = setting(
        addresses.web_address,
        "The address of the space's logo, shown 40 pixels high at the top of emails; best with a"
        " transparent background.",
    )
    space_colour: str = setting(
        colour,
        "The colour of buttons in emails, as #RRGGBB; one on which white text cannot be read is"
        " made darker.",
        default="#0E6655",
    )
    space_address: str | None = setting(
        postal_address, "The postal address at the end of emails, on one line."
    )
    wording: str | None = setting(
        plain, "The path of the wording file, with the space's own words in emails."
    )
    rules: str | None = setting(
        plain, "The path of the rules file; if unset, the one shipped with Coursebell."
    )
    endpoints: str | None = setting(
        plain,
        "The path of the file of endpoints that rules may post to; it holds secrets, so only"
        " Coursebell should be able to read it.",
    )
    endpoint_networks: tuple[Network, ...] = setting(
        networks,
        "Private networks and addresses that endpoints may be in, separated by commas; if unset,"
        " only public addresses are posted to.",
        unset=(),
    )
    public_url: str = setting(
        addresses.web_address,
        "The address at which Nexudus, members and operators reach this service; `coursebell"
        " doctor` finds our webhooks by it.",
        default="http://127.0.0.1:8000",
    )
    listen: Listen = setting(
        addresses.listen,
        "The host and port the web process listens on, such as 127.0.0.1:8000, [::1]:8000 or"
        " localhost:8000; 0.0.0.0:8000 is every network interface.",
        default="127.0.0.1:8000",
    )
    mode: Mode = setting(
        mode,
        "The mode of a new ledger, observe or sending; afterwards `coursebell mode` decides.",
        default="observe",
    )
    check_every_s: int = setting(
        whole_number(0, _A_DAY_S),
        "Seconds between polls of Nexudus; 0 turns polling off.",
        default="300",
    )
    hooks_reenable: bool = setting(
        flag,
        "Whether to switch a webhook that calls us on again after Nexudus switched it off, true"
        " or false; either way the alarm is raised and what was missed is requested.",
        default="false",
    )
    lesson_url: str | None = setting(
        addresses.portal_pattern("course_id", "lesson_id", "lesson_unique_id"),
        "The address of a lesson in the members' portal, with {course_id}, {lesson_id} or"
        " {lesson_unique_id} where they belong.",
    )
    course_url: str | None = setting(
        addresses.portal_pattern("course_id"),
        "The address of a course in the members' portal, with {course_id} where it belongs.",
    )
    secret_key: str | None = setting(
        secret,
        "The key that signs links and sign-ins; if unset, it is generated once in the data folder.",
        secret=True,
    )
    nexudus_limits: str = setting(
        limits,
        "How many requests all workers together may make to Nexudus.",
        default="10/second;120/minute;5000/hour;200000/day",
    )
    zone: str = setting(
        zone,
        "The time zone for quiet hours where a member's own is not known, such as Europe/London.",
        default="UTC",
    )
    language: str = setting(
        language,
        "The language of emails if neither the member's own nor that of the course's location is"
        " one of these: en, es, pt, fr, de, it, he, ar, ja, nl, no, pl, sv.",
        default="en",
    )
    lease_s: int = setting(
        whole_number(1, _AN_HOUR_S),
        "Seconds a worker may hold a piece of work before another takes it over; the same on"
        " every machine.",
        default="60",
    )
    workers: int = setting(
        whole_number(1, _MOST_WORKERS),
        "How many worker children run on this machine, plus one for polling and other upkeep.",
        default="2",
    )


def _doc(name: str, declared: dict[str, Any]) -> SettingDoc:
    return SettingDoc(**{"name": PREFIX + name.upper(), "attribute": name, **declared})


SETTINGS = tuple(_doc(one.name, dict(one.metadata)) for one in fields(Settings))
