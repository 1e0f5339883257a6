"""Claims due lookups and performs them: reads in a few threads, commits, records the outcome.

One wake-up can serve many records, and a slow answer delays only its own thread. The failure of a
lookup is recorded as its outcome instead of raised.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from ledger.clock import Clock
from ledger.credentials import proved
from ledger.engine import Connection, Engine, reading, repeat_write, writing
from ledger.heartbeats import take_lease
from ledger.intake import newest_notification
from ledger.joint_writer import JointWriter, Written
from ledger.lookups import (
    Claim,
    begin_lookup,
    claim_lookups,
    fail_lookup,
    finish_lookup,
    next_lookup_at,
    postpone_lookup,
    renew_batch,
    renew_lookup,
    return_lookup,
)
from ledger.outages import retry_unanswered
from ledger.records import answered_among
from schemas.entity import Entity
from schemas.errors import (
    CoursebellError,
    LedgerUnavailable,
    RecordUnreadable,
    SourceError,
    SourceThrottled,
    frames_of,
)
from schemas.reasons import Reason
from workers.leases import KeyedLock, Lease, LeaseLost
from workers.lookup.commit import DecideContext, store_lookup
from workers.lookup.prefetch import FEWEST, Prefetch, PrefetchedRecords, PrefetchedSource
from workers.lookup.read import Findings, Reader, Recent, read_for_lookup
from workers.retries import BATCH_S, LOOK_PATIENCE_S, MOST_LOST_LEASES, back_off_after
from workers.source.client import MOST_IDS
from workers.source.limits import Patience, Urgency
from workers.source.reads import Lend, SourceReads

BATCH = 20  # lookups, if few are performed at a time
FEWEST_THREADS = 4
_LEDGER_PAUSE = timedelta(seconds=30)  # before a lookup that could not be stored is read again
_PREFETCH_S = 20.0  # what is not prefetched by then is read one by one
_SETTLES_WITHIN = timedelta(seconds=15)  # by then a notified record can be read
_WAKE_EVERY_S = 60.0

# Outcomes of a lookup that a person should look at.
_FOR_A_PERSON = {Reason.NEXUDUS_REFUSED, Reason.UNREADABLE, Reason.INTERNAL_ERROR}

_log = structlog.get_logger("lookup")


@dataclass(frozen=True, slots=True)
class LookupContext:
    """What lookups are performed with. `source` lends a connection, for one thread at a time.

    No lookup is started once `is_stopping` returns True. `threads` is how many lookups are
    performed at a time.
    """

    engine: Engine
    source: Lend
    deciding: DecideContext
    clock: Clock
    lease_s: float
    locks: KeyedLock = field(default_factory=KeyedLock)
    is_stopping: Callable[[], bool] = lambda: False
    threads: int = FEWEST_THREADS


@dataclass(slots=True)
class LookupResult:
    """How one lookup ended: a word for the log, and how many actions were planned.

    `back_off_until` is set when the source, or our share of its limits, asks for a pause.
    """

    outcome: str
    planned: int = 0
    back_off_until: datetime | None = None


@dataclass(slots=True)
class _Batch:
    """What the lookups of one batch share."""

    tools: LookupContext
    writer: JointWriter
    end: float  # clock.monotonic() at which the batch should be over
    prefetched: PrefetchedRecords | None = None
    recent: Recent = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    back_off_until: datetime | None = None  # the source must not be asked before

    def back_off(self, until: datetime) -> None:
        """Start no lookup before this time."""
        with self.lock:
            self.back_off_until = max(self.back_off_until or until, until)

    def write(self, claim: Claim, change: Callable[[Connection], Written]) -> Written:
        """Write about one lookup, together with what other threads write. Raises as `write`."""
        return self.writer.write((claim.entity.value, claim.record_id), change)


def drain_batch(tools: LookupContext) -> tuple[int, int]:
    """Perform one batch; return how many lookups were claimed and how many actions planned."""
    claims, in_bursts = _claimed(tools)
    if not claims:
        return 0, 0
    batch = _Batch(tools, JointWriter(tools.engine), tools.clock.monotonic() + BATCH_S)
    healthy = _unanswered(batch, [claim for claim in claims if not claim.lost_leases])
    batch.prefetched = _prefetch(batch, healthy, in_bursts)
    with ThreadPoolExecutor(tools.threads) as pool:
        planned = list(pool.map(partial(_one, batch), _spread(healthy, tools.threads)))
    # Workers were lost while they processed these. They run alone and last, so that no others are
    # lost with them.
    batch.prefetched = None
    planned += [_one(batch, claim) for claim in claims if claim.lost_leases]
    return len(claims), sum(planned)


def _claimed(tools: LookupContext) -> tuple[list[Claim], frozenset[Entity]]:
    """Claim a batch; return it, and the kinds of record that are read several at a time."""
    now = tools.clock.now()
    with reading(tools.engine) as connection:
        due_at = next_lookup_at(connection, now, lease_s=tools.lease_s)
        if due_at is None or due_at > now:
            return [], frozenset()
        in_bursts = proved(connection, now)
    most = MOST_IDS if in_bursts else max(BATCH, 3 * tools.threads)
    token = tools.clock.new_id()
    with writing(tools.engine) as connection:
        return claim_lookups(connection, now, token, lease_s=tools.lease_s, most=most), in_bursts


def _unanswered(batch: _Batch, claims: list[Claim]) -> list[Claim]:
    """End the lookups whose records were decided on with others; return the rest."""
    answered: set[tuple[Entity, int]] = set()
    with reading(batch.tools.engine) as connection:
        for entity in {claim.entity for claim in claims}:
            record_ids = [claim.record_id for claim in claims if claim.entity is entity]
            found = answered_among(connection, entity, record_ids)
            answered |= {(entity, record_id) for record_id in found}
    done = [claim for claim in claims if (claim.entity, claim.record_id) in answered]
    if not done:
        return claims
    now = batch.tools.clock.now()
    try:
        with writing(batch.tools.engine) as connection:
            ended = [finish_lookup(connection, claim, now) for claim in _in_order(done)]
    except LedgerUnavailable:
        return claims  # each ends, or meets the error again, by itself
    for claim, is_ended in zip(_in_order(done), ended, strict=True):
        _log_end(claim, LookupResult("done" if is_ended else "overtaken"))
    return [claim for claim in claims if (claim.entity, claim.record_id) not in answered]


def _in_order(claims: Sequence[Claim]) -> list[Claim]:
    """Return claims in the order in which all transactions write, so that none deadlock."""
    return sorted(claims, key=lambda claim: (claim.entity.value, claim.record_id))


def _one(batch: _Batch, claim: Claim) -> int:
    tools = batch.tools
    is_over = batch.back_off_until is not None or tools.clock.monotonic() > batch.end
    if is_over or tools.is_stopping():
        until = batch.back_off_until or tools.clock.now()
        is_busy = batch.back_off_until is not None
        _returned(batch, claim, until, claim.reason or (Reason.NEXUDUS_BUSY if is_busy else None))
        return 0
    result = _perform(batch, claim)
    if result.back_off_until is not None:
        batch.back_off(result.back_off_until)
    return result.planned


def _perform(batch: _Batch, claim: Claim) -> LookupResult:
    """Perform one lookup and log how it ended."""
    try:
        result = _performed(batch, claim)
    except LeaseLost:
        result = LookupResult("overtaken")
    except LedgerUnavailable:
        result = LookupResult("ledger-unavailable")
        _returned(batch, claim, batch.tools.clock.now() + _LEDGER_PAUSE, claim.reason)
    _log_end(claim, result)
    return result


def _returned(batch: _Batch, claim: Claim, until: datetime, reason: Reason | None) -> None:
    """Return a lookup that was not performed, or else leave it to the end of its lease."""

    def write() -> bool:
        return batch.write(claim, lambda change: return_lookup(change, claim, until, reason))

    try:
        # Retried, as a lease that ends counts as a lost worker, and several of them as a fault.
        repeat_write(write, clock=batch.tools.clock, give_up_at=batch.end, on_failure=_log_retry)
    except LedgerUnavailable:
        _log.warning("lookup.unreturned", record_id=claim.record_id)


def _log_retry(error: LedgerUnavailable) -> None:
    _log.info("lookup.again", error=str(error))


def _log_end(claim: Claim, result: LookupResult) -> None:
    log = _log.warning if result.outcome in _FOR_A_PERSON else _log.info
    log(
        "lookup.ended",
        entity=claim.entity.value,
        record_id=claim.record_id,
        outcome=result.outcome,
        attempts=claim.attempts,
        planned=result.planned,
    )


def _performed(batch: _Batch, claim: Claim) -> LookupResult:
    if claim.lost_leases >= MOST_LOST_LEASES:
        return _failed(batch, claim, Reason.INTERNAL_ERROR, "it ended several workers")
    try:
        planned, has_read = _read_and_stored(batch, claim)
        if has_read:
            _end_outage(batch.tools, claim)
    except RecordUnreadable as error:
        return _failed(batch, claim, Reason.UNREADABLE, str(error))
    except SourceError as error:
        return _postponed(batch, claim, error)
    except (LeaseLost, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - our own fault must not stop the other lookups
        # It is not retried blindly. Its text may quote the record, so only its class is logged.
        _log.error("lookup.fault", record_id=claim.record_id, error=frames_of(error))
        return _failed(batch, claim, Reason.INTERNAL_ERROR, type(error).__name__)
    return LookupResult("done", planned)


def _read_and_stored(batch: _Batch, claim: Claim) -> tuple[int, bool]:
    """Return how many actions were planned, and whether the source was asked for a record."""
    tools = batch.tools
    lease = _begin(batch, claim)
    patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, lease.keep)
    with ExitStack() as turns:
        with tools.source(patience) as source:
            reader = _reader(batch, claim, source, lease, turns)
            findings = read_for_lookup(claim, reader, tools.deciding.rules)
        now = tools.clock.now()
        planned = batch.write(
            claim, lambda change: store_lookup(change, claim, findings, tools.deciding, now)
        )
    return planned, bool(findings.records)


def _reader(
    batch: _Batch, claim: Claim, source: SourceReads, lease: Lease, turns: ExitStack
) -> Reader:
    tools, prefetched = batch.tools, batch.prefetched
    now = tools.clock.now()
    findings = Findings(now)
    if prefetched is not None:
        findings = Findings(prefetched.asked_at, prefetched.upto)
        source = PrefetchedSource(source, prefetched)
    is_settled = now - claim.asked_at >= _SETTLES_WITHIN
    return Reader(
        tools.engine, source, findings, lease.keep, tools.locks, is_settled, batch.recent, turns
    )


def _begin(batch: _Batch, claim: Claim) -> Lease:
    """Mark a lookup as started and renew its lease."""
    tools, now = batch.tools, batch.tools.clock.now()

    def renewed() -> bool:
        now = tools.clock.now()
        return batch.write(
            claim, lambda change: renew_lookup(change, claim, now, lease_s=tools.lease_s)
        )

    if not batch.write(
        claim, lambda change: begin_lookup(change, claim, now, lease_s=tools.lease_s)
    ):
        raise LeaseLost
    return Lease(renewed, tools.clock, tools.lease_s, taken_at=now)


def _end_outage(tools: LookupContext, claim: Claim) -> None:
    """Retry the lookups that wait for the end of an outage, if this one just saw it end."""
    if claim.reason is not Reason.NEXUDUS_DOWN:
        return
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        # At most once a minute, or an unstable source would get all of them each time.
        if take_lease(connection, "outage-over", tools.clock.new_id(), now, lease_s=_WAKE_EVERY_S):
            retry_unanswered(connection, now)


def _postponed(batch: _Batch, claim: Claim, error: SourceError) -> LookupResult:
    now = batch.tools.clock.now()
    wait = back_off_after(error, claim.attempts, now, chance=batch.tools.clock.random())
    why = str(error)
    batch.write(
        claim,
        lambda change: postpone_lookup(
            change, claim, wait.until, wait.reason, why, counted=wait.counts
        ),
    )
    if not isinstance(error, SourceThrottled):
        return LookupResult(wait.reason)
    return LookupResult(
        wait.reason, back_off_until=now + timedelta(seconds=error.retry_after_s or 1.0)
    )


def _failed(batch: _Batch, claim: Claim, reason: Reason, error: str) -> LookupResult:
    batch.write(claim, lambda change: fail_lookup(change, claim, reason, error))
    return LookupResult(reason)


def _spread(claims: list[Claim], threads: int) -> list[Claim]:
    """Reorder claims so that neighbours are not performed at the same time.

    Lessons of one person are neighbours. Once the first has been read and committed, the others
    find what they need in the ledger.
    """
    step = -(-len(claims) // threads)
    return [claim for first in range(step) for claim in claims[first::step]]


def _prefetch(
    batch: _Batch, claims: list[Claim], in_bursts: frozenset[Entity]
) -> PrefetchedRecords | None:
    """Read for the whole batch what few requests can read."""
    if not in_bursts or len(claims) < FEWEST:
        return None
    tools, now = batch.tools, batch.tools.clock.now()

    def renewed() -> bool:
        with writing(tools.engine) as connection:
            token = claims[0].token
            return renew_batch(connection, token, tools.clock.now(), lease_s=tools.lease_s) > 0

    keep = Lease(renewed, tools.clock, tools.lease_s).keep
    with reading(tools.engine) as connection:
        prefetched = PrefetchedRecords(now, newest_notification(connection))
    try:
        patience = Patience(Urgency.WORK, tools.clock.monotonic() + _PREFETCH_S, keep)
        with tools.source(patience) as source:
            reader = Reader(tools.engine, source, Findings(now, prefetched.upto), keep, tools.locks)
            prefetch = Prefetch(source, reader, in_bursts, prefetched)
            prefetch.for_lookups([(claim.entity, claim.record_id) for claim in claims])
    except CoursebellError as error:
        # What was prefetched is usable; each lookup meets the error again itself.
        _log.warning("lookup.prefetch-stopped", error=str(error))
    except Exception as error:  # noqa: BLE001 - a fault over one record must not stop the others
        _log.error("lookup.prefetch-fault", error=frames_of(error))
    return prefetched
