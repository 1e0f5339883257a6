"""The stand-in's endpoints take what the real programs take, and say what they refuse."""

import json

import pytest
import requests
from standardwebhooks import Webhook

from ledger.clock import SYSTEM_CLOCK
from sandbox.receivers import Receivers
from tests.sandbox.sandbox_rig import SECRET, Running

EVENT = {"type": "course.completed", "timestamp": "2026-03-03T12:00:00Z", "data": {}}
CARD = {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "Hello"}]}
ATTACHMENT = {"contentType": "application/vnd.microsoft.card.adaptive", "content": CARD}


def posted(
    sandbox: Running, shape: str, message: object, headers: dict[str, str] | None = None
) -> requests.Response:
    address = f"{sandbox.addresses['api']}/sandbox/endpoints/{shape}"
    return sandbox.web.post(address, data=json.dumps(message), headers=headers, timeout=20)


def signed(message: object, secret: str) -> dict[str, str]:
    now = SYSTEM_CLOCK.now()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, json.dumps(message)),
    }


def test_a_signed_event_is_taken_and_listed(silent_sandbox: Running) -> None:
    ours = Receivers(SECRET).signing_secret
    right, wrong = signed(EVENT, ours), signed(EVENT, Receivers("another").signing_secret)
    taken = [
        posted(silent_sandbox, "standard", EVENT, headers).status_code
        for headers in (right, wrong, None)
    ]
    assert taken == [200, 401, 401]
    listed = silent_sandbox.get("/sandbox/posts").json()
    assert [(one["id"], one["accepted"]) for one in listed] == [
        ("msg_1", True),
        ("msg_1", False),
        (None, False),
    ]
    assert listed[0]["message"] == EVENT


@pytest.mark.parametrize(
    ("shape", "message", "answer"),
    [
        ("slack", {"text": "Hello", "blocks": [{"type": "section"}]}, (200, "ok")),
        ("slack", {"text": ""}, (400, "no_text")),
        ("slack", {"text": "a", "blocks": [7]}, (400, "invalid_blocks")),
        ("teams", {"type": "message", "attachments": [ATTACHMENT]}, (200, "ok")),
        ("teams", {"text": "Hello"}, (400, "no attachments")),
        ("teams", {"type": "message", "attachments": [{}]}, (400, "no adaptive card")),
    ],
)
def test_a_chat_takes_its_own_form_only(
    silent_sandbox: Running, shape: str, message: object, answer: tuple[int, str]
) -> None:
    found = posted(silent_sandbox, shape, message)
    assert (found.status_code, found.text) == answer
