"""The page that confirms a certificate of completion: `GET /c/<code>`, and its PDF.

The code is printed on the certificate, and it is all the proof there is: it has 80 bits, so it
cannot be guessed, and the page shows nothing that the certificate does not. A wrong code, a
mistyped one and one that is no longer in the ledger get the same answer, at the same cost.
"""

import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from ledger.completion_certificates import CompletionCertificate, certificate_of
from ledger.engine import Engine, reading
from schemas.errors import DeliveryRefused
from schemas.settings import Settings
from service.pages.frame import PageFrame
from workers.completion_certificate.code import PATH, CertificateLook, code_hash, typed_code

if TYPE_CHECKING:
    from workers.languages import Language

_SUFFIX = ".pdf"
_MOST_FILES = 8  # kept in memory, since a certificate is rarely asked for once
_RETRY_AFTER_S = 60
_UNKNOWN, _TOO_MANY, _UNAVAILABLE = 404, 429, 503

_one_at_a_time = threading.Lock()


def certificate_routes(
    settings: Settings, engine: Engine, is_over_limit: Callable[[str], bool]
) -> Blueprint:
    """Return the route on which certificates are confirmed.

    `is_over_limit` counts a wrong code from an address. A right one is always answered, also from
    behind a proxy that others misuse.
    """
    routes = Blueprint("certificates", __name__)
    look = CertificateLook.from_settings(settings)

    frame = PageFrame(settings, form_action="'none'")

    @routes.get(f"{PATH}<typed>")
    def confirm(typed: str) -> Response:
        is_pdf = typed.lower().endswith(_SUFFIX)
        text = typed[: -len(_SUFFIX)] if is_pdf else typed
        code = typed_code(text)
        with reading(engine) as connection:
            found = certificate_of(connection, code_hash(code or text))
        if code is None or found is None:
            return _unknown(frame, is_over=is_over_limit(request.remote_addr or ""))
        if not is_pdf:
            return _confirmed(frame, code, found)
        file = _file(code, found, look)
        return file or _confirmed(frame, code, found, is_pdf_missing=True)

    return routes


def _unknown(frame: PageFrame, *, is_over: bool) -> Response:
    language = _language()
    if is_over:
        title = language.gettext("Too many wrong codes")
        advice = language.gettext("Please wait a minute, then try again.")
        answer = _answer(frame, _TOO_MANY, language, title=title, advice=advice, certificate=None)
        answer.headers["Retry-After"] = str(_RETRY_AFTER_S)
        return answer
    title = language.gettext("We know no certificate with this code")
    advice = language.gettext(
        "Please check that the code is exactly as it is printed on the certificate."
    )
    return _answer(frame, _UNKNOWN, language, title=title, advice=advice, certificate=None)


def _confirmed(
    frame: PageFrame,
    code: str,
    certificate: CompletionCertificate,
    *,
    is_pdf_missing: bool = False,
) -> Response:
    """Return the page that confirms a certificate; with `is_pdf_missing` also that it has no PDF.

    It is confirmed in any case: a genuine certificate must never be taken for a forged one.
    """
    language, wording = _language(), "workers.completion_certificate.wording"
    no_pdf = language.gettext(
        "The PDF cannot be opened here. This page confirms the certificate all the same."
    )
    return _answer(
        frame,
        _UNAVAILABLE if is_pdf_missing else 200,
        language,
        title=language.gettext("This certificate is genuine"),
        advice=language.gettext("Compare this with the certificate that you were shown."),
        open_pdf=language.gettext("Open the certificate as a PDF"),
        certificate=certificate,
        labels=resolve_name(f"{wording}:certificate_labels")(language),
        day=resolve_name(f"{wording}:day_in_words")(certificate, language),
        code=code,
        no_pdf=no_pdf if is_pdf_missing else None,
        has_pdf=find_spec("typst") is not None and not is_pdf_missing,
    )


def _file(code: str, certificate: CompletionCertificate, look: CertificateLook) -> Response | None:
    """Return the certificate as it was sent; None if it cannot be made here.

    It was made on another machine, which has the package and the fonts that it needs.
    """
    try:
        with _one_at_a_time:  # each takes a processor for a moment
            content = _made(code, certificate, look)
    except (ImportError, DeliveryRefused):
        return None
    headers = {
        "Content-Disposition": 'inline; filename="certificate.pdf"',
        "X-Robots-Tag": "noindex, nofollow",
    }
    return Response(content, mimetype="application/pdf", headers=headers)


@lru_cache(_MOST_FILES)
def _made(code: str, certificate: CompletionCertificate, look: CertificateLook) -> bytes:
    make_pdf = resolve_name("workers.completion_certificate.pdf:make_pdf")
    language = resolve_name("workers.languages:language_for")(certificate.language)
    content: bytes = make_pdf(certificate, code, look, language)
    return content


def _language() -> "Language":
    """Return the language of the page: the first of the reader's that there are texts in."""
    # Its module takes long to import, and receiving needs none of it.
    found: Language = resolve_name("workers.languages:language_for")(
        *request.accept_languages.values()
    )
    return found


def _answer(frame: PageFrame, status: int, language: "Language", **known: object) -> Response:
    answer = frame.page(status, "certificate.html", language, known)
    answer.headers["Vary"] = "Accept-Language"
    return answer
