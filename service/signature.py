"""Is this delivery from Nexudus? One pure function of bytes, claimed signature and secrets.

The documented recipe signs the text after .NET's ASCIIEncoding, which turns every UTF-16 unit
above 0x7F into `?`; whether live deliveries still do is unconfirmed, so the raw bytes count too
(contract, section 5.5). JSON is never serialised again: spacing and number forms would change.

The folded forms do not protect accented letters, and nothing protects against a replay. That is
harmless here, since a delivery causes a read and nothing else.
"""

import hmac
import re
from collections.abc import Callable, Iterator, Sequence

from schemas.errors import BadSignature
from schemas.reasons import Refusal

_HEX_DIGEST = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_BEYOND_ONE_UNIT = re.compile(r"[\U00010000-\U0010ffff]")


def verify(body: bytes, claimed: str | None, secrets: Sequence[str]) -> str:
    """Return the name of the form in which `body` carries the signature `claimed`.

    `secrets` are tried newest first. Every comparison takes the same time whatever matches.

    Raises:
        BadSignature: none matches, no signature was given, or no secret is configured. Nothing
            else is ever raised, whatever the bytes are.
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
    """Yield every text the signature may have been made of, with a name for each."""
    wrapped = body.strip()[:1] == b"{"
    for form, fold in _FOLDS:
        folded = fold(body)
        if folded is None:
            continue
        yield form, folded
        if wrapped:
            yield f"{form}-in-array", b"[" + folded + b"]"


def _raw(body: bytes) -> bytes | None:
    return body


def _per_unit(body: bytes) -> bytes | None:
    text = _non_ascii_text(body)
    if text is None:
        return None
    return _BEYOND_ONE_UNIT.sub("??", text).encode("ascii", "replace")


def _per_code_point(body: bytes) -> bytes | None:
    text = _non_ascii_text(body)
    return None if text is None else text.encode("ascii", "replace")


def _non_ascii_text(body: bytes) -> str | None:
    if body.isascii():
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


_FOLDS: tuple[tuple[str, Callable[[bytes], bytes | None]], ...] = (
    ("raw", _raw),
    ("utf16-units", _per_unit),
    ("code-points", _per_code_point),
)
