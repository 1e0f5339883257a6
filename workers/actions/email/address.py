"""One email address, checked and fit for an envelope and a header. No look-ups.

People's addresses come from the source, where anything can be typed. What cannot be written
without doubt is refused rather than corrected: the corrected address may belong to someone else.
No error here repeats the address.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from schemas.errors import RecipientUnusable
from schemas.reasons import Reason
from schemas.text import ascii_domain

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")  # RFC 5322, section 3.2.3
_LONGEST_LOCAL = 64  # octets; RFC 5321, section 4.5.3.1
_UNFIT_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"})


class AddressUnusable(RecipientUnusable):
    """No email can be written to this address; no server was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.NO_EMAIL)


@dataclass(frozen=True, slots=True)
class EnvelopeAddress:
    """An address in two parts. `domain` is ASCII; `local` may be any text (RFC 6531)."""

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `local@domain`, the domain in any script.

        Raises `AddressUnusable` for anything else, also quoted local parts and address literals.
        """
        local, at, domain = text.strip(" ").rpartition("@")
        if not (at and _is_local(local)):
            raise AddressUnusable("the address is not one an email can be sent to")
        name = ascii_domain(domain)
        if name is None:
            raise AddressUnusable("the address has a domain that cannot be written")
        return cls(local, name)

    @property
    def is_ascii(self) -> bool:
        """Whether every server can take it."""
        return self.local.isascii()

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


def _is_local(local: str) -> bool:
    atoms = local.split(".")
    if len(local.encode("utf-8", "replace")) > _LONGEST_LOCAL:
        return False
    return all(atom and all(map(_fits_an_atom, atom)) for atom in atoms)


def _fits_an_atom(character: str) -> bool:
    if character.isascii():
        return bool(_ATOM.fullmatch(character))
    return unicodedata.category(character) not in _UNFIT_CATEGORIES
