"""The style sheet and the script of the operators' pages, as files that browsers keep."""

from flask import Response

from service.desk.visit import Guest

_A_YEAR_S = 365 * 86_400


def style(guest: Guest) -> Response:
    """Return the style sheet, which has nothing secret."""
    return _kept(guest.pages.frame.style, "text/css")


def script(guest: Guest) -> Response:
    """Return the script of Today, which has nothing secret."""
    return _kept(guest.pages.frame.script, "text/javascript")


def _kept(content: bytes, mimetype: str) -> Response:
    headers = {
        "Cache-Control": f"public, max-age={_A_YEAR_S}, immutable",
        "Content-Security-Policy": "default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, 200, headers, mimetype=mimetype)
