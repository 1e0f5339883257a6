"""Endpoints that rules can post to: they check what arrives as a receiver would, and list it.

`standard` verifies the signature with the library of Standard Webhooks. `slack` and `teams` take
only the forms that the incoming webhooks of these programs take.
"""

import base64
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, jsonify, request
from standardwebhooks import Webhook, WebhookVerificationError

_CARD = "application/vnd.microsoft.card.adaptive"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a receiver refuses a message: the status and the words it answers."""

    status: int
    words: str


@dataclass
class Receivers:
    """The endpoints of a run. `secret` is that of the stand-in; `standard` verifies with it.

    `hold` returns when the answer for a path may be sent.
    """

    secret: str
    hold: Callable[[str], None] = lambda _: None
    _arrived: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def signing_secret(self) -> str:
        """The secret in the form that the setting of an endpoint takes."""
        key = self.secret.encode()[:64].ljust(24, b"-")
        return f"whsec_{base64.b64encode(key).decode()}"

    def routes(self) -> Blueprint:
        """Return the routes below /sandbox, ready to be registered."""
        routes = Blueprint("receivers", __name__, url_prefix="/sandbox")
        for shape in _TAKES:
            routes.add_url_rule(
                f"/endpoints/{shape}",
                f"endpoint {shape}",
                self.receive,
                methods=["POST"],
                defaults={"shape": shape},
            )
        routes.add_url_rule("/posts", view_func=self.report)
        return routes

    def receive(self, shape: str) -> Response:
        """Take one message, or refuse it."""
        content = request.get_json(force=True, silent=True)
        found = content if isinstance(content, dict) else {}
        refusal = _TAKES[shape](found, self)
        with self._lock:
            self._arrived.append(
                {
                    "endpoint": shape,
                    "id": request.headers.get("webhook-id"),
                    "accepted": refusal is None,
                    "refusal": refusal.words if refusal else None,
                    "message": found,
                }
            )
        self.hold(request.path)
        if refusal is not None:
            return Response(refusal.words, refusal.status, content_type="text/plain")
        return Response("ok", 200, content_type="text/plain")

    def report(self) -> Response:
        """Return what arrived, in order."""
        with self._lock:
            return jsonify(list(self._arrived))

    def reset(self) -> None:
        """Forget what arrived."""
        with self._lock:
            self._arrived.clear()


def _standard(found: Mapping[str, Any], receivers: Receivers) -> Refusal | None:
    try:
        Webhook(receivers.signing_secret).verify(request.get_data(), dict(request.headers))
    except (WebhookVerificationError, ValueError):
        return Refusal(401, "the signature does not match")
    whole = isinstance(found.get("data"), dict) and {"type", "timestamp"} <= found.keys()
    return None if whole else Refusal(400, "not an event")


def _slack(found: Mapping[str, Any], _: Receivers) -> Refusal | None:
    if not isinstance(found.get("text"), str) or not found["text"]:
        return Refusal(400, "no_text")
    blocks = found.get("blocks", [])
    fits = isinstance(blocks, list) and all(
        isinstance(block, dict) and block.get("type") == "section" for block in blocks
    )
    return None if fits else Refusal(400, "invalid_blocks")


def _teams(found: Mapping[str, Any], _: Receivers) -> Refusal | None:
    attachments = found.get("attachments")
    if found.get("type") != "message" or not isinstance(attachments, list) or not attachments:
        return Refusal(400, "no attachments")
    cards = [one.get("content", {}) for one in attachments if one.get("contentType") == _CARD]
    fits = all(card.get("type") == "AdaptiveCard" and card.get("body") for card in cards)
    return None if cards and fits else Refusal(400, "no adaptive card")


_TAKES: Mapping[str, Callable[[Mapping[str, Any], Receivers], Refusal | None]] = {
    "standard": _standard,
    "slack": _slack,
    "teams": _teams,
}
