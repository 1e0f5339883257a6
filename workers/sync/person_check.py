"""Compares what the source has of one person with what the ledger knows, without changing either.

It costs one request for the person's enrolments, and one for the finished lessons of each.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from ledger.engine import Connection, reading
from ledger.record_queries import KnownRecord, enrolment_ids_of, known_among, records_below
from schemas.entity import Entity
from schemas.records import Record
from workers.source.limits import Patience
from workers.sync.compare import Difference, DifferenceKind, differences_among, row_here
from workers.sync.listed_rows import ListRow, row_of_record
from workers.sync.rows import SyncContext
from workers.versions import version_of_record


@dataclass(frozen=True, slots=True)
class PersonCheck:
    """How many records the source has of a person, and which of them differ here.

    `under_way` are those that are being read anyway, which are not compared.
    """

    enrolments: int
    completions: int
    under_way: int
    differences: tuple[Difference, ...]


def check_person(sync: SyncContext, coworker_id: int, patience: Patience) -> PersonCheck:
    """Ask the source for a person's enrolments and finished lessons, and compare.

    Raises:
        SourceError: the source failed.
        LedgerUnavailable: the ledger could not be read.
    """
    # Before the source is asked: what is created meanwhile must not look deleted.
    with reading(sync.engine) as connection:
        here = _here(connection, coworker_id)
    with sync.source(patience) as source:
        members = source.enrolments_of(coworker_id)
        done = [one for each in members for one in source.completions_of(each.record_id)]
    listed = {
        Entity.COURSE_MEMBER: {one.record_id: one for one in members},
        Entity.COMPLETED_LESSON: {one.record_id: one for one in done},
    }
    differences: list[Difference] = []
    under_way = 0
    with reading(sync.engine) as connection:
        for entity, found in listed.items():
            rows = [_row(entity, one) for one in found.values()]
            differing, waiting = differences_among(connection, entity, rows)
            differences += differing
            under_way += waiting
            differences += _gone(connection, entity, here[entity] - found.keys())
    return PersonCheck(
        len(members), len(listed[Entity.COMPLETED_LESSON]), under_way, (*differences,)
    )


def _here(connection: Connection, coworker_id: int) -> Mapping[Entity, set[int]]:
    members = set(enrolment_ids_of(connection, coworker_id))
    below = records_below(connection, Entity.COMPLETED_LESSON, "course_member_id", members)
    return {Entity.COURSE_MEMBER: members, Entity.COMPLETED_LESSON: set(below)}


def _row(entity: Entity, record: Record) -> ListRow:
    found = row_of_record(entity, record.record_id, record)
    return replace(found, seen=version_of_record(entity, record))


def _gone(connection: Connection, entity: Entity, absent: Collection[int]) -> Iterator[Difference]:
    """Yield those that the ledger has, and that are not being read anyway."""
    known = known_among(connection, entity, absent)
    for record_id in sorted(absent):
        one = known.get(record_id, KnownRecord())
        if one.is_here and not one.is_under_way:
            row = row_here(entity, record_id, one)
            yield Difference(DifferenceKind.GONE, row, one.reason)
