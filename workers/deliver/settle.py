"""Sends one prepared action, and records how that ended.

The ledger knows at each moment what a kill would leave behind: `performing` is committed before the
action is sent, a second mark just before the step after which its outcome is uncertain, and the
receipt afterwards.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from ledger.attempts import count_attempts, fails_alone
from ledger.channels import refused_in_a_row
from ledger.clock import Clock
from ledger.engine import Connection, repeat_write, writing
from ledger.outages import Outage, end_outage, note_outage, outages_now
from ledger.outbox import ClaimedAction, commit_action, is_settled_as, settle_action
from schemas.actions import ActionState, Outcome, channel_of
from schemas.errors import (
    ChannelUnavailable,
    DeliveryRefused,
    DeliveryUnavailable,
    DeliveryUnknown,
    LedgerUnavailable,
    RecipientUnusable,
    frames_of,
)
from schemas.reasons import Reason
from workers.actions import email
from workers.actions.base import Checkpoints, DeliveryReasons, Prepared, SourceSession
from workers.deliver.context import DeliveryTools, refusal_now
from workers.leases import LeaseLost
from workers.retries import LOOK_PATIENCE_S, RECEIPT_S, outage_wait_s, send_again_at
from workers.source.limits import Patience, Urgency
from workers.source.reads import Lend

# After this many failures of one action for a reason it may cause itself (`maybe_own`), while
# others were sent, the action is at fault and not the channel.
_MOST_OF_ITS_OWN = 6
# Refusals that were final before the next one shows that the endpoint refuses everything.
_REFUSED_BEFORE = 2
_ANSWERED = frozenset({ActionState.DONE, ActionState.FAILED, ActionState.WAITING})

_log = structlog.get_logger("action")


class NoLongerWanted(Exception):
    """The person changed their mind before the last step of the hand-over, which is not taken."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def send(
    tools: DeliveryTools, lend: Lend, claimed: ClaimedAction, prepared: Prepared
) -> Outcome | None:
    """Send an action in state `performing`; return how it ended, None if the lease was lost.

    `lend` lends a client of the source to kinds that write there.

    Raises:
        LedgerUnavailable: the outcome could not be recorded; the action is settled when its lease
            ends.
    """
    lease = tools.lease_of(claimed)
    lease.renewed()

    def before_step() -> None:
        try:
            lease.keep()
        except LedgerUnavailable as error:
            # The mark before the last step checks whether this action is still ours.
            _log.warning("lease.unwritten", action_id=claimed.action_id, error=str(error))

    reasons = tools.actions[claimed.kind].reasons

    @contextmanager
    def lend_session() -> Iterator[SourceSession]:
        until = tools.clock.monotonic() + LOOK_PATIENCE_S
        with lend(Patience(Urgency.WORK, until, lease.keep)) as source:
            yield source.session

    checkpoints = Checkpoints(before_step, lambda: _commit(tools, claimed), lend_session)

    def note_fault(frames: str) -> None:
        _log.error("action.fault", action_id=claimed.action_id, error=frames)

    return _record(tools, claimed, hand_over(prepared, checkpoints, reasons, note_fault))


