"""The frame of the operators' pages: templates, the style sheet, the script, and the headers.

The pages load nothing from elsewhere and work without script; only Today has one. Style sheet and
script have addresses with a digest, so that browsers keep them until they change.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schemas.settings import Settings
from schemas.text import one_line
from service.desk.languages import Times, isolated, ui_languages
from service.desk.routes import ROUTES
from service.desk.shown_text import shown_text
from service.desk.sign_in_flow import provider_name
from service.desk.wording import explained, repeated_in, to_whom

_FOLDER = Path(__file__).parent
_STYLE, _SCRIPT = _FOLDER / "desk.css", _FOLDER / "desk.js"
# The address of a person may be in a path, so no other site learns from where a link was followed.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The paths of pages that a browser can open again.
_READABLE = tuple(
    re.compile(re.sub(r"<[^>]*>", "[^/]+", one.path)) for one in ROUTES if one.method == "GET"
)
POLICY_WITH_SCRIPT = f"{_POLICY}; script-src 'self'; connect-src 'self'"
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class DeskFrame:
    """Makes the pages of one space."""

    def __init__(self, settings: Settings) -> None:
        self.zone = ZoneInfo(settings.zone)
        self.style, self.script = _STYLE.read_bytes(), _SCRIPT.read_bytes()
        self._known = {
            "space": one_line(settings.space_name) or "Coursebell",
            "isolated": isolated,
            "provider": provider_name(settings),
            "passwords": settings.passwords,
            "style_path": f"/desk.css?v={_digest(self.style)}",
            "script_path": f"/desk.js?v={_digest(self.script)}",
            "page_languages": ui_languages(),
            "repeated_in": repeated_in,
            "has_page": {one.path for one in ROUTES}.__contains__,
        }

    def page(
        self,
        status: int,
        template: str,
        times: Times,
        known: Mapping[str, Any],
    ) -> Response:
        """Return a page; `known` has what its template prints."""
        language, visit = times.language, known.get("visit")
        words = {"_": language.say, "_n": language.say_n, "language": language}
        text = (
            _environment()
            .get_template(template)
            .render(
                **self._known,
                **words,
                times=times,
                when=times.mark,
                explained=partial(explained, times),
                to_whom=partial(to_whom, times),
                zone=self.zone.key,
                path=request.path,
                back=_own_address(),
                **known,
            )
        )
        text = shown_text(text, is_masked=visit is not None and not visit.may_operate)
        return Response(text, status, HEADERS, mimetype="text/html")


def _own_address() -> str:
    """Return the address of this page; of the answer to a form, that of the page it is on."""
    if request.method == "GET":
        return request.full_path.rstrip("?")
    address = request.path
    while not any(one.fullmatch(address) for one in _READABLE):
        address = address.rpartition("/")[0] or "/"
    return address


@cache
def _environment() -> Environment:
    """Return the templates; each is compiled once, however many spaces have pages."""
    return Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
