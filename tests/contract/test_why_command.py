"""`coursebell why`: who is meant, who was there before, and what becomes of what is held."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from click.testing import CliRunner, Result

from ledger.controls import begin_with
from ledger.engine import open_engine, writing
from ledger.people import accept_person
from schemas.states import Mode
from service.command import commands
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from workers.check.check import check_all
from workers.check.tools import Checking
from workers.clocks import utc_now

NO_GATHERING = SHIPPED.replace("gather: 30m\n    gather_at_most: 3h", "gather: none").replace(
    "quiet_hours: 20:00-08:00", "quiet_hours: none"
)


@pytest.fixture
def space(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Space]:
    (tmp_path / "rules.yaml").write_text(NO_GATHERING, encoding="utf-8")
    for name, text in {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": ledger_url,
        "RULES": str(tmp_path / "rules.yaml"),
    }.items():
        monkeypatch.setenv(f"COURSEBELL_{name}", text)
    engine = open_engine(ledger_url)
    with writing(engine) as connection:
        begin_with(connection, Mode.OBSERVE, utc_now() - timedelta(days=30))
    yield Space(engine, rules_of(NO_GATHERING), HandClock(utc_now() - timedelta(minutes=10)))
    engine.dispose()


def know(space: Space, *people: tuple[int, str, str]) -> None:
    with writing(space.engine) as connection:
        for number, name, email in people:
            known = coworker(number, full_name=name, email=email)
            accept_person(connection, known, space.clock())


def run(*words: str) -> Result:
    return CliRunner().invoke(commands, ["why", *words])


def told(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*words, "--json").stdout)
    return found


def test_a_part_of_an_address_finds_people_and_an_exact_one_goes_ahead(space: Space) -> None:
    know(
        space,
        (1, "Ana Sousa", "ana@example.org"),
        (2, "Joana Reis", "joana@example.org"),
        (3, "Ana Sousa Pinto", "pinto@example.org"),
        (4, "José Núñez", "josé@example.org"),
    )
    for typed, meant in {
        "ANA@example.org": [1],
        "ana@": [1, 2],
        "oana@exam": [2],
        "pinto": [3],
        "ana sousa": [1],
        "ANA": [1, 3, 2],
        "sousa": [1, 3],
        normalize("NFD", "JOSÉ"): [4],
        normalize("NFD", "josé@ex"): [4],
    }.items():
        assert [one["coworker_id"] for one in told(typed)] == meant, typed
    several = run("ana@")
    assert several.exit_code == 1
    assert several.stderr.splitlines() == [
        "That may be each of these; take the Id of one:",
        "  1  Ana Sousa  a***@example.org",
        "  2  Joana Reis  j***@example.org",
    ]
    assert run("nobody@example.org").exit_code == 1


def test_two_people_with_one_address_are_told_of_together(space: Space) -> None:
    know(space, (1, "Ana", "ana@example.org"), (2, "Ana again", "Ana@example.org"))
    shown = run("ana@example.org")
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, 2)


def test_who_enrolled_before_installation_is_known_by_their_id(space: Space) -> None:
    member = space.enrol(7, told=False)
    space.clock.now += timedelta(minutes=1)
    check_all(Checking(space.engine, space.lend, space.clock), for_s=60)
    lines = run("7").stdout.splitlines()
    assert lines[0] == "Coworker 7, whose name and address were not read yet"
    assert lines[1].endswith("  Enrolled  (course 1234)")
    assert lines[2] == "    Before Coursebell was installed; no email was due"
    assert told("7")[0]["enrolled_before"][0]["course_member_id"] == member.record_id
    space.finish(member, 1)
    space.work()
    later = run("person7@example.org").stdout
    assert "[before-start]" in later
    assert "Before Coursebell was installed; no email was due" not in later
    assert "Enrolled  (Freelance Finance)" in later
    assert run("8").exit_code == 1


def test_it_says_what_sending_would_do_to_what_is_held(space: Space) -> None:
    first = space.enrol(1)
    space.work()
    assert "After `coursebell mode sending` it stays held: It happened before" in run("1").stdout
    space.clock.now += timedelta(minutes=1)
    space.choose(Mode.SENDING)
    assert "[observe]" not in run("1").stdout
    assert "[before-start]" in run("1").stdout
    space.choose(Mode.OBSERVE)
    space.clock.now += timedelta(minutes=1)
    space.finish(first, 1, 2)
    space.work()
    told_of_first = run("1").stdout
    assert told_of_first.count("After `coursebell mode sending` it goes at once") == 2
    [plain] = told("1")
    assert set(plain["with_sending"].values()) == {"goes at once"}
    space.choose(Mode.SENDING)
    assert "After `coursebell mode sending`" not in run("1").stdout
