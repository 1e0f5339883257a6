"""Makes and reads the signed links with which readers choose their emails, without a login.

A link holds a coworker's Id and the keyed hash of the address it was sent to, no address and no
name. It never expires, since a member may use an old email. It is signed with the secret key, so
another key makes all links invalid. The page and the one-click link of each stream are signed for
different purposes, and none can be made from another. So is the link that stops one report; it
holds the report's name in place of a coworker's Id.
"""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from ledger.choices import address_hash, choice_keys
from schemas.rules import Stream
from schemas.settings import Settings, is_loopback

PAGE, ONE_CLICK = "/p/", "/u/"
_LONGEST = 200  # characters of a token; ours have about 95
_HASH_BYTES = 32
# A one-click link begins with one of these. They are in emails, so they never change.
_CODES = {Stream.SERVICE: 1, Stream.REMINDER: 2}
_STREAMS = {code: stream for stream, code in _CODES.items()}


@dataclass(frozen=True, slots=True)
class LinkOwner:
    """Whose link it is: a coworker, and the hash of the address that the email went to."""

    coworker_id: int
    address_hash: str

    def keys(self, secret_key: str, email: str | None) -> frozenset[str]:
        """Return the keys of this member's choices. `email` is their address now, if known.

        What is chosen with a link of an old email also counts for the address of today.
        """
        return choice_keys(secret_key, self.coworker_id, email) | {self.address_hash}

    def has_address(self, email: str, secret_key: str) -> bool:
        """Return whether the link was sent to this address."""
        return address_hash(email, secret_key) == self.address_hash


class PreferenceLinks:
    """Makes links below `public_url`, and reads their last part, the token.

    A link asks for the language of the email that it is in, so that what it opens is in the same.
    """

    def __init__(self, public_url: str, secret_key: str) -> None:
        self._public_url = public_url
        self._secret_key = secret_key
        self._page = _signer(secret_key, "page")
        self._one_click = _signer(secret_key, "one-click")
        self._report = _signer(secret_key, "report")

    def owner(self, coworker_id: int, email: str) -> LinkOwner:
        """Return the owner of links that are sent to this address."""
        return LinkOwner(coworker_id, address_hash(email, self._secret_key))

    def page(self, owner: LinkOwner, language: str = "") -> str:
        """Return the address of the member's preference page."""
        return f"{self._public_url}{PAGE}{self.page_token(owner)}{_in(language)}"

    def one_click(self, owner: LinkOwner, stream: Stream, language: str = "") -> str:
        """Return the address that switches a stream off with one POST (RFC 8058)."""
        token = _token(self._one_click, bytes([_CODES[stream]]) + _packed(owner))
        return f"{self._public_url}{ONE_CLICK}{token}{_in(language)}"

    def report_page(self, name: str, email: str, language: str = "") -> str:
        """Return where the reader at this address stops the report of this name."""
        return f"{self._public_url}{PAGE}{self._report_token(name, email)}{_in(language)}"

    def report_one_click(self, name: str, email: str, language: str = "") -> str:
        """Return the address that stops a report with one POST (RFC 8058)."""
        return f"{self._public_url}{ONE_CLICK}{self._report_token(name, email)}{_in(language)}"

    def _report_token(self, name: str, email: str) -> str:
        hashed = address_hash(email, self._secret_key)
        return _token(self._report, bytes.fromhex(hashed) + name.encode("ascii"))

    def page_token(self, owner: LinkOwner) -> str:
        """Return the token of a preference page."""
        return _token(self._page, _packed(owner))

    def read_page(self, token: str) -> LinkOwner | None:
        """Return whose preference page it is, or None if the token is not genuine."""
        value = _value(self._page, token)
        return None if value is None else _unpacked(value)

    def read_one_click(self, token: str) -> tuple[LinkOwner, Stream] | None:
        """Return whose emails of which stream to stop, or None if the token is not genuine."""
        value = _value(self._one_click, token)
        return None if value is None else (_unpacked(value[1:]), _STREAMS[value[0]])

    def read_report(self, token: str) -> tuple[str, str] | None:
        """Return the hash of the address and the report's name; None if it is not genuine."""
        value = _value(self._report, token)
        if value is None:
            return None
        return value[:_HASH_BYTES].hex(), value[_HASH_BYTES:].decode("ascii")


def reaches_members(settings: Settings) -> bool:
    """Return whether links below COURSEBELL_PUBLIC_URL can be put into emails and certificates.

    They must be https and lead to another machine than the reader's, except where Nexudus is a
    stand-in on this machine, as in the demo.
    """
    if not settings.public_url.isascii():
        return False  # it stands in a header
    if is_loopback(urlsplit(settings.public_url).hostname or ""):
        return is_loopback(urlsplit(settings.nexudus_url).hostname or "")
    return settings.public_url.startswith("https://")


def links_of(settings: Settings) -> PreferenceLinks | None:
    """Return what makes links for members, if they can open them."""
    if settings.secret_key is None or not reaches_members(settings):
        return None
    return PreferenceLinks(settings.public_url, settings.secret_key)


def _in(language: str) -> str:
    """Return the query that asks for a language; none for ""."""
    return f"?lang={language}" if language else ""


def _signer(secret_key: str, purpose: str) -> Signer:
    salt = f"coursebell.preferences.{purpose}"
    return Signer(secret_key, salt, key_derivation="hmac", digest_method=hashlib.sha256)


def _packed(owner: LinkOwner) -> bytes:
    number = owner.coworker_id
    return bytes.fromhex(owner.address_hash) + number.to_bytes((number.bit_length() + 7) // 8)


def _unpacked(value: bytes) -> LinkOwner:
    return LinkOwner(int.from_bytes(value[_HASH_BYTES:]), value[:_HASH_BYTES].hex())


def _token(signer: Signer, value: bytes) -> str:
    return signer.sign(base64_encode(value)).decode("ascii")


def _value(signer: Signer, token: str) -> bytes | None:
    if len(token) > _LONGEST or not token.isascii():
        return None
    try:
        return base64_decode(signer.unsign(token))
    except BadData:
        return None
