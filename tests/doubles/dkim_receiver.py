"""Verifies DKIM signatures as a receiver does, with the key's record passed in instead of DNS.

Written from RFC 6376 and RFC 8463 alone, and held to the example that RFC 8463 has in appendix A.
"""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key


def tags_of(text: str) -> dict[str, str]:
    """Return the tags of a signature or a record."""
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip(): re.sub(r"\s+", "", value) for name, _, value in pairs}


def passes(message: bytes, record: str, *, of: int = 0) -> bool:
    """Return whether the signature number `of` of a message is valid for a record."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = [
        (name.strip().lower().decode(), re.sub(rb"\s+", b" ", value).strip())
        for name, _, value in (one.partition(b":") for one in re.split(rb"\r\n(?![ \t])", head))
    ]
    own = [value for name, value in fields if name == "dkim-signature"][of]
    tags, key = tags_of(own.decode()), tags_of(record)
    assert tags["c"] == "relaxed/relaxed"
    if base64.b64encode(hashlib.sha256(_body(body)).digest()).decode() != tags["bh"]:
        return False
    rest, content = list(reversed(fields)), b""
    for wanted in tags["h"].lower().split(":"):
        found = next((one for one in rest if one[0] == wanted), None)
        if found is not None:  # one that is named more often than it is there counts as empty
            rest.remove(found)
            content += wanted.encode() + b":" + found[1] + b"\r\n"
    content += b"dkim-signature:" + re.sub(rb"(;\s*b=)[^;]*", rb"\1", own)
    return _verifies(content, base64.b64decode(tags["b"]), key, tags["a"])


def _body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    kept = re.sub(rb"(\r\n)+\Z", b"", b"\r\n".join(lines))
    return kept + b"\r\n" if kept else b""


def _verifies(content: bytes, signature: bytes, key: dict[str, str], algorithm: str) -> bool:
    raw = base64.b64decode(key["p"])
    assert algorithm == f"{key['k']}-sha256"
    try:
        if key["k"] == "rsa":
            public = load_der_public_key(raw)
            assert isinstance(public, RSAPublicKey)
            public.verify(signature, content, PKCS1v15(), SHA256())
        else:
            digest = hashlib.sha256(content).digest()
            Ed25519PublicKey.from_public_bytes(raw).verify(signature, digest)
    except InvalidSignature:
        return False
    return True
