"""Works off the due look-ups: claims a batch under a lease, reads with a few threads, commits each.

One message to a worker may so serve many records, and a slow answer holds up only its own thread.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ledger.engine import Engine, writing
from ledger.lookups import (
    Claim,
    begin_lookup,
    claim_lookups,
    fail_lookup,
    postpone_lookup,
    renew_lookup,
    return_lookup,
)
from schemas.errors import (
    LedgerUnavailable,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
    frames_of,
)
from schemas.reasons import Reason
from workers.clocks import Clock
from workers.lease import Lease, Overtaken
from workers.lookup.conclude import Deciding, conclude
from workers.lookup.findings import Findings
from workers.lookup.look import look
from workers.lookup.reading import Lend, Reader
from workers.retries import MOST_LOST_LEASES, Chance, lookup_again_at, refused_again_at

BATCH = 20
THREADS = 4

# Ways for a look-up to end that somebody should mend.
_FOR_A_PERSON = {Reason.NEXUDUS_REFUSED, Reason.UNREADABLE, Reason.INTERNAL_ERROR}

_log = structlog.get_logger("lookup")


@dataclass(slots=True)
class _Calm:
    """Until when the source wants no more requests; shared by the threads of one batch."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    until: datetime | None = None

    def agree(self, until: datetime) -> None:
        with self.lock:
            self.until = max(self.until or until, until)


@dataclass(frozen=True, slots=True)
class LookingUp:
    """With what records are looked up. `source` lends a way there, for one thread at a time."""

    engine: Engine
    source: Lend
    deciding: Deciding
    clock: Clock
    chance: Chance
    lease_s: float


def drain_batch(tools: LookingUp) -> tuple[int, int]:
    """Work off one batch; return how many look-ups were claimed and how many actions planned."""
    with writing(tools.engine) as connection:
        claims = claim_lookups(connection, tools.clock(), lease_s=tools.lease_s, most=BATCH)
    if not claims:
        return 0, 0
    calm = _Calm()
    calm_ones = [claim for claim in claims if not claim.lost_leases]
    with ThreadPoolExecutor(THREADS) as pool:
        planned = list(pool.map(lambda claim: _one(tools, claim, calm), calm_ones))
    # Over one of these workers vanished; alone and last, only the culprit can take others along.
    planned += [_one(tools, claim, calm) for claim in claims if claim.lost_leases]
    return len(claims), sum(planned)


def _one(tools: LookingUp, claim: Claim, calm: _Calm) -> int:
    outcome, planned = "left", 0
    try:
        outcome, planned = _settled(tools, claim, calm)
    except Overtaken:
        outcome = "overtaken"
    except LedgerUnavailable:
        outcome = "ledger-unavailable"  # the lease will bring it back
    told = _log.warning if outcome in _FOR_A_PERSON else _log.info
    told(
        "lookup.ended",
        entity=claim.entity.value,
        record_id=claim.record_id,
        outcome=outcome,
        attempts=claim.attempts,
        planned=planned,
    )
    return planned


def _settled(tools: LookingUp, claim: Claim, calm: _Calm) -> tuple[str, int]:
    if calm.until is not None:
        with writing(tools.engine) as connection:
            return_lookup(connection, claim, calm.until, Reason.NEXUDUS_BUSY)
        return "returned", 0
    if claim.lost_leases >= MOST_LOST_LEASES:
        return _failed(tools, claim, Reason.INTERNAL_ERROR, "it ended several workers"), 0
    try:
        _begin(tools, claim)
        with tools.source() as source:
            lease = Lease(lambda: _renewed(tools, claim), tools.clock, tools.lease_s)
            reader = Reader(tools.engine, source, Findings(tools.clock()), lease.keep)
            findings = look(claim, reader, tools.deciding.rules)
        planned = conclude(tools.engine, claim, findings, tools.deciding, tools.clock())
    except (SourceThrottled, SourceUnavailable, SourceRefused) as error:
        return _postponed(tools, claim, error, calm), 0
    except RecordUnreadable as error:
        return _failed(tools, claim, Reason.UNREADABLE, str(error)), 0
    except (Overtaken, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the others
        # It is not tried again blindly either. Its text may quote the record, so only its kind
        # is written.
        _log.error("lookup.fault", record_id=claim.record_id, error=frames_of(error))
        return _failed(tools, claim, Reason.INTERNAL_ERROR, type(error).__name__), 0
    return "done", planned


def _begin(tools: LookingUp, claim: Claim) -> None:
    with writing(tools.engine) as connection:
        ours = begin_lookup(connection, claim, tools.clock(), lease_s=tools.lease_s)
    if not ours:
        raise Overtaken


def _renewed(tools: LookingUp, claim: Claim) -> bool:
    with writing(tools.engine) as connection:
        return renew_lookup(connection, claim, tools.clock(), lease_s=tools.lease_s)


def _postponed(
    tools: LookingUp,
    claim: Claim,
    error: SourceThrottled | SourceUnavailable | SourceRefused,
    calm: _Calm,
) -> str:
    now, chance = tools.clock(), tools.chance()
    if isinstance(error, SourceRefused):
        reason = Reason.NEXUDUS_REFUSED
        until = refused_again_at(now, claim.attempts, chance=chance)
    else:
        busy = isinstance(error, SourceThrottled)
        reason = Reason.NEXUDUS_BUSY if busy else Reason.NEXUDUS_DOWN
        until = lookup_again_at(
            now, claim.attempts, retry_after_s=error.retry_after_s, chance=chance
        )
    if isinstance(error, SourceThrottled):
        calm.agree(now + timedelta(seconds=error.retry_after_s or 1.0))
    with writing(tools.engine) as connection:
        postpone_lookup(connection, claim, until, reason, str(error))
    return reason


def _failed(tools: LookingUp, claim: Claim, reason: Reason, error: str) -> str:
    with writing(tools.engine) as connection:
        fail_lookup(connection, claim, reason, error)
    return reason
