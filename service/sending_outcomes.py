"""What would happen to held and waiting emails: sent now, later, or not, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.controls import resumption, sending_of
from ledger.engine import Connection
from ledger.outbox import open_actions, read_actions
from schemas.actions import ActionState
from schemas.reasons import Reason
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast


@dataclass(frozen=True, slots=True)
class SendingOutcomes:
    """What a change to sending would do: to emails decided again, and to those that stay held."""

    expected: Sequence[Expected]
    kept: dict[Reason, list[int]]


def outcomes_by_sending(
    connection: Connection, setup: SendSetup, now: datetime, coworker_id: int | None = None
) -> SendingOutcomes:
    """Return what a change to sending would do now, to all emails or those of one person."""
    decided = resumption(connection, now)
    kept = {reason: ids for reason, ids in decided.items() if reason is not None}
    due_or_open = [*decided[None], *open_actions(connection, coworker_id)]
    wanted = [
        one
        for one in read_actions(connection, due_or_open)
        if coworker_id in {None, one.coworker_id}
    ]
    started_at = sending_of(connection).started_at or now
    return SendingOutcomes(forecast(connection, setup, wanted, now, started_at), kept)


def goes_now(expected: Expected, now: datetime) -> bool:
    """Return whether this email would be sent at once."""
    return expected.is_sent and expected.sent_at <= now


def counted(outcomes: SendingOutcomes, now: datetime) -> dict[str, dict[str, int]]:
    """Return how many emails are sent `now` or `later`, `held`, and `not_sent`, by reason."""
    numbers: dict[str, dict[str, int]] = {"now": {}, "later": {}, "held": {}, "not_sent": {}}
    for one in outcomes.expected:
        reason = "" if one.outcome is None or one.outcome.reason is None else one.outcome.reason
        part = numbers[part_of(one, now)]
        part[str(reason)] = part.get(str(reason), 0) + 1
    for kept, ids in outcomes.kept.items():
        if ids:
            numbers["held"][kept] = numbers["held"].get(kept, 0) + len(ids)
    return numbers


def part_of(expected: Expected, now: datetime) -> str:
    """Return `now`, `later`, `held` or `not_sent`."""
    if expected.is_sent:
        return "now" if goes_now(expected, now) else "later"
    return "held" if is_kept_held(expected) else "not_sent"


def is_kept_held(expected: Expected) -> bool:
    """Return whether this email would be held, or stay so."""
    return expected.outcome is not None and expected.outcome.state is ActionState.HELD
