"""Without notifications, polling finds every change once."""

import signal
from pathlib import Path

from tests.e2e.house import living
from tests.servers.programs import wait_until

FINANCE = "Freelance Finance"
CERAMICS = "Ceramics"


def test_without_notifications_every_new_event_is_emailed_about_and_no_old_one(
    tmp_path: Path,
) -> None:
    with living(tmp_path, COURSEBELL_CHECK_EVERY_S="1") as house:
        house.sandbox.post("/sandbox/misbehaviours", name="no-deliveries", on=True)
        old = house.sandbox.enrol("Joël", FINANCE)
        house.sandbox.post("/sandbox/finish-lesson", course_member_id=old)
        house.start("serve", "worker", "clock")
        # Two schedulers wake workers, and only one poll runs at a time.
        second = house.processes.pop("clock")
        house.start("clock")
        house.processes["second clock"] = second
        seen = "SELECT 1 FROM checks WHERE kind = 'baseline' AND ended_at IS NOT NULL"
        wait_until(lambda: len(house.rows(seen)) == 2, f"the baseline of both;  {house.tail()}")
        house.wait_idle()
        assert house.mails() == []
        assert house.rows("SELECT count(*) FROM lookups") == [(0,)]
        assert house.rows(
            "SELECT DISTINCT suppressed_reason FROM records WHERE seen_at IS NOT NULL"
        ) == [("before-start",)]

        member = house.sandbox.enrol("Zoë", CERAMICS)
        house.wait_mails("zoe", 1)
        house.end("worker", signal.SIGKILL)  # in the middle of whatever it was at
        house.sandbox.post("/sandbox/finish-lesson", course_member_id=old)
        house.start("worker")
        house.wait_mails("joel", 1)
        house.sandbox.post("/sandbox/finish-course", course_member_id=member)
        house.wait_mails("zoe", 2)
        house.wait_idle()
        assert [subject.partition(" ")[0] for subject in house.subjects("joel")] == ["You"]
        assert len(house.subjects("zoe")) == 2
        origins = house.rows("SELECT DISTINCT origin FROM notifications")
        assert origins == [("check",)]
