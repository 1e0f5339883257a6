"""The service reports what is wrong, and resumes by itself after it is fixed."""

import contextlib
import sqlite3
from pathlib import Path

import requests

from tests.e2e.house import House, living, open_house
from tests.servers.programs import wait_until

FINANCE = "Freelance Finance"


def _parts(house: House) -> dict[str, str]:
    found: dict[str, str] = requests.get(f"{house.url}/readyz", timeout=20).json()["parts"]
    return found


def _alive(house: House) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{house.url}/healthz", timeout=5).ok
    return False


def test_a_fixed_sign_in_drains_waiting_lookups_once_the_worker_is_restarted(
    tmp_path: Path,
) -> None:
    with living(tmp_path) as house:
        # Before anything runs: the webhook check signs in at once.
        house.sandbox.post(
            "/sandbox/faults",
            kind="answer",
            path="/api/token",
            status=400,
            body={"error": "invalid_grant"},
        )
        house.start("serve", "worker", "clock")
        wait_until(lambda: _alive(house), "the web server")
        house.sandbox.enrol("Joël", FINANCE)
        refused = "SELECT state, reason FROM lookups"
        wait_until(lambda: house.rows(refused) == [("waiting", "nexudus-refused")], "refused")
        assert "refuses our sign-in or rights" in _parts(house)["nexudus"]
        assert "1 record unread, nexudus-refused" in house.run("status").stdout
        assert '"lookup.ended"' in house.logs()
        house.sandbox.enrol("Zoë", FINANCE)
        wait_until(lambda: len(house.rows(refused)) == 2, "the second too")
        reads = house.sandbox.get("/sandbox/reads").json()
        assert reads["token_grants"] <= 2
        house.sandbox.web.delete(house.sandbox.addresses["api"] + "/sandbox/faults", timeout=5)
        house.end("worker")
        house.start("worker")
        house.wait_mails("joel", 1)
        house.wait_mails("zoe", 1)
        wait_until(lambda: _parts(house)["nexudus"] == "ok", "all well")


def test_an_unwritable_ledger_is_reported_by_readyz_and_in_the_log(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            answer = requests.get(f"{house.url}/readyz", timeout=30)
            status = house.run("status")
            refused = house.relay({"entity": "CourseMember", "id": 7})
            other.execute("ROLLBACK")
        assert (answer.status_code, refused.status_code) == (503, 503)
        assert "cannot be read or written" in answer.json()["parts"]["ledger"]
        assert "SQLITE_BUSY" not in answer.text
        assert "SQLITE_BUSY" in status.stdout
        assert "delivery.refused" in house.logs()
        wait_until(house.ready, "ready again")


def test_no_command_that_reads_creates_a_ledger(tmp_path: Path) -> None:
    with living(tmp_path) as house:
        house.environment["COURSEBELL_DATABASE_URL"] = f"sqlite:///{tmp_path}/elsewhere/none.db"
        for words in (("status",), ("why", "a@b.example"), ("tail", "--no-follow"), ("mode",)):
            asked = house.run(*words)
            assert asked.returncode == 2
            assert f"{tmp_path}/elsewhere/none.db" in asked.stderr
        house.start("serve", "worker", "clock")
        wait_until(lambda: house.logs().count("The ledger is not ready") == 3, "all three wait")
        assert not (tmp_path / "elsewhere").exists()
