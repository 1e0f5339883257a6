"""Reads several lists in turn, so that none is far behind when the reading has to stop."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from schemas.entity import Entity
from workers.source.records import Changes


@dataclass(slots=True)
class ListProgress:
    """How far a list was looked at, page by page, told by its own times.

    A list that does not keep the order asked for may bring earlier rows to its end: of it nothing
    is looked at beyond `since` before it ends.
    """

    since: datetime
    reached: datetime = field(init=False)
    is_ordered: bool = True

    def __post_init__(self) -> None:
        self.reached = self.since

    def note(self, page: Changes) -> None:
        """Note that a page was looked at."""
        moments = [row.at for row in page.rows]
        if moments != sorted(moments) or (moments and moments[-1] < self.reached):
            self.is_ordered, self.reached = False, self.since
        elif moments and self.is_ordered:
            # The list begins again with the whole minute in which a page ended.
            minute = moments[-1].replace(second=0, microsecond=0)
            self.reached = max(self.reached, minute)


@dataclass(slots=True)
class Way:
    """One list, and up to when all of it was looked at."""

    entity: Entity
    since: datetime
    pages: Iterator[Changes]
    progress: ListProgress = field(init=False)
    ended: bool = False

    def __post_init__(self) -> None:
        self.progress = ListProgress(self.since)


def by_turns(ways: Collection[Way]) -> Iterator[tuple[Way, Changes]]:
    """Yield the pages of all lists, each time of the one that is furthest behind.

    Raises as the lists do.
    """
    while going := [way for way in ways if not way.ended]:
        way = min(going, key=lambda one: one.progress.reached)
        page = next(way.pages, None)
        if page is None:
            way.ended = True
            continue
        yield way, page
        way.progress.note(page)  # the caller asks for the next page once it has kept this one


def reached_by(ways: Collection[Way], until: datetime) -> datetime:
    """Return up to when all lists were looked at; `until` if all were, to their end."""
    return min(
        (until if way.ended else min(way.progress.reached, until) for way in ways), default=until
    )
