"""The signature of a delivery, made in the documented way (contract, section 5.5). Pure.

Written apart from our verifier on purpose: two readings of one document are worth more than one.
"""

import hashlib
import hmac

SIGNATURE_HEADER = "X-Nexudus-Hook-Signature"

_HIGHEST_ASCII = 0x7F


def ascii_folded(text: str) -> bytes:
    """Return the bytes that .NET's ASCIIEncoding makes of a text.

    It works on UTF-16 code units and puts `?` for each above 0x7F; a character outside the basic
    plane (an emoji) is two units and so becomes `??`.
    """
    folded = bytearray()
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        unit = low | high << 8
        folded.append(unit if unit <= _HIGHEST_ASCII else ord("?"))
    return bytes(folded)


def signature(secret: str, text: str) -> str:
    """Return the upper-case hex HMAC-SHA256 of a delivery's text; key and text are folded."""
    return _hex(ascii_folded(secret), ascii_folded(text))


def signature_in_form(secret: str, text: str, form: str) -> str | None:
    """Return the signature made in another way; None for a delivery that is not signed."""
    if form == "none":
        return None
    if form == "wrong":
        return _hex(ascii_folded(secret), ascii_folded(text) + b" ")
    if form == "raw":
        return _hex(*(part.encode("utf-8", "surrogatepass") for part in (secret, text)))
    if form == "code-points":
        return _hex(*(part.encode("ascii", "replace") for part in (secret, text)))
    found = signature(secret, text)
    return found.lower() if form == "lower-case" else found


def _hex(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest().upper()
