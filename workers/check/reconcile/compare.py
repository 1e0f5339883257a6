"""Compares all that the source lists with all that is known here. It changes nothing.

It reads lists only, about one question for a thousand rows, and keeps Ids and what differs. What is
not on a list is only ever suspected: deletes leave no trace (contract, section 8), and a list may
be short for many reasons.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.engine import reading
from ledger.record_queries import HeldRecord, courses_of_enrolments, held_records
from ledger.records import SeenVersion
from schemas.entity import FOLLOWED, Entity
from workers.check.check import EARLIEST
from workers.check.reconcile.absent import gone_of
from workers.check.reconcile.describing import described
from workers.check.reconcile.doubting import Listed, doubt_about
from workers.check.reconcile.page import differences_on
from workers.check.reconcile.values import Compared, Comparison, Difference, Scope
from workers.check.rows import versions_of
from workers.check.tools import Checking
from workers.source.limits import Patience
from workers.source.reads import BurstReads
from workers.source.records import Changes

Told = Callable[[int, int], None]  # after each page: its rows, and how many of them differ


Shown = Callable[[Entity, Sequence[SeenVersion]], None]  # each page, within the scope or not


def _to_nobody(_rows: int, _differing: int) -> None:
    pass


def _nobody_looks(_entity: Entity, _seen: Sequence[SeenVersion]) -> None:
    pass


@dataclass(slots=True)
class _Reading:
    """One list while it is read. `met` are its Ids, `within` those that are in the scope."""

    met: set[int] = field(default_factory=set)
    within: set[int] = field(default_factory=set)
    found: dict[int, Difference] = field(default_factory=dict)
    under_way: int = 0
    unplaced: int = 0
    stated: int | None = None
    pages: int = 0


def compare(
    checking: Checking,
    scope: Scope,
    patience: Patience,
    told: Told = _to_nobody,
    shown: Shown = _nobody_looks,
) -> Comparison:
    """Compare enrolments and finished lessons with the source's lists.

    `patience.keep` is called before each question and after each page; what it raises passes.
    `shown` is called with the rows of each page, whether they differ or not.

    Raises:
        As `Lists.since`, and LedgerUnavailable.
    """
    with reading(checking.engine) as connection:
        places = courses_of_enrolments(connection)
    kinds: list[Compared] = []
    enrolments: dict[int, Difference] = {}
    with checking.source(patience) as source:
        for entity in FOLLOWED:
            work = _Comparing(checking, source, scope, entity, places, enrolments, shown)
            kinds.append(work.compared(patience, told))
            if entity is Entity.COURSE_MEMBER:
                enrolments = {one.record_id: one for one in kinds[-1].differences}
    return Comparison(scope, tuple(kinds))


@dataclass(frozen=True, slots=True)
class _Comparing:
    """The comparison of one kind of record. `places` is filled as enrolments are listed."""

    checking: Checking
    source: BurstReads
    scope: Scope
    entity: Entity
    places: dict[int, int]
    enrolments: Mapping[int, Difference]
    shown: Shown

    def compared(self, patience: Patience, told: Told) -> Compared:
        # What is here is noted before the list is asked for: what comes up meanwhile may be
        # missing on it, and must not look deleted.
        with reading(self.checking.engine) as connection:
            held = held_records(connection, self.entity, self.scope.since)
            here = {one.record_id for one in held if self._is_meant(self._course_of(one))}
        so_far = _Reading()
        for changes in self._pages():
            patience.keep()
            told(len(changes.rows), self._take(so_far, changes))
        return self._concluded(so_far, here)

    def _pages(self) -> Iterator[Changes]:
        return self.source.changed_since(self.entity, self.scope.since or EARLIEST)

    def _take(self, so_far: _Reading, changes: Changes) -> int:
        """Hold a page against what is here; return how many of its rows differ."""
        so_far.pages += 1
        so_far.stated = changes.total if so_far.pages == 1 else so_far.stated
        meant, listed = [], versions_of(self.entity, changes.rows)
        self.shown(self.entity, listed)
        for one in listed:
            if self.entity is Entity.COURSE_MEMBER and one.course_id is not None:
                self.places[one.record_id] = one.course_id
            course_id = self._course_of(one)
            so_far.met.add(one.record_id)
            so_far.unplaced += self.scope.course_ids is not None and course_id is None
            if self._is_meant(course_id):
                meant.append(one)
        so_far.within.update(one.record_id for one in meant)
        rows = {one.record_id: one.row for one in changes.rows}
        with reading(self.checking.engine) as connection:
            found, under_way = differences_on(connection, self.entity, meant, rows)
        # A row that changed meanwhile comes again, and the later one holds.
        for one in meant:
            so_far.found.pop(one.record_id, None)
        so_far.found |= {one.record_id: one for one in found}
        so_far.under_way += under_way
        return len(found)

    def _concluded(self, so_far: _Reading, here: set[int]) -> Compared:
        absent = here - so_far.met
        doubt = self._doubt(so_far, len(here), len(absent))
        with reading(self.checking.engine) as connection:
            gone, under_way = ([], 0) if doubt else gone_of(connection, self.entity, absent)
            found = [*so_far.found.values(), *gone]
            return Compared(
                self.entity,
                rows=len(so_far.within),
                known=len(here),
                under_way=so_far.under_way + under_way,
                unplaced=so_far.unplaced,
                differences=tuple(described(connection, found, self.enrolments)),
                doubt=doubt,
            )

    def _doubt(self, so_far: _Reading, known: int, absent: int) -> str | None:
        stated_after = None
        if absent and so_far.pages > 1:
            # A row may have slipped from one page to another while they were read.
            stated_after = next(self._pages()).total
        listed = Listed(len(so_far.met), so_far.stated, so_far.pages, stated_after)
        accepted = self.scope.accept_gone
        return doubt_about(self.entity, listed, known, absent, accept_gone=accepted)

    def _is_meant(self, course_id: int | None) -> bool:
        return self.scope.course_ids is None or course_id in self.scope.course_ids

    def _course_of(self, one: SeenVersion | HeldRecord) -> int | None:
        if self.entity is Entity.COURSE_MEMBER:
            return one.course_id or self.places.get(one.record_id)
        return self.places.get(one.course_member_id or 0)
