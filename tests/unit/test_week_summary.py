"""The summary on Mondays: emails apart from other actions, and each number under its own name."""

from datetime import date

import pytest

from schemas.events import EventKind
from schemas.reasons import Reason
from workers.actions.email.parts import Figures, Heading
from workers.actions.email.phrases import Writer
from workers.attention import LOOKUPS_FAILED
from workers.languages import language_for
from workers.reports.alerts import Cause
from workers.reports.summary_text import WeekNumbers, summary_content, week_numbers

DAYS = date(2026, 11, 16), date(2026, 11, 22)
WRITE = Writer(language_for("en"))
QUIET = week_numbers({}, {}, {}, {}, ())


def said(week: WeekNumbers) -> tuple[str, dict[str, dict[str, str]]]:
    """Return the subject, and the numbers below each heading; "" for those above the first."""
    content, below = summary_content(week, DAYS, WRITE), ""
    found: dict[str, dict[str, str]] = {}
    for part in content.parts:
        if isinstance(part, Heading):
            below = part.words.text()
        if isinstance(part, Figures):
            found[below] = {words.text(): number for words, number in part.rows}
    return content.subject.text(), found


def test_webhooks_and_notes_are_not_counted_as_emails() -> None:
    week = week_numbers(
        {EventKind.ENROLLED: 2},
        {("email", "welcome"): 2, ("webhook", None): 30, ("nexudus-note", None): 4},
        {("email", Reason.NO_EMAIL): 1, ("webhook", Reason.NO_EMAIL): 5},
        {"email": 3, "webhook": 6},
        (),
    )
    subject, found = said(week)
    assert subject == "Coursebell: 2 emails last week"
    assert found == {
        "": {"New enrolments": "2", "Finished courses": "0"},
        "Sent": {"Welcome": "2"},
        "Not sent on purpose": {"No usable address": "1"},
        "Other actions": {"Done": "34", "Not done on purpose": "5"},
        "Now": {
            "Emails waiting for their time": "3",
            "Other actions waiting for their time": "6",
            "Emails and other actions that need you": "0",
        },
    }


def test_a_week_with_webhooks_alone_is_not_quiet() -> None:
    assert said(QUIET)[0] == "Coursebell: a quiet week"
    week = week_numbers({}, {("webhook", None): 1}, {}, {}, ())
    assert said(week)[0] == "Coursebell: 0 emails last week"


def test_records_that_could_not_be_read_are_no_emails() -> None:
    causes = [Cause("held", 2), Cause("failed", 1), Cause(LOOKUPS_FAILED, 7)]
    _, found = said(week_numbers({}, {}, {}, {}, causes))
    assert found["Now"] == {
        "Emails waiting for their time": "0",
        "Emails and other actions that need you": "3",
        "Records of Nexudus that could not be read": "7",
    }
    assert "Records of Nexudus that could not be read" not in said(QUIET)[1]["Now"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.BOUNCED_BEFORE, "An earlier email to the address came back"),
        (Reason.NO_EMAIL, "No usable address"),
        (Reason.TOO_OLD, "Other reasons"),
    ],
)
def test_each_reason_is_counted_under_words_that_fit(reason: Reason, words: str) -> None:
    _, found = said(week_numbers({}, {}, {("email", reason): 1}, {}, ()))
    assert found["Not sent on purpose"] == {words: "1"}
