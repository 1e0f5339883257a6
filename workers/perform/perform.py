"""Performs one claimed action, and writes down how it ended. Nothing is raised for one's own fate.

The order matters: `performing` is committed before the hand-over and the receipt after it, so that
whatever is killed between leaves a row that says so.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ledger.actions import (
    ClaimedAction,
    begin_action,
    release_action,
    renew_action,
    settle_action,
)
from ledger.copies import keep_copy
from ledger.engine import Connection, Engine, lock_decisions, writing
from schemas.actions import Outcome
from schemas.errors import (
    ActionRefused,
    HandoverUnknown,
    LedgerUnavailable,
    MailUnavailable,
    Permanent,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
    frames_of,
)
from schemas.reasons import Reason
from schemas.states import ActionState
from workers.actions.base import Action, Written
from workers.clocks import Clock
from workers.decide.again import objection
from workers.lease import Lease, Overtaken
from workers.lookup.findings import Findings
from workers.lookup.once import Once
from workers.lookup.reading import Reader
from workers.mailer.errors import MailRefusedUs
from workers.perform.refresh import refresh
from workers.perform.truth import Standpoint, Whole, whole_truth
from workers.postponing import SourceTrouble, postponement
from workers.retries import LOOK_PATIENCE_S, Chance, mail_again_at, refused_again_at
from workers.source.budget import Patience, Urgency
from workers.source.reads import Lend

_NEWS_IS_DECIDED = timedelta(seconds=15)

_log = structlog.get_logger("action")


@dataclass(frozen=True, slots=True)
class Performing:
    """With what actions are performed. `lease_s` is how long a hand-over may take, in seconds."""

    engine: Engine
    actions: Mapping[str, Action]
    stand: Standpoint
    clock: Clock
    chance: Chance
    lease_s: float
    once: Once = field(default_factory=Once)


def perform(tools: Performing, lend: Lend, claimed: ClaimedAction) -> Outcome | None:
    """Return how it ended; None if the action turned out to be no longer ours.

    `lend` gives a way to the source for as long as truth is read there.

    Raises:
        LedgerUnavailable: what happened could not be written; the lease will bring it back.
    """
    try:
        lease = Lease(lambda: _renewed(tools, claimed), tools.clock, tools.lease_s)
        lease.keep()
        patience = Patience(Urgency.WORK, time.monotonic() + LOOK_PATIENCE_S, lease.keep)
        with lend(patience) as source:
            reader = Reader(tools.engine, source, Findings(tools.clock()), lease.keep, tools.once)
            has_news = refresh(reader, claimed)
        begun = _wait_for_news(tools, claimed) if has_news else _begin(tools, claimed)
    except (SourceThrottled, SourceUnavailable, SourceRefused, RecordUnreadable) as error:
        begun = _settle(tools, claimed, _source_trouble(tools, claimed, error))
    except Overtaken:
        return None
    except LedgerUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours, before anything left: not tried again
        begun = _settle(tools, claimed, Outcome.failed(Reason.INTERNAL_ERROR, type(error).__name__))
    if isinstance(begun, Written):
        return _settle(tools, claimed, _handed_over(tools, claimed, begun))
    return begun


def _renewed(tools: Performing, claimed: ClaimedAction) -> bool:
    with writing(tools.engine) as connection:
        return renew_action(connection, claimed, tools.clock(), lease_s=tools.lease_s)


def _wait_for_news(tools: Performing, claimed: ClaimedAction) -> Outcome | None:
    """Let the action wait for a look-up: of its person more is known than was decided on."""
    soon = tools.clock() + _NEWS_IS_DECIDED
    return _settle(tools, claimed, Outcome.waiting(soon, Reason.GATHERING))


def _begin(tools: Performing, claimed: ClaimedAction) -> Written | Outcome | None:
    """Decide again and write it; commit `performing`, or the outcome that it came to instead."""
    now = tools.clock()
    with writing(tools.engine) as connection:
        lock_decisions(connection)
        whole = whole_truth(connection, claimed, tools.stand, now)
        outcome = objection(whole.truth)
        written = None
        if outcome is None or outcome.state is ActionState.HELD:
            found = _write(tools, claimed, whole)
            if isinstance(found, Outcome):
                outcome = found
            else:
                written = found
                keep_copy(connection, claimed.action_id, written.copy, now)
        if outcome is not None:
            return outcome if settle_action(connection, claimed, outcome, now) else None
        return written if _is_begun(connection, tools, claimed, whole, now) else None


def _is_begun(
    connection: Connection,
    tools: Performing,
    claimed: ClaimedAction,
    whole: Whole,
    now: datetime,
) -> bool:
    if begin_action(connection, claimed, now, lease_s=tools.lease_s, events=whole.events):
        return True
    release_action(connection, claimed)
    return False


def _write(tools: Performing, claimed: ClaimedAction, whole: Whole) -> Written | Outcome:
    action = tools.actions.get(claimed.kind)
    if action is None or whole.order is None:
        return Outcome.failed(Reason.INTERNAL_ERROR, "nothing here performs this kind of action")
    try:
        return action.write(whole.order)
    except ActionRefused as error:
        return Outcome.failed(Reason.MAIL_REJECTED, error.detail or str(error))
    except Permanent as error:
        return Outcome.failed(Reason.TEMPLATE_ERROR, str(error))


def _handed_over(tools: Performing, claimed: ClaimedAction, written: Written) -> Outcome:
    tries = claimed.attempts + 1
    try:
        return Outcome.done(written.hand_over())
    except MailUnavailable as error:
        return _mail_trouble(tools, tries, error)
    except ActionRefused as error:
        return Outcome.failed(Reason.MAIL_REJECTED, error.detail or str(error))
    except HandoverUnknown as error:
        return Outcome.unknown(str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours in the middle: nobody knows, and nobody may repeat it
        _log.error("action.fault", action_id=claimed.action_id, error=frames_of(error))
        return Outcome.unknown(f"a fault during the hand-over: {type(error).__name__}")


def _mail_trouble(tools: Performing, tries: int, error: MailUnavailable) -> Outcome:
    now, chance = tools.clock(), tools.chance()
    if isinstance(error, MailRefusedUs):
        # Nothing is wrong with the email: it waits until a person has mended login or settings.
        mended = refused_again_at(now, tries, chance=chance)
        return Outcome.waiting(mended, Reason.MAIL_TEMPORARY, str(error))
    again = mail_again_at(now, tries, chance=chance)
    if again is None:
        return Outcome.failed(Reason.MAIL_TEMPORARY, str(error))
    return Outcome.waiting(again, Reason.MAIL_TEMPORARY, str(error))


def _source_trouble(
    tools: Performing, claimed: ClaimedAction, error: SourceTrouble | RecordUnreadable
) -> Outcome:
    if isinstance(error, RecordUnreadable):
        return Outcome.failed(Reason.UNREADABLE, str(error))
    # An email is in less of a hurry than news; refusals grow slowly enough by themselves.
    tries = claimed.attempts + (1 if isinstance(error, SourceRefused) else 5)
    wait = postponement(error, tries, tools.clock(), chance=tools.chance())
    return Outcome.waiting(wait.until, wait.reason, str(error))


def _settle(tools: Performing, claimed: ClaimedAction, outcome: Outcome) -> Outcome | None:
    with writing(tools.engine) as connection:
        settled = settle_action(connection, claimed, outcome, tools.clock())
    return outcome if settled else None
