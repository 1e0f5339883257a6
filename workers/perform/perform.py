"""Performs one claimed action: reads again, decides again, writes it, and has it handed over.

The email is written before the transaction in which it is decided on, and only used if what it was
written from is still true there. So neither the ledger's lock nor that of all decisions is held
while templates are filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.actions import (
    ClaimedAction,
    begin_action,
    release_action,
    settle_action,
)
from ledger.copies import keep_copy
from ledger.engine import Connection, lock_decisions, reading, writing
from schemas.actions import Outcome
from schemas.errors import (
    ActionRefused,
    AddressUnusable,
    LedgerUnavailable,
    Permanent,
    RecordUnreadable,
    SourceError,
    SourceRefused,
)
from schemas.reasons import Reason
from schemas.states import ActionState
from workers.actions.base import Action, Order, Written
from workers.decide.again import objection
from workers.lease import Overtaken
from workers.lookup.findings import Findings
from workers.lookup.reading import Reader
from workers.perform.delivery import deliver
from workers.perform.refresh import refresh
from workers.perform.tools import Performing, Stopping
from workers.perform.truth import Whole, whole_truth
from workers.postponing import postponement
from workers.retries import LOOK_PATIENCE_S
from workers.source.budget import Patience, Urgency
from workers.source.reads import Lend

_NEWS_IS_DECIDED = timedelta(seconds=15)
_MOST_WRITINGS = 3  # what changes each time it was written waits a moment


@dataclass(frozen=True, slots=True)
class _Draft:
    """What an action came to when it was written: an email, or why there is none."""

    order: Order | None
    found: Written | Outcome


def perform(tools: Performing, lend: Lend, claimed: ClaimedAction) -> Outcome | None:
    """Return how it ended; None if the action turned out to be no longer ours, or was given back.

    `lend` gives a way to the source for as long as truth is read there. Failures of this action are
    recorded as its outcome instead of raised.

    Raises:
        LedgerUnavailable: what happened could not be written; the lease will bring it back.
    """
    try:
        lease = tools.lease_of(claimed)

        def keep() -> None:
            if tools.is_stopping():
                raise Stopping  # noqa: TRY301 - it is raised from far below, where `keep` is called
            lease.keep()

        keep()
        patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, keep)
        with lend(patience) as source:
            reader = Reader(tools.engine, source, Findings(tools.clock.now()), keep, tools.once)
            has_news = refresh(reader, claimed)
        keep()
        begun = _wait_for_news(tools, claimed) if has_news else _begin(tools, claimed)
    except SourceError as error:
        begun = _settle(tools, claimed, _source_trouble(tools, claimed, error))
    except Stopping:
        with writing(tools.engine) as connection:
            release_action(connection, claimed)
        return None
    except Overtaken:
        return None
    except LedgerUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours, before anything left: not tried again
        begun = _settle(tools, claimed, Outcome.failed(Reason.INTERNAL_ERROR, type(error).__name__))
    if not isinstance(begun, Written):
        return begun
    try:
        return deliver(tools, claimed, begun)
    except Overtaken:
        return None


def _wait_for_news(tools: Performing, claimed: ClaimedAction) -> Outcome | None:
    """Let the action wait for a look-up: of its person more is known than was decided on."""
    soon = tools.clock.now() + _NEWS_IS_DECIDED
    return _settle(tools, claimed, Outcome.waiting(soon, Reason.GATHERING))


def _begin(tools: Performing, claimed: ClaimedAction) -> Written | Outcome | None:
    """Decide again and write it; commit `performing`, or the outcome that it came to instead."""
    now = tools.clock.now()
    draft = None
    with reading(tools.engine) as connection:
        whole = whole_truth(connection, claimed, tools.stand, now)
    for _ in range(_MOST_WRITINGS):
        if _is_written(objection(whole.truth)):
            draft = _Draft(whole.order, write(tools.actions, claimed.kind, whole.order))
        with writing(tools.engine) as connection:
            lock_decisions(connection)
            whole = whole_truth(connection, claimed, tools.stand, now)
            outcome = objection(whole.truth)
            if not _is_written(outcome):
                return _settled(connection, claimed, outcome, now)
            if draft is not None and draft.order == whole.order:
                return _decided(connection, tools, claimed, whole, draft.found, outcome)
    return _wait_for_news(tools, claimed)


def _is_written(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.state is ActionState.HELD


def _decided(  # noqa: PLR0913, PLR0917 - what was found out, and in which transaction
    connection: Connection,
    tools: Performing,
    claimed: ClaimedAction,
    whole: Whole,
    found: Written | Outcome,
    held: Outcome | None,
) -> Written | Outcome | None:
    """Commit what a draft came to that is still true: an outcome, held, or `performing`."""
    now = whole.truth.now
    if isinstance(found, Outcome):
        return _settled(connection, claimed, found, now)
    keep_copy(connection, claimed.action_id, found.copy, now)
    if held is not None:
        return _settled(connection, claimed, held, now)
    events, lease_s = whole.events, tools.lease_s
    if begin_action(connection, claimed, now, lease_s=lease_s, events=events):
        return found
    release_action(connection, claimed)
    return None


def _settled(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome | None, now: datetime
) -> Outcome | None:
    if outcome is None or not settle_action(connection, claimed, outcome, now):
        return None
    return outcome


def write(actions: Mapping[str, Action], kind: str, order: Order | None) -> Written | Outcome:
    """Write an action of this kind, or return why it cannot be written."""
    action = actions.get(kind)
    if action is None or order is None:
        return Outcome.failed(Reason.INTERNAL_ERROR, "nothing here performs this kind of action")
    try:
        return action.write(order)
    except AddressUnusable as error:
        return Outcome.skipped(Reason.NO_EMAIL, str(error))
    except ActionRefused as error:
        return Outcome.failed(Reason.MAIL_REJECTED, error.detail or str(error))
    except Permanent as error:
        return Outcome.failed(Reason.TEMPLATE_ERROR, str(error))


def _source_trouble(tools: Performing, claimed: ClaimedAction, error: SourceError) -> Outcome:
    if isinstance(error, RecordUnreadable):
        return Outcome.failed(Reason.UNREADABLE, str(error))
    # An email is in less of a hurry than news; refusals grow slowly enough by themselves.
    tries = claimed.attempts + (1 if isinstance(error, SourceRefused) else 5)
    wait = postponement(error, tries, tools.clock.now(), chance=tools.clock.random())
    return Outcome.waiting(wait.until, wait.reason, str(error))


def _settle(tools: Performing, claimed: ClaimedAction, outcome: Outcome) -> Outcome | None:
    with writing(tools.engine) as connection:
        settled = settle_action(connection, claimed, outcome, tools.clock.now())
    return outcome if settled else None
