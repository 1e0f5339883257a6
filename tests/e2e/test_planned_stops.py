"""The worker is stopped or killed while it sends: nothing is unknown, lost or repeated.

`make stops` stops it more often.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.world import CROWD_COURSE_ID, CROWD_PERSON_ID
from tests.doubles.scripted_smtp import SILENCE, ScriptedSmtp
from tests.doubles.slow_smtp import SlowSmtp
from tests.e2e.house import House, living
from tests.servers.programs import wait_until

STOPS = int(os.environ.get("COURSEBELL_TEST_STOPS", "3"))
COURSE = "Freelance Finance"


def states(house: House) -> dict[str, int]:
    """Return how many actions there are in each state."""
    return dict(house.rows("SELECT state, count(*) FROM actions GROUP BY state"))


def enrol_many(house: House, number: int) -> None:
    """Have so many emails to send."""
    for person in range(number):
        ids = {"course_id": CROWD_COURSE_ID, "coworker_id": CROWD_PERSON_ID + person}
        house.sandbox.post("/sandbox/enrol", **ids)


@pytest.mark.timeout(180 + 20 * STOPS)
def test_a_worker_stopped_while_it_sends_leaves_nothing_unknown(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    emails = 3 * STOPS
    seed = tmp_path / "seed.yaml"
    seed.write_text(f"crowd: {{people: {emails}, courses: 1, lessons: 1, enrolments: 0}}\n")
    settings = {
        "COURSEBELL_LEASE_S": "30",
        "COURSEBELL_NEXUDUS_LIMITS": "1000/second;100000/minute",
    }
    with (
        SlowSmtp(0.2) as smtp,
        living(tmp_path, seed=str(seed), COURSEBELL_SMTP_URL=smtp.url, **settings) as house,
    ):
        house.start("serve", "clock", "worker")
        wait_until(house.ready, "the service ready")
        enrol_many(house, emails)
        stops = 0
        while stops < STOPS:
            wait_until(lambda: smtp.open > 0, f"an email on its way; {house.tail()}")
            house.end("worker")
            stops += 1
            found = states(house)
            assert not {"performing", "unknown", "failed"} & found.keys(), found
            house.start("worker")
        smtp.delay_s = 0.0
        house.wait_idle()
        found = states(house)
    record_property("figure", f"{stops} planned stops: {len(smtp.taken)} sent, states {found}")
    assert (stops, len(smtp.taken)) == (STOPS, emails)
    assert found.keys() <= {"done"}
    assert len(smtp.taken) == len(set(smtp.taken)) == found["done"]


def test_a_slow_mail_server_leaves_a_child_for_everything_else(tmp_path: Path) -> None:
    with SlowSmtp(3.0) as smtp, living(tmp_path, COURSEBELL_SMTP_URL=smtp.url) as house:
        house.start("serve", "worker", "clock")
        wait_until(house.ready, "the service ready")
        house.sandbox.enrol("Joël", COURSE)
        wait_until(lambda: smtp.open > 0, f"an email on its way; {house.tail()}")
        house.sandbox.enrol("Zoë", COURSE)
        in_all = "SELECT count(*) FROM lookups WHERE state = 'done'"
        wait_until(lambda: house.rows(in_all) == [(2,)], "both looked up")
        wait_until(lambda: len(smtp.taken) > 0, "the first email taken")
        assert smtp.most_open == 1


def test_a_worker_killed_before_the_final_dot_leaves_an_email_that_is_sent_again(
    tmp_path: Path,
) -> None:
    with ScriptedSmtp({"DATA": SILENCE}) as smtp:
        url = f"smtp://127.0.0.1:{smtp.port}?tls=none"
        with living(tmp_path, COURSEBELL_SMTP_URL=url) as house:
            house.start("serve", "worker", "clock")
            wait_until(house.ready, "the service ready")
            house.sandbox.enrol("Joël", COURSE)
            wait_until(lambda: any("DATA" in one.upper() for one in smtp.commands), "DATA")
            house.end("worker", signal.SIGKILL)
            smtp.script.clear()
            house.start("worker")
            wait_until(lambda: len(smtp.texts) > 0, f"sent again; {house.tail()}")
            wait_until(lambda: states(house) == {"done": 1}, "done")
            tries = house.rows("SELECT outcome, reason FROM attempts ORDER BY id")
        assert tries == [("waiting", "mail-interrupted"), ("done", None)]
        assert len(smtp.texts) == 1
