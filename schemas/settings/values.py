"""Parses the settings that are single values: numbers, words, secrets, limits, colours.

Each parser takes the text and raises `ValidationError` with what was expected, without the text.
"""

import ipaddress
import re
from base64 import b32decode
from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import ValidationError

from schemas.actions import Mode
from schemas.settings.addresses import Network
from schemas.text import is_one_line, one_of

_SHORTEST_KEY = 16  # characters, which are 80 bits: the shortest key of authenticator apps
_AUTHENTICATOR_KEY = "expected the key of an authenticator app: 16 or more of A to Z and 2 to 7"
MIN_SECRET_LENGTH = 8  # characters; shorter ones can be guessed
_NUMBER = re.compile(r"[0-9]{1,9}")
_LIMIT = r"[1-9][0-9]{0,8}/(second|minute|hour|day)"
_LIMITS = re.compile(rf"{_LIMIT}(;{_LIMIT})*")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_MAX_POSTAL_ADDRESS = 300  # characters
# Those that Nexudus has notices in (contract, section 9a, N5).
# Each but English has a catalogue in `workers/locales`.
LANGUAGES = ("en", "es", "pt", "fr", "de", "it", "he", "ar", "ja", "nl", "no", "pl", "sv")


def plain(text: str) -> str:
    """Return the text as it is."""
    return text


def path_of_endpoints(text: str) -> str:
    """Return the path of a file. Refuses its content, which `_FILE` in the name leads to."""
    if not is_one_line(text) or "://" in text:
        raise ValidationError(
            "expected the path of the file of endpoints, not its content; set COURSEBELL_ENDPOINTS"
            " to the path, without _FILE"
        )
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
