"""Compares everything the source lists with everything the ledger knows, without changing either.

Only lists are read, one request for a thousand rows. A record that is not listed is only suspected
to be gone: deletes leave no trace (contract, section 8), and a list can be short for many reasons.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial

from ledger.courses import courses_of_enrolments
from ledger.engine import Connection, reading
from ledger.record_queries import KnownRecord, known_among, records_here
from ledger.records import SeenVersion, unknown_among
from schemas.entity import FOLLOWED, Entity, References
from schemas.reasons import Reason
from workers.source.limits import Patience
from workers.source.lists import Changes
from workers.sync.listed_rows import (
    WORDS,
    Listing,
    ListRow,
    Member,
    counted,
    members_of,
    names_among,
    row_of_record,
)
from workers.sync.poll import EARLIEST
from workers.sync.rows import SyncContext
from workers.versions import version_of_record

_FEW = 10  # as many may be deleted in any space within a day
_SMALL_SHARE = 0.05
_WHEN_SURE = (
    "If they were deleted on purpose, run `coursebell reconcile --import --accept-gone`; "
    "each is then read by its Id before it counts as gone."
)


class DifferenceKind(StrEnum):
    """How a record differs."""

    MISSING = "missing"  # the source lists it, and the ledger does not know it
    GONE = "gone"  # the ledger has it, and the source does not list it
    DIFFERENT = "different"  # the source lists another version than was requested or decided on


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared; None means everything.

    `since`: only records changed (completions: created) since then. `course_ids`: only records of
    these courses. `accept_gone`: an operator states that what is not listed was deleted.
    """

    since: datetime | None = None
    course_ids: frozenset[int] | None = None
    accept_gone: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One record that differs. `reason`: why its last lookup found nothing."""

    way: DifferenceKind
    row: ListRow
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """The result for one kind of record: `rows` were listed and `known` here, within the scope.

    `under_way`: records with a pending lookup, which are not compared. `unplaced`: finished lessons
    whose enrolment the ledger does not know, so that their course is unknown. `doubt`: why nothing
    counts as gone, and what to do about it.
    """

    entity: Entity
    rows: int
    known: int
    under_way: int
    unplaced: int
    differences: tuple[Difference, ...]
    doubt: str | None = None

    def counts(self) -> dict[str, int]:
        """Return the numbers, without names."""
        names = ("rows", "known", "under_way", "unplaced")
        ways = {
            way.value: sum(one.way is way for one in self.differences) for way in DifferenceKind
        }
        return {name: getattr(self, name) for name in names} | ways


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison, by kind of record."""

    scope: Scope
    kinds: tuple[Compared, ...]

    def of(self, *ways: DifferenceKind) -> list[Difference]:
        """Return the differences of these kinds, enrolments first."""
        return [one for kind in self.kinds for one in kind.differences if one.way in ways]

    @property
    def doubt(self) -> str | None:
        """Why nothing of a kind counts as gone; None if there is no doubt."""
        return " ".join(kind.doubt for kind in self.kinds if kind.doubt) or None

    @property
    def differs(self) -> bool:
        """Return whether anything differs, or may differ."""
        return self.doubt is not None or any(kind.differences for kind in self.kinds)

    def report(self) -> dict[str, object]:
        """Return the counts and the doubt, without names."""
        return {**{kind.entity.value: kind.counts() for kind in self.kinds}, "doubt": self.doubt}


OnPage = Callable[[Entity, Sequence[ListRow], int], None]  # a page's rows, and how many differ


def _ignore(_entity: Entity, _rows: Sequence[ListRow], _differing: int) -> None:
    pass


def compare(
    sync: SyncContext, scope: Scope, patience: Patience, noted: OnPage = _ignore
) -> Comparison:
    """Compare enrolments and finished lessons with the source's lists.

    `patience.keep` is called before each request and after each page; its exceptions pass through.
    `noted` is called after each page with all of its rows, within the scope or not.

    Raises:
        As `Lists.since`, and LedgerUnavailable.
    """
    places = {}
    if scope.course_ids is not None:
        with reading(sync.engine) as connection:
            places = courses_of_enrolments(connection)
    kinds: list[Compared] = []
    with sync.source(patience) as source:
        for entity in FOLLOWED:
            enrolments = [one.row for kind in kinds for one in kind.differences]
            work = _KindComparison(sync, scope, entity, places, enrolments)
            pages = partial(source.changed_since, entity, scope.since or EARLIEST)
            kinds.append(work.compared(pages, patience, noted))
    return Comparison(scope, tuple(kinds))


