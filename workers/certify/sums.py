"""Holds a certificate against what was counted in other ways, so that its sums can be wrong. Pure.

The lists of the source say how many rows they have, and the database counts what it holds; neither
knows of what was read and judged row by row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.entity import FOLLOWED, Entity
from workers.certify.fates import Judged
from workers.certify.values import Here, Line, SourceRow, Sum

NAMES = {Entity.COURSE_MEMBER: "enrolments", Entity.COMPLETED_LESSON: "finished lessons"}


@dataclass(frozen=True, slots=True)
class Assembled:
    """What a certificate is made of, when it is done: all of it, and the lines added up."""

    here: Here
    rows: Sequence[SourceRow]
    judged: Sequence[Judged]
    only_here: int
    not_here: int
    carried_over: int
    totals: Line


def sums_of(made: Assembled) -> list[Sum]:
    """Return each sum in two ways; where these differ, something went missing in between."""
    return [*_of_rows(made), *_of_records(made), *_of_the_rest(made)]


def _of_rows(made: Assembled) -> Iterator[Sum]:
    totals = made.totals
    for entity, stated in made.here.stated.items():
        yield Sum(f"{NAMES[entity]} at Nexudus", stated, totals.at_source[entity])
    yield Sum("fates of rows", len(made.rows), totals.fates.total())
    there = len(made.rows) + made.only_here
    yield Sum("rows there or here", there, totals.here.total() + made.not_here)


def _of_records(made: Assembled) -> Iterator[Sum]:
    for entity in FOLLOWED:
        judged = [one for one in made.judged if one.row.entity is entity]
        apart = sum(one.is_here and not _is_in_stock(made.here, one.row) for one in judged)
        beside = len(set(_beside(made.here, entity)) - {one.row.record_id for one in judged})
        shown = made.totals.here[entity] - apart + beside
        yield Sum(f"{NAMES[entity]} here", made.here.stock.records.get(entity, 0), shown)


def _of_the_rest(made: Assembled) -> Iterator[Sum]:
    here, totals = made.here, made.totals
    yield Sum("events here", here.stock.events, totals.events.total())
    yield Sum("fates of events", totals.events.total(), totals.event_fates.total())
    yield Sum("emails here", here.stock.actions, totals.emails.total())
    emails = totals.emails.total() + made.carried_over
    yield Sum("emails of these and other days", len(here.effects), emails)


def _is_in_stock(here: Here, row: SourceRow) -> bool:
    """Say whether the ledger counts a row: not what only lists showed, nor what went meanwhile."""
    kept = here.kept.get(row.ref)
    if kept is None or kept.gone_at is not None:
        return False
    return here.window.holds(getattr(kept.record, "created_at", row.created_at))


def _beside(here: Here, entity: Entity) -> Iterable[int]:
    """Return which records the ledger counts and the source lists, on whichever day it does."""
    for (kind, record_id), kept in here.kept.items():
        made_at = getattr(kept.record, "created_at", here.window.until)
        is_counted = kind is entity and kept.gone_at is None and here.window.holds(made_at)
        if is_counted and (kind, record_id) in here.listed:
            yield record_id
