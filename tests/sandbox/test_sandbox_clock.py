"""The clock of the stand-in's world can be set, and dates everything made there."""

import json
from datetime import UTC, datetime, timedelta

from tests.sandbox.sandbox_rig import Receiver, Running, until
from tests.sandbox.switch_rig import COMPLETED, MEMBERS, rows

NINE = "2026-03-02T09:00:00Z"
CLOCK = "/sandbox/clock"


def test_the_clock_can_be_set_and_run_again(shared: Running) -> None:
    assert shared.get(CLOCK).json()["real"] is True
    assert shared.post(CLOCK, now="2026-03-02T10:00:00+01:00") == {"now": NINE, "real": False}
    assert shared.get(CLOCK).json() == {"now": NINE, "real": False}
    found = shared.post(CLOCK, real=True)
    age = datetime.now(UTC) - datetime.fromisoformat(found["now"])
    assert found["real"] is True
    assert abs(age) < timedelta(minutes=1)


def test_a_request_without_a_time_changes_nothing(shared: Running) -> None:
    shared.post(CLOCK, now=NINE)
    for fields in ({}, {"now": "noon"}, {"real": False}, {"real": 1}):
        address = shared.addresses["api"] + CLOCK
        assert shared.web.post(address, json=fields, timeout=20).status_code == 400
    assert shared.get(CLOCK).json()["now"] == NINE
    shared.post(CLOCK, real=True)


def test_records_are_dated_by_the_clock_or_by_the_request(
    silent_sandbox: Running,
) -> None:
    def times(path: str, record_id: int) -> tuple[str, str]:
        record = silent_sandbox.get(f"{path}/{record_id}").json()
        return record["CreatedOn"], record["UpdatedOn"]

    silent_sandbox.post(CLOCK, now=NINE)
    member_id = silent_sandbox.enrol("Joël", "Finance")
    assert times(MEMBERS, member_id) == (NINE, NINE)
    silent_sandbox.post(CLOCK, now="2026-03-03T09:00:00Z")
    done = silent_sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    assert times(COMPLETED, done["completed_lesson_id"])[0] == "2026-03-03T09:00:00Z"
    assert times(MEMBERS, member_id) == (NINE, "2026-03-03T09:00:00Z")
    silent_sandbox.post(CLOCK, now="2026-03-04T09:00:00Z")
    fields = {"Blocked": True}
    silent_sandbox.post("/sandbox/change", entity="CourseMember", id=member_id, fields=fields)
    assert times(MEMBERS, member_id) == (NINE, "2026-03-04T09:00:00Z")
    at = "2026-02-20T09:00:00Z"
    early = silent_sandbox.enrol("Zoë", "Finance", at=at)
    assert times(MEMBERS, early) == (at, at)


def test_the_last_call_of_a_webhook_is_dated_by_the_clock(
    sandbox: Running, receiver: Receiver
) -> None:
    sandbox.sign_in()
    sandbox.post(CLOCK, now=NINE)
    sandbox.enrol("Joël", "Finance")

    def called() -> list[str | None]:
        url = f"{receiver.url}/hooks/nexudus/course-members"
        return [row["LastTrigger"] for row in rows(sandbox, "/api/sys/webhooks", WebHook_URL=url)]

    until(lambda: called() == [NINE])
    assert json.loads(receiver.received[0].body)[0]["CreatedOn"].startswith("2026-03-02T09:00:00.")


def test_a_token_lives_in_real_time(silent_sandbox: Running) -> None:
    silent_sandbox.post(CLOCK, now="2036-01-01T00:00:00Z")
    assert silent_sandbox.get(MEMBERS).status_code == 200


def test_a_reset_lets_the_clock_run_again(silent_sandbox: Running) -> None:
    silent_sandbox.post(CLOCK, now=NINE)
    silent_sandbox.post("/sandbox/reset")
    assert silent_sandbox.get(CLOCK).json()["real"] is True


def test_a_range_of_time_counts_in_minutes_and_includes_both_ends(silent_sandbox: Running) -> None:
    for person, minute in (("Joël", 0), ("Zoë", 5), ("Jonas", 10)):
        at = f"2026-03-02T09:{minute:02}:00Z"
        silent_sandbox.enrol(person, "Finance", at=at)

    def found(**question: str) -> list[str]:
        return [row["CreatedOn"][14:16] for row in rows(silent_sandbox, MEMBERS, **question)]

    for field in ("CreatedOn", "UpdatedOn"):
        since, upto = f"from_CourseMember_{field}", f"to_CourseMember_{field}"
        assert found(**{upto: "2026-03-02T09:05"}) == ["00", "05"]
        assert found(**{upto: "2026-03-02T09:04"}) == ["00"]
        assert found(**{since: "2026-03-02T09:05", upto: "2026-03-02T09:05"}) == ["05"]
        assert found(**{since: "2026-03-02T09:05:59Z"}) == ["05", "10"]
    silent_sandbox.enrol("Siobhán", "Finance", at="2026-03-02T09:10:30Z")
    assert found(to_CourseMember_CreatedOn="2026-03-02T09:10") == ["00", "05", "10"]
