"""How an attempt can end: each way has its state, and says what belongs to it."""

import pytest

from schemas.actions import ActionState, Outcome
from schemas.reasons import Reason
from tests.builders.records import NOON


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.done("250 taken"), Outcome(ActionState.DONE, detail="250 taken")),
        (Outcome.skipped(Reason.BLOCKED), Outcome(ActionState.SKIPPED, Reason.BLOCKED)),
        (
            Outcome.waiting(NOON, Reason.CAP_DAY, "why"),
            Outcome(ActionState.WAITING, Reason.CAP_DAY, NOON, "why"),
        ),
        (Outcome.held(Reason.TOO_OLD), Outcome(ActionState.HELD, Reason.TOO_OLD)),
        (
            Outcome.failed(Reason.MAIL_REJECTED, "550 no"),
            Outcome(ActionState.FAILED, Reason.MAIL_REJECTED, detail="550 no"),
        ),
        (
            Outcome.unknown("cut off"),
            Outcome(ActionState.UNKNOWN, Reason.HANDOVER_UNKNOWN, detail="cut off"),
        ),
    ],
)
def test_an_outcome_has_its_state_and_what_belongs_to_it(
    outcome: Outcome, expected: Outcome
) -> None:
    assert outcome == expected
