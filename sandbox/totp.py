"""The code of a second factor (RFC 6238: SHA-1, six digits, thirty seconds). Pure."""

import base64
import binascii
import hashlib
import hmac
import struct

STEP_S = 30
_DIGITS = 6


def code_at(key: str, at: float) -> str:
    """Return the code of a base32 key at a moment, in seconds since 1970.

    Raises:
        ValueError: the key is not base32.
    """
    plain = key.replace(" ", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except binascii.Error as error:
        raise ValueError("not base32") from error
    digest = hmac.new(secret, struct.pack(">Q", int(at // STEP_S)), hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFF_FFFF
    return str(number % 10**_DIGITS).zfill(_DIGITS)


def is_current(key: str, code: str, at: float) -> bool:
    """Whether this is the key's code now, or was or will be within a step."""
    around = (at - STEP_S, at, at + STEP_S)
    return any(hmac.compare_digest(code_at(key, moment), code) for moment in around)
