"""`coursebell log`: who decided what, in words, and in JSON."""

from datetime import timedelta

import pytest

from ledger.engine import writing
from ledger.interventions import log_decision
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk

pytestmark = pytest.mark.engines("sqlite")


def sentences(desk: Desk, *words: str) -> list[str]:
    """Return what the log says, without the time and who it was."""
    return [line.split("  ", 2)[2] for line in desk.run("log", *words).stdout.splitlines()]


def test_every_kind_of_decision_is_in_the_log(desk: Desk) -> None:
    assert desk.run("log").stdout == "Nothing was decided yet.\n"
    desk.run("pause", "--all", "--until", "2099-01-01 12:00")
    desk.space.enrol(1)
    desk.space.work()
    desk.run("resume", "--yes")
    for number in (2, 3):
        desk.space.enrol(number)
        desk.space.look_up()
    desk.run("hold", "2", "3", "--yes")
    desk.run("release", "2", "--yes")
    desk.run("skip", "3", "--yes")
    desk.run("pause", "--course", str(COURSE_ID))
    desk.run("pause", "--person", "1")
    desk.run("resume", "2", "3", "--yes")
    desk.refuse(4)
    desk.run("resend", "--failed", "mail-rejected", "--yes")
    desk.run("simulate", "--accept", "--yes")
    desk.run("mode", "observe")
    with writing(desk.space.engine) as connection:
        now = desk.space.clock.now()
        log_decision(connection, "something new", "rita", now, {"number": 3})
        log_decision(connection, "close", "rita", now, {"lookups": 2, "reason": None})
        log_decision(connection, "restore", "rita", now, {"held": 1})
    per_day = "welcome 4, congratulate-lesson 0, congratulate-course 0"
    assert sentences(desk) == [
        "paused everything until 2099-01-01 12:00:00 UTC (pause 1)",
        "ended pause 1; 1 email no longer held: 1",
        "held 2 emails: 2, 3",
        "released 1 email held for on-hold: 2",
        "skipped 1 email held for on-hold: 3",
        f"paused course {COURSE_ID} (pause 2)",
        "paused one person (pause 3)",
        "ended pauses 2, 3; 0 emails no longer held",
        "resent 1 email: 4",
        f"accepted a forecast of emails on the busiest day: {per_day}",
        "changed the mode to observe",
        "something new",
        "closed 2 failed lookups",
        "restored the ledger from a backup; 1 message held, as they may have been sent",
    ]
    assert sentences(desk, "--last", "2")[0] == "closed 2 failed lookups"


def test_the_log_says_who_it_was_and_has_no_names_of_members(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.work()
    desk.run("pause", "--person", "person1@example.org", "--note", "Ana asked for it")
    shown = desk.run("log")
    plain = desk.run("log", "--json").stdout
    for text in (shown.stdout, plain):
        assert "Ana" not in text
        assert "person1" not in text
    [entry] = [line for line in shown.stdout.splitlines() if "paused" in line]
    assert entry.split("  ")[1]


def test_the_log_can_begin_later(desk: Desk) -> None:
    desk.run("pause", "--all")
    tomorrow = desk.space.clock.now() + timedelta(days=1)
    with writing(desk.space.engine) as connection:
        log_decision(connection, "mode", "rita", tomorrow, {"mode": "sending"})
    later = tomorrow - timedelta(hours=1)
    assert sentences(desk, "--since", later.isoformat()) == ["changed the mode to sending"]
    past = desk.run("log", "--since", "2099-01-01")
    assert past.stdout == "Nothing was decided since.\n"
