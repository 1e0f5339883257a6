"""`coursebell doctor` with the whole service: its output, exit codes, and what it never prints."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.engine import open_engine, reading
from ledger.source_state import sign_in_of
from tests.e2e.house import HOOK_SECRET, RELAY_TOKEN, House, open_house
from workers.local.server import free_port

HURRY = "1000/second;100000/hour"  # for many runs within a minute


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Yield a service that knows one student and its own webhooks."""
    folder = tmp_path_factory.mktemp("watched")
    with open_house(folder, COURSEBELL_NEXUDUS_LIMITS=HURRY) as house:
        house.environment["COURSEBELL_PUBLIC_URL"] = house.url
        for name in ("Joël", "Zoë"):
            member_id = house.sandbox.enrol(name, "Freelance Finance")
            house.sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
        house.wait_idle()
        yield house


@pytest.fixture
def house(watched: House) -> Iterator[House]:
    yield watched
    address = watched.sandbox.addresses["api"]
    watched.sandbox.web.delete(f"{address}/sandbox/misbehaviours", timeout=10)


def misbehave(house: House, switch: str, **parameters: object) -> None:
    house.sandbox.post("/sandbox/misbehaviours", name=switch, **parameters)


def checks(text: str) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(text)["checks"]}


def test_without_problems_doctor_exits_with_0_and_makes_few_requests(house: House) -> None:
    before = house.sandbox.get("/sandbox/reads").json()["total"]
    done = house.run("doctor")
    asked = house.sandbox.get("/sandbox/reads").json()["total"] - before
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1].startswith("No problem was found: ")
    assert asked <= 50
    lines = done.stdout.splitlines()
    assert any(line.startswith("  ok       counted") for line in lines), "one budget with workers"
    assert sum("for the action None, calls" in line for line in lines) == 2


def test_as_json_it_is_one_document_with_the_documented_keys(house: House) -> None:
    done = house.run("doctor", "--json")
    said = json.loads(done.stdout)
    assert said.keys() == {"checks", "broken"}
    assert said["broken"] is False
    assert all(one.keys() == {"name", "verdict", "found", "fix"} for one in said["checks"])
    assert {one["verdict"] for one in said["checks"]} <= {"ok", "note"}
    roles = {one["name"] for one in said["checks"]}
    assert "CoworkerMessage-List" not in roles, "no rule here counts what Nexudus itself sends"


def test_a_problem_exits_with_1_and_its_fix_is_below_it(house: House) -> None:
    misbehave(house, "missing-right", entity="CourseLesson", way="list")
    done = house.run("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("  problem")]
    assert "CourseLesson-List" in lines[at]
    assert lines[at + 1].strip() == "-> In Nexudus, give our user the role CourseLesson-List."
    assert lines[-1].startswith("1 problem, ")
    as_json = house.run("doctor", "--json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["broken"] is True
    assert as_json.stderr == ""


def test_it_prints_neither_secrets_nor_personal_data(house: House) -> None:
    misbehave(house, "missing-right", entity="Course")
    engine = open_engine(house.environment["COURSEBELL_DATABASE_URL"])
    with reading(engine) as connection:
        kept = sign_in_of(connection)
    engine.dispose()
    people = house.sandbox.get("/sandbox/people").json()
    for words in (("doctor",), ("doctor", "--json")):
        done = house.run(*words)
        printed = done.stdout + done.stderr
        for secret in (
            *(house.environment["COURSEBELL_NEXUDUS_PASSWORD"], HOOK_SECRET, RELAY_TOKEN),
            *(kept.access_token, kept.refresh_token),
            *(person["name"] for person in people),
        ):
            assert secret
            assert secret not in printed
        assert "@" not in printed


def test_without_a_ledger_it_says_so_and_creates_none(house: House, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    nowhere = {
        "COURSEBELL_DATA_DIR": str(elsewhere),
        "COURSEBELL_DATABASE_URL": "",
        "COURSEBELL_BROKER_URL": "",
    }
    before = dict(house.environment)
    house.environment.update(nowhere)
    try:
        done = house.run("doctor", "--json")
    finally:
        house.environment.update(before)
    found = checks(done.stdout)
    assert done.returncode == 1
    assert found["ledger"]["verdict"] == "problem"
    assert "coursebell migrate" in found["ledger"]["fix"]
    assert found["address"]["verdict"] == found["self-test"]["verdict"] == "ok"
    assert "no ledger" in found["the rest"]["found"]
    assert not elsewhere.exists()


def test_an_unreachable_source_and_wrong_settings_have_different_exit_codes(house: House) -> None:
    before = dict(house.environment)
    try:
        house.environment["COURSEBELL_NEXUDUS_URL"] = f"http://127.0.0.1:{free_port()}"
        away = house.run("doctor")
        house.environment["COURSEBELL_NEXUDUS_URL"] = "nexudus"
        wrong = house.run("doctor")
    finally:
        house.environment.update(before)
    assert away.returncode == 1
    assert "nothing listens" in away.stdout
    assert wrong.returncode == 2
    assert "COURSEBELL_NEXUDUS_URL" in wrong.stderr
    assert wrong.stdout == ""
