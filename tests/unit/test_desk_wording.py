"""Badges and sentences of emails, as the pages of operators show them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ledger.stories import ActionView
from schemas.actions import ActionState
from schemas.reasons import HOLD_REASONS, Reason
from service.desk.languages import Times, ui_language
from service.desk.wording import Holding, Shown, shown_email
from service.person_history import main_action

NOW = datetime(2026, 11, 27, 21, 0, tzinfo=UTC)
TIMES = Times(ui_language("en"), ZoneInfo("Europe/Lisbon"), NOW)
PLANNED = ActionView(
    action_id=7,
    rule="lesson-finished",
    template="lesson_finished",
    state=ActionState.PLANNED,
    reason=None,
    due_at=NOW + timedelta(minutes=30),
    finished_at=None,
    receipt=None,
    title="You finished Pricing",
    tries=(),
)


def shown(holding: Holding = Holding(), **different: Any) -> Shown:  # noqa: ANN401, B008 - fields; frozen
    return shown_email(TIMES, replace(PLANNED, **different), holding)


def test_an_email_that_gathers_says_until_when() -> None:
    gathers = Holding(gathering={"lesson-finished"})
    assert shown(gathers) == Shown(
        "gathering",
        "Gathering",
        "Waiting for more lessons of the same sitting. Goes 21:30.",
        why="Waiting for more lessons of the same sitting.",
    )
    assert shown().word == "Scheduled"
    assert shown(gathers, due_at=NOW).word == "Scheduled"


def test_a_pause_counts_before_what_the_email_waits_for() -> None:
    both = Holding(paused={7}, gathering={"lesson-finished"})
    paused = "Sending is paused."
    assert shown(both) == Shown("scheduled", "Held", paused, why=paused)


def test_what_an_operator_dropped_is_not_said_to_be_held() -> None:
    dropped = shown(state="skipped", reason="on-hold", finished_at=NOW)
    assert dropped == Shown("skipped", "Not sent on purpose", "It was dropped.")
    old = shown(state="skipped", reason="too-old", finished_at=NOW).sentence
    assert old.endswith(". It was dropped.")
    assert old != "It was dropped."


def test_what_became_of_an_event_is_said_of_its_first_email() -> None:
    first = replace(PLANNED, action_id=1, state="skipped", reason="no-email")
    reminder = replace(PLANNED, action_id=2, is_later_step=True)
    assert main_action([first, reminder]) == first
    assert main_action([reminder]) == reminder


def test_night_names_the_morning() -> None:
    night = shown(state="waiting", reason="quiet-hours", due_at=NOW + timedelta(hours=11))
    why = "It is night where they are."
    assert night == Shown("scheduled", "Scheduled", f"{why} Goes tomorrow 08:00.", why=why)


def test_an_email_whose_time_has_come_is_due_and_goes_at_no_time_in_the_past() -> None:
    late = shown(due_at=NOW - timedelta(hours=2))
    assert late.sentence == "Due since 19:00; it goes as soon as it can."
    assert shown(due_at=NOW).sentence == "Goes 21:00."


@pytest.mark.parametrize("reason", HOLD_REASONS)
def test_what_is_held_on_purpose_does_not_ask_for_a_decision(reason: Reason) -> None:
    on_purpose = {Reason.OBSERVE, Reason.BEFORE_START, Reason.PAUSED, Reason.ON_HOLD}
    assert (shown(state="held", reason=reason).badge == "needs") == (reason not in on_purpose)


@pytest.mark.parametrize("state", ActionState)
def test_every_state_has_a_badge_and_those_that_were_sent_again_need_no_one(
    state: ActionState,
) -> None:
    assert shown(state=state).word
    settled = shown(state=state, was_resent=True)
    if state in {ActionState.FAILED, ActionState.UNKNOWN}:
        assert settled.badge == "skipped"


def test_times_are_written_as_the_operator_reads_them() -> None:
    assert TIMES.words(NOW) == "21:00"
    assert TIMES.words(NOW + timedelta(hours=4)) == "tomorrow 01:00"
    assert TIMES.words(NOW - timedelta(days=1)) == "yesterday 21:00"
    assert TIMES.words(NOW - timedelta(days=20)) == "Sat 7 Nov, 21:00"
    assert TIMES.words(datetime(2025, 3, 1, 9, tzinfo=UTC)) == "Sat 1 Mar 2025, 09:00"
    assert 'datetime="2026-11-27T21:00:00+00:00"' in TIMES.mark(NOW)


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("pt,fr", "fr"),
        ("pt", "en"),
        (None, "en"),
        ("*", "en"),
        (";;,", "en"),
    ],
)
def test_the_language_is_the_first_that_the_browser_asks_for(
    accepted: str | None, code: str
) -> None:
    assert ui_language(accepted).code == code
