"""Emails that an operator holds, releases, skips or closes, one by one or by a filter."""

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.engine import lock_decisions, reading, writing
from ledger.heartbeats import Gap, open_gap
from ledger.tables import actions, lookups
from ledger.undecided import undecided
from schemas.actions import LookupState
from schemas.entity import Entity
from service.cli.selection import arguments_of
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import rows

pytestmark = pytest.mark.engines("sqlite")
ON_HOLD, SENT = ("held", "on-hold"), ("done", None)


def test_an_email_that_waits_can_be_held_and_released(desk: Desk) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.look_up()
    [held] = desk.as_json("hold", "--person", "1", "--yes")["held"]
    desk.space.work()
    assert desk.space.outcomes_by_person("welcome") == {1: ON_HOLD, 2: SENT}
    assert desk.as_json("release", "--rule", "welcome", "--yes") == {"released": [held]}
    desk.space.later(minutes=5)
    assert desk.space.outcomes() == [SENT, SENT]


def test_half_of_what_is_held_is_released_and_half_skipped(desk: Desk) -> None:
    for number in (1, 2, 3, 4):
        desk.space.enrol(number)
    desk.space.look_up()
    desk.run("hold", "--course", "Freelance Finance", "--yes")
    listed = desk.run("held")
    assert "4 held, on-hold: Held by an operator" in listed.stdout
    assert "  next: coursebell release --reason on-hold" in listed.stdout
    dry = desk.run("release", "1", "2", "--dry-run")
    assert "2 emails would be released. Nothing was changed." in dry.stdout
    assert "  1  " in dry.stdout
    assert desk.space.outcomes() == [ON_HOLD] * 4
    desk.run("release", "1", "2", "--yes")
    assert desk.run("skip", "--reason", "on-hold", "--yes").stdout == "2 emails skipped.\n"
    desk.space.later(minutes=5)
    assert desk.space.outcomes() == [SENT, SENT, ("skipped", "on-hold"), ("skipped", "on-hold")]


def test_posts_and_notes_are_not_called_emails(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.space.enrol(number)
    desk.space.look_up()
    with writing(desk.space.engine) as connection:
        connection.execute(actions.update().where(actions.c.id == 1).values(kind="nexudus-note"))
    assert desk.run("hold", "--rule", "welcome", "--yes").stdout.startswith("3 messages held.")
    assert desk.run("release", "1", "--dry-run").stdout.endswith(
        "1 note would be released. Nothing was changed.\n"
    )
    assert "2 emails would be" in desk.run("release", "2", "3", "--dry-run").stdout
    assert desk.run("release", "1", "--yes").stdout.startswith("1 note released")
    last = desk.run("log").stdout.splitlines()
    assert last[0].endswith("held 3 messages: 1, 2, 3")
    assert last[1].endswith("released 1 note held for on-hold: 1")


def test_filters_must_all_match(desk: Desk) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.look_up()
    desk.run("hold", "--rule", "welcome", "--yes")
    found = desk.as_json("held", "--person", "2", "--reason", "on-hold")
    assert [one["coworker_id"] for one in found["actions"]] == [2]
    assert desk.as_json("held", "--person", "2", "--reason", "too-old")["actions"] == []


def test_a_failed_email_is_closed_and_keeps_its_state(desk: Desk) -> None:
    desk.refuse(1)
    assert "1 email failed" in desk.run("status").stdout.splitlines()[0]
    assert desk.run("skip", "--rule", "welcome", "--yes").stdout.startswith("Nothing is held")
    assert desk.run("skip", "--reason", "mail-rejected", "--yes").stdout == "1 email skipped.\n"
    assert "1 email failed" not in desk.run("status").stdout.splitlines()[0]
    assert desk.space.outcomes() == [("failed", "mail-rejected")]
    with reading(desk.space.engine) as connection:
        assert undecided(connection).actions == {}
    nothing = desk.run("resend", "--failed", "mail-rejected", "--dry-run").stdout
    assert nothing == "0 emails would be sent again. Nothing was changed.\n"
    assert desk.as_json("resend", "1", "--yes")["resent"] == [{"id": 1, "new_id": 2}]


def test_which_emails_must_be_said(desk: Desk) -> None:
    for command in ("hold", "release", "skip"):
        refused = desk.run(command, "--yes")
        assert refused.exit_code == 2, command
    assert "Say which: IDs of emails" in refused.stderr


def test_an_id_that_cannot_be_held_changes_nothing(desk: Desk) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.look_up()
    refused = desk.run("hold", "1", "77", "--yes")
    assert refused.exit_code == 1
    assert "Email 77 does not wait: there is no such email." in refused.stderr
    desk.space.work()
    assert desk.space.outcomes() == [SENT, SENT]
    late = desk.run("hold", "1", "--yes")
    assert "Email 1 does not wait: it is sent." in late.stderr


def test_a_dry_run_closes_no_record_that_could_not_be_read(desk: Desk) -> None:
    member = desk.space.enrol(1)
    desk.space.source.break_record(Entity.COURSE_MEMBER, member.record_id)
    for _ in range(12):
        desk.space.later(hours=12)
    before = states(desk)
    assert LookupState.FAILED in before
    assert desk.run("skip", "--lookups", "--dry-run", "--yes").stdout == (
        "Would close 1 record. Nothing was changed.\n"
    )
    assert states(desk) == before
    desk.run("skip", "--lookups", "--yes")
    assert LookupState.FAILED not in states(desk)


def states(desk: Desk) -> list[str]:
    return [row.state for row in rows(desk.space.engine, lookups)]


def test_emails_that_wait_can_be_chosen_by_every_reason_to_wait_that_the_docs_name(
    desk: Desk,
) -> None:
    page = Path("docs/rules.md").read_text(encoding="utf-8")
    waits = [line for line in page.splitlines() if line.startswith("|") and "| waits |" in line]
    reasons = {code for line in waits for code in re.findall("`([a-z-]+)`", line.split("|")[3])}
    assert {"gathering", "quiet-hours", "send-window", "holiday", "cap-day"} <= reasons
    for reason in reasons:
        assert desk.run("hold", "--reason", reason, "--dry-run").exit_code != 2, reason


def test_an_email_that_may_have_been_resent_before_a_restore_is_resent_with_a_warning(
    desk: Desk,
) -> None:
    desk.refuse(1)
    assert "may have been sent already" not in desk.run("resend", "1", "--dry-run").stderr
    now = desk.space.clock.now() + timedelta(minutes=1)
    with writing(desk.space.engine) as connection:
        lock_decisions(connection)
        open_gap(connection, Gap(None, now, "a test"), "rita")
    shown = desk.run("resend", "1", "--dry-run")
    assert "1 email may have been sent already" in shown.stderr


def test_printed_commands_can_be_typed_whatever_a_title_contains() -> None:
    for title in ("Don't Panic", "R&D", "Money; now", "Ton & Drehscheibe"):
        given = {"action_ids": (7,), "reason": None, "rule": None, "course": title, "person": None}
        assert shlex.split(arguments_of(given)) == ["7", "--course", title]
