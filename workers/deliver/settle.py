"""Sends one prepared action, and records how that ended.

The ledger knows at each moment what a kill would leave behind: `performing` is committed before the
action is sent, a second mark just before the step after which nobody can tell whether it was done,
and the receipt after it.
"""

import structlog

from ledger.engine import Connection, repeat_write, writing
from ledger.outages import Outage, end_outage, note_outage
from ledger.outbox import ClaimedAction, commit_action, count_attempts, fails_alone, settle_action
from schemas.actions import ActionState, Outcome
from schemas.errors import (
    ChannelUnavailable,
    DeliveryRefused,
    DeliveryUnavailable,
    DeliveryUnknown,
    LedgerUnavailable,
    RecipientUnusable,
    frames_of,
)
from workers.actions.base import Checkpoints, DeliveryReasons, Prepared
from workers.deliver.context import DeliveryTools
from workers.leases import LeaseLost
from workers.retries import RECEIPT_S, outage_wait_s, send_again_at

# If one action alone failed so often for a reason that one action may cause (`maybe_own`), while
# others went through, then it is that action and not the channel.
_MOST_OF_ITS_OWN = 6
_ANSWERED = frozenset({ActionState.DONE, ActionState.FAILED, ActionState.WAITING})

_log = structlog.get_logger("action")


def send(tools: DeliveryTools, claimed: ClaimedAction, prepared: Prepared) -> Outcome | None:
    """Send an action in state `performing`; return how it ended, None if the lease was lost.

    Raises:
        LedgerUnavailable: the outcome could not be recorded; the lease will bring the action back.
    """
    lease = tools.lease_of(claimed)
    lease.renewed()

    def before_step() -> None:
        try:
            lease.keep()
        except LedgerUnavailable as error:
            # The mark before the last step decides whether this action is still ours.
            _log.warning("lease.unwritten", action_id=claimed.action_id, error=str(error))

    reasons = tools.actions[claimed.kind].reasons
    checkpoints = Checkpoints(before_step, lambda: _commit(tools, claimed))
    result: Outcome | DeliveryUnavailable
    try:
        result = Outcome.done(prepared.send(checkpoints))
    except DeliveryUnavailable as error:
        result = error
    except DeliveryRefused as error:
        result = refused(error, reasons)
    except DeliveryUnknown as error:
        result = Outcome.unknown(str(error))
    except (LeaseLost, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours in the middle: nobody knows, and nobody may repeat it
        _log.error("action.fault", action_id=claimed.action_id, error=frames_of(error))
        result = Outcome.unknown(f"a fault during the hand-over: {type(error).__name__}")
    return _record(tools, claimed, result)


def refused(error: DeliveryRefused, reasons: DeliveryReasons) -> Outcome:
    """Return the outcome of an action that cannot be delivered."""
    if isinstance(error, RecipientUnusable):
        return Outcome.skipped(error.skip_reason, str(error))
    return Outcome.failed(error.reason or reasons.refused, error.detail or str(error))


def _commit(tools: DeliveryTools, claimed: ClaimedAction) -> None:
    """Write the mark. Raises `LeaseLost` and `LedgerUnavailable`: then the step is not taken."""
    with writing(tools.engine) as connection:
        ours = commit_action(connection, claimed, tools.clock.now(), lease_s=tools.lease_s)
    if not ours:
        raise LeaseLost


def _record(
    tools: DeliveryTools, claimed: ClaimedAction, result: Outcome | DeliveryUnavailable
) -> Outcome | None:
    """Settle the action, trying again while the ledger is busy: a sent email has no second receipt.

    A receipt that was committed although the answer to the commit was lost is found settled.
    """

    def note(error: LedgerUnavailable) -> None:
        _log.warning("receipt.again", action_id=claimed.action_id, error=str(error))

    return repeat_write(
        lambda: _settle(tools, claimed, result),
        clock=tools.clock,
        give_up_at=tools.clock.monotonic() + RECEIPT_S,
        on_failure=note,
    )


def _settle(
    tools: DeliveryTools, claimed: ClaimedAction, result: Outcome | DeliveryUnavailable
) -> Outcome | None:
    now = tools.clock.now()
    outage, is_new, is_over = None, False, False
    with writing(tools.engine) as connection:
        if isinstance(result, ChannelUnavailable):
            outcome, outage, is_new = _channel_down(tools, connection, claimed, result)
        elif isinstance(result, DeliveryUnavailable):
            outcome = _put_off(tools, connection, claimed, result)
        else:
            outcome = result
        # The other side judged this action, so it would take others.
        if outage is None and outcome.state in _ANSWERED:
            is_over = end_outage(connection, claimed.kind, now)
        settled = settle_action(connection, claimed, outcome, now)
    if outage is not None and is_new:
        _log.error(
            "mail.stopped",
            kind=claimed.kind,
            reason=outage.reason.value,
            error=str(result),
            next_try=outage.until.isoformat(),
        )
    if is_over:
        _log.info("mail.restored", kind=claimed.kind)
    return outcome if settled else None


def _channel_down(
    tools: DeliveryTools, connection: Connection, claimed: ClaimedAction, error: ChannelUnavailable
) -> tuple[Outcome, Outage | None, bool]:
    """Let every action of this kind wait, unless only this one ever met this."""
    now = tools.clock.now()
    reasons = tools.actions[claimed.kind].reasons
    if error.reason in reasons.maybe_own and fails_alone(
        connection, claimed.action_id, reasons.maybe_own, least=_MOST_OF_ITS_OWN
    ):
        return Outcome.failed(reasons.refused, str(error)), None, False
    outage, is_new = note_outage(
        connection,
        claimed.kind,
        error.reason,
        error.answer,
        now,
        lambda failures: outage_wait_s(error.reason, failures),
    )
    return Outcome.waiting(outage.until, error.reason, str(error)), outage, is_new


def _put_off(
    tools: DeliveryTools, connection: Connection, claimed: ClaimedAction, error: DeliveryUnavailable
) -> Outcome:
    later = tools.actions[claimed.kind].reasons.later
    tries = count_attempts(connection, claimed.action_id, {later}) + 1
    again = send_again_at(tools.clock.now(), tries, chance=tools.clock.random())
    if again is None:
        return Outcome.failed(later, str(error))
    return Outcome.waiting(again, later, str(error))
