"""Claims due lookups, works through them side by side, and ends each.

Finds out what one changed record means: which other records have to be read, and how fresh.

Works off one claimed look-up and writes down how it ended; raises nothing for its own fate.

Works off the due look-ups: claims a batch under a lease, reads with a few threads, commits each.

One message to a worker may so serve many records, and a slow answer holds up only its own thread.
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
from workers.source.reads import BurstReads, Lend

NOW = timedelta()  # no age is fresh enough: ask the source


def read_for_lookup(claim: Claim, reader: Reader, rules: Rules) -> Findings:
    """Read what deciding about this record needs. Raises what `Source.fetch` raises."""
    findings = reader.findings
    if reader.is_answered(claim.entity, claim.record_id):
        return findings  # it was on the list that another lesson of this person was decided with
    if claim.entity is Entity.COURSE_MEMBER:
        enrolment = reader.enrolment(claim.record_id, NOW)
    else:
        enrolment = _look_at_lesson(claim, reader)
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
            # "Finished" is said once and for ever, so it is not said on an old list of lessons.
            reader.lessons(enrolment.course_id, FRESH)
    return findings


def _look_at_lesson(claim: Claim, reader: Reader) -> CourseMember | None:
    findings = reader.findings
    completed = reader.completed_lesson(claim.record_id)
    if completed is None:
        whose = reader.enrolment_of_gone(claim.record_id)
        if whose is not None:
            reader.enrolment(whose, FRESH)  # it may have gone with that
            findings.enrolment = None
        return None
    enrolment = reader.enrolment(completed.course_member_id, CACHED)
    if enrolment is None:
        return None
    reader.completions(completed.course_member_id, NOW)
    row = next((one for one in findings.completions if one.record_id == completed.record_id), None)
    if row is None and not reader.is_settled:
        # The list lags, so it may lack the lessons beside this one too, and with them the end of
        # the course, which nobody would tell us of again.
        raise NotThereYet("the list does not have this lesson yet")
    if row is None:
        # It answers by its Id, so it is there, also if the list never has it.
        findings.completions = [*findings.completions, completed]
    elif row == completed:
        # The list shows this one as it is by its Id, so its neighbours need not be asked for too.
        findings.decided += _ids(findings.completions)
    return enrolment


def _ids(completions: Sequence[CompletedLesson]) -> list[tuple[Entity, int]]:
    return [(Entity.COMPLETED_LESSON, one.record_id) for one in completions]


_SETTLES_WITHIN = timedelta(seconds=15)  # what a notification speaks of can be read by then
_WAKE_EVERY_S = 60.0

# Ways for a look-up to end that somebody should mend.
_FOR_A_PERSON = {Reason.NEXUDUS_REFUSED, Reason.UNREADABLE, Reason.INTERNAL_ERROR}

_log = structlog.get_logger("lookup")


@dataclass(frozen=True, slots=True)
class LookupContext:
    """With what records are looked up. `source` lends a way there, for one thread at a time.

    No look-up is begun once `is_stopping` says that the worker has been asked to stop.
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
    """How one look-up ended: a word for the log, how many actions were planned, and a wish.

    `back_off_until` is set when the source, or our share of its limits, wants no more for a while.
    """

    outcome: str
    planned: int = 0
    back_off_until: datetime | None = None


def perform_lookup(
    tools: LookupContext, claim: Claim, patience: Patience, prefetched: PrefetchedRecords | None
) -> LookupResult:
    """Work off one look-up and log how it ended."""
    try:
        told = _settled(tools, claim, patience, prefetched)
    except LeaseLost:
        told = LookupResult("overtaken")
    except LedgerUnavailable:
        told = LookupResult("ledger-unavailable")  # the lease will bring it back
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


