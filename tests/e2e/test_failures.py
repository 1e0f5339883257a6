"""Kills and outages: nothing accepted is lost, and nothing is repeated."""

import contextlib
import json
import signal
import sqlite3
import threading
from pathlib import Path

import psutil
import redis
import requests

from tests.doubles.silent_smtp import silent_smtp
from tests.e2e.house import House, living, open_house
from tests.e2e.test_input import signed
from tests.servers.programs import wait_until

# Where a house is shared, each test has a person and a course to itself.
FINANCE, CERAMICS = "Freelance Finance", "Ceramics"


def test_a_worker_killed_between_fetch_and_commit_loses_and_repeats_nothing(house: House) -> None:
    house.sandbox.post("/sandbox/faults", kind="hold", path="/api/spaces/coworkers")
    member = house.sandbox.enrol("Joël", FINANCE)
    wait_until(lambda: _holding(house) > 0, "a worker in the middle of its reads")
    house.end("worker", signal.SIGKILL)
    assert house.rows(f"SELECT state FROM lookups WHERE record_id = {member}") == [("leased",)]
    house.sandbox.post("/sandbox/faults/release")
    house.start("worker")
    house.wait_mails("joel", 1)
    house.wait_idle()
    assert len(house.mails()) == 1


def test_with_an_emptied_broker_the_sweep_still_delivers(house: House) -> None:
    house.end("worker")
    house.end("clock")
    kept = len(house.rows("SELECT 1 FROM lookups"))
    member = house.sandbox.enrol("Zoë", FINANCE)
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    wait_until(lambda: len(house.rows("SELECT 1 FROM lookups")) == kept + 2, "both kept")
    with redis.Redis.from_url(house.broker.url) as broker:
        broker.flushall()
    house.start("worker", "clock")
    house.wait_mails("zoe", 2)
    house.wait_idle()
    assert len(house.mails("zoe")) == 2


def test_without_any_broker_it_is_accepted_and_delivered_when_the_broker_is_back(
    house: House,
) -> None:
    kept = len(house.rows("SELECT 1 FROM lookups"))
    house.broker._server.stop()  # type: ignore[union-attr]  # noqa: SLF001 - as a crash would
    house.sandbox.enrol("ليلى", FINANCE)
    wait_until(lambda: len(house.rows("SELECT 1 FROM lookups")) == kept + 1, "kept")
    assert requests.get(f"{house.url}/readyz", timeout=5).status_code == 503
    wait_until(house.broker.restart_if_dead, "the broker is back")
    house.wait_mails("layla", 1)
    house.wait_idle()


def test_deliveries_answered_202_are_stored_even_if_the_receiver_is_killed(tmp_path: Path) -> None:
    with living(tmp_path) as house:
        house.start("serve")
        wait_until(lambda: _alive(house), "the receiver up")
        accepted: list[int] = []
        threads = [
            threading.Thread(target=_post_many, args=(house, first, accepted))
            for first in range(1000, 33_000, 1000)
        ]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(accepted) > 100, "some accepted")
        house.end("serve", signal.SIGKILL)
        for thread in threads:
            thread.join()
        kept = {row[0] for row in house.rows("SELECT record_id FROM notifications")}
        assert len(accepted) > 100
        assert set(accepted) <= kept


def test_a_ledger_that_cannot_be_written_is_503_and_nothing_is_acknowledged(
    tmp_path: Path,
) -> None:
    with living(tmp_path) as house:
        house.start("serve")
        wait_until(lambda: _alive(house), "the receiver up")
        body = b'[{"Id": 77}]'
        path = house.environment["COURSEBELL_DATABASE_URL"].removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            answer = house.post("/hooks/nexudus/course-members", body, signed(body))
            other.execute("ROLLBACK")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert house.rows("SELECT count(*) FROM notifications") == [(0,)]
        assert house.post("/hooks/nexudus/course-members", body, signed(body)).status_code == 202


def test_an_email_cut_off_after_the_hand_over_is_unknown_and_never_repeated(house: House) -> None:
    house.sandbox.post("/sandbox/mailbox", answer="drop-after-body", times=1, keep=True)
    before = len(house.mails("joel"))
    member = house.sandbox.enrol("Joël", CERAMICS)
    unknown = [("unknown", "handover-unknown")]
    wait_until(lambda: _actions(house, member) == unknown, "unknown")
    house.end("worker")
    house.start("worker")
    house.sandbox.enrol("Jonas", FINANCE)
    house.wait_mails("jonas", 1)
    house.wait_idle()
    assert len(house.mails("joel")) == before + 1
    assert _actions(house, member) == unknown
    assert "it may or may not have been sent" in house.run("why", "joel.nunez@example.org").stdout


