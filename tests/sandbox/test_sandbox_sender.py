"""The stand-in's deliveries to a real server on loopback, and their signatures."""

import hashlib
import hmac
import json
import re
from typing import Any

from sandbox.sender import ascii_folded, signature
from tests.sandbox.sandbox_rig import SECRET, Receiver, Running, until

MEMBER_HOOK = "/hooks/nexudus/course-members"
COMPLETED_HOOK = "/hooks/nexudus/course-completed-lessons"


def _folded(text: str) -> bytes:
    # Written the other way round than in the sandbox: by character, not by unit.
    return "".join(
        character if character < "\x80" else "??" if character > "\uffff" else "?"
        for character in text
    ).encode("ascii")


def _hook(sandbox: Running, entity: str) -> dict[str, Any]:
    hooks = sandbox.get("/sandbox/deliveries").json()["hooks"]
    [found] = [hook for hook in hooks if hook["entity"] == entity]
    assert isinstance(found, dict)
    return found


def test_an_enrolment_is_delivered_signed_over_its_folded_text(
    sandbox: Running, receiver: Receiver
) -> None:
    member_id = sandbox.enrol("Zoë", "Ceramics")
    until(lambda: len(receiver.received) == 1)
    [delivery] = receiver.received
    text = delivery.body.decode("utf-8")
    expected = hmac.new(_folded(SECRET), _folded(text), hashlib.sha256).hexdigest().upper()
    assert delivery.path == MEMBER_HOOK
    assert delivery.content_type == "application/json; charset=utf-8"
    assert delivery.signature == expected
    # Written as the real serialiser writes: compact, and nothing escaped.
    assert '"CoworkerFullName":"Zoë 🎓 Brandt"' in text
    assert json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) == text
    assert delivery.record()["Id"] == member_id


def test_a_moment_has_seven_digits_when_delivered_and_none_when_read(
    sandbox: Running, receiver: Receiver
) -> None:
    member_id = sandbox.enrol("Joël", "Finance")
    until(lambda: len(receiver.received) == 1)
    delivered = receiver.received[0].record()["CreatedOn"]
    sandbox.sign_in()
    read = sandbox.get(f"/api/content/coursemembers/{member_id}").json()["CreatedOn"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", delivered)
    assert read == delivered[:19] + "Z"


def test_a_finished_lesson_has_two_deliveries_one_for_each_record(
    sandbox: Running, receiver: Receiver
) -> None:
    member_id = sandbox.enrol("Joël", "Finance", deliver=False)
    done = sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    until(lambda: len(receiver.received) == 2)
    delivered = {one.path: one.record()["Id"] for one in receiver.received}
    assert delivered == {COMPLETED_HOOK: done["completed_lesson_id"], MEMBER_HOOK: member_id}


def test_a_failed_delivery_is_repeated_until_it_succeeds(
    sandbox: Running, receiver: Receiver
) -> None:
    receiver.status = 503
    member_id = sandbox.enrol("Joël", "Finance")
    until(lambda: len(receiver.received) >= 2)
    receiver.status = 202
    until(lambda: _hook(sandbox, "CourseMember")["waiting"] == 0)
    hook = _hook(sandbox, "CourseMember")
    assert (hook["active"], hook["error_count"]) == (True, 0)
    log = sandbox.get("/sandbox/deliveries").json()["deliveries"]
    assert {(one["entity"], one["id"]) for one in log} == {("CourseMember", member_id)}
    assert [one["attempt"] for one in log] == list(range(1, len(log) + 1))
    assert log[-1]["status"] == 202
    assert len({one.signature for one in receiver.received}) == 1


def test_ten_failures_in_a_row_switch_a_webhook_off_until_a_person_switches_it_on(
    sandbox: Running, receiver: Receiver
) -> None:
    receiver.status = 401
    sandbox.enrol("Joël", "Finance")
    until(lambda: not _hook(sandbox, "CourseMember")["active"])
    receiver.status = 202
    sandbox.enrol("Zoë", "Finance")
    until(lambda: _hook(sandbox, "CourseMember")["waiting"] == 0)
    assert len(receiver.received) == 10
    assert _hook(sandbox, "CourseMember")["last_error"] == "HTTP 401"
    assert _hook(sandbox, "CourseCompletedLesson")["active"]
    page = sandbox.get("/").text
    assert "Enrolment: switched off." in page
    sandbox.web.post(
        sandbox.addresses["page"] + "switch-on", data={"entity": "CourseMember"}, timeout=10
    )
    assert _hook(sandbox, "CourseMember")["active"]
    sandbox.enrol("Mara", "Finance")
    until(lambda: len(receiver.received) == 11)


def test_a_delivery_can_be_repeated_and_its_answers_seen(
    sandbox: Running, receiver: Receiver
) -> None:
    member_id = sandbox.enrol("Joël", "Finance", deliver=False)
    ids = {"entity": "CourseMember", "id": member_id}
    assert sandbox.post("/sandbox/deliver", **ids, times=3) == {"statuses": [202, 202, 202]}
    assert len({one.body for one in receiver.received}) == 1
    sandbox.post("/sandbox/delete", **ids)
    assert sandbox.post("/sandbox/deliver", **ids) == {"statuses": [202]}


def test_a_change_can_be_made_without_a_delivery(sandbox: Running, receiver: Receiver) -> None:
    member_id = sandbox.enrol("Joël", "Finance", deliver=False)
    sandbox.post("/sandbox/finish-course", course_member_id=member_id, deliver=False)
    sandbox.enrol("Zoë", "Finance")
    until(lambda: len(receiver.received) == 1)
    assert receiver.received[0].record()["CoworkerFullName"] == "Zoë 🎓 Brandt"
    # The receiver has it a moment before the answer is written down.
    until(lambda: len(sandbox.get("/sandbox/deliveries").json()["deliveries"]) == 1)


def test_an_accent_is_one_question_mark_and_an_emoji_two() -> None:
    assert ascii_folded("Zoë 🎓 ليلى") == b"Zo? ?? ????"


def test_pure_ascii_is_signed_as_it_stands() -> None:
    # RFC 4231 has no ASCII pair of this length; this one is the widely printed example.
    expected = "F7BC83F430538424B13298E6AA6FB143EF4D59A14946175997479DBC2D1A3CD8"
    assert signature("key", "The quick brown fox jumps over the lazy dog") == expected


def test_a_key_with_an_accent_is_folded_like_the_text() -> None:
    expected = hmac.new(b"p?ss ??", b'[{"N":"Zo? ??"}]', hashlib.sha256).hexdigest().upper()
    assert signature("päss 🔑", '[{"N":"Zoë 🎓"}]') == expected
