"""Has what differs read and decided on. Nothing is believed here: the look-up by Id finds out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ledger.engine import lock_decisions, writing
from ledger.intake import Origin
from ledger.records import SeenVersion, note_seen
from schemas.entity import FOLLOWED, Entity
from schemas.reasons import Reason
from workers.check.reconcile.values import Comparison, How, Way
from workers.check.tools import Checking, ask_about, make_news

_AT_ONCE = 500  # in one transaction, so that nobody waits long for the ledger
MOST_GONE = 1_000  # of a kind at once, whoever accepted it
_NOT_ASKED = "not asked about yet"  # in place of a version, and like none


_One = TypeVar("_One")


def _go_on() -> None:
    pass


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
    checking: Checking,
    comparison: Comparison,
    origin: Origin,
    quiet: Reason | None = None,
    keep: Callable[[], None] = _go_on,
) -> int:
    """Have what differs read as news from there; return how many records. Raises as `bring_in`.

    `keep` is called before each portion; what it raises passes, and what came before stays.
    """
    if quiet is not None:
        _keep_quiet(checking, comparison, quiet, keep)
    brought = 0
    for entity in FOLLOWED:  # enrolments first: finished lessons are about them
        seen = _listed(comparison, entity)
        for some in _portions(seen):
            keep()
            with writing(checking.engine) as connection:
                lock_decisions(connection)  # in one order with those who decide
                make_news(connection, checking, entity, some, origin)
        gone = [one.record_id for one in comparison.of(Way.GONE) if one.entity is entity]
        for ids in _portions(gone[:MOST_GONE]):
            keep()
            with writing(checking.engine) as connection:
                lock_decisions(connection)
                ask_about(connection, checking, entity, ids, Origin.CHECK)
        brought += len(seen) + min(len(gone), MOST_GONE)
    return brought


def _keep_quiet(
    checking: Checking, comparison: Comparison, quiet: Reason, keep: Callable[[], None]
) -> None:
    """Have nobody written to about any of this, before any of it is asked about.

    Whoever reads one finished lesson sees all of its enrolment, also those of later portions. No
    version is kept yet: what is never asked about, because we are stopped, must be found again.
    """
    for entity in FOLLOWED:
        for some in _portions(_listed(comparison, entity)):
            keep()
            unasked = [replace(one, digest=_NOT_ASKED) for one in some]
            with writing(checking.engine) as connection:
                lock_decisions(connection)
                note_seen(connection, entity, unasked, checking.clock.now(), quiet)


def _listed(comparison: Comparison, entity: Entity) -> list[SeenVersion]:
    every = [*comparison.of(Way.MISSING), *comparison.of(Way.DIFFERENT)]
    return [one.seen for one in every if one.entity is entity and one.seen is not None]


def _portions(every: Sequence[_One]) -> Iterator[Sequence[_One]]:
    return (every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE))
