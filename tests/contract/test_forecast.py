"""The emails that `mode sending` counts are those that are sent afterwards."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, open_engine, reading, writing
from ledger.tables import actions
from schemas.actions import ActionState, Mode
from schemas.reasons import EXPLANATIONS, Reason
from schemas.records import CourseMember
from schemas.rules import Timing
from service.cli.common import local
from service.cli.main import commands
from service.sending_outcomes import SendingOutcomes, counted, outcomes_by_sending
from tests.builders.records import NOON
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import SHIPPED, Space, rules_of
from tests.doubles.terminal import Terminal
from workers.decide.timing import spread

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

NO_GATHERING = SHIPPED.replace("gather: 30m\n    gather_at_most: 3h", "gather: none")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(NO_GATHERING))


def fates(space: Space) -> SendingOutcomes:
    tools = space.delivery.setup
    with reading(space.engine) as connection:
        return outcomes_by_sending(connection, tools, space.clock.now())


def subjects_now(space: Space, found: SendingOutcomes) -> list[tuple[str | None, str | None]]:
    return [
        (one.recipient, one.title)
        for one in found.expected
        if one.is_sent and one.sent_at <= space.clock.now()
    ]


def sent(space: Space) -> list[tuple[str | None, str | None]]:
    return [(mail.recipient, str(mail.message["Subject"])) for mail in space.mailer.caught]


def members(space: Space, *numbers: int) -> list[CourseMember]:
    """Have people enrol, and everything done that is due."""
    found = [space.enrol(number) for number in numbers]
    space.work()
    return found


def ends(space: Space) -> Counter[tuple[str, str | None]]:
    return Counter(space.outcomes())


def test_the_counted_emails_are_the_ones_that_are_sent_afterwards(space: Space) -> None:
    space.choose(Mode.OBSERVE)
    space.enrol(1, created_at=NOON - timedelta(days=3))
    one, two = members(space, 2, 3)
    space.finish(one, 1, 2)
    space.work()
    space.change(two, blocked=True)
    space.look_up()
    expected = fates(space)
    assert ends(space) == {("held", "observe"): 5}
    # A day's limit is two, so one of the three emails to person 2 has to wait until tomorrow.
    assert counted(expected, space.clock.now()) == {
        "now": {"": 2},
        "later": {"cap-day": 1},
        "held": {"too-old": 1},
        "not_sent": {"blocked": 1},
    }
    space.choose(Mode.SENDING)
    space.work()
    assert sent(space) == subjects_now(space, expected)
    assert ends(space) == {
        ("done", None): 2,
        ("waiting", "cap-day"): 1,
        ("held", "too-old"): 1,
        ("skipped", "blocked"): 1,
    }


def test_a_flood_is_counted_without_those_that_are_skipped_first(space: Space) -> None:
    space.choose(Mode.OBSERVE)
    every = members(space, *range(1, 27))
    flooded = fates(space)
    assert counted(flooded, space.clock.now())["held"] == {"flood-guard": 26}
    first = flooded.expected[0].action.coworker_id
    space.change(every[first - 1], blocked=True)
    space.look_up()
    expected = fates(space)
    assert counted(expected, space.clock.now())["now"] == {"": 25}
    space.choose(Mode.SENDING)
    space.work()
    assert sent(space) == subjects_now(space, expected)


def first_start(engine: Engine) -> None:
    """Begin a ledger in observe mode, where sending never began."""
    with writing(engine) as connection:
        begin_with(connection, Mode.OBSERVE, NOON - timedelta(days=30), SYSTEM_CLOCK.new_id())


def test_emails_about_the_time_before_sending_first_began_stay_held(
    ledger_engine: Engine,
) -> None:
    first_start(ledger_engine)
    space = Space(ledger_engine, rules_of(SHIPPED))
    members(space, 1, 2)
    assert space.outcomes() == [("held", "observe")] * 2
    space.clock.time += timedelta(minutes=1)
    expected = fates(space)
    assert counted(expected, space.clock.now())["held"] == {"before-start": 2}
    assert subjects_now(space, expected) == []
    space.choose(Mode.SENDING)
    space.work()
    assert space.outcomes() == [("held", "before-start")] * 2


@dataclass
class Desk:
    """Runs an operator's commands on a ledger where sending once began."""

    space: Space

    def run(
        self, *words: str, typed: bytes | None = None, clock: HandClock | None = None
    ) -> Result:
        answers = None if typed is None else Terminal(typed)
        return CliRunner().invoke(commands, words, input=answers, obj=clock)

    def as_json(self, *words: str) -> dict[str, Any]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def observed(self, *numbers: int) -> None:
        """Have people enrol in observe mode."""
        self.space.choose(Mode.OBSERVE)
        members(self.space, *numbers)


