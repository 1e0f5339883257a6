"""The code of a certificate of completion, with which anyone can have it confirmed, and where.

It is derived from the secret key, so it cannot be guessed, and an email that is written or sent
again carries the same one. It has 80 random-looking bits, in Crockford's base 32: 16 characters
that are hard to confuse when read from paper.
"""

import hashlib
import hmac
from dataclasses import dataclass

from schemas.settings import Settings
from workers.actions.email.branding import accent_of

PATH = "/c/"  # of the page that confirms a certificate; its code follows

_SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O and U
_LENGTH = 16  # symbols of 5 bits
_GROUP = 4
# As people may type it: Crockford reads I and L as 1, and O as 0.
_TYPED = str.maketrans("ILO", "110", " -")


@dataclass(frozen=True, slots=True)
class CertificateLook:
    """What the certificates of an installation share.

    `public_url` is where they are confirmed, `colour` can be read on white, and `space` is the name
    of the space, or None if that of Nexudus is used.
    """

    public_url: str
    colour: str
    space: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "CertificateLook":
        """Return what the settings say."""
        colour = accent_of(settings.space_colour).light
        return cls(settings.public_url, colour, settings.space_name)

    def address_of(self, code: str) -> str:
        """Return the address of the page that confirms a certificate."""
        return f"{self.public_url.rstrip('/')}{PATH}{code}"


def completion_code(secret_key: str, course_id: int, coworker_id: int) -> str:
    """Return the code for a person's completion of a course, such as `7Q3M-0VXD-92HB-KT5A`."""
    about = f"certificate of completion/{course_id}/{coworker_id}"
    digest = hmac.digest(secret_key.encode("utf-8", "surrogatepass"), about.encode(), "sha256")
    number = int.from_bytes(digest[: _LENGTH * 5 // 8])
    symbols = [_SYMBOLS[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)]
    return written_code("".join(symbols))


def written_code(symbols: str) -> str:
    """Return a code in groups, as it is printed."""
    groups = (symbols[start : start + _GROUP] for start in range(0, len(symbols), _GROUP))
    return "-".join(groups)


def typed_code(text: str) -> str | None:
    """Return the code that a person typed, as it is printed; None if it is none.

    Case, spaces and hyphens do not matter, and letters that look like digits count as these.
    """
    symbols = text.upper().translate(_TYPED)
    if len(symbols) != _LENGTH or not set(symbols) <= set(_SYMBOLS):
        return None
    return written_code(symbols)


def code_hash(code: str) -> str:
    """Return the hash under which the ledger keeps a certificate.

    A plain hash is enough, since nobody can try 80 bits.
    """
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
