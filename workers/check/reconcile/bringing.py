"""Has what differs read and decided on. Nothing is believed here: the look-up by Id finds out."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from ledger.engine import lock_decisions, writing
from ledger.intake import Origin
from schemas.entity import FOLLOWED
from schemas.reasons import Reason
from workers.check.reconcile.values import Comparison, How, Way
from workers.check.tools import Checking, ask_about, make_news

_AT_ONCE = 500  # in one transaction, so that nobody waits long for the ledger
MOST_GONE = 1_000  # of a kind at once, whoever accepted it


_One = TypeVar("_One")


def bring_in(checking: Checking, comparison: Comparison, how: How) -> int:
    """Have what differs read, in the way that somebody chose; return how many records.

    With `How.IMPORT` nobody is written to about what happened until now.

    Raises:
        LedgerUnavailable: what was asked for until then stays so.
    """
    match how:
        case How.NOTHING:
            return 0
        case How.IMPORT:
            return bring_in_from(checking, comparison, Origin.BACKFILL, Reason.IMPORTED)
        case How.SEND:
            return bring_in_from(checking, comparison, Origin.PERSON)


def bring_in_from(
    checking: Checking, comparison: Comparison, origin: Origin, quiet: Reason | None = None
) -> int:
    """Have what differs read as news from there; return how many records. Raises as `bring_in`."""
    brought = 0
    for entity in FOLLOWED:  # enrolments first: finished lessons are about them
        listed = [*comparison.of(Way.MISSING), *comparison.of(Way.DIFFERENT)]
        seen = [one.seen for one in listed if one.entity is entity and one.seen is not None]
        for some in _portions(seen):
            with writing(checking.engine) as connection:
                lock_decisions(connection)  # in one order with those who decide
                make_news(connection, checking, entity, some, origin, quiet)
        gone = [one.record_id for one in comparison.of(Way.GONE) if one.entity is entity]
        for ids in _portions(gone[:MOST_GONE]):
            with writing(checking.engine) as connection:
                lock_decisions(connection)
                ask_about(connection, checking, entity, ids, Origin.CHECK)
        brought += len(seen) + min(len(gone), MOST_GONE)
    return brought


def _portions(every: Sequence[_One]) -> Iterator[Sequence[_One]]:
    return (every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE))
