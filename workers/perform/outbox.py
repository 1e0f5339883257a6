"""Works off the due actions, and settles those whose worker vanished."""

import time

import structlog

from ledger.actions import ClaimedAction, claim_actions, expire_hand_overs
from ledger.engine import writing
from schemas.actions import Outcome
from schemas.errors import LedgerUnavailable, frames_of
from workers.perform.perform import Performing, perform
from workers.retries import BATCH_S
from workers.source.reads import Lend

BATCH = 10

_log = structlog.get_logger("action")


def perform_batch(tools: Performing, lend: Lend) -> int:
    """Perform up to a batch of due actions, one after the other; return how many were claimed."""
    with writing(tools.engine) as connection:
        claims = claim_actions(connection, tools.clock(), lease_s=tools.lease_s, most=BATCH)
    end = time.monotonic() + BATCH_S
    for claimed in claims:
        # What is not begun by then comes back with its lease: a task may not take for ever.
        if time.monotonic() < end:
            _one(tools, lend, claimed)
    return len(claims)


def sweep(tools: Performing) -> int:
    """Settle hand-overs that nobody is at any more; return how many."""
    repeatable = {kind for kind, action in tools.actions.items() if action.repeatable}
    with writing(tools.engine) as connection:
        settled = expire_hand_overs(connection, tools.clock(), repeatable=repeatable)
    if settled:
        _log.warning("handover.unknown", count=settled)
    return settled


def _one(tools: Performing, lend: Lend, claimed: ClaimedAction) -> None:
    outcome: Outcome | None = None
    try:
        outcome = perform(tools, lend, claimed)
    except LedgerUnavailable as error:
        _log.warning("action.unwritten", action_id=claimed.action_id, error=str(error))
        return
    except Exception as error:  # noqa: BLE001 - one action's fault must not hold up the others
        _log.error("action.fault", action_id=claimed.action_id, error=frames_of(error))
        return
    _log.info(
        "action.ended",
        action_id=claimed.action_id,
        rule=claimed.rule,
        outcome=outcome.state.value if outcome else "overtaken",
        reason=outcome.reason.value if outcome and outcome.reason else None,
    )
