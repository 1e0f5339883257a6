"""Claims due lookups and performs them: reads in a few threads, commits, records the outcome.

One wake-up can serve many records, and a slow answer delays only its own thread. The failure of a
lookup is recorded as its outcome instead of raised.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from ledger.clock import Clock
from ledger.credentials import proved
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import take_lease
from ledger.intake import newest_notification
from ledger.lookups import (
    Claim,
    begin_lookup,
    claim_lookups,
    fail_lookup,
    postpone_lookup,
    renew_batch,
    renew_lookup,
    return_lookup,
)
from ledger.outages import retry_unanswered
from schemas.entity import Entity
from schemas.errors import (
    CoursebellError,
    LedgerUnavailable,
    NotThereYet,
    RecordUnreadable,
    SourceError,
    SourceThrottled,
    frames_of,
)
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember
from schemas.rules import Rules
from workers.decide.completion import closed_among, progress
from workers.leases import KeyedLock, Lease, LeaseLost
from workers.lookup.commit import DecideContext, commit_lookup
from workers.lookup.prefetch import FEWEST, Prefetch, PrefetchedRecords, PrefetchedSource
from workers.lookup.read import CACHED, FRESH, Findings, Reader
from workers.retries import BATCH_S, LOOK_PATIENCE_S, MOST_LOST_LEASES, back_off_after
from workers.source.client import MOST_IDS
from workers.source.limits import Patience, Urgency
from workers.source.reads import Lend, SourceReads

NOW = timedelta()  # no stored version is fresh enough: ask the source


def read_for_lookup(claim: Claim, reader: Reader, rules: Rules) -> Findings:
    """Read what deciding about this record needs: other records, as fresh as each must be.

    Raises as `Source.fetch`.
    """
    findings = reader.findings
    if reader.is_answered(claim.entity, claim.record_id):
        return findings  # decided already, with another lesson of this person
    if claim.entity is Entity.COURSE_MEMBER:
        enrolment = reader.enrolment(claim.record_id, NOW)
    else:
        enrolment = _read_lesson(claim, reader)
    findings.decided += [(entity, record.record_id) for entity, record in findings.records]
    if enrolment is None:
        return findings
    reader.course(enrolment.course_id, CACHED)
    reader.person(enrolment.coworker_id, CACHED)
    if claim.entity is Entity.COMPLETED_LESSON:
        reader.lessons(enrolment.course_id, CACHED)
        done_ids = {completion.lesson_id for completion in findings.completions}
        closed = closed_among(findings.sections)
        if progress(findings.lessons, done_ids, rules.counts, closed).finished:
            # A finish is announced once and cannot be taken back, so the list must be fresh.
            reader.lessons(enrolment.course_id, FRESH)
    return findings


def _read_lesson(claim: Claim, reader: Reader) -> CourseMember | None:
    findings = reader.findings
    completed = reader.completed_lesson(claim.record_id)
    if completed is None:
        whose = reader.enrolment_of_gone(claim.record_id)
        if whose is not None:
            reader.enrolment(whose, FRESH)  # the enrolment may be gone too
            findings.enrolment = None
        return None
    enrolment = reader.enrolment(completed.course_member_id, CACHED)
    if enrolment is None:
        return None
    reader.completions(completed.course_member_id, NOW)
    row = next((one for one in findings.completions if one.record_id == completed.record_id), None)
    if row is None and not reader.is_settled:
        # The list lags, so it may also lack other lessons, and with them the end of the course, for
        # which no other notification would come.
        raise NotThereYet("the list does not have this lesson yet")
    if row is None:
        # It can be read by its Id, so it exists even if the list never shows it.
        findings.completions = [*findings.completions, completed]
    elif row == completed:
        # The list shows this one as it is by Id, so the others on it need no requests of their own.
        findings.decided += _ids(findings.completions)
    return enrolment


def _ids(completions: Sequence[CompletedLesson]) -> list[tuple[Entity, int]]:
    return [(Entity.COMPLETED_LESSON, one.record_id) for one in completions]


_SETTLES_WITHIN = timedelta(seconds=15)  # by then a notified record can be read
_WAKE_EVERY_S = 60.0

# Outcomes of a lookup that a person should look at.
_FOR_A_PERSON = {Reason.NEXUDUS_REFUSED, Reason.UNREADABLE, Reason.INTERNAL_ERROR}

_log = structlog.get_logger("lookup")


@dataclass(frozen=True, slots=True)
class LookupContext:
    """What lookups are performed with. `source` lends a connection, for one thread at a time.

    No lookup is started once `is_stopping` returns True.
    """

    engine: Engine
    source: Lend
    deciding: DecideContext
    clock: Clock
    lease_s: float
    locks: KeyedLock = field(default_factory=KeyedLock)
    is_stopping: Callable[[], bool] = lambda: False


@dataclass(slots=True)
class LookupResult:
    """How one lookup ended: a word for the log, and how many actions were planned.

    `back_off_until` is set when the source, or our share of its limits, asks for a pause.
    """

    outcome: str
    planned: int = 0
    back_off_until: datetime | None = None


def perform_lookup(
    tools: LookupContext, claim: Claim, patience: Patience, prefetched: PrefetchedRecords | None
) -> LookupResult:
    """Perform one lookup and log how it ended."""
    try:
        result = _performed(tools, claim, patience, prefetched)
    except LeaseLost:
        result = LookupResult("overtaken")
    except LedgerUnavailable:
        result = LookupResult("ledger-unavailable")  # it is claimed again when its lease ends
    log = _log.warning if result.outcome in _FOR_A_PERSON else _log.info
    log(
        "lookup.ended",
        entity=claim.entity.value,
        record_id=claim.record_id,
        outcome=result.outcome,
        attempts=claim.attempts,
        planned=result.planned,
    )
    return result


def _performed(
    tools: LookupContext, claim: Claim, patience: Patience, prefetched: PrefetchedRecords | None
) -> LookupResult:
    if claim.lost_leases >= MOST_LOST_LEASES:
        return _failed(tools, claim, Reason.INTERNAL_ERROR, "it ended several workers")
    try:
        _begin(tools, claim)
        lease = Lease(lambda: _renewed(tools, claim), tools.clock, tools.lease_s)
        with tools.source(replace(patience, keep=lease.keep)) as source:
            reader = _reader(tools, claim, source, lease, prefetched)
            findings = read_for_lookup(claim, reader, tools.deciding.rules)
        planned = commit_lookup(tools.engine, claim, findings, tools.deciding, tools.clock.now())
        if findings.records:
            _end_outage(tools, claim)
    except RecordUnreadable as error:
        return _failed(tools, claim, Reason.UNREADABLE, str(error))
    except SourceError as error:
        return _postponed(tools, claim, error)
    except (LeaseLost, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - our own fault must not stop the other lookups
        # It is not retried blindly. Its text may quote the record, so only its class is logged.
        _log.error("lookup.fault", record_id=claim.record_id, error=frames_of(error))
        return _failed(tools, claim, Reason.INTERNAL_ERROR, type(error).__name__)
    return LookupResult("done", planned)


def _reader(
    tools: LookupContext,
    claim: Claim,
    source: SourceReads,
    lease: Lease,
    prefetched: PrefetchedRecords | None,
) -> Reader:
    now = tools.clock.now()
    is_settled = now - claim.asked_at >= _SETTLES_WITHIN
    if prefetched is None:
        with reading(tools.engine) as connection:
            findings = Findings(now, newest_notification(connection))
        return Reader(tools.engine, source, findings, lease.keep, tools.locks, is_settled)
    findings = Findings(prefetched.asked_at, prefetched.upto)
    source = PrefetchedSource(source, prefetched)
    return Reader(tools.engine, source, findings, lease.keep, tools.locks, is_settled)


def _begin(tools: LookupContext, claim: Claim) -> None:
    with writing(tools.engine) as connection:
        ours = begin_lookup(connection, claim, tools.clock.now(), lease_s=tools.lease_s)
    if not ours:
        raise LeaseLost


def _renewed(tools: LookupContext, claim: Claim) -> bool:
    with writing(tools.engine) as connection:
        return renew_lookup(connection, claim, tools.clock.now(), lease_s=tools.lease_s)


def _end_outage(tools: LookupContext, claim: Claim) -> None:
    """Retry the lookups that wait for the end of an outage, if this one just saw it end."""
    if claim.reason is not Reason.NEXUDUS_DOWN:
        return
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        # At most once a minute, or an unstable source would get all of them each time.
        if take_lease(connection, "outage-over", tools.clock.new_id(), now, lease_s=_WAKE_EVERY_S):
            retry_unanswered(connection, now)


def _postponed(tools: LookupContext, claim: Claim, error: SourceError) -> LookupResult:
    now = tools.clock.now()
    wait = back_off_after(error, claim.attempts, now, chance=tools.clock.random())
    with writing(tools.engine) as connection:
        postpone_lookup(connection, claim, wait.until, wait.reason, str(error), counted=wait.counts)
    if not isinstance(error, SourceThrottled):
        return LookupResult(wait.reason)
    return LookupResult(
        wait.reason, back_off_until=now + timedelta(seconds=error.retry_after_s or 1.0)
    )


def _failed(tools: LookupContext, claim: Claim, reason: Reason, error: str) -> LookupResult:
    with writing(tools.engine) as connection:
        fail_lookup(connection, claim, reason, error)
    return LookupResult(reason)


BATCH = 20
THREADS = 4
_PREFETCH_S = 20.0  # what is not prefetched by then is read one by one


@dataclass(slots=True)
class _Batch:
    """When the batch should be over, and until when the source must not be asked."""

    end: float  # clock.monotonic() at which the batch should be over
    lock: threading.Lock = field(default_factory=threading.Lock)
    back_off_until: datetime | None = None

    def back_off(self, until: datetime) -> None:
        with self.lock:
            self.back_off_until = max(self.back_off_until or until, until)


def drain_batch(tools: LookupContext) -> tuple[int, int]:
    """Perform one batch; return how many lookups were claimed and how many actions planned."""
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        in_bursts = proved(connection, now)
        most = MOST_IDS if in_bursts else BATCH
        claims = claim_lookups(
            connection, now, tools.clock.new_id(), lease_s=tools.lease_s, most=most
        )
    if not claims:
        return 0, 0
    healthy = [claim for claim in claims if not claim.lost_leases]
    prefetched = _prefetch(tools, healthy, in_bursts)
    batch = _Batch(tools.clock.monotonic() + BATCH_S)
    with ThreadPoolExecutor(THREADS) as pool:
        planned = list(pool.map(lambda one: _one(tools, one, batch, prefetched), _spread(healthy)))
    # Workers were lost while they processed these. They run alone and last, so that no others are
    # lost with them.
    planned += [_one(tools, claim, batch, None) for claim in claims if claim.lost_leases]
    return len(claims), sum(planned)


def _one(
    tools: LookupContext, claim: Claim, batch: _Batch, prefetched: PrefetchedRecords | None
) -> int:
    is_over = batch.back_off_until is not None or tools.clock.monotonic() > batch.end
    if is_over or tools.is_stopping():
        try:
            with writing(tools.engine) as connection:
                until = batch.back_off_until or tools.clock.now()
                return_lookup(connection, claim, until, claim.reason or Reason.NEXUDUS_BUSY)
        except LedgerUnavailable:
            _log.warning("lookup.unreturned", record_id=claim.record_id)
        return 0
    result = perform_lookup(tools, claim, _patience(tools), prefetched)
    if result.back_off_until is not None:
        batch.back_off(result.back_off_until)
    return result.planned


def _patience(tools: LookupContext) -> Patience:
    return Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, lambda: None)


def _spread(claims: list[Claim]) -> list[Claim]:
    """Reorder claims so that neighbours are not performed at the same time.

    Lessons of one person are neighbours. Once the first has been read and committed, the others
    find what they need in the ledger.
    """
    step = -(-len(claims) // THREADS)
    return [claim for first in range(step) for claim in claims[first::step]]


def _prefetch(
    tools: LookupContext, claims: list[Claim], in_bursts: frozenset[Entity]
) -> PrefetchedRecords | None:
    """Read for the whole batch what few requests can read."""
    if not in_bursts or len(claims) < FEWEST:
        return None
    now = tools.clock.now()

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
