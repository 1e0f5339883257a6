"""What would become of actions if they were performed now, by the decisions that a worker makes.

Nothing is read from the source and nothing is written: a worker reads once more before it sends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ledger.actions import ClaimedAction
from ledger.copies import Copy
from ledger.engine import Connection
from schemas.actions import Outcome
from schemas.states import ActionState, Mode
from workers.actions.base import Action, Written
from workers.decide.again import Truth, objection
from workers.perform.perform import write
from workers.perform.truth import Standpoint, whole_truth


@dataclass(frozen=True, slots=True)
class Forecasting:
    """With what is foreseen: how workers decide, and what writes the emails."""

    stand: Standpoint
    actions: Mapping[str, Action]


@dataclass(frozen=True, slots=True)
class Expected:
    """What would become of one action: handed over at `at`, unless `outcome` says otherwise.

    `copy` is the email as it would be written, None where it would not be.
    """

    action: ClaimedAction
    at: datetime
    outcome: Outcome | None
    person: str | None = field(repr=False)
    copy: Copy | None = field(repr=False)

    @property
    def recipient(self) -> str | None:
        """To whom it would be sent."""
        return self.copy.recipient if self.copy else None

    @property
    def subject(self) -> str | None:
        """What its subject would be."""
        return self.copy.subject if self.copy else None

    @property
    def is_sent(self) -> bool:
        """Say whether it would be sent, now or later."""
        return self.outcome is None or self.outcome.state is ActionState.WAITING

    @property
    def sent_at(self) -> datetime:
        """When it would be sent, or decided on again."""
        until = None if self.outcome is None else self.outcome.until
        return until or self.at


@dataclass(slots=True)
class _Before:
    """What those that come first would change for the others."""

    sent_at: dict[int, list[datetime]] = field(default_factory=dict)  # by coworker
    skipped: list[datetime] = field(default_factory=list)  # when each was planned

    def applied_to(self, truth: Truth, coworker_id: int) -> Truth:
        flood = truth.rule.timing.flood if truth.rule else None
        window = timedelta(seconds=flood.window_s if flood else 0)
        fewer = sum(abs(one - truth.planned_at) <= window for one in self.skipped)
        return replace(
            truth,
            sent_at=[*truth.sent_at, *self.sent_at.get(coworker_id, ())],
            planned_nearby=truth.planned_nearby - fewer,
        )

    def note(self, expected: Expected) -> None:
        action, outcome = expected.action, expected.outcome
        if outcome is None:
            self.sent_at.setdefault(action.coworker_id, []).append(expected.at)
        elif outcome.state is ActionState.SKIPPED:
            self.skipped.append(action.planned_at)


def forecast(
    connection: Connection,
    tools: Forecasting,
    wanted: Sequence[ClaimedAction],
    now: datetime,
    started_at: datetime | None,
) -> list[Expected]:
    """Return what would become of these, in this order, if the mode were sending.

    `started_at` is when sending began. What is due later is judged by what is known now.
    """
    before = _Before()
    found = []
    for action in wanted:
        at = max(now, action.due_at)
        whole = whole_truth(connection, action, tools.stand, at)
        truth = before.applied_to(whole.truth, action.coworker_id)
        truth = replace(truth, mode=Mode.SENDING, sending_started_at=started_at)
        outcome = objection(truth)
        written: Written | Outcome | None = None
        if outcome is None or outcome.state is not ActionState.SKIPPED:
            written = write(tools.actions, action.kind, whole.order)
        if isinstance(written, Outcome):
            # One that waits is written when its time comes, and ends in the same way.
            outcome = written
        copy = written.copy if isinstance(written, Written) else None
        expected = Expected(
            action,
            at,
            outcome,
            truth.person.full_name if truth.person else None,
            copy,
        )
        before.note(expected)
        found.append(expected)
    return found
