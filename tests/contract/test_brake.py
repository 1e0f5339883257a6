"""Brakes: a rule that goes beyond its accepted forecast on one day is held for approval."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.actions import copy_of
from ledger.controls import AcceptedForecast, accept_forecast, accepted_forecast
from ledger.engine import Engine, lock_decisions, reading, writing
from ledger.interventions import decisions, release_held
from schemas.actions import Mode
from service.cli.main import commands
from service.sending_outcomes import counted, outcomes_by_sending
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH, at_once
from tests.contract.study_rig import NOON, Space, rules_of
from tests.doubles.terminal import Terminal
from workers.deliver.claim import perform_batch

pytestmark = pytest.mark.engines("sqlite")
FILE = """version: 1
timing: {quiet_hours: none, flood: none, spread: none, brake: 2x}
rules:
  - {name: welcome, event: enrolled, action: email, template: welcome}
"""
SENT, HELD = ("done", None), ("held", "over-forecast")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    """Give a space whose rule may send six emails a day."""
    found = Space(ledger_engine, rules_of(FILE))
    accept(found, welcome=3)
    return found


def accept(space: Space, **per_day: int) -> None:
    with writing(space.engine) as connection:
        accept_forecast(connection, per_day, space.rules.digest, "Rita", space.clock.now())


def enrol(space: Space, first: int, last: int) -> None:
    for number in range(first, last + 1):
        space.enrol(number)
    space.look_up()


def ends(space: Space) -> Counter[tuple[str, str | None]]:
    return Counter(space.outcomes())


@pytest.mark.engines(*BOTH)
def test_what_goes_beyond_the_forecast_is_held_until_it_is_released(space: Space) -> None:
    enrol(space, 1, 8)
    space.work()
    assert ends(space) == {SENT: 6, HELD: 2}
    with writing(space.engine) as connection:
        lock_decisions(connection)
        held = [number for number, end in enumerate(space.outcomes(), 1) if end == HELD]
        release_held(connection, held[:1], "Rita", space.clock.now())
    space.work()
    assert ends(space) == {SENT: 7, HELD: 1}


@pytest.mark.engines(*BOTH)
def test_what_is_released_does_not_count(space: Space) -> None:
    enrol(space, 1, 8)
    space.work()
    space.clock.time += timedelta(days=1)
    with writing(space.engine) as connection:
        lock_decisions(connection)
        release_held(connection, range(1, 9), "Rita", space.clock.now())
    enrol(space, 9, 15)
    space.work()
    assert ends(space) == {SENT: 14, HELD: 1}


@pytest.mark.engines(*BOTH)
def test_the_next_day_in_the_zone_of_the_business_is_free_again(space: Space) -> None:
    space.at(NOON.replace(month=7, hour=22, minute=59))  # 23:59 in Lisbon
    enrol(space, 1, 7)
    space.work()
    assert ends(space) == {SENT: 6, HELD: 1}
    space.clock.time += timedelta(minutes=1)
    enrol(space, 8, 14)
    space.work()
    assert ends(space) == {SENT: 12, HELD: 2}


@pytest.mark.engines(*BOTH)
def test_the_last_place_of_a_day_is_taken_by_one_of_several_workers(space: Space) -> None:
    enrol(space, 1, 5)
    space.work()
    enrol(space, 6, 9)
    at_once(4, lambda _: perform_batch(space.delivery, space.lend))
    assert ends(space) == {SENT: 6, HELD: 3}
    assert len(space.mailer.caught) == 6


@pytest.mark.engines(*BOTH)
def test_an_email_that_is_being_handed_over_has_its_place(space: Space) -> None:
    enrol(space, 1, 5)
    space.work()
    enrol(space, 6, 7)
    space.mailer.meanwhile(space.work)
    space.work()
    assert ends(space) == {SENT: 6, HELD: 1}


@pytest.mark.parametrize("forecast", [{}, {"another": 1}])
def test_a_rule_without_an_accepted_forecast_is_not_braked(
    space: Space, forecast: dict[str, int]
) -> None:
    accept(space, **forecast)
    enrol(space, 1, 9)
    space.work()
    assert ends(space) == {SENT: 9}


def test_a_rule_without_a_brake_is_not_braked(space: Space) -> None:
    space.rules = rules_of(FILE.replace(", brake: 2x", ""))
    enrol(space, 1, 9)
    space.work()
    assert ends(space) == {SENT: 9}


def test_other_rules_are_still_measured_against_the_forecast(space: Space) -> None:
    space.rules = rules_of(FILE.replace("quiet_hours: none", "cap_per_day: 9, quiet_hours: none"))
    enrol(space, 1, 7)
    space.work()
    assert ends(space) == {SENT: 6, HELD: 1}


def test_a_held_email_is_written_and_can_be_read(space: Space) -> None:
    enrol(space, 1, 7)
    space.work()
    last = space.outcomes().index(HELD) + 1
    with reading(space.engine) as connection:
        copy = copy_of(connection, last)
    assert copy is not None
    assert copy.title == "You're in: Freelance Finance"


def test_emails_that_sending_would_put_beyond_the_forecast_are_counted_as_held(
    space: Space,
) -> None:
    space.choose(Mode.OBSERVE)
    enrol(space, 1, 8)
    space.work()
    with reading(space.engine) as connection:
        found = outcomes_by_sending(connection, space.delivery.setup, space.clock.now())
    numbers = counted(found, space.clock.now())
    assert (numbers["now"], numbers["held"]) == ({"": 6}, {"over-forecast": 2})
    space.choose(Mode.SENDING)
    space.work()
    assert ends(space) == {SENT: 6, HELD: 2}


@pytest.mark.engines(*BOTH)
def test_the_forecast_that_was_accepted_last_applies_and_is_in_the_log(space: Space) -> None:
    space.clock.time += timedelta(hours=1)
    accept(space, welcome=4, other=0)
    with reading(space.engine) as connection:
        now, digest = space.clock.now(), space.rules.digest
        per_day = {"welcome": 4, "other": 0}
        assert accepted_forecast(connection) == AcceptedForecast(per_day, digest, now, "Rita")
        last = decisions(connection)[-1]
    assert (last.what, last.who) == ("accept-forecast", "Rita")
    assert last.detail == {"per_day": per_day, "digest": digest}
    enrol(space, 1, 9)
    space.work()
    assert ends(space) == {SENT: 8, HELD: 1}


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "braked.yaml").write_text(FILE, encoding="utf-8")
    return str(tmp_path / "braked.yaml")


def run(desk: Desk, *words: str, typed: bytes | None = None) -> Result:
    answers = None if typed is None else Terminal(typed)
    return CliRunner().invoke(commands, words, input=answers, obj=desk.space.clock)


def forecast_of(desk: Desk) -> dict[str, int] | None:
    with reading(desk.space.engine) as connection:
        accepted = accepted_forecast(connection)
    return None if accepted is None else dict(accepted.per_day)


def test_a_simulation_is_accepted_as_the_forecast_by_a_person(desk: Desk, file: str) -> None:
    enrol(desk.space, 1, 4)
    desk.space.work()
    unasked = run(desk, "simulate", "--rules", file, "--accept")
    assert (unasked.exit_code, unasked.stdout) == (3, "")
    assert f"coursebell simulate --rules {file} --accept --yes" in unasked.stderr
    refused = run(desk, "simulate", "--rules", file, "--accept", typed=b"n\n")
    assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (1, "Nothing was changed.")
    assert forecast_of(desk) is None
    accepted = run(desk, "simulate", "--rules", file, "--accept", typed=b"y\n")
    assert accepted.exit_code == 0, accepted.output
    assert "  welcome: 4 emails; with brake 2x, more than 8 on one day are held" in accepted.stdout
    assert "Accepted; brakes use this forecast" in accepted.stdout
    assert forecast_of(desk) == {"welcome": 4}
    with reading(desk.space.engine) as connection:
        assert decisions(connection)[-1].what == "accept-forecast"


def test_a_forecast_is_accepted_without_the_brake_of_the_one_before(desk: Desk, file: str) -> None:
    first = run(desk, "simulate", "--rules", file, "--accept", "--yes", "--json")
    assert first.exit_code == 0, first.output
    assert forecast_of(desk) == {"welcome": 0}
    enrol(desk.space, 1, 8)
    desk.space.work()
    played = run(desk, "simulate", "--rules", file)
    assert "welcome: 5 sent, not sent: 3 over-forecast; busiest day: 20" in played.stdout
    again = desk.as_json("simulate", "--rules", file, "--accept", "--yes")
    assert again["accepted"] == {"per_day": {"welcome": 8}, "rules": rules_of(FILE).digest}
    assert [sum(days.values()) for days in again["by_rule_and_day"].values()] == [8]
    assert list(again["by_day"].values()) == [8]


def test_an_imagined_event_beyond_the_forecast_would_be_held(desk: Desk, file: str) -> None:
    desk.space.rules = rules_of(FILE)
    accept(desk.space, welcome=0)
    enrol(desk.space, 1, 5)
    desk.space.work()
    words = ("simulate", "--event", "enrolled", "--person", "1", "--rules", file)
    assert "welcome: held: " in (today := run(desk, *words).stdout)
    assert "[over-forecast]" in today
    desk.space.clock.time += timedelta(days=2)
    assert "welcome: sent at " in run(desk, *words).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--accept", "--event", "enrolled", "--person", "1"], "--accept is for the past"),
        (["--yes"], "--yes goes with --accept"),
    ],
)
def test_options_that_do_not_go_with_accept_are_refused(
    desk: Desk, words: list[str], says: str
) -> None:
    refused = run(desk, "simulate", *words)
    assert (refused.exit_code, forecast_of(desk)) == (2, None)
    assert says in refused.stderr


def warnings_of(desk: Desk, tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "checked.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSEBELL_PUBLIC_URL", "https://courses.harbour.example")
        found: list[str] = desk.as_json("rules", "check", str(path))["warnings"]
    return found


def test_a_brake_that_holds_nothing_is_a_warning(desk: Desk, tmp_path: Path) -> None:
    [warning] = warnings_of(desk, tmp_path, FILE)
    assert warning.startswith("rule welcome: its brake holds nothing, because no forecast")
    accept(desk.space, another=3)
    assert len(warnings_of(desk, tmp_path, FILE)) == 1
    without = FILE.replace(", brake: 2x", "")
    assert warnings_of(desk, tmp_path, without) == []
    assert (
        warnings_of(desk, tmp_path, without.replace("welcome}", "welcome, enabled: false}")) == []
    )
    by_course = without + "courses: [{course: Freelance Finance, brake: 3x}]\n"
    assert len(warnings_of(desk, tmp_path, by_course)) == 1
    own = by_course.replace("template: welcome}", "template: welcome, brake: none}")
    assert warnings_of(desk, tmp_path, own) == []


def test_a_forecast_of_other_rules_is_a_warning_until_it_is_accepted_anew(
    desk: Desk, tmp_path: Path
) -> None:
    with writing(desk.space.engine) as connection:
        digest = rules_of(FILE).digest
        accept_forecast(connection, {"welcome": 3}, digest, "Rita", desk.space.clock.now())
    assert warnings_of(desk, tmp_path, FILE) == []
    edited = FILE + "# edited\n"
    [warning] = warnings_of(desk, tmp_path, edited)
    assert warning.startswith(f"brake: the accepted forecast was made with other rules ({digest})")
    run(desk, "simulate", "--rules", str(tmp_path / "checked.yaml"), "--accept", "--yes")
    assert warnings_of(desk, tmp_path, edited) == []
