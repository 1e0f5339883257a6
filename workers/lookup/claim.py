"""Claims due lookups and performs them: reads in a few threads, commits, records the outcome.

One wake-up can serve many records, and a slow answer delays only its own thread. The failure of a
lookup is recorded as its outcome instead of raised.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta

import structlog

from ledger.engine import reading, repeat_write, writing
from ledger.heartbeats import take_lease
from ledger.intake import newest_notification
from ledger.joint_writer import JointWriter
from ledger.lookups import (
    Claim,
    begin_lookups,
    claim_lookups,
    fail_lookup,
    next_lookup_at,
    postpone_lookup,
    renew_batch,
    renew_lookup,
    return_lookup,
)
from ledger.outages import retry_unanswered
from ledger.source_state import proved
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
from workers.leases import Lease, LeaseLost
from workers.lookup.batch import Batch, LookupContext, LookupResult, log_end
from workers.lookup.prefetch import FEWEST, Prefetch, PrefetchedRecords, PrefetchedSource
from workers.lookup.read import Findings, Reader, Recent, read_for_lookup
from workers.retries import BATCH_S, LOOK_PATIENCE_S, MOST_LOST_LEASES, back_off_after
from workers.source.client import MOST_IDS
from workers.source.limits import Patience, Urgency
from workers.source.reads import SourceReads

BATCH = 20  # lookups, if few are performed at a time
_LEDGER_PAUSE = timedelta(seconds=30)  # before a lookup that could not be stored is read again
_PREFETCH_S = 20.0  # what is not prefetched by then is read one by one
_SETTLES_WITHIN = timedelta(seconds=15)  # by then a notified record can be read
_WAKE_EVERY_S = 60.0

_log = structlog.get_logger("lookup")


def drain_batch(
    tools: LookupContext, when_full: Callable[[], None] = lambda: None
) -> tuple[int, int]:
    """Perform one batch; return how many lookups were claimed and how many actions planned.

    `when_full` is called before the work begins if as many were claimed as a batch takes, since
    others may be due.
    """
    claims, in_bursts, most = _claimed(tools)
    if not claims:
        return 0, 0
    if len(claims) == most:
        when_full()
    end = tools.clock.monotonic() + BATCH_S
    batch = Batch(
        tools,
        JointWriter(tools.engine),
        end,
        deque(_spread([claim for claim in claims if not claim.lost_leases], tools.threads)),
        recent=Recent(zones=tools.zones),
    )
    batch.end_answered()
    batch.prefetched = _prefetch(batch, in_bursts)
    threads = min(tools.threads, len(batch.waiting))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        planned = list(pool.map(lambda _: _until_done(batch), range(threads)))
    # Workers were lost while they processed these. They run alone and last, so that no others are
    # lost with them.
    batch.prefetched = None
    planned += [_one(batch, claim) for claim in claims if claim.lost_leases]
    return len(claims), sum(planned)


def _until_done(batch: Batch) -> int:
    """Perform lookups in this thread until none is left; return how many actions were planned."""
    planned = 0
    while (claim := batch.next_claim()) is not None:
        planned += _one(batch, claim)
    return planned


def _claimed(tools: LookupContext) -> tuple[list[Claim], frozenset[Entity], int]:
    """Claim a batch.

    Returns it, the kinds of record that are read several at a time, and the size of a full batch.
    """
    now = tools.clock.now()
    with reading(tools.engine) as connection:
        due_at = next_lookup_at(connection, now, lease_s=tools.lease_s)
        if due_at is None or due_at > now:
            return [], frozenset(), 0
        in_bursts = proved(connection, now)
    most = MOST_IDS if in_bursts else max(BATCH, 3 * tools.threads)
    token = tools.clock.new_id()
    with writing(tools.engine) as connection:
        claims = claim_lookups(connection, now, token, lease_s=tools.lease_s, most=most)
    return claims, in_bursts, most


def _one(batch: Batch, claim: Claim) -> int:
    if batch.is_over:
        until = batch.back_off_until or batch.tools.clock.now()
        is_busy = batch.back_off_until is not None
        _returned(batch, claim, until, claim.reason or (Reason.NEXUDUS_BUSY if is_busy else None))
        return 0
    result = _perform(batch, claim)
    if result.back_off_until is not None:
        batch.back_off(result.back_off_until)
    return result.planned


def _perform(batch: Batch, claim: Claim) -> LookupResult:
    """Perform one lookup and log how it ended."""
    try:
        result = _performed(batch, claim)
    except LeaseLost:
        result = LookupResult("overtaken")
    except LedgerUnavailable:
        result = LookupResult("ledger-unavailable")
        _returned(batch, claim, batch.tools.clock.now() + _LEDGER_PAUSE, claim.reason)
    log_end(claim, result)
    return result


def _returned(batch: Batch, claim: Claim, until: datetime, reason: Reason | None) -> None:
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


def _performed(batch: Batch, claim: Claim) -> LookupResult:
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


def _read_and_stored(batch: Batch, claim: Claim) -> tuple[int, bool]:
    """Return how many actions were planned, and whether the source was asked for a record."""
    tools = batch.tools
    lease = _begin(batch, claim)
    patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, lease.keep)
    with ExitStack() as turns:
        with tools.source(patience) as source:
            reader = _reader(batch, claim, source, lease, turns)
            findings = read_for_lookup(claim, reader, tools.deciding.rules)
        planned = batch.store(claim, findings)
    if planned is None:
        raise LeaseLost
    return planned, bool(findings.records)


def _reader(
    batch: Batch, claim: Claim, source: SourceReads, lease: Lease, turns: ExitStack
) -> Reader:
    tools, prefetched = batch.tools, batch.prefetched
    now = tools.clock.now()
    # Its group was just checked for records decided on; others check by themselves.
    findings = Findings(now, batch.upto if batch.is_begun(claim) else 0)
    if prefetched is not None:
        findings = Findings(prefetched.asked_at, prefetched.upto)
        source = PrefetchedSource(source, prefetched)
    is_settled = now - claim.asked_at >= _SETTLES_WITHIN
    return Reader(
        tools.engine, source, findings, lease.keep, tools.locks, is_settled, batch.recent, turns
    )


def _begin(batch: Batch, claim: Claim) -> Lease:
    """Return the lease of a lookup, and begin the lookup unless its group was begun."""
    tools, now = batch.tools, batch.tools.clock.now()

    def renewed() -> bool:
        now = tools.clock.now()
        return batch.write(
            claim, lambda change: renew_lookup(change, claim, now, lease_s=tools.lease_s)
        )

    if not batch.is_begun(claim) and not batch.write(
        claim, lambda change: begin_lookups(change, [claim], now, lease_s=tools.lease_s)
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


def _postponed(batch: Batch, claim: Claim, error: SourceError) -> LookupResult:
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


def _failed(batch: Batch, claim: Claim, reason: Reason, error: str) -> LookupResult:
    batch.write(claim, lambda change: fail_lookup(change, claim, reason, error))
    return LookupResult(reason)


def _spread(claims: list[Claim], threads: int) -> list[Claim]:
    """Reorder claims so that neighbours are not performed at the same time.

    Lessons of one person are neighbours. Once the first has been read and committed, the others
    find what they need in the ledger.
    """
    step = -(-len(claims) // threads)
    return [claim for first in range(step) for claim in claims[first::step]]


def _prefetch(batch: Batch, in_bursts: frozenset[Entity]) -> PrefetchedRecords | None:
    """Read for the whole batch what few requests can read."""
    claims = batch.waiting
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
