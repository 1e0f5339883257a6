"""Verifies that a delivery is from Nexudus: a function of bytes, claimed signature and secrets.

The documented recipe signs the text after .NET's ASCIIEncoding, which turns every UTF-16 unit
above 0x7F into `?`. Whether live deliveries still do so is unconfirmed, so a signature over the raw
bytes is accepted too (contract, section 5.5). JSON is never re-serialised, since that would change
spacing and number formats.

The folded forms do not protect accented letters, and no form protects against a replay. Both are
harmless here: a delivery only causes a record to be read.
"""

import contextlib
import hmac
import re
from collections.abc import Iterator, Sequence

from schemas.errors import BadSignature
from schemas.reasons import Refusal

_HEX_DIGEST = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_BEYOND_ONE_UNIT = re.compile(r"[\U00010000-\U0010ffff]")


def verify(body: bytes, claimed: str | None, secrets: Sequence[str]) -> str:
    """Return the name of the form of `body` that the signature `claimed` matches.

    `secrets` are tried newest first. Every comparison takes the same time.

    Raises:
        BadSignature: none matches, no signature was given, or no secret is configured. No input
            makes it raise anything else.
    """
    wanted = claimed_digest(claimed, secrets)
    forms = tuple(signed_forms(body))
    for secret in secrets:
        key = secret.encode("utf-8", "surrogatepass")
        for form, text in forms:
            if hmac.compare_digest(hmac.digest(key, text, "sha256"), wanted):
                return form
    raise BadSignature(Refusal.WRONG_SIGNATURE)


def claimed_digest(claimed: str | None, secrets: Sequence[str]) -> bytes:
    """Return the digest that the signature header claims. Needs no body.

    Raises:
        BadSignature: the header is missing or not 64 hex digits, or no secret is configured.
    """
    if not secrets:
        raise BadSignature(Refusal.NO_SECRET)
    if claimed is None or not claimed.strip():
        raise BadSignature(Refusal.UNSIGNED)
    if not _HEX_DIGEST.fullmatch(claimed.strip()):
        raise BadSignature(Refusal.MALFORMED_SIGNATURE)
    return bytes.fromhex(claimed.strip())


def signed_forms(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each text that the signature may have been computed over, with its form's name."""
    is_object = body.strip()[:1] == b"{"
    for form, text in _folded(body).items():
        yield form, text
        if is_object:
            yield f"{form}-in-array", b"[" + text + b"]"


def _folded(body: bytes) -> dict[str, bytes]:
    """Return the body as received and, if it has text beyond ASCII, as .NET may have folded it."""
    forms = {"raw": body}
    if not body.isascii():
        with contextlib.suppress(UnicodeDecodeError):
            text = body.decode()
            forms["utf16-units"] = _BEYOND_ONE_UNIT.sub("??", text).encode("ascii", "replace")
            forms["code-points"] = text.encode("ascii", "replace")
    return forms
