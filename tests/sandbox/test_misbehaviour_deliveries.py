"""The switches about deliveries, taken by a real server on loopback."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.records import FIRST_LOCATION_ID
from tests.sandbox.sandbox_rig import SECRET, Receiver, Running, receiving, running, until
from tests.sandbox.switch_rig import switched

OTHER_LOCATION_ID = 1_416_000_003


@pytest.fixture(scope="module")
def listening() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def telling(listening: Receiver) -> Iterator[Running]:
    with running("--deliver-to", listening.url, "--retry-after", "0.001") as found:
        yield found


@pytest.fixture
def receiver(telling: Running, listening: Receiver) -> Receiver:
    _wait_until_told(telling)
    listening.received.clear()
    return listening


def _wait_until_told(sandbox: Running) -> None:
    until(
        lambda: all(
            hook["waiting"] == 0 for hook in sandbox.get("/sandbox/deliveries").json()["hooks"]
        )
    )


def _enrol_once(sandbox: Running, name: str, title: str = "Ceramics") -> int:
    member = sandbox.enrol(name, title)
    _wait_until_told(sandbox)
    return member


def test_nobody_may_be_told(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "no-deliveries"):
        _enrol_once(telling, "Joël", "Finance")
    assert receiver.received == []
    member = _enrol_once(telling, "Joël")
    assert [one.record()["Id"] for one in receiver.received] == [member]


def test_everything_can_be_told_twice(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "duplicate-deliveries", times_each=3):
        _enrol_once(telling, "Zoë", "Finance")
    assert len(receiver.received) == 3
    assert len({one.body for one in receiver.received}) == 1


def test_what_happened_can_be_told_later(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "late-deliveries", seconds=0.2, jitter=0.1):
        member = telling.enrol("Zoë", "Ceramics")
        _wait_until_told(telling)
    told_at = datetime.now(UTC)
    [one] = receiver.received
    assert one.record()["Id"] == member
    assert told_at - datetime.fromisoformat(one.record()["CreatedOn"]) > timedelta(seconds=0.2)


def test_what_happened_together_can_be_told_backwards(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "out-of-order-deliveries", together=3, seconds=20):
        telling.enrol("Siobhán", "Ceramics", deliver=False)
        made = [telling.enrol(name, "Finance") for name in ("ليلى", "נועה", "Mara")]
        _wait_until_told(telling)
    assert [one.record()["Id"] for one in receiver.received] == made[::-1]


def test_a_delivery_can_be_a_bare_record(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "bare-object-deliveries"):
        member = _enrol_once(telling, "Siobhán", "Finance")
    assert json.loads(receiver.received[0].body)["Id"] == member


def test_moments_can_be_local_and_claim_not_to_be(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "local-times-in-deliveries", zone="Asia/Dubai"):
        telling.enrol("Tomasz", "Finance", at="2026-01-05T10:00:00Z")
        _wait_until_told(telling)
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
    telling: Running, receiver: Receiver, form: str, person: str
) -> None:
    with switched(telling, "signature-form", form=form):
        _enrol_once(telling, person, "للمبتدئين")
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


def test_only_one_location_may_be_told_of(telling: Running, receiver: Receiver) -> None:
    with switched(telling, "hooks-for-one-location", business_id=OTHER_LOCATION_ID):
        _enrol_once(telling, "Ada", "Finance")
        member = _enrol_once(telling, "Ada", "للمبتدئين")
        telling.post("/sandbox/finish-lesson", course_member_id=member)
        _wait_until_told(telling)
    assert {one.record().get("CourseMemberId", member) for one in receiver.received} == {member}
    assert len(receiver.received) == 3
    assert FIRST_LOCATION_ID != OTHER_LOCATION_ID