def _settled(
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
            _notify_others(tools, claim)
    except RecordUnreadable as error:
        return _failed(tools, claim, Reason.UNREADABLE, str(error))
    except SourceError as error:
        return _postponed(tools, claim, error)
    except (LeaseLost, LedgerUnavailable):
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the others
        # It is not tried again blindly either. Its text may quote the record, so only its kind
        # is written.
        _log.error("lookup.fault", record_id=claim.record_id, error=frames_of(error))
        return _failed(tools, claim, Reason.INTERNAL_ERROR, type(error).__name__)
    return LookupResult("done", planned)


def _reader(
    tools: LookupContext,
    claim: Claim,
    source: BurstReads,
    lease: Lease,
    prefetched: PrefetchedRecords | None,
) -> Reader:
    now = tools.clock.now()
    is_settled = now - claim.asked_at >= _SETTLES_WITHIN
    if prefetched is None:
        with reading(tools.engine) as connection:
            findings = Findings(now, newest_notification(connection))
        return Reader(tools.engine, source, findings, lease.keep, tools.locks, is_settled)
    shelved, findings = (
        PrefetchedSource(source, prefetched),
        Findings(prefetched.asked_at, prefetched.upto),
    )
    return Reader(tools.engine, shelved, findings, lease.keep, tools.locks, is_settled)


def _begin(tools: LookupContext, claim: Claim) -> None:
    with writing(tools.engine) as connection:
        ours = begin_lookup(connection, claim, tools.clock.now(), lease_s=tools.lease_s)
    if not ours:
        raise LeaseLost


def _renewed(tools: LookupContext, claim: Claim) -> bool:
    with writing(tools.engine) as connection:
        return renew_lookup(connection, claim, tools.clock.now(), lease_s=tools.lease_s)


def _notify_others(tools: LookupContext, claim: Claim) -> None:
    """Wake what waits for the end of an outage, if this look-up just saw that end."""
    if claim.reason is not Reason.NEXUDUS_DOWN:
        return
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        # Once in a while is enough, and a source that comes and goes is not asked by all each time.
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
_AHEAD_S = 20.0  # for reading ahead; what is not on the shelf by then is read one by one


@dataclass(slots=True)
class _BackOff:
    """Until when no more is to be asked; shared by the threads of one batch."""

    end: float  # clock.monotonic() at which the batch should be over
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: datetime | None = None

    def agree(self, until: datetime) -> None:
        with self.lock:
            self.until = max(self.until or until, until)


def drain_batch(tools: LookupContext) -> tuple[int, int]:
    """Work off one batch; return how many look-ups were claimed and how many actions planned."""
    now = tools.clock.now()
    with writing(tools.engine) as connection:
        in_bursts = proved(connection, now)
        most = MOST_IDS if in_bursts else BATCH
        claims = claim_lookups(
            connection, now, tools.clock.new_id(), lease_s=tools.lease_s, most=most
        )
    if not claims:
        return 0, 0
    calm_ones = [claim for claim in claims if not claim.lost_leases]
    prefetched = _read_ahead(tools, calm_ones, in_bursts)
    calm = _BackOff(tools.clock.monotonic() + BATCH_S)
    with ThreadPoolExecutor(THREADS) as pool:
        planned = list(pool.map(lambda one: _one(tools, one, calm, prefetched), _apart(calm_ones)))
    # Over one of these workers vanished; alone and last, only the culprit can take others along.
    planned += [_one(tools, claim, calm, None) for claim in claims if claim.lost_leases]
    return len(claims), sum(planned)


def _one(
    tools: LookupContext, claim: Claim, calm: _BackOff, prefetched: PrefetchedRecords | None
) -> int:
    is_over = calm.until is not None or tools.clock.monotonic() > calm.end
    if is_over or tools.is_stopping():
        try:
            with writing(tools.engine) as connection:
                until = calm.until or tools.clock.now()
                return_lookup(connection, claim, until, claim.reason or Reason.NEXUDUS_BUSY)
        except LedgerUnavailable:
            _log.warning("lookup.unreturned", record_id=claim.record_id)
        return 0
    told = perform_lookup(tools, claim, _patience(tools), prefetched)
    if told.back_off_until is not None:
        calm.agree(told.back_off_until)
    return told.planned


def _patience(tools: LookupContext) -> Patience:
    return Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, lambda: None)


def _apart(claims: list[Claim]) -> list[Claim]:
    """Return claims so that neighbours are not worked on at once.

    Lessons of one person come one after the other, and what the first of them reads spares the
    others their reading, once it is in the ledger.
    """
    step = -(-len(claims) // THREADS)
    return [claim for first in range(step) for claim in claims[first::step]]


def _read_ahead(
    tools: LookupContext, claims: list[Claim], in_bursts: frozenset[Entity]
) -> PrefetchedRecords | None:
    """Read for the whole batch what can be read with few questions."""
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
        patience = Patience(Urgency.WORK, tools.clock.monotonic() + _AHEAD_S, keep)
        with tools.source(patience) as source:
            reader = Reader(tools.engine, source, Findings(now, prefetched.upto), keep, tools.locks)
            ahead = Prefetch(source, reader, in_bursts, prefetched)
            ahead.for_lookups([(claim.entity, claim.record_id) for claim in claims])
    except CoursebellError as error:
        # What is on the shelf is good; each look-up finds out for itself what is wrong.
        _log.warning("lookup.ahead-stopped", error=str(error))
    except Exception as error:  # noqa: BLE001 - a fault over one record must not stop the others
        _log.error("lookup.ahead-fault", error=frames_of(error))
    return prefetched
