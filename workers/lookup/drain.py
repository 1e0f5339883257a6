"""Works off the due look-ups: claims a batch under a lease, reads with a few threads, commits each.

One message to a worker may so serve many records, and a slow answer holds up only its own thread.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from ledger.engine import reading, writing
from ledger.intake import newest_notification
from ledger.lookups import Claim, claim_lookups, renew_batch, return_lookup
from ledger.proofs import proved
from schemas.entity import Entity
from schemas.errors import CoursebellError, LedgerUnavailable, frames_of
from schemas.reasons import Reason
from workers.lease import Lease
from workers.lookup.ahead import FEWEST, Ahead, Shelf
from workers.lookup.findings import Findings
from workers.lookup.reading import Reader
from workers.lookup.settling import LookingUp, settle
from workers.retries import BATCH_S, LOOK_PATIENCE_S
from workers.source.client import MOST_IDS
from workers.source.limits import Patience, Urgency

BATCH = 20
THREADS = 4
_AHEAD_S = 20.0  # for reading ahead; what is not on the shelf by then is read one by one

_log = structlog.get_logger("lookup")


@dataclass(slots=True)
class _Calm:
    """Until when no more is to be asked; shared by the threads of one batch."""

    end: float  # clock.monotonic() at which the batch should be over
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: datetime | None = None

    def agree(self, until: datetime) -> None:
        with self.lock:
            self.until = max(self.until or until, until)


def drain_batch(tools: LookingUp) -> tuple[int, int]:
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
    shelf = _read_ahead(tools, calm_ones, in_bursts)
    calm = _Calm(tools.clock.monotonic() + BATCH_S)
    with ThreadPoolExecutor(THREADS) as pool:
        planned = list(pool.map(lambda one: _one(tools, one, calm, shelf), _apart(calm_ones)))
    # Over one of these workers vanished; alone and last, only the culprit can take others along.
    planned += [_one(tools, claim, calm, None) for claim in claims if claim.lost_leases]
    return len(claims), sum(planned)


def _one(tools: LookingUp, claim: Claim, calm: _Calm, shelf: Shelf | None) -> int:
    is_over = calm.until is not None or tools.clock.monotonic() > calm.end
    if is_over or tools.is_stopping():
        try:
            with writing(tools.engine) as connection:
                until = calm.until or tools.clock.now()
                return_lookup(connection, claim, until, claim.reason or Reason.NEXUDUS_BUSY)
        except LedgerUnavailable:
            _log.warning("lookup.unreturned", record_id=claim.record_id)
        return 0
    told = settle(tools, claim, _patience(tools), shelf)
    if told.calm_until is not None:
        calm.agree(told.calm_until)
    return told.planned


def _patience(tools: LookingUp) -> Patience:
    return Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, lambda: None)


def _apart(claims: list[Claim]) -> list[Claim]:
    """Return claims so that neighbours are not worked on at once.

    Lessons of one person come one after the other, and what the first of them reads spares the
    others their reading, once it is in the ledger.
    """
    step = -(-len(claims) // THREADS)
    return [claim for first in range(step) for claim in claims[first::step]]


def _read_ahead(
    tools: LookingUp, claims: list[Claim], in_bursts: frozenset[Entity]
) -> Shelf | None:
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
        shelf = Shelf(now, newest_notification(connection))
    try:
        patience = Patience(Urgency.WORK, tools.clock.monotonic() + _AHEAD_S, keep)
        with tools.source(patience) as source:
            reader = Reader(tools.engine, source, Findings(now, shelf.upto), keep, tools.once)
            ahead = Ahead(source, reader, in_bursts, shelf)
            ahead.for_lookups([(claim.entity, claim.record_id) for claim in claims])
    except CoursebellError as error:
        # What is on the shelf is good; each look-up finds out for itself what is wrong.
        _log.warning("lookup.ahead-stopped", error=str(error))
    except Exception as error:  # noqa: BLE001 - a fault over one record must not stop the others
        _log.error("lookup.ahead-fault", error=frames_of(error))
    return shelf
