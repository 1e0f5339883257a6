"""What the pages of members share: the frame, the style in the colour of the space, the headers."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from schemas.settings import Settings
from schemas.text import one_line
from workers.actions.email.branding import accent_of

if TYPE_CHECKING:
    from workers.languages import Language

_FOLDER = Path(__file__).parent


class PageFrame:
    """Makes pages that load nothing from elsewhere and need no script and no cookie.

    `form_action` is where their forms may go, as a Content-Security-Policy says it.
    """

    def __init__(self, settings: Settings, form_action: str) -> None:
        style = _style(settings)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
        self.headers: Mapping[str, str] = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'sha256-{digest}'; form-action {form_action};"
                " base-uri 'none'; frame-ancestors 'none'"
            ),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Robots-Tag": "noindex, nofollow",
        }
        space = one_line(settings.space_name)
        self._known = {"style": Markup(style), "space": space}  # noqa: S704 - our style sheet

    def page(
        self, status: int, template: str, language: "Language", known: Mapping[str, object]
    ) -> Response:
        """Return a page; `known` has its `title` and what else its template prints."""
        found = _environment().get_template(template)
        text = found.render(language=language, **self._known, **known)
        return Response(text, status, self.headers, mimetype="text/html")


@cache
def _environment() -> Environment:
    """Return the templates; each is compiled once, however many spaces have pages."""
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style(settings: Settings) -> str:
    """Return the style in the colour of the space."""
    accent = accent_of(settings.space_colour)
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    for name, colour in (
        ("ACCENT-LIGHT", accent.light),
        ("ON-LIGHT", accent.light_text),
        ("ACCENT-DARK", accent.dark),
        ("ON-DARK", accent.dark_text),
    ):
        style = style.replace(name, colour)
    return style
