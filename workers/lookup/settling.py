"""Works off one claimed look-up and writes down how it ended; raises nothing for its own fate."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from ledger.beats import take_lease
from ledger.clock import Clock
from ledger.engine import Engine, reading, writing
from ledger.intake import newest_notification
from ledger.lookups import Claim, begin_lookup, fail_lookup, postpone_lookup, renew_lookup
from ledger.troubles import ask_unanswered_again
from schemas.errors import (
    LedgerUnavailable,
    RecordUnreadable,
    SourceError,
    SourceThrottled,
    frames_of,
)
from schemas.reasons import Reason
from workers.lease import Lease, Overtaken
from workers.lookup.ahead import Shelf, Shelved
from workers.lookup.conclude import Deciding, conclude
from workers.lookup.findings import Findings
from workers.lookup.look import look
from workers.lookup.once import Once
from workers.lookup.reading import Reader
from workers.postponing import postponement
from workers.retries import MOST_LOST_LEASES
from workers.source.limits import Patience
from workers.source.reads import BurstReads, Lend

_SETTLES_WITHIN = timedelta(seconds=15)  # what a notification speaks of can be read by then
_WAKE_EVERY_S = 60.0

# Ways for a look-up to end that somebody should mend.
_FOR_A_PERSON = {Reason.NEXUDUS_REFUSED, Reason.UNREADABLE, Reason.INTERNAL_ERROR}

_log = structlog.get_logger("lookup")


@dataclass(frozen=True, slots=True)
class LookingUp:
    """With what records are looked up. `source` lends a way there, for one thread at a time.

    No look-up is begun once `is_stopping` says that the worker has been asked to stop.
    """

    engine: Engine
    source: Lend
    deciding: Deciding
    clock: Clock
    lease_s: float
    once: Once = field(default_factory=Once)
    is_stopping: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class Told:
    """How one look-up ended: a word for the log, how many actions were planned, and a wish.

    `calm_until` is set when the source, or our share of its limits, wants no more for a while.
    """

    outcome: str
    planned: int = 0
    calm_until: datetime | None = None


def settle(tools: LookingUp, claim: Claim, patience: Patience, shelf: Shelf | None) -> Told:
    """Work off one look-up and log how it ended."""
    try:
        told = _settled(tools, claim, patience, shelf)
    except Overtaken:
        told = Told("overtaken")
    except LedgerUnavailable:
        told = Told("ledger-unavailable")  # the lease will bring it back
    say = _log.warning if told.outcome in _FOR_A_PERSON else _log.info
    say(
        "lookup.ended",
        entity=claim.entity.value,
        record_id=claim.record_id,
        outcome=told.outcome,
        attempts=claim.attempts,
        planned=told.planned,
    )
    return told


def _settled(tools: LookingUp, claim: Claim, patience: Patience, shelf: Shelf | None) -> Told:
    if claim.lost_leases >= MOST_LOST_LEASES:
        return _failed(tools, claim, Reason.INTERNAL_ERROR, "it ended several workers")
    try:
        _begin(tools, claim)
        lease = Lease(lambda: _renewed(tools, claim), tools.clock, tools.lease_s)
        with tools.source(replace(patience, keep=lease.keep)) as source:
            reader = _reader(tools, claim, source, lease, shelf)
            findings = look(claim, reader, tools.deciding.rules)
        planned = conclude(tools.engine, claim, findings, tools.deciding, tools.clock.now())
        if findings.records:
            _tell_others(tools, claim)
    except RecordUnreadable as error:
        return _failed(tools, claim, Reason.UNREADABLE, str(error))
    except SourceError as error:
        return _postponed(tools, claim, error)
    except (Overtaken, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the others
        # It is not tried again blindly either. Its text may quote the record, so only its kind
        # is written.
        _log.error("lookup.fault", record_id=claim.record_id, error=frames_of(error))
        return _failed(tools, claim, Reason.INTERNAL_ERROR, type(error).__name__)
    return Told("done", planned)


def _reader(
    tools: LookingUp, claim: Claim, source: BurstReads, lease: Lease, shelf: Shelf | None
) -> Reader:
    now = tools.clock.now()
    settled = now - claim.asked_at >= _SETTLES_WITHIN
    if shelf is None:
        with reading(tools.engine) as connection:
            findings = Findings(now, newest_notification(connection))
        return Reader(tools.engine, source, findings, lease.keep, tools.once, settled)
    shelved, findings = Shelved(source, shelf), Findings(shelf.asked_at, shelf.upto)
    return Reader(tools.engine, shelved, findings, lease.keep, tools.once, settled)


def _begin(tools: LookingUp, claim: Claim) -> None:
    with writing(tools.engine) as connection:
        ours = begin_lookup(connection, claim, tools.clock.now(), lease_s=tools.lease_s)
    if not ours:
        raise Overtaken


def _renewed(tools: LookingUp, claim: Claim) -> bool:
    with writing(tools.engine) as connection:
        return renew_lookup(connection, claim, tools.clock.now(), lease_s=tools.lease_s)


def _tell_others(tools: LookingUp, claim: Claim) -> None:
    """Wake what waits for the end of an outage, if this look-up just saw that end."""
    if claim.reason is not Reason.NEXUDUS_DOWN:
        return
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        # Once in a while is enough, and a source that comes and goes is not asked by all each time.
        if take_lease(connection, "outage-over", tools.clock.new_id(), now, lease_s=_WAKE_EVERY_S):
            ask_unanswered_again(connection, now)


def _postponed(tools: LookingUp, claim: Claim, error: SourceError) -> Told:
    now = tools.clock.now()
    wait = postponement(error, claim.attempts, now, chance=tools.clock.random())
    with writing(tools.engine) as connection:
        postpone_lookup(connection, claim, wait.until, wait.reason, str(error), counted=wait.counts)
    if not isinstance(error, SourceThrottled):
        return Told(wait.reason)
    return Told(wait.reason, calm_until=now + timedelta(seconds=error.retry_after_s or 1.0))


def _failed(tools: LookingUp, claim: Claim, reason: Reason, error: str) -> Told:
    with writing(tools.engine) as connection:
        fail_lookup(connection, claim, reason, error)
    return Told(reason)
