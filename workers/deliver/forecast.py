"""Forecasts what would become of actions if they were performed now, by a worker's own checks.

Nothing is read from the source and nothing is changed: a worker reads once more before it sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ledger.actions import ClaimedAction
from ledger.copies import Copy
from ledger.engine import Connection
from schemas.actions import Outcome
from schemas.states import ActionState, Mode
from workers.actions.base import Prepared
from workers.decide.send_check import SendContext, check_send
from workers.deliver.attempt import prepare
from workers.deliver.context import SendSetup, load_context


@dataclass(frozen=True, slots=True)
class Expected:
    """What would become of one action: handed over at `at`, unless `outcome` says otherwise.

    `copy` is the action as it would be prepared, None where it would not be.
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
    def title(self) -> str | None:
        """The line that would name it in lists."""
        return self.copy.title if self.copy else None

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

    def applied_to(self, context: SendContext, coworker_id: int) -> SendContext:
        flood = context.rule.timing.flood if context.rule else None
        window = timedelta(seconds=flood.window_s if flood else 0)
        fewer = sum(abs(one - context.planned_at) <= window for one in self.skipped)
        return replace(
            context,
            sent_at=[*context.sent_at, *self.sent_at.get(coworker_id, ())],
            planned_nearby=context.planned_nearby - fewer,
        )

    def note(self, expected: Expected) -> None:
        action, outcome = expected.action, expected.outcome
        if outcome is None:
            self.sent_at.setdefault(action.coworker_id, []).append(expected.at)
        elif outcome.state is ActionState.SKIPPED:
            self.skipped.append(action.planned_at)


def forecast(
    connection: Connection,
    setup: SendSetup,
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
        loaded = load_context(connection, action, setup, at)
        context = before.applied_to(loaded.send, action.coworker_id)
        context = replace(context, mode=Mode.SENDING, sending_started_at=started_at)
        outcome = check_send(context)
        prepared: Prepared | Outcome | None = None
        if outcome is None or outcome.state is not ActionState.SKIPPED:
            prepared = prepare(setup.actions, action.kind, loaded.action)
        if isinstance(prepared, Outcome):
            # One that waits is prepared when its time comes, and ends in the same way.
            outcome = prepared
        copy = prepared.copy if isinstance(prepared, Prepared) else None
        expected = Expected(
            action,
            at,
            outcome,
            context.person.full_name if context.person else None,
            copy,
        )
        before.note(expected)
        found.append(expected)
    return found
