"""Performs due actions one by one, and settles those whose worker vanished."""

import structlog

from ledger.controls import correct_start
from ledger.engine import writing
from ledger.heartbeats import release_lease, take_lease
from ledger.outages import outages_now
from ledger.outbox import ClaimedAction, claim_actions, expire_handovers
from ledger.skew import end_far_waits
from schemas.actions import Outcome
from schemas.errors import LedgerUnavailable, frames_of
from workers.deliver.attempt import attempt
from workers.deliver.context import DeliveryTools
from workers.retries import BATCH_S, LONGEST_WAITS, PROBE_LEASE_S
from workers.source.reads import Lend

BATCH = 10
_PROBE = "outage.probe"  # the lease of the action that is tried during an outage

_log = structlog.get_logger("action")


def perform_batch(tools: DeliveryTools, lend: Lend) -> int:
    """Perform up to a batch of due actions, one after the other; return how many.

    Each is claimed when its turn comes, so that other workers share in what is due, and none is
    begun once the worker has been asked to stop.
    """
    holder = tools.clock.new_id()
    end = tools.clock.monotonic() + BATCH_S
    done = 0
    while done < BATCH and tools.clock.monotonic() < end and not tools.is_stopping():
        claimed, is_probe = _claim(tools, holder)
        if claimed is None:
            break
        _one(tools, lend, claimed)
        done += 1
        if is_probe:
            _end_probe(tools, holder)
    return done


def _claim(tools: DeliveryTools, holder: str) -> tuple[ClaimedAction | None, bool]:
    """Claim the action that is due longest; also say whether it is tried in spite of an outage."""
    with writing(tools.engine) as connection:
        now = tools.clock.now()
        outages = outages_now(connection)
        kinds = tools.actions.keys() - outages.keys()
        claims = claim_actions(
            connection,
            now,
            tools.clock.new_id(),
            lease_s=tools.lease_s,
            most=1,
            kinds=kinds if outages else None,
        )
        ready = {kind for kind, outage in outages.items() if outage.until <= now}
        is_probe = not claims and bool(ready)
        if is_probe and take_lease(connection, _PROBE, holder, now, lease_s=PROBE_LEASE_S):
            claims = claim_actions(
                connection, now, tools.clock.new_id(), lease_s=tools.lease_s, most=1, kinds=ready
            )
            if not claims:
                release_lease(connection, _PROBE, holder)
    return (claims[0] if claims else None), is_probe


def _end_probe(tools: DeliveryTools, holder: str) -> None:
    try:
        with writing(tools.engine) as connection:
            release_lease(connection, _PROBE, holder)
    except LedgerUnavailable as error:
        _log.warning("probe.unreturned", error=str(error))


def sweep(tools: DeliveryTools) -> int:
    """Settle deliveries that no worker works on any more; return how many.

    Also correct times that a clock that was ahead left behind.
    """
    now = tools.clock.now()
    repeatable = {kind for kind, action in tools.actions.items() if action.repeatable}
    with writing(tools.engine) as connection:
        settled = expire_handovers(connection, now, lease_s=tools.lease_s, repeatable=repeatable)
        ended = end_far_waits(connection, now, LONGEST_WAITS)
        corrected = correct_start(connection, now)
    if settled.repeated:
        _log.warning("handover.repeated", count=settled.repeated)
    if settled.unknown:
        _log.error("handover.unknown", count=settled.unknown)
    if ended:
        _log.warning("clock.waits-ended", count=ended)
    if corrected is not None:
        _log.warning(
            "clock.start-corrected",
            started_at=corrected.isoformat(),
            next_step="What happened before that time is not written about; if some of it should "
            "be, ask for it with `coursebell backfill`.",
        )
    return settled.repeated + settled.unknown


def _one(tools: DeliveryTools, lend: Lend, claimed: ClaimedAction) -> None:
    outcome: Outcome | None = None
    try:
        outcome = attempt(tools, lend, claimed)
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
