"""Finds out whether rows of several Ids are as whole here as records by their Id.

The documents call such rows partial in places (contract, section 2.8), and nothing says which
fields are left out on which tenant. So it is tried on some records we know, and believed for that
kind of record only, and for a month.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ledger.engine import Engine, reading, writing
from ledger.people import known_people
from ledger.proofs import Proof, keep_proof, proofs
from ledger.snapshots import known_ids
from schemas.entity import Entity
from schemas.errors import RecordUnreadable, SourceRefused
from schemas.skew import is_within
from workers.source.client import Gone, whole_record
from workers.source.reads import BurstReads

IN_BURSTS = (Entity.COMPLETED_LESSON, Entity.COURSE_MEMBER, Entity.COWORKER, Entity.COURSE)
TRIED = 5  # records of each kind
_FEWEST = 2
_AGAIN = {True: timedelta(days=7), False: timedelta(days=1)}  # by whether the last one held
_TOO_FEW_AGAIN = timedelta(hours=1)
TOO_FEW = "too few records are known yet"


def probe_all(
    engine: Engine, source: BurstReads, now: datetime, *, anew: bool = False
) -> dict[Entity, Proof]:
    """Probe each kind of record whose last probe is old, or all `anew`; keep and return all.

    Raises:
        SourceThrottled, SourceUnavailable: nothing was found out about the rest.
    """
    with reading(engine) as connection:
        known = proofs(connection)
    for entity in IN_BURSTS:
        last = known.get(entity)
        if not anew and last is not None and is_within(last.probed_at, now, _wait(last)):
            continue
        known[entity] = _probe(engine, source, entity, now)
        with writing(engine) as connection:
            keep_proof(connection, entity, known[entity])
    return known


def _wait(last: Proof) -> timedelta:
    return _TOO_FEW_AGAIN if last.sentence == TOO_FEW else _AGAIN[last.holds]


def _probe(engine: Engine, source: BurstReads, entity: Entity, now: datetime) -> Proof:
    with reading(engine) as connection:
        if entity is Entity.COWORKER:
            ids = known_people(connection, TRIED)
        else:
            ids = known_ids(connection, entity, TRIED)
    try:
        # Something may change between two questions, so a difference counts only if it stays.
        found = _compared(source, entity, ids) or _compared(source, entity, ids)
    except (SourceRefused, RecordUnreadable) as error:
        return Proof(holds=False, sentence=str(error), probed_at=now)
    if found is None:
        return Proof(
            holds=False, sentence="rows lack fields, or differ from the records", probed_at=now
        )
    if found < _FEWEST:
        return Proof(holds=False, sentence=TOO_FEW, probed_at=now)
    sentence = f"{found} rows were the same as their records in every field we read"
    return Proof(holds=True, sentence=sentence, probed_at=now)


def _compared(source: BurstReads, entity: Entity, ids: Sequence[int]) -> int | None:
    """Return how many rows were as their records; None if one was not."""
    if len(ids) < _FEWEST:
        return 0
    rows = {row["Id"]: row for row in source.several(entity, ids)}
    same = 0
    for record_id in ids:
        record = source.fetch(entity, record_id)
        if isinstance(record, Gone):
            continue
        if record_id not in rows or whole_record(entity, rows[record_id]) != record:
            return None
        same += 1
    return same
