"""The page that confirms a certificate of completion: `GET /c/<code>`, and its PDF.

The code is printed on the certificate, and it is all the proof there is: it has 80 bits, so it
cannot be guessed, and the page shows nothing that the certificate does not. A wrong code, a
mistyped one and one that is no longer in the ledger get the same answer, at the same cost.
"""

import hashlib
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from flask import Blueprint, Response, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ledger.completion_certificates import CompletionCertificate, certificate_of
from ledger.engine import Engine, reading
from schemas.errors import DeliveryRefused
from schemas.settings import Settings
from workers.completion_certificate.code import PATH, CertificateLook, code_hash, typed_code

_FOLDER = Path(__file__).parent
_SUFFIX = ".pdf"
_MOST_FILES = 8  # kept in memory, since a certificate is rarely asked for once
_RETRY_AFTER_S = 60
_UNKNOWN, _TOO_MANY, _UNAVAILABLE = 404, 429, 503

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Page:
    """How the page looks: its template, its style, and the header that allows only that style."""

    template: Template
    css: str
    policy: str


def certificate_routes(
    settings: Settings, engine: Engine, is_over_limit: Callable[[str], bool]
) -> Blueprint:
    """Return the route on which certificates are confirmed.

    `is_over_limit` counts a wrong code from an address. A right one is always answered, also from
    behind a proxy that others misuse.
    """
    routes = Blueprint("certificates", __name__)
    look = CertificateLook.from_settings(settings)

    @routes.get(f"{PATH}<typed>")
    def confirm(typed: str) -> Response:
        is_pdf = typed.lower().endswith(_SUFFIX)
        text = typed[: -len(_SUFFIX)] if is_pdf else typed
        code = typed_code(text)
        with reading(engine) as connection:
            found = certificate_of(connection, code_hash(code or text))
        if code is None or found is None:
            return _unknown(is_over=is_over_limit(request.remote_addr or ""))
        if not is_pdf:
            return _confirmed(code, found)
        return _file(code, found, look)

    return routes


def _unknown(*, is_over: bool) -> Response:
    language = _language()
    if is_over:
        heading = language.gettext("Too many wrong codes")
        advice = language.gettext("Please wait a minute, then try again.")
        answer = _answer(_TOO_MANY, language, heading=heading, advice=advice, certificate=None)
        answer.headers["Retry-After"] = str(_RETRY_AFTER_S)
        return answer
    heading = language.gettext("We know no certificate with this code")
    advice = language.gettext(
        "Please check that the code is exactly as it is printed on the certificate."
    )
    return _answer(_UNKNOWN, language, heading=heading, advice=advice, certificate=None)


def _confirmed(
    code: str, certificate: CompletionCertificate, *, is_pdf_missing: bool = False
) -> Response:
    """Return the page that confirms a certificate; with `is_pdf_missing` also that it has no PDF.

    It is confirmed in any case: a genuine certificate must never be taken for a forged one.
    """
    language, wording = _language(), "workers.completion_certificate.wording"
    no_pdf = language.gettext(
        "The PDF cannot be opened here. This page confirms the certificate all the same."
    )
    return _answer(
        _UNAVAILABLE if is_pdf_missing else 200,
        language,
        heading=language.gettext("This certificate is genuine"),
        advice=language.gettext("Compare this with the certificate that you were shown."),
        open_pdf=language.gettext("Open the certificate as a PDF"),
        certificate=certificate,
        labels=resolve_name(f"{wording}:certificate_labels")(language),
        day=resolve_name(f"{wording}:day_in_words")(certificate, language),
        code=code,
        no_pdf=no_pdf if is_pdf_missing else None,
        has_pdf=find_spec("typst") is not None and not is_pdf_missing,
    )


def _file(code: str, certificate: CompletionCertificate, look: CertificateLook) -> Response:
    """Return the certificate as it was sent, or that it cannot be made here.

    It was made on another machine, which has the package and the fonts that it needs.
    """
    try:
        with _one_at_a_time:  # each takes a processor for a moment
            content = _made(code, certificate, look)
    except (ImportError, DeliveryRefused):
        return _confirmed(code, certificate, is_pdf_missing=True)
    headers = {
        "Content-Disposition": 'inline; filename="certificate.pdf"',
        "X-Robots-Tag": "noindex",
    }
    return Response(content, mimetype="application/pdf", headers=headers)


@lru_cache(_MOST_FILES)
def _made(code: str, certificate: CompletionCertificate, look: CertificateLook) -> bytes:
    make_pdf = resolve_name("workers.completion_certificate.pdf:make_pdf")
    language = resolve_name("workers.languages:language_for")(certificate.language)
    content: bytes = make_pdf(certificate, code, look, language)
    return content


def _language() -> Any:  # noqa: ANN401 - a Language, whose module takes long to import
    """Return the language of the page: the first of the reader's that there are texts in."""
    return resolve_name("workers.languages:language_for")(*request.accept_languages.values())


def _answer(status: int, language: Any, **words: Any) -> Response:  # noqa: ANN401 - what the template prints
    page = _page()
    html = page.template.render(css=page.css, language=language, **words)
    headers = {
        "Content-Security-Policy": page.policy,
        "Referrer-Policy": "no-referrer",
        "X-Robots-Tag": "noindex",
        "Vary": "Accept-Language",
    }
    return Response(html, status, headers=headers, mimetype="text/html")


@cache
def _page() -> _Page:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = (_FOLDER / "certificate.css").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return _Page(environment.get_template("certificate.html"), css, policy)
