"""A batch of claimed lookups: what they share, and which of them is performed next.

Lookups are started in groups, with one read and one write for the whole group: those whose records
were decided on meanwhile, with others of the same person, are ended; the next few are begun.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from ledger.clock import Clock
from ledger.engine import Connection, Engine, reading, writing
from ledger.intake import newest_notification
from ledger.joint_writer import JointWriter, Written
from ledger.lookups import Claim, begin_lookups, finish_lookups
from ledger.records import answered_among
from schemas.entity import Entity
from schemas.errors import LedgerUnavailable
from schemas.reasons import Reason
from workers.leases import KeyedLock
from workers.lookup.commit import DecisionSetup, FoundLookup, store_lookups
from workers.lookup.prefetch import PrefetchedRecords
from workers.lookup.read import Findings, Recent, Zones
from workers.source.reads import Lend

FEWEST_THREADS = 4

# Outcomes of a lookup that a person should look at.
_FOR_A_PERSON = {Reason.NEXUDUS_REFUSED, Reason.UNREADABLE, Reason.INTERNAL_ERROR}

_log = structlog.get_logger("lookup")


@dataclass(frozen=True, slots=True)
class LookupContext:
    """What lookups are performed with. `source` lends a connection, for one thread at a time.

    No lookup is started once `is_stopping` returns True. `threads` is how many lookups are
    performed at a time. `zones` are the time zones that earlier batches needed.
    """

    engine: Engine
    source: Lend
    deciding: DecisionSetup
    clock: Clock
    lease_s: float
    locks: KeyedLock = field(default_factory=KeyedLock)
    is_stopping: Callable[[], bool] = lambda: False
    threads: int = FEWEST_THREADS
    zones: Zones = field(default_factory=dict)


@dataclass(slots=True)
class LookupResult:
    """How one lookup ended: a word for the log, and how many actions were planned.

    `back_off_until` is set when the source, or our share of its limits, asks for a pause.
    """

    outcome: str
    planned: int = 0
    back_off_until: datetime | None = None


def log_end(claim: Claim, result: LookupResult) -> None:
    """Log how a lookup ended."""
    log = _log.warning if result.outcome in _FOR_A_PERSON else _log.info
    log(
        "lookup.ended",
        entity=claim.entity.value,
        record_id=claim.record_id,
        outcome=result.outcome,
        attempts=claim.attempts,
        planned=result.planned,
    )


@dataclass(slots=True)
class Batch:
    """What the lookups of one batch share. Thread-safe.

    `end` is when by clock.monotonic() the batch should be over. `waiting` are the lookups that are
    not started yet; `upto` is the newest notification when the last group was begun.
    """

    tools: LookupContext
    writer: JointWriter
    end: float
    waiting: deque[Claim]
    prefetched: PrefetchedRecords | None = None
    recent: Recent = field(default_factory=Recent)
    upto: int = 0
    back_off_until: datetime | None = None  # the source must not be asked before
    _begun: set[int] = field(default_factory=set)
    _group: deque[Claim] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        """Whether no further lookup should be started."""
        is_late = self.tools.clock.monotonic() > self.end
        return is_late or self.back_off_until is not None or self.tools.is_stopping()

    def back_off(self, until: datetime) -> None:
        """Start no lookup before this time."""
        with self._lock:
            self.back_off_until = max(self.back_off_until or until, until)

    def write(self, claim: Claim, change: Callable[[Connection], Written]) -> Written:
        """Write about one lookup, together with what other threads write. Raises as `write`."""
        return self.writer.write((claim.entity.value, claim.record_id), change)

    def store(self, claim: Claim, findings: Findings) -> int | None:
        """Store what a lookup found, together with what others found; see `store_lookups`.

        Raises:
            LedgerUnavailable: nothing was committed.
        """
        order = (claim.entity.value, claim.record_id)
        return self.writer.write_together(order, FoundLookup(claim, findings), self._store)

    def _store(self, connection: Connection, found: Sequence[FoundLookup]) -> list[int | None]:
        return store_lookups(connection, found, self.tools.deciding, self.tools.clock.now())

    def is_begun(self, claim: Claim) -> bool:
        """Return whether this lookup was begun with its group."""
        return claim.lookup_id in self._begun

    def next_claim(self) -> Claim | None:
        """Return the next lookup to perform, or None if there is none left."""
        with self._lock:
            if not self._group:
                self._start_group()
            return self._group.popleft() if self._group else None

    def end_answered(self) -> None:
        """End those lookups whose records were decided on with others."""
        with self._lock:
            answered = self._answered()
            if answered:
                self._end_and_begin(answered, [])

    def _start_group(self) -> None:
        """Begin as many lookups as there are threads, so that a lost worker counts for few."""
        if not self.waiting:
            return
        if self.is_over:  # these are only returned
            self._group, self.waiting = self.waiting, deque()
            return
        answered = self._answered()
        some = min(self.tools.threads, len(self.waiting))
        self._group.extend(self.waiting.popleft() for _ in range(some))
        self._end_and_begin(answered, list(self._group))

    def _answered(self) -> list[Claim]:
        """Remove the lookups that need not be performed from those that wait, and return them."""
        found: set[tuple[Entity, int]] = set()
        try:
            with reading(self.tools.engine) as connection:
                self.upto = newest_notification(connection)
                for entity in {claim.entity for claim in self.waiting}:
                    ids = [claim.record_id for claim in self.waiting if claim.entity is entity]
                    found |= {(entity, one) for one in answered_among(connection, entity, ids)}
        except LedgerUnavailable:
            return []  # each lookup meets the error again, by itself
        whose = [(claim, (claim.entity, claim.record_id) in found) for claim in self.waiting]
        self.waiting = deque(claim for claim, is_answered in whose if not is_answered)
        return [claim for claim, is_answered in whose if is_answered]

    def _end_and_begin(self, answered: list[Claim], group: Sequence[Claim]) -> None:
        tools, now = self.tools, self.tools.clock.now()
        try:
            with writing(tools.engine) as connection:
                ended = finish_lookups(connection, answered, now)
                begun = begin_lookups(connection, group, now, lease_s=tools.lease_s)
        except LedgerUnavailable:
            self._group.extend(answered)  # each ends, or meets the error again, by itself
            return
        self._begun |= begun
        for claim in answered:
            is_ended = claim.lookup_id in ended
            log_end(claim, LookupResult("done" if is_ended else "overtaken"))
