"""Gathers what a certificate is based on: the source's lists of a window, and the ledger's rows.

The source is read first, so that changes made meanwhile are in the ledger by the time it is read.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.engine import Connection, reading
from ledger.outcomes import (
    LedgerAction,
    LedgerEvent,
    Link,
    Outcomes,
    count_between,
    events_between,
    events_by_key,
    existing_events,
    first_lessons,
    outcomes_of,
)
from ledger.record_queries import (
    KnownRecord,
    count_created,
    created_between,
    ids_below,
    known_among,
    records_below,
)
from ledger.records import StoredRecord, records_of
from ledger.retention import ATTEMPTS
from schemas.actions import event_key_of
from schemas.entity import FOLLOWED, Entity, References
from schemas.errors import SourceUnavailable
from schemas.events import (
    EventKind,
    course_completed_key,
    course_started_key,
)
from schemas.records import Course, Lesson, Section
from schemas.rules import Rules
from workers.decide.completion import closed_among, counting_lessons
from workers.source.limits import Patience
from workers.source.reads import BurstReads
from workers.sync.listed_rows import (
    Listing,
    ListRow,
    Member,
    Names,
    Ref,
    event_keys,
    event_keys_of,
    members_of,
    names_among,
    places_of,
)
from workers.sync.poll import EARLIEST
from workers.sync.rows import SyncContext

SETTLED = timedelta(minutes=15)  # by then a poll has seen what was created


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` on and before `until`; the days are those of `zone`.

    `is_cut`: the last days of the request have not ended, or ended just now.
    """

    first: date
    last: date
    since: datetime
    until: datetime
    zone: ZoneInfo
    is_cut: bool = False

    def holds(self, moment: datetime | None) -> bool:
        """Return whether a moment lies in the window."""
        return moment is not None and self.since <= moment < self.until

    def day(self, moment: datetime) -> date:
        """Return the day of this moment."""
        return moment.astimezone(self.zone).date()


def window_of(first: date, last: date, zone: ZoneInfo, now: datetime) -> Window:
    """Return the window of these days, both included, cut at a few minutes ago."""
    since = datetime.combine(first, datetime.min.time(), zone)
    until = datetime.combine(last + timedelta(days=1), datetime.min.time(), zone)
    end = (now - SETTLED).replace(second=0, microsecond=0)
    utc = now.tzinfo
    cut = min(until.astimezone(utc), end)
    return Window(first, last, since.astimezone(utc), cut, zone, cut < until)


