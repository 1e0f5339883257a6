"""A source whose lists may be short, have many pages, and change between two of them."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime

from schemas.entity import Entity
from tests.contract.study_rig import Space
from tests.doubles.fake_source import FakeSource
from workers.source.limits import Patience, Urgency
from workers.source.lists import Changes
from workers.sync.compare import Comparison, Scope, compare
from workers.sync.reconcile import ReconcileMode, request_differences
from workers.sync.rows import SyncContext


class ListingSource(FakeSource):
    """Lists all but `unlisted`, `size` rows per page; `between` is called after each full page."""

    def __init__(self) -> None:
        super().__init__()
        self.unlisted: set[int] = set()
        self.size = 1000
        self.states_total = True
        self.between: Callable[[], None] = lambda: None

    def changed_since(self, entity: Entity, moment: datetime) -> Iterator[Changes]:
        """Yield pages as the source numbers them: each is cut out when it is asked for."""
        first = 0
        while True:
            [whole] = super().changed_since(entity, moment)
            rows = [row for row in whole.rows if row.record_id not in self.unlisted]
            total = self._totals.get(entity, len(rows)) if self.states_total else None
            yield Changes(rows[first : first + self.size], total)
            first += self.size
            if first >= len(rows):
                return
            self.between()


def sync(space: Space) -> SyncContext:
    return SyncContext(space.engine, space.lend, space.clock)


def patience() -> Patience:
    return Patience(Urgency.WORK, time.monotonic() + 60, lambda: None)


def compared(space: Space, scope: Scope | None = None) -> Comparison:
    return compare(sync(space), scope or Scope(), patience())


def brought(space: Space, how: ReconcileMode, scope: Scope | None = None) -> int:
    """Compare, import, and do all that is due then; return how many were imported."""
    number = request_differences(sync(space), compared(space, scope), how)
    space.work()
    return number
