"""Signs emails with DKIM (RFC 6376), with an RSA key or an Ed25519 key (RFC 8463).

Only signing is here: the library for keys is an extra, and this module is imported only where a key
is set. Headers and body are canonicalised as `relaxed`, so that servers may fold lines again.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from schemas.errors import ConfigurationError
from schemas.settings import Settings

_FEWEST_BITS, _MOST_BITS = 2048, 4096  # RFC 8301, section 3.2
# Signed once more than they are there, so that nobody can add another one.
# Date and Message-ID are left out: some mail services, such as Amazon SES, replace both.
_ONLY_ONCE = ("from", "to", "subject")
_SIGNED = (
    *_ONLY_ONCE,
    *("reply-to", "list-id", "list-unsubscribe", "list-unsubscribe-post", "feedback-id"),
    *("auto-submitted", "mime-version", "content-type", "content-transfer-encoding"),
)
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:((?:[^\r]|\r\n[ \t])*)\r\n")
_SPACES = re.compile(rb"[ \t]+")
_IN_ROW = 5  # names of headers
_COLON = ":\r\n "  # between two rows
_LINE = 72  # characters of base64 on one line
_STRING = 255  # characters of one string of a TXT record


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A TXT record to publish: its name, and its text, which DNS keeps in pieces of 255."""

    name: str
    text: str

    @property
    def pieces(self) -> list[str]:
        """The text as strings of a TXT record."""
        return [self.text[at : at + _STRING] for at in range(0, len(self.text), _STRING)]


@dataclass(frozen=True, slots=True)
class DkimSigner:
    """Signs for one domain with one key. Safe to share between threads."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the signer of the settings.

        Raises `ConfigurationError` if the key cannot be used.
        """
        sender = "" if settings.mail_from is None else settings.mail_from.address
        domain = settings.dkim_domain or sender.rpartition("@")[2]
        return cls(domain, settings.dkim_selector or "", _read_key(settings.dkim_key or ""))

    @property
    def record(self) -> DnsRecord:
        """The record by which receivers find the public key."""
        public = self.key.public_key()
        if isinstance(self.key, RSAPrivateKey):
            kind = "rsa"
            raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, raw = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        text = f"v=DKIM1; k={kind}; p={base64.b64encode(raw).decode()}"
        return DnsRecord(f"{self.selector}._domainkey.{self.domain}", text)

    def signed(self, message: bytes) -> bytes:
        """Return a message, in the form in which it is sent, with its signature in front."""
        head, _, body = message.partition(b"\r\n\r\n")
        fields = {name.lower(): text for name, text in _FIELD.findall(head + b"\r\n")}
        names = [name for name in _SIGNED if name.encode() in fields]
        kind = "rsa" if isinstance(self.key, RSAPrivateKey) else "ed25519"
        body_hash = base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode()
        rows = [":".join(names[at : at + _IN_ROW]) for at in range(0, len(names), _IN_ROW)]
        lines = (
            f"v=1; a={kind}-sha256; c=relaxed/relaxed;",
            f"d={self.domain}; s={self.selector};",
            f"h={_COLON.join((*rows, ':'.join(_ONLY_ONCE)))};",
            f"bh={body_hash};",
            "b=",
        )
        unsigned = "\r\n ".join(lines).encode()
        signed = [_relaxed_field(name.encode(), fields[name.encode()]) for name in names]
        own = _relaxed_field(b"dkim-signature", b" " + unsigned).removesuffix(b"\r\n")
        signature = base64.b64encode(self._sign(b"".join(signed) + own)).decode()
        pieces = [signature[at : at + _LINE] for at in range(0, len(signature), _LINE)]
        return b"DKIM-Signature: " + unsigned + "\r\n ".join(pieces).encode() + b"\r\n" + message

    def _sign(self, content: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(content, PKCS1v15(), SHA256())
        return self.key.sign(hashlib.sha256(content).digest())


def _read_key(pem: str) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own message may describe the key.
        raise _unusable("expected a private key in PEM form without a passphrase") from None
    if isinstance(key, RSAPrivateKey) and _FEWEST_BITS <= key.key_size <= _MOST_BITS:
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise _unusable("expected an RSA key of 2048 to 4096 bits, or an Ed25519 key")


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError([f"COURSEBELL_DKIM_KEY: {why}"])


def _relaxed_field(name: bytes, text: bytes) -> bytes:
    """Return a header field as RFC 6376 says in section 3.4.2."""
    words = _SPACES.sub(b" ", text.replace(b"\r\n", b"")).strip(b" ")
    return name.lower() + b":" + words + b"\r\n"


def _relaxed_body(body: bytes) -> bytes:
    """Return a body as RFC 6376 says in section 3.4.4."""
    lines = [_SPACES.sub(b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)
