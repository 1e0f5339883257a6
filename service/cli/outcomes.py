"""What would happen to held and waiting emails, in words and numbers: sent now, later, or not."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from ledger.controls import sending_of
from ledger.engine import Connection
from ledger.outbox import read_actions
from schemas.reasons import EXPLANATIONS, Reason
from service.cli.common import local
from service.sending_outcomes import goes_now, is_kept_held
from workers.actions.registry import noun_of, number_of
from workers.deliver.context import SendSetup
from workers.deliver.forecast import Expected, forecast

_MOST_IDS = 10  # on a line; of more emails only the number is printed


def outcome_text(expected: Expected, now: datetime) -> str:
    """Return in words what would happen to one email."""
    outcome = expected.outcome
    if goes_now(expected, now):
        return "is sent at once"
    if expected.is_sent:
        why = "" if outcome is None or outcome.reason is None else f": {_explained(outcome.reason)}"
        return f"is sent at {local(expected.sent_at)} at the earliest{why}"
    ends = "stays held" if is_kept_held(expected) else "is not sent"
    return ends if outcome is None or outcome.reason is None else _with(ends, outcome.reason)


def due_lines(
    connection: Connection, setup: SendSetup, action_ids: Sequence[int], now: datetime
) -> list[str]:
    """Return when these emails are sent, or why not, a line for each answer.

    Empty if all are sent at once.
    """
    wanted = read_actions(connection, action_ids)
    started_at = sending_of(connection).started_at
    ids: dict[str, list[int]] = {}
    noun = noun_of({one.kind for one in wanted})
    all_now = True
    for one in forecast(connection, setup, wanted, now, started_at):
        all_now = all_now and goes_now(one, now)
        ids.setdefault(outcome_text(one, now), []).append(one.action.action_id)
    if all_now:
        return []
    return [f"  {_some(found, noun)}: {text}" for text, found in ids.items()]


def _some(action_ids: Sequence[int], noun: str) -> str:
    if len(action_ids) > _MOST_IDS:
        return f"{len(action_ids)} {noun}s"
    return f"{noun} {', '.join(map(str, action_ids))}"


def sending_text(found: Expected | Reason, now: datetime) -> str:
    """Return in words what a change to sending would do to an email; a reason: it stays held."""
    return _with("stays held", found) if isinstance(found, Reason) else outcome_text(found, now)


def count_lines(numbers: dict[str, dict[str, int]], kinds: Collection[str]) -> Iterator[str]:
    """Yield these numbers of actions of these kinds in words, a line for each part and reason."""
    words = {
        "now": ("is sent at once", "are sent at once"),
        "later": ("is sent later", "are sent later"),
        "held": ("stays held", "stay held"),
        "not_sent": ("is not sent", "are not sent"),
    }
    for part, by_reason in numbers.items():
        for reason, number in sorted(by_reason.items()):
            one, several = words[part]
            emails = f"{number_of(number, kinds)} {one if number == 1 else several}"
            why = f", {reason}: {EXPLANATIONS[Reason(reason)].sentence}" if reason else ""
            yield f"  {emails}{why}"


def number_sent(expected: Iterable[Expected]) -> str:
    """Return how many emails would be sent, and to how many people."""
    sent = [one for one in expected if one.is_sent]
    people = len({_whom(one) for one in sent})
    emails = number_of(len(sent), {one.action.kind for one in sent})
    return f"{emails} to {people} people" if people > 1 else emails


def _whom(expected: Expected) -> tuple[str | None, int | str | None]:
    """Return what tells one recipient from another."""
    action = expected.action
    to = action.coworker_id if action.audience is None else expected.recipient
    return action.audience, to


def _with(ends: str, reason: Reason) -> str:
    return f"{ends}: {_explained(reason)}"


def _explained(reason: Reason) -> str:
    return f"{EXPLANATIONS[reason].sentence} [{reason}]"