@dataclass(slots=True)
class _KindComparison:
    """The comparison of one kind of record.

    `places` maps each enrolment to its course and is filled while enrolments are listed;
    `enrolments` are those that differ.
    """

    sync: SyncContext
    scope: Scope
    entity: Entity
    places: dict[int, int]
    enrolments: Sequence[ListRow]
    found: dict[int, Difference] = field(default_factory=dict)
    rows: set[int] = field(default_factory=set)
    under_way: int = 0
    unplaced: int = 0

    def compared(
        self, pages: Callable[[], Iterator[Changes]], patience: Patience, noted: OnPage
    ) -> Compared:
        # Read before the list is requested: a record created meanwhile may be missing on the list
        # and must not look deleted.
        with reading(self.sync.engine) as connection:
            held = records_here(connection, self.entity, self.scope.since)
            here = {record_id for record_id, ids in held if self._is_meant(record_id, ids)}
        listing = Listing(self.entity)
        for page in pages():
            patience.keep()
            listed = listing.take(page)
            noted(self.entity, listed, self._take(listed))
        absent = here - listing.met
        # A row may have moved from one page to another while they were read.
        again = next(pages()).total if absent and listing.pages > 1 else None
        doubt = doubt_about(
            listing, again, len(here), len(absent), accept_gone=self.scope.accept_gone
        )
        with reading(self.sync.engine) as connection:
            if not doubt:
                self._take_gone(connection, absent)
            found = list(self._named(connection))
        return Compared(
            self.entity,
            len(self.rows),
            len(here),
            self.under_way,
            self.unplaced,
            tuple(found),
            doubt,
        )

    def _is_meant(self, record_id: int, ids: References) -> bool:
        return (
            self.scope.course_ids is None or self._course(record_id, ids) in self.scope.course_ids
        )

    def _course(self, record_id: int, ids: References) -> int | None:
        if self.entity is Entity.COURSE_MEMBER:
            return ids.course_id or self.places.get(record_id)
        return self.places.get(ids.course_member_id or 0)

    def _take(self, listed: Sequence[ListRow]) -> int:
        """Compare a page with what is here; return how many of its rows differ."""
        meant = []
        for row in listed:
            if self.entity is Entity.COURSE_MEMBER and row.references.course_id is not None:
                self.places[row.record_id] = row.references.course_id
            if self._is_meant(row.record_id, row.references):
                meant.append(row)
            if self.scope.course_ids is not None:
                self.unplaced += self._course(row.record_id, row.references) is None
        self.rows.update(row.record_id for row in meant)
        with reading(self.sync.engine) as connection:
            found, under_way = differences_among(connection, self.entity, meant)
        # A row that changed meanwhile is listed again, and the later one counts.
        for row in meant:
            self.found.pop(row.record_id, None)
        self.found |= {one.row.record_id: one for one in found}
        self.under_way += under_way
        return len(found)

    def _take_gone(self, connection: Connection, absent: set[int]) -> None:
        """Note which of these are still here, except those with a pending lookup."""
        known = known_among(connection, self.entity, absent)
        for record_id in sorted(absent):
            one = known.get(record_id, KnownRecord())
            if not one.is_here:
                continue
            if one.is_under_way:
                self.under_way += 1
            else:
                row = row_here(self.entity, record_id, one)
                self.found[record_id] = Difference(DifferenceKind.GONE, row, one.reason)

    def _named(self, connection: Connection) -> Iterator[Difference]:
        """Yield the differences with the person and titles that their rows lack."""
        rows = [one.row for one in self.found.values()]
        needed = {row.enrolment_id for row in rows if row.enrolment_id is not None}
        members = members_of(known_among(connection, Entity.COURSE_MEMBER, needed))
        for row in self.enrolments:
            if row.record_id not in members or members[row.record_id].person is None:
                ids = row.references
                members[row.record_id] = Member(
                    ids.course_id, ids.coworker_id, person=row.person, course=row.course
                )
        names = names_among(connection, members, [row.references for row in rows])
        for one in self.found.values():
            row = one.row
            whose = names.whose(row)
            member = members.get(row.enrolment_id or 0, Member(None, None))
            place = names.courses.get(whose.course_id or 0)
            row = replace(
                row,
                references=whose,
                person=row.person or member.person or names.people.get(whose.coworker_id or 0),
                course=row.course or member.course or (None if place is None else place.title),
                lesson=row.lesson or names.lessons.get(whose.lesson_id or 0),
            )
            yield replace(one, row=row)