@pytest.fixture
def desk(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    rules = NO_GATHERING.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    for name, text in {
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": ledger_url,
        "RULES": str(tmp_path / "rules.yaml"),
        "SMTP_URL": "smtp://127.0.0.1:9?tls=none",
        "MAIL_FROM": "courses@example.org",
    }.items():
        monkeypatch.setenv(f"COURSEBELL_{name}", text)
    engine = open_engine(ledger_url)
    yield Desk(Space(engine, rules_of(rules), HandClock(SYSTEM_CLOCK.now())))
    engine.dispose()


@pytest.mark.parametrize(
    ("public_url", "is_warned"),
    [("http://courses.harbour.example", True), ("https://courses.harbour.example", False)],
)
def test_sending_without_an_address_for_members_is_warned_of(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    public_url: str,
    is_warned: bool,  # noqa: FBT001 - a column of the table
) -> None:
    monkeypatch.setenv("COURSEBELL_PUBLIC_URL", public_url)
    begun = desk.run("mode", "sending")
    assert ("Emails will have no link to stop them" in begun.stderr) is is_warned
    assert "no link to stop them" not in desk.run("mode", "observe").stderr


def test_emails_are_counted_and_confirmed_before_sending_begins(desk: Desk) -> None:
    desk.observed(1, 2)
    unasked = desk.run("mode", "sending")
    assert unasked.exit_code == 3
    assert "With mode sending, 2 emails to 2 people would be sent:\n" in unasked.output
    assert "  2 emails are sent at once\n" in unasked.output
    assert "coursebell mode sending --yes" in unasked.stderr
    refused = desk.run("mode", "sending", typed=b"n\n")
    assert (refused.exit_code, refused.stderr.splitlines()[-1]) == (
        1,
        "Nothing was changed: the mode is still observe.",
    )
    assert desk.as_json("mode")["mode"] == "observe"
    assert desk.space.outcomes() == [("held", "observe")] * 2
    agreed = desk.run("mode", "sending", typed=b"y\n")
    assert (agreed.exit_code, "sending: emails are sent about" in agreed.stdout) == (0, True)
    assert {state for state, _ in desk.space.outcomes()} == {"waiting"}


@pytest.fixture
def night(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """Give the rules quiet hours, and return a clock that stands in them."""
    (tmp_path / "rules.yaml").write_text(NO_GATHERING, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_ZONE", "UTC")
    tomorrow = desk.space.clock.now() + timedelta(days=1)
    return HandClock(tomorrow.replace(hour=2, minute=0, second=0, microsecond=0))


def test_release_and_resend_say_when_an_email_is_sent_if_it_is_night(
    desk: Desk, night: HandClock
) -> None:
    desk.observed(1)
    desk.space.choose(Mode.SENDING)
    with writing(desk.space.engine) as connection:
        held = {"state": ActionState.HELD, "reason": Reason.FLOOD_GUARD}
        connection.execute(update(actions).values(held))
    morning = local(spread(night.now().replace(hour=8), Timing(), ZoneInfo("UTC"), 1))
    released = desk.run("release", "1", "--yes", clock=night)
    sentence = EXPLANATIONS[Reason.QUIET_HOURS].sentence
    line = f"is sent at {morning} at the earliest: {sentence} [quiet-hours]\n"
    assert released.output == f"1 email released:\n  email 1: {line}"
    with writing(desk.space.engine) as connection:
        failed = {"state": ActionState.FAILED, "finished_at": night.now()}
        connection.execute(update(actions).values(failed))
    again = desk.run("resend", "1", "--yes", clock=night)
    assert again.output == f"1 email will be sent again: 1 as 2.\n  email 2: {line}"


def test_emails_that_are_sent_later_need_a_confirmation_too(desk: Desk, night: HandClock) -> None:
    desk.observed(1)
    unasked = desk.run("mode", "sending", clock=night)
    assert unasked.exit_code == 3
    assert "  1 email is sent later, quiet-hours: " in unasked.output
    assert "coursebell mode sending --yes" in unasked.stderr
    assert desk.as_json("mode")["mode"] == "observe"


def test_scripts_need_yes_only_if_an_email_would_be_sent(desk: Desk) -> None:
    desk.space.choose(Mode.OBSERVE)
    nothing = desk.run("mode", "sending")
    assert nothing.exit_code == 0
    assert nothing.stdout.startswith(
        "No email is held or waiting, so none is sent at once.\nsending:"
    )
    desk.observed(1)
    with writing(desk.space.engine) as connection:
        held = {"state": ActionState.HELD, "reason": Reason.IMPORTED}
        connection.execute(update(actions).values(held))
    only_held = desk.run("mode", "sending").stdout
    assert only_held.splitlines()[0] == (
        "With mode sending, none of the emails held or waiting would be sent:"
    )
    assert only_held.splitlines()[1].startswith("  1 email stays held, imported: Brought in")
    desk.observed(2)
    said = desk.as_json("mode", "sending", "--yes")
    assert (said["mode"], said["expected"]["now"]) == ("sending", {"": 1})
    assert "expected" not in desk.as_json("mode", "sending")


def test_a_reason_that_never_holds_emails_is_refused_with_those_that_do(desk: Desk) -> None:
    refused = desk.run("held", "--reason", "bad")
    assert refused.exit_code == 2
    assert "'too-old', 'restored', 'observe'" in refused.stderr
    assert "nexudus-down" not in refused.stderr