def test_a_worker_killed_during_the_hand_over_leaves_unknown(tmp_path: Path) -> None:
    with silent_smtp() as url, open_house(tmp_path, COURSEBELL_SMTP_URL=url) as house:
        member = house.sandbox.enrol("Joël", FINANCE)
        at_the_dot = "SELECT state FROM actions WHERE committed_at IS NOT NULL"
        wait_until(lambda: house.rows(at_the_dot) == [("performing",)], "the final dot")
        house.end("worker", signal.SIGKILL)
        house.start("worker")
        wait_until(lambda: _actions(house, member) == [("unknown", "handover-unknown")], "unknown")


def test_a_refused_email_is_reported_and_resent_to_the_corrected_address(
    house: House,
) -> None:
    house.sandbox.post("/sandbox/mailbox", answer="refuse", times=1)
    member = house.sandbox.enrol("Zoë", CERAMICS)
    wait_until(lambda: _actions(house, member) == [("failed", "mail-rejected")], "failed")
    assert "550" in house.run("why", "zoe.brandt@example.org").stdout
    _set_address(house, "Zoë", "zoe.new@example.org")
    done = house.run("resend", "--failed", "mail-rejected", "--yes")
    assert "1 email will be sent again, due now" in done.stdout, done.stderr
    house.wait_mails("zoe.new", 1)
    house.wait_idle()
    assert _actions(house, member) == [("failed", "mail-rejected"), ("done", None)]
    _set_address(house, "Zoë", "zoe.brandt@example.org")


def test_a_busy_source_is_waited_for_as_long_as_it_asks(house: House) -> None:
    fault = {"path": "/api/content", "status": 409, "headers": {"Retry-After": "1"}}
    house.sandbox.post("/sandbox/faults", kind="answer", times=3, body="", **fault)
    before = len(house.mails("jonas"))
    house.sandbox.enrol("Jonas", CERAMICS)
    house.wait_mails("jonas", before + 1)
    house.wait_idle()
    assert len(house.mails("jonas")) == before + 1


def test_a_deferred_email_is_retried_later(house: House) -> None:
    # The house is not idle afterwards: an email waits for a minute.
    house.sandbox.post("/sandbox/mailbox", answer="later", times=1)
    member = house.sandbox.enrol("Mara", CERAMICS)
    wait_until(lambda: _actions(house, member) == [("waiting", "mail-temporary")], "waiting")
    counted = json.loads(house.run("status", "--json").stdout)
    assert counted["actions"]["waiting"] == {"mail-temporary": 1}


def _set_address(house: House, name: str, address: str) -> None:
    fields = {"Email": address}
    person_id = house.sandbox.person(name)
    house.sandbox.post("/sandbox/change", entity="Coworker", id=person_id, fields=fields)


def _holding(house: House) -> int:
    found: int = house.sandbox.get("/sandbox/holding").json()["holding"]
    return found


def _actions(house: House, member: int) -> list[tuple[str, str | None]]:
    """Return what became of the emails about an enrolment."""
    return house.rows(
        f"SELECT state, reason FROM actions WHERE course_member_id = {member} ORDER BY id"
    )


def _alive(house: House) -> bool:
    try:
        return requests.get(f"{house.url}/healthz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _post_many(house: House, first: int, accepted: list[int]) -> None:
    with requests.Session() as session:
        for record_id in range(first, first + 1000):
            body = b'[{"Id": %d}]' % record_id
            try:
                answer = session.post(
                    f"{house.url}/hooks/nexudus/course-members",
                    data=body,
                    headers=signed(body),
                    timeout=10,
                )
            except requests.RequestException:
                return
            if answer.status_code == 202:
                accepted.append(record_id)


def test_a_child_that_cannot_start_is_replaced_until_one_can(house: House) -> None:
    ledger, aside = house.folder / "ledger.db", house.folder / "aside.db"
    parent = psutil.Process(house.processes["worker"].pid)
    wait_until(lambda: len(parent.children()) > 0, "children")
    ledger.rename(aside)
    ledger.symlink_to(house.folder / "missing" / "ledger.db")
    try:
        for child in parent.children():
            child.kill()
        wait_until(lambda: "child.unready" in house.logs(), "the reason")
    finally:
        ledger.unlink()
        aside.rename(ledger)
    before = len(house.mails("layla"))
    house.sandbox.enrol("ليلى", CERAMICS)
    house.wait_mails("layla", before + 1)
    wait_until(lambda: "child.ready" in house.logs(), "a child that could start")
    assert house.logs().count("child.unready") == 1
