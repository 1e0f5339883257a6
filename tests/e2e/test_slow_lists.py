"""Upkeep that waits for Nexudus delays no email."""

from pathlib import Path

from tests.e2e.house import living
from tests.servers.programs import wait_until


def test_an_email_is_sent_while_a_poll_and_a_webhook_check_wait_for_slow_lists(
    tmp_path: Path,
) -> None:
    with living(tmp_path, COURSEBELL_CHECK_EVERY_S="300", COURSEBELL_WORKERS="2") as house:
        # Once, because an email reads the lessons of its member below the same path.
        lessons, webhooks = "/api/content/coursecompletedlessons", "/api/sys/webhooks"
        house.sandbox.post("/sandbox/faults", kind="hold", path=lessons, times=1)
        house.sandbox.post("/sandbox/faults", kind="hold", path=webhooks)
        house.start("serve", "clock")
        wait_until(lambda: bool(house.rows("SELECT 1 FROM heartbeats")), "the scheduler runs")
        house.start("worker")
        wait_until(
            lambda: house.sandbox.get("/sandbox/holding").json()["holding"] == 2,
            "a poll and a webhook round that wait for a list",
        )

        house.sandbox.enrol("Joël", "Freelance Finance")
        house.wait_mails("joel", 1)

        running = house.rows("SELECT kind, pages, reason FROM checks WHERE ended_at IS NULL")
        assert sorted(running) == [("baseline", 0, None), ("guard", 0, None)]
        house.sandbox.post("/sandbox/faults/release")
