"""What would become of emails, in words: what goes now, what goes later, what does not, and why."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.controls import resumption, sending_of
from ledger.engine import Connection
from ledger.outbox import open_actions, read_actions
from schemas.actions import ActionState
from schemas.reasons import EXPLANATIONS, Reason
from service.cli.common import local
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast


@dataclass(frozen=True, slots=True)
class SendingOutcomes:
    """What a change to sending would mean: for emails decided on again, and for those kept held."""

    expected: Sequence[Expected]
    kept: dict[Reason, list[int]]


def outcomes_by_sending(
    connection: Connection, setup: SendSetup, now: datetime, coworker_id: int | None = None
) -> SendingOutcomes:
    """Return what a change to sending would do now, to the emails of everybody or of one person."""
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
    """Say whether this email would be handed over at once."""
    return expected.is_sent and expected.sent_at <= now


def outcome_text(expected: Expected, now: datetime) -> str:
    """Return in words what would become of one email."""
    outcome = expected.outcome
    if goes_now(expected, now):
        return "goes at once"
    if expected.is_sent:
        why = "" if outcome is None or outcome.reason is None else f": {_explained(outcome.reason)}"
        return f"goes at {local(expected.sent_at)} at the earliest{why}"
    ends = "stays held" if _is_held(expected) else "is not sent"
    return ends if outcome is None or outcome.reason is None else _with(ends, outcome.reason)


def kept_text(reason: Reason) -> str:
    """Return in words what becomes of an email that stays held for this."""
    return _with("stays held", reason)


def counted(fates: SendingOutcomes, now: datetime) -> dict[str, dict[str, int]]:
    """Return how many emails go `now` and `later`, are `held` and are `not_sent`, by reason."""
    numbers: dict[str, dict[str, int]] = {"now": {}, "later": {}, "held": {}, "not_sent": {}}
    for one in fates.expected:
        reason = "" if one.outcome is None or one.outcome.reason is None else one.outcome.reason
        part = numbers[part_of(one, now)]
        part[str(reason)] = part.get(str(reason), 0) + 1
    for kept, ids in fates.kept.items():
        if ids:
            numbers["held"][kept] = numbers["held"].get(kept, 0) + len(ids)
    return numbers


def count_lines(numbers: dict[str, dict[str, int]]) -> Iterator[str]:
    """Return these numbers in words, a line for each part and reason."""
    words = {
        "now": ("goes at once", "go at once"),
        "later": ("goes later", "go later"),
        "held": ("stays held", "stay held"),
        "not_sent": ("is not sent", "are not sent"),
    }
    for part, by_reason in numbers.items():
        for reason, number in sorted(by_reason.items()):
            one, several = words[part]
            emails = f"1 email {one}" if number == 1 else f"{number} emails {several}"
            why = f", {reason}: {EXPLANATIONS[Reason(reason)].sentence}" if reason else ""
            yield f"  {emails}{why}"


def number_of(expected: Iterable[Expected]) -> str:
    """Return how many emails would be sent, and to how many people."""
    sent = [one for one in expected if one.is_sent]
    people = len({one.action.coworker_id for one in sent})
    emails = "1 email" if len(sent) == 1 else f"{len(sent)} emails"
    return f"{emails} to {people} people" if people > 1 else emails


def part_of(expected: Expected, now: datetime) -> str:
    """Return `now`, `later`, `held` or `not_sent`."""
    if expected.is_sent:
        return "now" if goes_now(expected, now) else "later"
    return "held" if _is_held(expected) else "not_sent"


def _is_held(expected: Expected) -> bool:
    return expected.outcome is not None and expected.outcome.state is ActionState.HELD


def _with(ends: str, reason: Reason) -> str:
    return f"{ends}: {_explained(reason)}"


def _explained(reason: Reason) -> str:
    return f"{EXPLANATIONS[reason].sentence} [{reason}]"
