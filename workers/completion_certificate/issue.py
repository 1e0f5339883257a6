"""Issues the certificate of completion that an email carries."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pkgutil import resolve_name
from typing import Self

from ledger.completion_certificates import CompletionCertificate, store_certificate
from ledger.engine import Connection
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from schemas.settings import Settings
from workers.actions.base import ActionContext
from workers.completion_certificate.code import CertificateLook, code_hash, completion_code
from workers.completion_certificate.wording import printed_name, printed_title
from workers.languages import Language
from workers.secret_key import has_secret_key, secret_key

PDF = "workers.completion_certificate.pdf"  # imported only where a certificate is made
_DRAFT_CODE = "0000-0000-0000-0000"
_NOT_IN_NAMES = re.compile("[^a-z0-9]+")
_LONGEST_SLUG = 40
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")  # the fillers of Hangul, which print nothing


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate ready to be sent: the file, the address that confirms it, and what to keep.

    `keep` stores it in the ledger, so that its code is confirmed.
    """

    file_name: str
    pdf: bytes = field(repr=False)
    address: str
    keep: Callable[[Connection, datetime], None]


class CertificateIssuer:
    """Issues certificates. Without a secret key, before the first start, it makes only drafts."""

    def __init__(self, key: str | None, look: CertificateLook) -> None:
        self._key = key
        self._look = look

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the issuer of this installation. No key is made here."""
        key = secret_key(settings) if has_secret_key(settings) else None
        return cls(key, CertificateLook.from_settings(settings))

    def for_drafts(self) -> Self:
        """Return an issuer of certificates with a code that is never confirmed."""
        return type(self)(None, self._look)

    def issue(
        self, context: ActionContext, finished_on: date, language: Language
    ) -> IssuedCertificate:
        """Return the certificate for a completed course.

        Raises `DeliveryRefused` if it cannot be printed, or nobody or nothing can be read on it.
        """
        space = printed_title(self._look.space or context.course.business_name)
        certificate = CompletionCertificate(
            course_id=context.course.record_id,
            coworker_id=context.person.coworker_id,
            name=printed_name(context.person.full_name),
            course=printed_title(context.course.title),
            space=space if _can_be_read(space) else None,
            finished_on=finished_on,
            language=language.code,
        )
        _check_can_be_read(certificate)
        code = self._code_of(certificate)
        make_pdf = resolve_name(f"{PDF}:make_pdf")
        return IssuedCertificate(
            file_name=_file_name(certificate.course),
            pdf=make_pdf(certificate, code, self._look, language),
            address=self._look.address_of(code),
            keep=partial(self._keep, code, certificate),
        )

    def _code_of(self, certificate: CompletionCertificate) -> str:
        if self._key is None:
            return _DRAFT_CODE
        return completion_code(self._key, certificate.course_id, certificate.coworker_id)

    def _keep(
        self,
        code: str,
        certificate: CompletionCertificate,
        connection: Connection,
        now: datetime,
    ) -> None:
        if self._key is not None:
            store_certificate(connection, code_hash(code), certificate, now)


def _check_can_be_read(certificate: CompletionCertificate) -> None:
    """Raise `DeliveryRefused` if the name or the title is only emoji or characters without ink."""
    for what, text in (("member's name", certificate.name), ("course's title", certificate.course)):
        if not _can_be_read(text):
            raise DeliveryRefused(
                f"the certificate cannot be printed, since the {what} has no letters or digits; "
                "correct it in Nexudus, and resend the email",
                reason=Reason.TEMPLATE_ERROR,
            )


def _can_be_read(text: str) -> bool:
    return any(one.isalnum() and one not in _BLANK_LETTERS for one in text)


def _file_name(course: str) -> str:
    """Return a name of ASCII, since some mail programs garble others."""
    plain = unicodedata.normalize("NFKD", course).encode("ascii", "ignore").decode().lower()
    slug = _NOT_IN_NAMES.sub("-", plain)[:_LONGEST_SLUG].strip("-")
    return f"certificate-{slug}.pdf" if slug else "certificate.pdf"
