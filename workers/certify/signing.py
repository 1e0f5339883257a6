"""Signs certificates, and says of a file whether it is one as it was made. Pure.

A page is signed as a whole, as text, besides the document in it: what people read is what counts.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from enum import Enum
from typing import Any

from workers.certify.document import KIND, Document, canonical

_LABEL = b"certificate"  # so that this key is good for nothing else
_SIGNATURE = "signature"
_EMPTY = "0" * 64
# No name can look like that: on the page its brackets are written otherwise.
_PLACE = re.compile(r'(<code id="page-signature">)([0-9a-f]{64})(</code>)')
_PLACE_MARK = 'id="page-signature"'
_MARK = f'<meta name="generator" content="{KIND}">'


class Verdict(Enum):
    """What a file is; the values are the exit codes of the command."""

    GENUINE = 0
    CHANGED = 1
    NO_CERTIFICATE = 2


def signed(document: Document, secret_key: str) -> Document:
    """Return the document with its signature."""
    return document | {_SIGNATURE: _sign(canonical(document), secret_key)}


def signed_page(page: str, secret_key: str) -> str:
    """Return a page with its own signature in the place that it has for it."""
    empty = _PLACE.sub(rf"\g<1>{_EMPTY}\g<3>", page)
    signature = _sign(empty.encode(), secret_key)
    return _PLACE.sub(rf"\g<1>{signature}\g<3>", empty)


def verify(content: bytes, secret_key: str) -> Verdict:
    """Say whether this file, a document or a page, is one that was signed with this key."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return Verdict.NO_CERTIFICATE
    # In a document no quotation mark of a name stands bare, so neither can be part of one.
    if _MARK in text or _PLACE_MARK in text:
        return _page_verdict(text, secret_key)
    try:
        # Some editors put a mark of the byte order before a text. Blanks do not count here either.
        document = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return Verdict.NO_CERTIFICATE
    if not isinstance(document, dict) or document.get("kind") != KIND:
        return Verdict.NO_CERTIFICATE
    claimed = document.pop(_SIGNATURE, None)
    return _verdict(claimed, canonical(document), secret_key)


def _page_verdict(text: str, secret_key: str) -> Verdict:
    place = _PLACE.search(text)
    if place is None:
        return Verdict.CHANGED
    empty = _PLACE.sub(rf"\g<1>{_EMPTY}\g<3>", text)
    return _verdict(place[2], empty.encode(), secret_key)


def _verdict(claimed: object, content: bytes, secret_key: str) -> Verdict:
    ours = _sign(content, secret_key)
    same = isinstance(claimed, str) and hmac.compare_digest(claimed.encode(), ours.encode())
    return Verdict.GENUINE if same else Verdict.CHANGED


def _sign(content: bytes, secret_key: str) -> str:
    key = hmac.new(secret_key.encode(), _LABEL, hashlib.sha256).digest()
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _once_each(pairs: Iterable[tuple[str, Any]]) -> Document:
    """Refuse a name that stands twice: readers differ in which of the two they believe."""
    found: Document = {}
    for name, value in pairs:
        # A document that says something twice is no longer what was signed, whatever it says.
        found[name] = value if name not in found else "said twice"
    return found
