"""The switches about deliveries, taken by a real server on loopback."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.sandbox.sandbox_rig import SECRET, Receiver, Running, wait_until_delivered
from tests.sandbox.switch_rig import switched

OTHER_LOCATION_ID = 1_416_000_003


def _enrol_once(sandbox: Running, name: str, title: str = "Ceramics") -> int:
    member = sandbox.enrol(name, title)
    wait_until_delivered(sandbox)
    return member


def test_deliveries_can_be_off(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "no-deliveries"):
        _enrol_once(sandbox, "Joël", "Finance")
    assert receiver.received == []
    member = _enrol_once(sandbox, "Joël")
    assert [one.record()["Id"] for one in receiver.received] == [member]


def test_changes_can_be_delivered_more_than_once(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "duplicate-deliveries", times_each=3):
        _enrol_once(sandbox, "Zoë", "Finance")
    assert len(receiver.received) == 3
    assert len({one.body for one in receiver.received}) == 1


def test_changes_can_be_delivered_late(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "late-deliveries", seconds=0.2, jitter=0.1):
        member = sandbox.enrol("Zoë", "Ceramics")
        wait_until_delivered(sandbox)
    delivered_at = datetime.now(UTC)
    [one] = receiver.received
    assert one.record()["Id"] == member
    assert delivered_at - datetime.fromisoformat(one.record()["CreatedOn"]) > timedelta(seconds=0.2)


def test_changes_can_be_delivered_in_reverse_order(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "out-of-order-deliveries", together=3, seconds=20):
        sandbox.enrol("Siobhán", "Ceramics", deliver=False)
        made = [sandbox.enrol(name, "Finance") for name in ("ليلى", "נועה", "Mara")]
        wait_until_delivered(sandbox)
    assert [one.record()["Id"] for one in receiver.received] == made[::-1]


def test_a_delivery_can_be_a_bare_record(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "bare-object-deliveries"):
        member = _enrol_once(sandbox, "Siobhán", "Finance")
    assert json.loads(receiver.received[0].body)["Id"] == member


def test_times_can_be_local_and_marked_as_utc(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "local-times-in-deliveries", zone="Asia/Dubai"):
        sandbox.enrol("Tomasz", "Finance", at="2026-01-05T10:00:00Z")
        wait_until_delivered(sandbox)
    created = receiver.received[0].record()["CreatedOn"]
    assert (created[:19], created[-1]) == ("2026-01-05T14:00:00", "Z")


@pytest.mark.parametrize(
    ("form", "person"),
    [
        ("raw", "Joël"),
        ("utf16-units", "Zoë"),
        ("code-points", "ليلى"),
        ("lower-case", "נועה"),
        ("wrong", "Mara"),
        ("none", "Siobhán"),
    ],
)
def test_a_signature_has_many_forms(
    sandbox: Running, receiver: Receiver, form: str, person: str
) -> None:
    with switched(sandbox, "signature-form", form=form):
        _enrol_once(sandbox, person, "للمبتدئين")
    [one] = receiver.received
    text = one.body.decode()

    def signed(key: bytes, said: bytes) -> str:
        return hmac.new(key, said, hashlib.sha256).hexdigest().upper()

    def folded(said: str) -> bytes:
        return "".join(
            letter if letter < "\x80" else "??" if letter > "\uffff" else "?" for letter in said
        ).encode("ascii")

    expected = {
        "raw": signed(SECRET.encode(), text.encode()),
        "utf16-units": signed(folded(SECRET), folded(text)),
        "code-points": signed(SECRET.encode("ascii", "replace"), text.encode("ascii", "replace")),
        "lower-case": signed(folded(SECRET), folded(text)).lower(),
        "none": "",
    }
    if form == "wrong":
        assert one.signature not in expected.values()
        assert len(one.signature) == 64
    else:
        assert one.signature == expected[form]


def test_only_one_location_may_be_delivered(sandbox: Running, receiver: Receiver) -> None:
    with switched(sandbox, "hooks-for-one-location", business_id=OTHER_LOCATION_ID):
        _enrol_once(sandbox, "Ada", "Finance")
        member = _enrol_once(sandbox, "Ada", "للمبتدئين")
        sandbox.post("/sandbox/finish-lesson", course_member_id=member)
        wait_until_delivered(sandbox)
    assert {one.record().get("CourseMemberId", member) for one in receiver.received} == {member}
    assert len(receiver.received) == 3
