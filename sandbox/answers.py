"""How the stand-in writes a JSON answer."""

import json

from flask import Response


def answered(content: object, status: int = 200) -> Response:
    """Return an answer with this content, without blanks and with nothing escaped."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, content_type="application/json; charset=utf-8")
