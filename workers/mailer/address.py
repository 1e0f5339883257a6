"""One email address, checked and fit for an envelope and a header. No look-ups.

People's addresses come from the source, where anything can be typed. What cannot be written
without doubt is refused rather than mended: a mended address belongs to somebody else. No error
here repeats the address.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Self

from schemas.errors import ActionRefused

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")  # RFC 5322, section 3.2.3
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_LONGEST_LOCAL, _LONGEST_LABEL, _LONGEST_DOMAIN = 64, 63, 253  # octets; RFC 5321, section 4.5.3.1
# Python's codec is IDNA 2003, which writes these four as others: another domain would get the mail.
_AMBIGUOUS = frozenset("\u00df\u03c2\u200c\u200d")
_UNFIT_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class EnvelopeAddress:
    """An address in two parts. `domain` is ASCII; `local` may be any text (RFC 6531)."""

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `local@domain`, the domain in any script.

        Raises `ActionRefused` for anything else, including quoted local parts and address literals.
        """
        local, at, domain = text.strip(" ").rpartition("@")
        if not (at and _is_local(local)):
            raise ActionRefused("the address is not one an email can be sent to")
        return cls(local, _ascii_domain(domain))

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


def _ascii_domain(domain: str) -> str:
    try:
        name = domain.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    fits = all(
        _LABEL.fullmatch(label) and len(label) <= _LONGEST_LABEL for label in name.split(".")
    )
    if not fits or len(name) > _LONGEST_DOMAIN or _AMBIGUOUS & set(domain):
        raise ActionRefused("the address has a domain that cannot be written")
    return name
