"""Performs due actions one by one, and settles those whose worker was lost."""

import contextlib
from datetime import datetime

import structlog

from ledger.controls import correct_start
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.heartbeats import release_lease, take_lease
from ledger.outages import outages_now
from ledger.outbox import ClaimedAction, claim_actions, expire_handovers
from ledger.pauses import end_due_pauses, is_pause_due
from ledger.sending_rate import may_begin
from ledger.skew import end_far_waits
from ledger.tallies import fold_tallies
from schemas.actions import Outcome
from schemas.errors import LedgerUnavailable, frames_of
from workers.deliver.attempt import attempt
from workers.deliver.context import DeliveryTools
from workers.retries import BATCH_S, LONGEST_REPORT_WAITS, LONGEST_WAITS, PROBE_LEASE_S
from workers.source.reads import Lend

BATCH = 10
_PROBE = "outage.probe"  # the lease of the one action tried during an outage

_log = structlog.get_logger("action")


def perform_batch(tools: DeliveryTools, lend: Lend) -> int:
    """Perform up to a batch of due actions, one after the other; return how many.

    Each is claimed just before it is performed, so that other workers can take the rest. None is
    started once the worker was asked to stop.
    """
    holder = tools.clock.new_id()
    end = tools.clock.monotonic() + BATCH_S
    done = 0
    with contextlib.ExitStack() as rows:
        for action in tools.actions.values():
            rows.enter_context(action.in_a_row())
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
    """Claim the longest due action; also return whether it probes an outage."""
    with writing(tools.engine) as connection:
        now = tools.clock.now()
        outages = outages_now(connection)
        resting = outages.keys() | _beyond_rates(tools, connection, now)
        claims = claim_actions(
            connection,
            now,
            tools.clock.new_id(),
            lease_s=tools.lease_s,
            most=1,
            only=tools.actions.keys() - resting if resting else None,
            but=resting,
        )
        ready = {channel for channel, outage in outages.items() if outage.until <= now}
        is_probe = not claims and bool(ready)
        if is_probe and take_lease(connection, _PROBE, holder, now, lease_s=PROBE_LEASE_S):
            claims = claim_actions(
                connection, now, tools.clock.new_id(), lease_s=tools.lease_s, most=1, only=ready
            )
            if not claims:
                release_lease(connection, _PROBE, holder)
    return (claims[0] if claims else None), is_probe


def _beyond_rates(tools: DeliveryTools, connection: Connection, now: datetime) -> set[str]:
    """Return the kinds of which no more may begin now; those that are due get their turns."""
    return {
        kind
        for kind, action in tools.actions.items()
        if action.rate is not None
        and not may_begin(connection, kind, action.rate, now, lease_s=tools.lease_s)
    }


def _end_probe(tools: DeliveryTools, holder: str) -> None:
    try:
        with writing(tools.engine) as connection:
            release_lease(connection, _PROBE, holder)
    except LedgerUnavailable as error:
        _log.warning("probe.unreturned", error=str(error))


def sweep(tools: DeliveryTools) -> int:
    """Settle actions whose worker was lost; return how many.

    Also end pauses, and correct times that were written while a clock was ahead.
    """
    now = tools.clock.now()
    repeatable = {kind for kind, action in tools.actions.items() if action.repeatable}
    with writing(tools.engine) as connection:
        settled = expire_handovers(connection, now, lease_s=tools.lease_s, repeatable=repeatable)
        ended = end_far_waits(connection, now, LONGEST_WAITS, LONGEST_REPORT_WAITS)
        corrected = correct_start(connection, now)
        fold_tallies(connection)
    resumed = _end_pauses(tools, now)
    if settled.repeated:
        _log.warning("handover.repeated", count=settled.repeated)
    if settled.unknown:
        _log.error("handover.unknown", count=settled.unknown)
    if ended:
        _log.warning("clock.waits-ended", count=ended)
    if resumed:
        _log.info("pause.ended", count=resumed)
    if corrected is not None:
        _log.warning(
            "clock.start-corrected",
            started_at=corrected.isoformat(),
            next_step="No emails are sent about what happened before that time; if some are "
            "wanted, ask for them with `coursebell backfill`.",
        )
    return settled.repeated + settled.unknown


def _end_pauses(tools: DeliveryTools, now: datetime) -> int:
    """End the pauses whose end has come; return how many. Writes only if there are any.

    What they held is freed some at a time; what is left after a while, at the next call.
    """
    ended, give_up_at = 0, tools.clock.monotonic() + BATCH_S
    while tools.clock.monotonic() < give_up_at:
        with reading(tools.engine) as connection:
            if not is_pause_due(connection, now):
                break
        with writing(tools.engine) as connection:
            lock_decisions(connection)
            ended += end_due_pauses(connection, now)
    return ended


def _one(tools: DeliveryTools, lend: Lend, claimed: ClaimedAction) -> None:
    outcome: Outcome | None = None
    try:
        outcome = attempt(tools, lend, claimed)
    except LedgerUnavailable as error:
        _log.warning("action.unwritten", action_id=claimed.action_id, error=str(error))
        return
    except Exception as error:  # noqa: BLE001 - one action's fault must not block the others
        _log.error("action.fault", action_id=claimed.action_id, error=frames_of(error))
        return
    _log.info(
        "action.ended",
        action_id=claimed.action_id,
        rule=claimed.rule,
        outcome=outcome.state.value if outcome else "overtaken",
        reason=outcome.reason.value if outcome and outcome.reason else None,
    )
