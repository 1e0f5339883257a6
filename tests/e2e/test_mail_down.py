"""A wrong mail server: where it is seen, what to do, and that nothing is lost by it."""

import json
from pathlib import Path

import requests

from tests.e2e.house import House, living
from tests.servers.programs import wait_until
from workers.local.server import free_port


def mail_part(house: House) -> str:
    parts: dict[str, str] = requests.get(f"{house.url}/readyz", timeout=10).json()["parts"]
    return parts["mail"]


def test_a_wrong_port_is_reported_everywhere_and_its_fix_sends_waiting_emails(
    tmp_path: Path,
) -> None:
    wrong = f"smtp://127.0.0.1:{free_port()}?tls=none"
    with living(tmp_path, COURSEBELL_SMTP_URL=wrong) as house:
        house.start("serve", "worker", "clock")
        wait_until(house.ready, "the service ready")
        for name in ("Joël", "Zoë"):
            house.sandbox.enrol(name, "Freelance Finance")
        wait_until(lambda: not house.ready(), "not ready")
        assert "The mail server cannot be reached" in mail_part(house)
        assert "refused" not in mail_part(house)

        done = house.run("status")
        status = done.stdout
        assert done.returncode == 1
        assert status.startswith("Needs attention: no email can be sent.\n")
        assert "! no email can be sent since" in status
        assert "mail-unreachable" in status
        assert "connection refused" in status
        outage = json.loads(house.run("status", "--json").stdout)["outages"]["email"]
        assert (outage["reason"], outage["answer"]) == ("mail-unreachable", "connection refused")

        doctor = house.run("doctor", "--mail", "me@example.org")
        assert doctor.returncode == 1
        assert "-> Check host and port in COURSEBELL_SMTP_URL" in doctor.stdout
        assert "me@example.org" not in doctor.stdout + doctor.stderr

        house.environment["COURSEBELL_SMTP_URL"] = house.sandbox.addresses["smtp"]
        house.end("worker")
        house.start("worker")
        house.wait_mails("", 2)
        wait_until(lambda: mail_part(house) == "ok", "ready again")
        assert house.run("doctor", "--mail", "me@example.org").returncode == 0
        assert len(house.mails("me@example.org")) == 1
        worker_log = (tmp_path / "worker.log").read_text()
    assert worker_log.count('"mail.stopped"') == 1
    assert "example.org" not in worker_log
