"""Settings that are no addresses: numbers, words, secrets, zones, limits.

Each parser takes the text and raises `ValidationError` with what was expected, never with the text.
"""

import re
from base64 import b32decode
from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from marshmallow import ValidationError

from schemas.states import Mode
from schemas.text import one_of

_SHORTEST_KEY = 16  # characters, which are 80 bits; authenticator apps know none that are shorter
_AUTHENTICATOR_KEY = "expected the key of an authenticator app: 16 or more of A to Z and 2 to 7"
SHORTEST_SECRET = 8  # characters; shorter ones can be guessed
_NUMBER = re.compile(r"[0-9]{1,9}")
_LIMIT = r"[1-9][0-9]{0,8}/(second|minute|hour|day)"
_LIMITS = re.compile(rf"{_LIMIT}(;{_LIMIT})*")


def plain(text: str) -> str:
    """Return the text as it is."""
    return text


def folder(text: str) -> str:
    """Return a folder's path without a trailing slash; a `?` would end it in a database address."""
    if "?" in text:
        raise ValidationError("expected a folder without ? in its name")
    return text.rstrip("/") or "/"


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser for a whole number between these, both included."""

    def parse(text: str) -> int:
        if not _NUMBER.fullmatch(text) or not lowest <= int(text) <= highest:
            raise ValidationError(f"expected a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def flag(text: str) -> bool:
    """Return true or false, as written; other words for them are no guess to make."""
    if text.lower() not in {"true", "false"}:
        raise ValidationError("expected true or false")
    return text.lower() == "true"


def secret(text: str) -> str:
    """Return one secret that is not too short to be one."""
    if len(text) < SHORTEST_SECRET:
        raise ValidationError(f"expected at least {SHORTEST_SECRET} characters")
    return text


def authenticator_key(text: str) -> str:
    """Return the key of an authenticator app in base32, without the spaces it is shown with."""
    key = "".join(text.split()).upper().rstrip("=")
    try:
        # What is shown leaves out the padding that base32 asks for.
        b32decode(key + "=" * (-len(key) % 8))
    except ValueError:
        raise ValidationError(_AUTHENTICATOR_KEY) from None
    if len(key) < _SHORTEST_KEY:
        raise ValidationError(_AUTHENTICATOR_KEY)
    return key


def hook_secrets(text: str) -> tuple[str, ...]:
    """Split secrets at commas. The source folds its own to ASCII, so another could never match."""
    secrets = _listed(text)
    if not all(one.isascii() for one in secrets):
        raise ValidationError("expected ASCII characters only: Nexudus loses all others")
    return secrets


def relay_tokens(text: str) -> tuple[str, ...]:
    """Split tokens at commas. They travel in a header, where only visible ASCII is safe."""
    tokens = _listed(text)
    if not all(one.isascii() and " " not in one for one in tokens):
        raise ValidationError("expected ASCII characters without spaces: tokens travel in a header")
    return tokens


def mode(text: str) -> Mode:
    """Return how a new ledger begins: observing or sending."""
    try:
        return Mode(text)
    except ValueError:
        raise ValidationError(f"expected {one_of(Mode)}") from None


def zone(text: str) -> str:
    """Return the name of a time zone that this machine knows."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A name that leads to a folder or out of the zone data is a ValueError or an OSError.
        raise ValidationError("expected an IANA time zone, such as Europe/London") from None
    return text


def limits(text: str) -> str:
    """Return the requests per unit of time, separated by semicolons."""
    if not _LIMITS.fullmatch(text):
        raise ValidationError("expected limits such as 10/second;120/minute;5000/hour;200000/day")
    return text


def _listed(text: str) -> tuple[str, ...]:
    parts = [part.strip() for part in text.split(",")]
    return tuple(dict.fromkeys(secret(part) for part in parts if part))