def hand_over(
    prepared: Prepared,
    checkpoints: Checkpoints,
    reasons: DeliveryReasons,
    note_fault: Callable[[str], None],
) -> Outcome | DeliveryUnavailable:
    """Send what is in state `performing`, an action or a report; return how that ended.

    Whatever fails after the last step leaves the outcome unknown. `note_fault` logs where our own
    fault is.

    Raises:
        LeaseLost: it is no longer ours.
        LedgerUnavailable: the last step was not recorded, and not taken.
    """
    try:
        return Outcome.done(prepared.send(checkpoints))
    except DeliveryUnavailable as error:
        return error
    except DeliveryRefused as error:
        return refused(error, reasons)
    except DeliveryUnknown as error:
        return Outcome.unknown(str(error))
    except NoLongerWanted as error:
        return error.outcome
    except (LeaseLost, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - our own fault in the middle: the result is unknown and must not be repeated
        note_fault(frames_of(error))
        return Outcome.unknown(f"a fault during the hand-over: {type(error).__name__}")


def refused(error: DeliveryRefused, reasons: DeliveryReasons) -> Outcome:
    """Return the outcome of an action that cannot be delivered."""
    if isinstance(error, RecipientUnusable):
        return Outcome.skipped(error.skip_reason, str(error))
    return Outcome.failed(error.reason or reasons.refused, error.detail or str(error))


def _commit(tools: DeliveryTools, claimed: ClaimedAction) -> None:
    """Write the mark, unless the person no longer wants this. If it raises, no step is taken."""
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        objection = refusal_now(connection, claimed, tools.setup, now)
        if objection is not None:
            raise NoLongerWanted(objection)
        ours = commit_action(connection, claimed, now, lease_s=tools.lease_s)
    if not ours:
        raise LeaseLost


def _record(
    tools: DeliveryTools, claimed: ClaimedAction, result: Outcome | DeliveryUnavailable
) -> Outcome | None:
    """Settle the action, retrying while the ledger is busy, since a receipt comes only once.

    A commit whose answer was lost is found done on the retry.
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
        result = _refusing_all(tools, connection, claimed, result) or result
        if isinstance(result, ChannelUnavailable):
            outcome, outage, is_new = _channel_down(tools, connection, claimed, result)
        elif isinstance(result, DeliveryUnavailable):
            outcome = _try_later(tools, connection, claimed, result)
        else:
            outcome = result
        # The other system answered about this action, so it accepts others.
        if outage is None and outcome.state in _ANSWERED:
            is_over = end_outage(connection, _channel(claimed), now)
        settled = settle_action(connection, claimed, outcome, now)
        if not settled:
            settled = is_settled_as(connection, claimed.action_id, outcome)
    if outage is not None and is_new:
        log_stopped(outage, str(result))
    if is_over:
        log_restored(_channel(claimed))
    return outcome if settled else None


def log_stopped(outage: Outage, error: str) -> None:
    """Log once that nothing goes through a channel any more."""
    _log.error(
        "mail.stopped" if outage.kind == email.KIND else "channel.stopped",
        kind=outage.kind,
        reason=outage.reason.value,
        error=error,
        next_try=outage.until.isoformat(),
    )


def log_restored(channel: str) -> None:
    """Log that a channel works again."""
    event = "mail.restored" if channel == email.KIND else "channel.restored"
    _log.info(event, kind=channel)


def _channel(claimed: ClaimedAction) -> str:
    return channel_of(claimed.kind, claimed.audience)


def _refusing_all(
    tools: DeliveryTools,
    connection: Connection,
    claimed: ClaimedAction,
    result: Outcome | DeliveryUnavailable,
) -> ChannelUnavailable | None:
    """Return what a refusal means if it is one of several in a row; None if it is final."""
    reasons = tools.actions[claimed.kind].reasons
    if reasons.refuses_all is None or not isinstance(result, Outcome):
        return None
    if (result.state, result.reason) != (ActionState.FAILED, reasons.refused):
        return None
    channel = _channel(claimed)
    outage = outages_now(connection).get(channel)
    is_known = outage is not None and outage.reason is reasons.refuses_all
    now = tools.clock.now()
    if not is_known and not refused_in_a_row(connection, channel, now, number=_REFUSED_BEFORE):
        return None
    answer = result.detail or ""
    return ChannelUnavailable(reasons.refuses_all, "everything is refused", answer=answer)


def _channel_down(
    tools: DeliveryTools, connection: Connection, claimed: ClaimedAction, error: ChannelUnavailable
) -> tuple[Outcome, Outage | None, bool]:
    """Pause every action of this channel, unless only this action has the problem."""
    now = tools.clock.now()
    reasons = tools.actions[claimed.kind].reasons
    if error.reason in reasons.maybe_own and fails_alone(
        connection, claimed.action_id, reasons.maybe_own, least=_MOST_OF_ITS_OWN
    ):
        return Outcome.failed(reasons.refused, str(error)), None, False
    outage, is_new = note_outage(
        connection,
        _channel(claimed),
        error.reason,
        error.answer,
        now,
        lambda failures: outage_wait_s(error.reason, failures, asked_s=error.retry_after_s),
    )
    return Outcome.waiting(outage.until, error.reason, str(error)), outage, is_new


def _try_later(
    tools: DeliveryTools, connection: Connection, claimed: ClaimedAction, error: DeliveryUnavailable
) -> Outcome:
    later = tools.actions[claimed.kind].reasons.later
    before = count_attempts(connection, claimed.action_id, {later})
    return later_or_failed(tools.clock, later, error, before)


def later_or_failed(
    clock: Clock, reason: Reason, error: DeliveryUnavailable, before: int
) -> Outcome:
    """Return the outcome of a failed try after `before` others for the same reason."""
    again = send_again_at(clock.now(), before + 1, chance=clock.random())
    if again is None:
        return Outcome.failed(reason, str(error))
    return Outcome.waiting(again, reason, str(error))
