"""Whatever reaches the receiver is answered as promised, and never with a 500."""

import hashlib
import hmac
import json

import pytest

from tests.e2e.house import HOOK_SECRET, RELAY_TOKEN, House

HOOKS = (
    "/hooks/nexudus/course-members",
    "/hooks/nexudus/course-completed-lessons",
    "/hooks/nexudus",
)
BAD_IDS = ["7.0", "-7", "0", "null", "true", '"\\u0667"', '" 7 "', str(2**63), '"7_0"', "{}", "[7]"]
UNREADABLE = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b"7",
    b'"text"',
    b"null",
    b"[]",
    b"[[]]",
    b"[" * 100_000,
    b'{"Id": ' + b"9" * 5000 + b"}",
    b'[{"NoId": 1}]',
    *(b'[{"Id": ' + bad.encode() + b"}]" for bad in BAD_IDS),
]


def signed(body: bytes) -> dict[str, str]:
    digest = hmac.new(HOOK_SECRET.encode(), body, hashlib.sha256).hexdigest().upper()
    return {"X-Nexudus-Hook-Signature": digest}


@pytest.mark.parametrize("route", HOOKS)
def test_an_authentic_unreadable_delivery_is_stored_and_answered_2xx(
    house: House, route: str
) -> None:
    before = house.rows("SELECT count(*) FROM deliveries WHERE error IS NOT NULL")[0][0]
    for body in UNREADABLE:
        answer = house.post(route, body, signed(body))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 0}), body[:40]
    after = house.rows("SELECT count(*) FROM deliveries WHERE error IS NOT NULL")[0][0]
    assert after - before == len(UNREADABLE)


def test_unreadable_on_the_relay_route_is_400_with_the_fields(house: House) -> None:
    headers = {"Authorization": f"Bearer {RELAY_TOKEN}"}
    for bad in BAD_IDS:
        body = f'{{"entity": "CourseMember", "id": {bad}}}'.encode()
        answer = house.post("/hooks/relay", body, headers)
        assert answer.status_code == 400, bad
        assert "id" in answer.json()["fields"]["0"]
    wrong = {"entity": "Booking", "id": 7, "why": "?"}
    answer = house.post("/hooks/relay", json.dumps(wrong).encode(), headers)
    assert set(answer.json()["fields"]["0"]) == {"entity", "why"}


def test_a_relay_without_its_token_is_401(house: House) -> None:
    body = b'{"entity": "CourseMember", "id": 7}'
    for shown in (None, "Bearer", "Bearer wrong", f"Basic {RELAY_TOKEN}", "Bearer \xe9"):
        headers = {} if shown is None else {"Authorization": shown}
        assert house.post("/hooks/relay", body, headers).status_code == 401


def test_an_entity_we_do_not_follow_is_kept_and_not_read(house: House) -> None:
    for query in ("?resource=Booking", ""):
        body = b'[{"Id": 7, "FloorPlanDeskId": 3}]'
        answer = house.post(f"/hooks/nexudus{query}", body, signed(body))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert (None, 7) in house.rows("SELECT entity, record_id FROM notifications")
    assert house.rows("SELECT 1 FROM lookups WHERE record_id = 7") == []


def test_a_lookup_of_a_gone_record_ends_as_done(house: House) -> None:
    house.relay({"entity": "CourseMember", "id": 4_000_000_000_000})
    house.wait_idle()
    assert house.rows("SELECT state FROM lookups WHERE record_id = 4000000000000") == [("done",)]


def test_other_methods_and_paths_are_refused_in_json(house: House) -> None:
    assert house.post("/nowhere", b"").status_code == 404
    assert house.post("/healthz", b"").status_code == 405
    assert house.post("/healthz", b"").json() == {"error": "method not allowed"}


def test_no_internal_error_occurred(house: House) -> None:
    assert "Traceback" not in house.logs()
    assert "fault" not in house.logs()
