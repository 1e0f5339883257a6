"""What a change to sending would do to held and waiting emails, and what it needs first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.controls import Sending, change_mode, resumption, sending_of
from ledger.engine import Connection, Engine, lock_decisions, writing
from ledger.interventions import held_by_reason
from ledger.outbox import open_actions, read_actions
from schemas.actions import ActionState, Mode
from schemas.reasons import Reason
from schemas.settings import Settings
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast


@dataclass(frozen=True, slots=True)
class SendingOutcomes:
    """What a change to sending would do: to emails decided again, and to those that stay held.

    `beyond` is how many more would be decided again that were not looked at.
    """

    expected: Sequence[Expected]
    kept: dict[Reason, list[int]]
    beyond: int = 0


def missing_to_send(settings: Settings) -> list[str]:
    """Return the names of the settings that sending needs and that are not set."""
    needed = (("COURSEBELL_SMTP_URL", settings.smtp), ("COURSEBELL_MAIL_FROM", settings.mail_from))
    return [name for name, value in needed if value is None]


def set_mode(engine: Engine, mode: Mode, who: str, now: datetime) -> Sending:
    """Change the mode. Raises `LedgerUnavailable`."""
    with writing(engine) as connection:
        # An email that is decided at this moment is either held first or sees the new mode.
        lock_decisions(connection)
        return change_mode(connection, mode, who, now)


def outcomes_by_sending(
    connection: Connection,
    setup: SendSetup,
    now: datetime,
    coworker_id: int | None = None,
    most: int | None = None,
) -> SendingOutcomes:
    """Return what a change to sending would do now, to all emails or those of one person.

    Of more than `most` emails that would be decided again, the first are looked at.
    """
    decided = resumption(connection, now)
    kept = {reason: ids for reason, ids in decided.items() if reason is not None}
    due_or_open = [*decided[None], *open_actions(connection, coworker_id)]
    wanted = [
        one
        for one in read_actions(connection, due_or_open)
        if coworker_id in {None, one.coworker_id}
    ]
    started_at = sending_of(connection).started_at or now
    expected = forecast(connection, setup, wanted[:most], now, started_at)
    return SendingOutcomes(expected, kept, len(wanted) - len(expected))


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


def numbers_by_sending(
    connection: Connection, outcomes: SendingOutcomes, now: datetime
) -> dict[str, dict[str, int]]:
    """Return the numbers of `counted`, with what is held for other reasons than observing."""
    numbers = counted(outcomes, now)
    for reason, number in held_by_reason(connection).items():
        if reason is not Reason.OBSERVE:
            numbers["held"][reason] = numbers["held"].get(reason, 0) + number
    return numbers


def part_of(expected: Expected, now: datetime) -> str:
    """Return `now`, `later`, `held` or `not_sent`."""
    if expected.is_sent:
        return "now" if goes_now(expected, now) else "later"
    return "held" if is_kept_held(expected) else "not_sent"


def is_kept_held(expected: Expected) -> bool:
    """Return whether this email would be held, or stay so."""
    return expected.outcome is not None and expected.outcome.state is ActionState.HELD
