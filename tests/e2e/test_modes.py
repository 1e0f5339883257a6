"""Nothing is sent before an operator starts sending, and the past is never emailed about."""

import json
from datetime import UTC, datetime
from pathlib import Path

from tests.e2e.house import House, open_house
from tests.servers.programs import wait_until

FINANCE = "Freelance Finance"


def _actions(house: House) -> list[tuple[str, str | None]]:
    return house.rows("SELECT state, reason FROM actions ORDER BY id")


def test_observe_composes_everything_sends_nothing_and_the_past_stays_unsent(
    tmp_path: Path,
) -> None:
    with open_house(tmp_path, COURSEBELL_MODE="observe") as house:
        member = house.sandbox.enrol("Joël", FINANCE)
        wait_until(lambda: _actions(house) == [("held", "observe")], "held")
        assert house.rows("SELECT title FROM copies") == [("You're in: Freelance Finance",)]
        assert house.run("mode").stdout.startswith("observe")
        shown = house.run("show", "1").stdout
        assert "Subject:    You're in: Freelance Finance" in shown
        assert "\n\nHello Joël,\n" in shown

        started = house.run("mode", "sending", "--json")
        started_at = datetime.fromisoformat(json.loads(started.stdout)["sending_started_at"])
        house.sandbox.post("/sandbox/enrol", **_ids(house, "Zoë"), at="2026-11-01T09:00:00Z")
        wait_until(
            lambda: house.rows("SELECT reason FROM events ORDER BY id")[1:] == [("before-start",)],
            "the old enrolment distinguished",
        )
        # Nexudus writes whole seconds: what happens in the second of the start counts as before it.
        wait_until(
            lambda: datetime.now(UTC).replace(microsecond=0) > started_at, "the next whole second"
        )
        house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
        house.wait_mails("joel", 1)
        house.wait_idle()
        assert house.subjects("joel") == ["You looked at “What you keep”"]
        assert house.mails("zoe") == []
        assert _actions(house)[0] == ("held", "before-start")


def test_sending_is_refused_without_a_mail_server(tmp_path: Path) -> None:
    with open_house(tmp_path, COURSEBELL_MODE="observe", COURSEBELL_SMTP_URL="") as house:
        refused = house.run("mode", "sending")
        assert refused.returncode == 2
        assert "COURSEBELL_SMTP_URL" in refused.stderr
        assert house.run("mode").stdout.startswith("observe")


def _ids(house: House, name: str) -> dict[str, int]:
    return {"course_id": house.sandbox.course(FINANCE), "coworker_id": house.sandbox.person(name)}