@dataclass(frozen=True, slots=True)
class CourseLessons:
    """The lessons of a course that count, and since when its structure is unchanged."""

    counting: tuple[Lesson, ...]
    unchanged_since: datetime


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """Counts by the database: records created in the window, its events, actions about them."""

    records: Mapping[Entity, int] = field(default_factory=dict)
    events: int = 0
    actions: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the ledger has about a window, and what is needed to name it.

    `began_at` is when the source's lists began to be read; `listed` is every record that they
    showed, also just outside the window. `events` has those of the window and those that the
    source's rows lead to; `event_ids` are all that links lead to and that exist. `stated` is how
    many rows of the window the lists say they have, and `counts` what the database counts; nothing
    else here is derived from either.
    """

    window: Window
    began_at: datetime
    listed: frozenset[Ref] = frozenset()
    known: Mapping[Ref, KnownRecord] = field(default_factory=dict)
    events: Mapping[str, LedgerEvent] = field(default_factory=dict)
    effects: Mapping[int, LedgerAction] = field(default_factory=dict)
    links: frozenset[Link] = frozenset()
    event_ids: frozenset[int] = frozenset()
    names: Names = field(default_factory=Names)
    first_lessons: Mapping[tuple[int, int], datetime] = field(default_factory=dict)
    course_lessons: Mapping[int, CourseLessons] = field(default_factory=dict)
    rules: str = ""
    stated: Mapping[Entity, int] = field(default_factory=dict)
    counts: LedgerCounts = field(default_factory=LedgerCounts)

    @property
    def traced_since(self) -> datetime:
        """Since when all attempts are stored; older ones may be deleted."""
        return self.began_at - ATTEMPTS

    def stored(self, ref: Ref) -> StoredRecord | None:
        """Return a record as it was fetched by its Id."""
        found = self.known.get(ref)
        return None if found is None else found.stored


Progress = Callable[[float], None]  # called with how much is done, from 0 to 1
_LISTED, _RECORDS_READ, _EVENTS_READ, GATHERED = 0.5, 0.65, 0.8, 0.9


def gather(
    sync: SyncContext, window: Window, rules: Rules, patience: Patience, progress: Progress
) -> tuple[list[ListRow], Evidence]:
    """Return the source's rows of this window and what the ledger has about it.

    Only lists are read, and nothing is written.

    Raises:
        As `listed_in`, and LedgerUnavailable.
    """
    began_at = sync.clock.now()
    with sync.source(patience) as source:
        listed = listed_in(source, window, progress)
        with reading(sync.engine) as connection:
            found = _Gathering(connection, listed, window, progress).gather(began_at, rules)
        return listed.rows, _named(source, listed, found, sync.clock.now())


@dataclass(slots=True)
class ListedRows:
    """The listed rows of the window, and every listed record, also just outside of it.

    `stated` is how many rows of the window a list says it has: its total, less those outside of it.
    """

    rows: list[ListRow] = field(default_factory=list)
    refs: set[Ref] = field(default_factory=set)
    stated: dict[Entity, int] = field(default_factory=dict)


def listed_in(
    source: BurstReads, window: Window, progress: Progress = lambda _: None
) -> ListedRows:
    """Return what was created at the source in the window and exists now.

    Raises:
        SourceUnavailable: also if a list changed while it was read, or if its rows do not match
            its total, so that nothing can be certified.
        Otherwise as `Source.created_between`.
    """
    found = ListedRows()
    for place, entity in enumerate(FOLLOWED):
        listing, met = Listing(entity), dict[int, ListRow]()
        for page in source.created_between(entity, window.since, window.until):
            for row in listing.take(page):
                known = met.setdefault(row.record_id, row)
                if known is not row and known != row:
                    raise SourceUnavailable(f"the list of {entity} changed while it was read")
            share = min(1.0, len(met) / listing.stated) if listing.stated else 0.0
            progress(_LISTED * (place + share) / len(FOLLOWED))
        if listing.stated is not None and listing.stated != len(met):
            raise SourceUnavailable(
                f"the list of {entity} has a total of {listing.stated} rows, and shows {len(met)}"
            )
        within = [row for row in met.values() if window.holds(row.at)]
        found.rows += within
        found.refs |= {row.ref for row in met.values()}
        if listing.stated is not None:
            found.stated[entity] = len(within)
    return found


def _named(source: BurstReads, listed: ListedRows, found: Evidence, now: datetime) -> Evidence:
    """List enrolments and courses that the ledger does not know, to name them."""
    names = found.names
    ids = (row.references.course_member_id for row in listed.rows)
    studying = {one for one in ids if one is not None}
    if not studying <= names.members.keys():
        names = replace(names, members={**_all_members(source, now), **names.members})
    met = {row.references.course_id for row in listed.rows}
    met |= {names.members[one].course_id for one in studying if one in names.members}
    met |= {one.course_id for one in found.events.values()}
    if not met - {None} <= names.courses.keys():
        courses = places_of(one for one in source.all_of(Entity.COURSE) if isinstance(one, Course))
        names = replace(names, courses={**courses, **names.courses})
    return replace(found, names=names)


def _all_members(source: BurstReads, now: datetime) -> dict[int, Member]:
    """Return every enrolment of the source; used for names only, so it may change meanwhile."""
    listing = Listing(Entity.COURSE_MEMBER)
    pages = source.created_between(Entity.COURSE_MEMBER, EARLIEST, now)
    rows = [row for page in pages for row in listing.take(page)]
    return {
        row.record_id: Member(
            row.references.course_id, row.references.coworker_id, person=row.person
        )
        for row in rows
    }


@dataclass(slots=True)
class _Gathering:
    """What is read from the ledger, in one transaction."""

    connection: Connection
    listed: ListedRows
    window: Window
    progress: Progress
    known: dict[Ref, KnownRecord] = field(default_factory=dict)
    events: dict[str, LedgerEvent] = field(default_factory=dict)

    def gather(self, began_at: datetime, rules: Rules) -> Evidence:
        self.progress(_LISTED)
        self._records()
        self.progress(_RECORDS_READ)
        outcomes = self._events()
        self.progress(_EVENTS_READ)
        lessons = [one for one in self.events.values() if one.kind == EventKind.LESSON_COMPLETED]
        self._completions({one.course_member_id for one in lessons})
        since, until = self.window.since, self.window.until
        return Evidence(
            self.window,
            began_at,
            frozenset(self.listed.refs),
            self.known,
            self.events,
            outcomes.effects,
            frozenset(outcomes.links),
            self._existing({link.event_id for link in outcomes.links}),
            self._names(outcomes),
            first_lessons(self.connection, {one.coworker_id for one in lessons}),
            self._course_lessons({one.course_id for one in lessons}, rules),
            rules.digest,
            self.listed.stated,
            LedgerCounts(
                {one: count_created(self.connection, one, since, until) for one in FOLLOWED},
                *count_between(self.connection, since, until),
            ),
        )

    def _records(self) -> None:
        for entity in FOLLOWED:
            ids = [row.record_id for row in self.listed.rows if row.entity is entity]
            self._know(entity, ids)
            since, until = self.window.since, self.window.until
            self._keep(entity, created_between(self.connection, entity, since, until))

    def _know(self, entity: Entity, record_ids: Collection[int]) -> None:
        found = known_among(self.connection, entity, record_ids)
        self.known |= {(entity, record_id): one for record_id, one in found.items()}

    def _keep(self, entity: Entity, record_ids: Collection[int]) -> None:
        """Read those of these records that are not known yet."""
        new = [one for one in record_ids if (entity, one) not in self.known]
        for record_id, one in records_of(self.connection, entity, new).items():
            self.known[entity, record_id] = KnownRecord(stored=one)

    def _events(self) -> Outcomes:
        """Read the events of the window, those of its rows, and those that these led to."""
        connection, window = self.connection, self.window
        self.events |= events_between(connection, window.since, window.until)
        self.events |= events_by_key(connection, self._keys() - self.events.keys())
        ids = [one.event_id for one in self.events.values()]
        outcomes = outcomes_of(connection, ids, window.since, window.until)
        keys = {event_key_of(one.key) for one in outcomes.effects.values()}
        for one in self.events.values():
            keys.add(course_started_key(one.course_id, one.coworker_id))
            keys.add(course_completed_key(one.course_id, one.coworker_id))
        self.events |= events_by_key(connection, keys - self.events.keys())
        return outcomes

    def _existing(self, event_ids: set[int]) -> frozenset[int]:
        read = {one.event_id for one in self.events.values()} & event_ids
        return frozenset(read | existing_events(self.connection, event_ids - read))

    def _keys(self) -> set[str]:
        keys = set[str]()
        rows = {row.ref for row in self.listed.rows}
        for row in self.listed.rows:
            keys.update(event_keys(row))
        for ref, one in self.known.items():
            record = None if one.stored is None else one.stored.record
            if ref not in rows and not self.window.holds(getattr(record, "created_at", None)):
                continue  # of another day, read because its neighbours are
            if record is not None:
                keys.update(event_keys_of(*ref, References.of(record)))
        return keys

    def _completions(self, course_member_ids: Collection[int]) -> None:
        """Read every completion of these enrolments, also those that are gone."""
        entity = Entity.COMPLETED_LESSON
        self._keep(
            entity, ids_below(self.connection, entity, "course_member_id", course_member_ids)
        )

    def _names(self, outcomes: Outcomes) -> Names:
        """Return the names of everything referred to."""
        meant = {row.references for row in self.listed.rows}
        meant |= {
            References(one.course_id, one.coworker_id, one.course_member_id, one.lesson_id)
            for one in self.events.values()
        }
        kept = [one.stored for one in self.known.values() if one.stored is not None]
        ids = {one.course_member_id for one in meant}
        ids |= {one.references.course_member_id for one in kept}
        coworkers = {one.coworker_id for one in outcomes.effects.values()}
        meant |= {References(coworker_id=one) for one in coworkers}
        wanted = {(Entity.COURSE_MEMBER, one) for one in ids if one is not None}
        self._know(Entity.COURSE_MEMBER, [one for _, one in wanted - self.known.keys()])
        enrolments = {
            record_id: one
            for (entity, record_id), one in self.known.items()
            if entity is Entity.COURSE_MEMBER
        }
        return names_among(self.connection, members_of(enrolments), meant)

    def _course_lessons(
        self, course_ids: Collection[int], rules: Rules
    ) -> dict[int, CourseLessons]:
        """Return the lessons of these courses, where it is certain which of them count."""
        found, parts = {}, dict[int, list[StoredRecord]]()
        for entity in (Entity.LESSON, Entity.SECTION):
            below = records_below(self.connection, entity, "course_id", course_ids)
            for one in below.values():
                parts.setdefault(one.references.course_id or 0, []).append(one)
        for course_id in course_ids:
            kept = parts.get(course_id, [])
            lessons = [one for one in kept if isinstance(one.record, Lesson)]
            if not lessons or closed_among(
                one.record for one in kept if isinstance(one.record, Section)
            ):
                continue
            there = (one.record for one in lessons if one.gone_at is None)
            counting = counting_lessons(
                (one for one in there if isinstance(one, Lesson)), rules.counts
            )
            found[course_id] = CourseLessons(tuple(counting), max(_changes(kept)))
        return found


def _changes(kept: Iterable[StoredRecord]) -> Iterable[datetime]:
    for one in kept:
        yield one.record.updated_at
        if one.gone_at is not None:
            yield one.gone_at