def differences_among(
    connection: Connection, entity: Entity, rows: Sequence[ListRow]
) -> tuple[list[Difference], int]:
    """Return which of these rows differ, and how many have a pending lookup."""
    known = known_among(connection, entity, [row.record_id for row in rows])
    seen = [row.seen for row in rows if row.seen is not None]
    # A record that was fetched by its Id may never have been listed.
    unknown = {
        one.record_id
        for one in unknown_among(connection, entity, seen)
        if not _is_as_read(entity, one, known.get(one.record_id, KnownRecord()))
    }
    found, under_way = [], 0
    for row in rows:
        here = known.get(row.record_id, KnownRecord())
        way = _way(row, here, is_unknown=row.record_id in unknown)
        if here.is_under_way:
            under_way += 1
        elif way is not None:
            found.append(Difference(way, row, here.reason))
    return found, under_way


def _is_as_read(entity: Entity, seen: SeenVersion, known: KnownRecord) -> bool:
    """Return whether this is the version that was fetched by its Id and decided on."""
    if known.stored is None or not known.stored.is_decided:
        return False
    ours = version_of_record(entity, known.stored.record)
    theirs_at, ours_at = (one.changed_at.replace(microsecond=0) for one in (seen, ours))
    return seen.digest == ours.digest or (not seen.is_whole and theirs_at == ours_at)


def _way(row: ListRow, here: KnownRecord, *, is_unknown: bool) -> DifferenceKind | None:
    if not here.is_here:
        return DifferenceKind.MISSING
    decided = None if here.seen is None or here.seen.gone_at else here.seen.decided_digest
    kept = None if here.stored is None or here.stored.gone_at else here.stored
    # A requested lookup counts as read, unless it failed.
    never_read = here.has_failed and row.seen is not None and row.seen.digest != decided
    if never_read and decided is None and kept is None:
        return DifferenceKind.MISSING
    refers_elsewhere = here.references.contradict(row.references)
    return DifferenceKind.DIFFERENT if is_unknown or never_read or refers_elsewhere else None


def row_here(entity: Entity, record_id: int, known: KnownRecord) -> ListRow:
    """Return the row of a record that the ledger has and no list shows."""
    at = None if known.seen is None else known.seen.changed_at
    if known.stored is not None:
        row = row_of_record(entity, record_id, known.stored.record, at)
        return replace(row, references=known.references)
    return ListRow(entity, record_id, at or EARLIEST, known.references)


def doubt_about(
    listing: Listing, again: int | None, known: int, absent: int, *, accept_gone: bool
) -> str | None:
    """Return why the `absent` of all `known` records do not count as gone; None if they do.

    A truncated list looks like one after many deletes. So records that are not listed count as
    gone only if the list is as long as its total and few are missing. `again` is the total when
    the list was requested once more at the end, if it has several pages.
    """
    if not absent:
        return None
    return _incomplete(listing, again) or (
        None if accept_gone else _too_many(listing, known, absent)
    )


def _incomplete(listing: Listing, again: int | None) -> str | None:
    _, many = WORDS[listing.entity]
    rest = "so nothing is taken as gone. Run it again later."
    if listing.stated is None or (listing.pages > 1 and again is None):
        return f"The list of {many} does not say how long it is, {rest}"
    most, rows = max(listing.stated, again or 0), len(listing.met)
    # Over several pages, rows may have been added after the total was read.
    if rows < most or (listing.pages == 1 and rows != listing.stated):
        return f"The list of {many} says it has {most:,} rows and {rows:,} came, {rest}"
    return None


def _too_many(listing: Listing, known: int, absent: int) -> str | None:
    _, many = WORDS[listing.entity]
    if not listing.met:
        return (
            f"The list of {many} is empty and {known:,} are known here, so nothing is taken as "
            f"gone. {_WHEN_SURE}"
        )
    if absent > max(_FEW, known * _SMALL_SHARE):
        return (
            f"Of {counted(known, listing.entity)} here, {absent:,} are not on the list, which is "
            f"too many to be taken as gone. {_WHEN_SURE}"
        )
    return None
