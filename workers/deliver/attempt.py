"""Performs one claimed action: reads its records again, checks again, prepares it, and sends it.

The action is prepared before the transaction in which it is decided on, and only used if the
context it was prepared from is still the same there. So neither the ledger's lock nor that of all
decisions is held while templates are filled in.
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
    DeliveryRefused,
    LedgerUnavailable,
    RecordUnreadable,
    SourceError,
    SourceRefused,
)
from schemas.reasons import Reason
from schemas.states import ActionState
from workers.actions.base import Action, ActionContext, Prepared
from workers.decide.send_check import check_send
from workers.deliver.context import DeliveryTools, LoadedContext, Stopping, load_context
from workers.deliver.refresh import refresh
from workers.deliver.settle import refused, send
from workers.lease import Overtaken
from workers.lookup.findings import Findings
from workers.lookup.reading import Reader
from workers.postponing import postponement
from workers.retries import LOOK_PATIENCE_S
from workers.source.limits import Patience, Urgency
from workers.source.reads import Lend

_LOOKUP_TAKES = timedelta(seconds=15)
_MOST_DRAFTS = 3  # an action whose context changes each time waits a moment


@dataclass(frozen=True, slots=True)
class _Draft:
    """What preparing an action resulted in, and from which context."""

    context: ActionContext | None
    result: Prepared | Outcome


def attempt(tools: DeliveryTools, lend: Lend, claimed: ClaimedAction) -> Outcome | None:
    """Perform a claimed action; return how it ended, None if its lease was lost or given back.

    `lend` gives a connection to the source for as long as records are read. Failures of this
    action are recorded as its outcome instead of raised.

    Raises:
        LedgerUnavailable: the outcome could not be recorded; the lease will bring it back.
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
            has_changes = refresh(reader, claimed)
        keep()
        begun = _wait_for_lookup(tools, claimed) if has_changes else _begin(tools, claimed)
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
    if not isinstance(begun, Prepared):
        return begun
    try:
        return send(tools, claimed, begun)
    except Overtaken:
        return None


def _wait_for_lookup(tools: DeliveryTools, claimed: ClaimedAction) -> Outcome | None:
    """Let the action wait for a lookup: the source has changes that nobody decided on yet."""
    soon = tools.clock.now() + _LOOKUP_TAKES
    return _settle(tools, claimed, Outcome.waiting(soon, Reason.GATHERING))


def _begin(tools: DeliveryTools, claimed: ClaimedAction) -> Prepared | Outcome | None:
    """Check and prepare it; commit `performing`, or the outcome that it came to instead."""
    now = tools.clock.now()
    draft = None
    with reading(tools.engine) as connection:
        loaded = load_context(connection, claimed, tools.setup, now)
    for _ in range(_MOST_DRAFTS):
        if _is_prepared(check_send(loaded.send)):
            draft = _Draft(loaded.action, prepare(tools.actions, claimed.kind, loaded.action))
        with writing(tools.engine) as connection:
            lock_decisions(connection)
            loaded = load_context(connection, claimed, tools.setup, now)
            outcome = check_send(loaded.send)
            if not _is_prepared(outcome):
                return _settled(connection, claimed, outcome, now)
            if draft is not None and draft.context == loaded.action:
                return _decided(connection, tools, claimed, loaded, draft.result, outcome)
    return _wait_for_lookup(tools, claimed)


def _is_prepared(outcome: Outcome | None) -> bool:
    return outcome is None or outcome.state is ActionState.HELD


def _decided(  # noqa: PLR0913, PLR0917 - what was found out, and in which transaction
    connection: Connection,
    tools: DeliveryTools,
    claimed: ClaimedAction,
    loaded: LoadedContext,
    result: Prepared | Outcome,
    held: Outcome | None,
) -> Prepared | Outcome | None:
    """Commit what a draft that is still true resulted in: an outcome, held, or `performing`."""
    now = loaded.send.now
    if isinstance(result, Outcome):
        return _settled(connection, claimed, result, now)
    keep_copy(connection, claimed.action_id, result.copy, now)
    if held is not None:
        return _settled(connection, claimed, held, now)
    events, lease_s = loaded.event_count, tools.lease_s
    if begin_action(connection, claimed, now, lease_s=lease_s, events=events):
        return result
    release_action(connection, claimed)
    return None


def _settled(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome | None, now: datetime
) -> Outcome | None:
    if outcome is None or not settle_action(connection, claimed, outcome, now):
        return None
    return outcome


def prepare(
    actions: Mapping[str, Action], kind: str, context: ActionContext | None
) -> Prepared | Outcome:
    """Prepare an action of this kind, or return why it cannot be prepared."""
    action = actions.get(kind)
    if action is None or context is None:
        return Outcome.failed(Reason.INTERNAL_ERROR, "nothing here performs this kind of action")
    try:
        return action.prepare(context)
    except DeliveryRefused as error:
        return refused(error, action.reasons)


def _source_trouble(tools: DeliveryTools, claimed: ClaimedAction, error: SourceError) -> Outcome:
    if isinstance(error, RecordUnreadable):
        return Outcome.failed(Reason.UNREADABLE, str(error))
    # An action is less urgent than a lookup; refusals grow slowly enough by themselves.
    tries = claimed.attempts + (1 if isinstance(error, SourceRefused) else 5)
    wait = postponement(error, tries, tools.clock.now(), chance=tools.clock.random())
    return Outcome.waiting(wait.until, wait.reason, str(error))


def _settle(tools: DeliveryTools, claimed: ClaimedAction, outcome: Outcome) -> Outcome | None:
    with writing(tools.engine) as connection:
        settled = settle_action(connection, claimed, outcome, tools.clock.now())
    return outcome if settled else None
