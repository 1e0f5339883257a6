"""Hands over one action that has begun, and writes down how that ended.

The ledger knows at each moment what a kill would leave behind: `performing` is committed before the
hand-over, a second mark just before the step after which nobody can tell whether it was done, and
the receipt after it.
"""

import structlog

from ledger.actions import (
    ClaimedAction,
    commit_action,
    is_alone_in_trouble,
    settle_action,
    tries_of,
)
from ledger.engine import Connection, repeat_write, writing
from ledger.outages import Outage, end_outage, note_outage
from schemas.actions import Outcome
from schemas.errors import (
    ActionRefused,
    AddressUnusable,
    HandoverUnknown,
    LedgerUnavailable,
    MailStopped,
    MailUnavailable,
    frames_of,
)
from schemas.reasons import Reason
from workers.actions.base import Written
from workers.lease import Overtaken
from workers.mailer.mailer import Steps
from workers.perform.tools import Performing
from workers.retries import RECEIPT_S, mail_again_at, outage_wait_s

# Faults of the server that one strange email might cause as well: so many of them, while others go
# through, and it is the email.
_MAYBE_ITS_OWN = frozenset({Reason.MAIL_INTERRUPTED, Reason.MAIL_SENDER, Reason.MAIL_RELAY})
_MOST_OF_ITS_OWN = 6

_log = structlog.get_logger("action")


def deliver(tools: Performing, claimed: ClaimedAction, written: Written) -> Outcome | None:
    """Hand over an action in state `performing`; return how it ended, None if it is not ours.

    Raises:
        LedgerUnavailable: what happened could not be written; the lease will bring it back.
    """
    lease = tools.lease_of(claimed)
    lease.renewed()

    def before_step() -> None:
        try:
            lease.keep()
        except LedgerUnavailable as error:
            # The mark before the end decides whether this email is still ours.
            _log.warning("lease.unwritten", action_id=claimed.action_id, error=str(error))

    steps = Steps(before_step, lambda: _commit(tools, claimed))
    result: Outcome | MailStopped | MailUnavailable
    try:
        result = Outcome.done(written.hand_over(steps))
    except MailUnavailable as error:
        result = error
    except AddressUnusable as error:
        result = Outcome.skipped(Reason.NO_EMAIL, str(error))
    except ActionRefused as error:
        result = Outcome.failed(Reason.MAIL_REJECTED, error.detail or str(error))
    except HandoverUnknown as error:
        result = Outcome.unknown(str(error))
    except (Overtaken, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours in the middle: nobody knows, and nobody may repeat it
        _log.error("action.fault", action_id=claimed.action_id, error=frames_of(error))
        result = Outcome.unknown(f"a fault during the hand-over: {type(error).__name__}")
    return _written_down(tools, claimed, result)


def _commit(tools: Performing, claimed: ClaimedAction) -> None:
    """Write the mark. Raises `Overtaken` and `LedgerUnavailable`: then the step is not taken."""
    with writing(tools.engine) as connection:
        ours = commit_action(connection, claimed, tools.clock.now(), lease_s=tools.lease_s)
    if not ours:
        raise Overtaken


def _written_down(
    tools: Performing, claimed: ClaimedAction, result: Outcome | MailUnavailable
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
    tools: Performing, claimed: ClaimedAction, result: Outcome | MailUnavailable
) -> Outcome | None:
    now = tools.clock.now()
    outage, is_new, is_over = None, False, False
    with writing(tools.engine) as connection:
        if isinstance(result, MailStopped):
            outcome, outage, is_new = _stopped(tools, connection, claimed, result)
        elif isinstance(result, MailUnavailable):
            outcome = _put_off(tools, connection, claimed, result)
        else:
            outcome = result
        if outage is None and _was_answered(outcome):
            is_over = end_outage(connection, claimed.kind, now)
        settled = settle_action(connection, claimed, outcome, now)
    if outage is not None and is_new:
        _log.error(
            "mail.stopped",
            reason=outage.reason.value,
            error=str(result),
            next_try=outage.until.isoformat(),
        )
    if is_over:
        _log.info("mail.restored", kind=claimed.kind)
    return outcome if settled else None


def _was_answered(outcome: Outcome) -> bool:
    """Whether the other side judged this action, so that it would take others."""
    return outcome.reason in {None, Reason.MAIL_TEMPORARY, Reason.MAIL_REJECTED}


def _stopped(
    tools: Performing, connection: Connection, claimed: ClaimedAction, error: MailStopped
) -> tuple[Outcome, Outage | None, bool]:
    """Let all of this kind wait, unless only this one ever met this."""
    now = tools.clock.now()
    if error.reason in _MAYBE_ITS_OWN and is_alone_in_trouble(
        connection, claimed.action_id, _MAYBE_ITS_OWN, least=_MOST_OF_ITS_OWN
    ):
        return Outcome.failed(Reason.MAIL_REJECTED, str(error)), None, False
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
    tools: Performing, connection: Connection, claimed: ClaimedAction, error: MailUnavailable
) -> Outcome:
    tries = tries_of(connection, claimed.action_id, {Reason.MAIL_TEMPORARY}) + 1
    again = mail_again_at(tools.clock.now(), tries, chance=tools.clock.random())
    if again is None:
        return Outcome.failed(Reason.MAIL_TEMPORARY, str(error))
    return Outcome.waiting(again, Reason.MAIL_TEMPORARY, str(error))
