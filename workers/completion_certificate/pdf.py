"""Makes the PDF of a certificate of completion with Typst.

The file conforms to PDF/UA-1 and PDF/A-2a, which Typst checks: it is tagged, has a title and a
language, and no letter in it lacks a glyph. The same certificate gives the same bytes.

Import this only where certificates are made: Typst takes long to load.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import typst

from ledger.completion_certificates import CompletionCertificate
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from workers.completion_certificate.code import CertificateLook
from workers.completion_certificate.wording import certificate_text
from workers.languages import Language

_FOLDER = Path(__file__).parent
_FONTS = _FOLDER / "fonts"
_TEMPLATE = _FOLDER / "certificate.typ"
_FOREIGN = ("name", "course", "space")  # texts that people typed
_ONE_CHARACTER = b'#set document(title: "-")\n#set text(lang: "en")\n#sys.inputs.character'
_LETTERS = frozenset("LMN")  # and digits: general categories that must not be left out


def make_pdf(
    certificate: CompletionCertificate, code: str, look: CertificateLook, language: Language
) -> bytes:
    """Return a certificate as a PDF of one page.

    Letters that Coursebell's own fonts lack are set in a font of this machine. Signs that no font
    has are left out.

    Raises:
        DeliveryRefused: no font has the letters of a text; or Typst failed otherwise.
    """
    text = {
        **certificate_text(certificate, code, look.address_of(code), language),
        "colour": look.colour,
    }
    for machine in (False, True):
        try:
            return _compiled(text, machine=machine)
        except typst.TypstError:
            continue
    try:
        return _compiled(_without_missing(text), machine=True)
    except typst.TypstError:
        raise _Unprintable("the certificate could not be set") from None


class _Unprintable(DeliveryRefused):
    """A certificate cannot be printed, so the email that would carry it is not written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.TEMPLATE_ERROR)


@cache
def _fonts(*, machine: bool) -> typst.Fonts:
    """Return our own fonts; with `machine` also those that are installed here."""
    return typst.Fonts(include_system_fonts=machine, font_paths=[_FONTS])


def _compiled(text: Mapping[str, str], *, machine: bool) -> bytes:
    return typst.compile(
        _TEMPLATE,
        root=_FOLDER,
        font_paths=_fonts(machine=machine),
        sys_inputs=dict(text),
        pdf_standards=["ua-1", "a-2a"],
    )


def _without_missing(text: Mapping[str, str]) -> Mapping[str, str]:
    """Return the texts without signs that no font has. Raises `_Unprintable` if one is a letter."""
    missing = {one for key in _FOREIGN for one in text[key] if not _has_glyph(one)}
    letters = sorted(one for one in missing if unicodedata.category(one)[0] in _LETTERS)
    if letters:
        script = unicodedata.name(letters[0], "unknown").split()[0].capitalize()
        raise _Unprintable(
            f"no font on this machine has the letters of the certificate ({script}); install one, "
            "restart the worker, and resend the email"
        )
    dropped = str.maketrans("", "", "".join(missing))
    return {**text, **{key: " ".join(text[key].translate(dropped).split()) for key in _FOREIGN}}


@cache
def _has_glyph(character: str) -> bool:
    """Return whether some font has this character."""
    if character.isascii() or character.isspace():
        return True
    try:
        typst.compile(
            _ONE_CHARACTER,
            font_paths=_fonts(machine=True),
            sys_inputs={"character": character},
            pdf_standards=["ua-1", "a-2a"],
        )
    except typst.TypstError:
        return False
    return True
