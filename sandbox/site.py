"""The sandbox's web side as one Flask application: the API, the control routes and the pages."""

from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

from sandbox.api import Api
from sandbox.backstage import Backstage
from sandbox.control import Control
from sandbox.misbehaviour.page import MisbehavePage
from sandbox.misbehaviour.routes import Misbehaving
from sandbox.pages import Pages
from sandbox.stage import Stage

_PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def build_site(stage: Stage) -> Flask:
    """Return the application for one stage."""
    site = Flask("sandbox", static_folder=None)
    site.before_request(_refuse_other_sites)
    site.after_request(_add_headers)
    parts = (
        Api(stage),
        Control(stage),
        Backstage(stage),
        Misbehaving(stage),
        Pages(stage),
        MisbehavePage(stage),
    )
    for part in parts:
        site.register_blueprint(part.routes())
    return site


def _refuse_other_sites() -> None:
    # A page elsewhere must not press our buttons. Programs send neither header and may.
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    fetched_from = request.headers.get("Sec-Fetch-Site")
    if fetched_from is not None and fetched_from not in {"same-origin", "none"}:
        abort(403)
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        abort(403)


def _add_headers(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "same-origin")
    if not request.path.startswith("/static/"):
        answer.headers.setdefault("Cache-Control", "no-store")
    return answer
