"""Looks at several lists in turns, so that none is far behind when the looking has to stop.

How far a list was looked at is told by its own times. One that does not keep the order asked for
may bring earlier rows to the end, so of it nothing is told before it has ended.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from schemas.entity import Entity
from workers.source.records import Changes


@dataclass(slots=True)
class Way:
    """One list, and up to when all of it was looked at."""

    entity: Entity
    since: datetime
    pages: Iterator[Changes]
    reached: datetime = field(init=False)
    ended: bool = False
    _ordered: bool = True

    def __post_init__(self) -> None:
        self.reached = self.since

    def note(self, page: Changes) -> None:
        """Note that a page was looked at."""
        moments = [row.at for row in page.rows]
        self._ordered = self._ordered and moments == sorted(moments)
        # The list begins again with the whole minute in which a page ended.
        if not self._ordered or (moments and moments[-1] < self.reached):
            self._ordered, self.reached = False, self.since
        elif moments:
            minute = moments[-1].replace(second=0, microsecond=0)
            self.reached = max(self.reached, minute)


def by_turns(ways: Collection[Way]) -> Iterator[tuple[Way, Changes]]:
    """Yield the pages of all lists, each time of the one that is furthest behind.

    Raises as the lists do.
    """
    while going := [way for way in ways if not way.ended]:
        way = min(going, key=lambda one: one.reached)
        page = next(way.pages, None)
        if page is None:
            way.ended = True
            continue
        yield way, page
        way.note(page)  # whoever asked comes back for the next one when this one is kept


def reached_by(ways: Collection[Way], until: datetime) -> datetime:
    """Return up to when all lists were looked at; `until` if all were, to their end."""
    return min((until if way.ended else min(way.reached, until) for way in ways), default=until)
