"""Secrets, addresses and bodies stay out of logs, the broker, and what we keep."""

import base64
import json

import redis

from tests.e2e.house import HOOK_SECRET, NEVER_KEPT, RELAY_TOKEN, House
from tests.servers.programs import wait_until
from workers.queues import WORK


def test_logs_and_stored_data_have_no_secret_and_no_address(house: House) -> None:
    member = house.sandbox.enrol("Joël", "Freelance Finance")
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_mails("joel", 2)
    house.wait_idle()
    said = house.logs()
    assert "action.ended" in said
    for secret in (
        HOOK_SECRET,
        RELAY_TOKEN,
        "correct horse",
        house.broker.url.split("@")[0].split(":")[-1],
        "@example.org",
        "Núñez",
        NEVER_KEPT,
    ):
        assert secret not in said
    kept = b"".join(path.read_bytes() for path in house.folder.glob("ledger.db*"))
    assert NEVER_KEPT.encode() not in kept
    assert b"correct horse" not in kept


def test_a_message_holds_a_task_and_nothing_else(house: House) -> None:
    house.end("worker")
    house.end("clock")
    with redis.Redis.from_url(house.broker.url) as broker:
        house.sandbox.enrol("Joël", "Ceramics")
        wait_until(lambda: bool(_messages(broker)), "a message in the queue")
        messages = _messages(broker)
    for message in messages:
        sent = json.loads(message)
        assert sent["headers"]["task"] in {"lookup.drain", "outbox.sweep", "action.perform"}
        assert json.loads(base64.b64decode(sent["body"]))[:2] == [[], {}]


def test_addresses_are_shortened_unless_requested(house: House) -> None:
    result = house.run("why", "JOEL.nunez@example.org")
    assert "j***@example.org" in result.stdout
    assert "joel.nunez" not in result.stdout
    whole = house.run("why", "joel.nunez@example.org", "--show-addresses")
    assert "joel.nunez@example.org" in whole.stdout


def _messages(broker: redis.Redis) -> list[bytes]:
    found: list[bytes] = broker.lrange(f"coursebell:{WORK}", 0, -1)  # type: ignore[assignment]
    return found
