"""Rows of the source's lists with their names, and the search behind a backfill.

Comparison and certificate read lists page by page, compare each row with what the ledger knows of
the record, and name the person, course and lesson of each difference.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from ledger.checks import CheckKind, begin_check, end_check, fail_check, note_page
from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.people import names_of
from ledger.record_queries import KnownRecord, changed_at
from ledger.records import SeenVersion, note_seen, records_of
from schemas.entity import NO_REFERENCES, Entity, References
from schemas.errors import SourceError
from schemas.events import enrolled_key, enrolment_requested_key, lesson_completed_key
from schemas.notification import Notification
from schemas.records import CompletedLesson, Course, CourseMember, Lesson, Record
from schemas.text import one_line
from workers.source.lists import Changed, Changes, Row
from workers.sync.poll import reason_of
from workers.sync.rows import SyncContext
from workers.versions import version_of_row

Ref = tuple[Entity, int]  # a record at the source

WORDS: Mapping[Entity, tuple[str, str]] = {
    Entity.COURSE_MEMBER: ("enrolment", "enrolments"),
    Entity.COMPLETED_LESSON: ("finished lesson", "finished lessons"),
}
# Some people's name at the source is their address.
_ADDRESS = re.compile(r"\S*@\S*")


@dataclass(frozen=True, slots=True)
class ListRow:
    """One record as a list shows it, or as the ledger has it where no list does.

    `at` is the time by which it is listed, `seen` its version. Fields that a row lacks are None.
    """

    entity: Entity
    record_id: int
    at: datetime
    references: References = NO_REFERENCES
    person: str | None = None
    course: str | None = None
    lesson: str | None = None
    seen: SeenVersion | None = None

    @property
    def ref(self) -> Ref:
        """The record: its kind and Id."""
        return self.entity, self.record_id

    @property
    def enrolment_id(self) -> int | None:
        """The Id of the enrolment that it is or belongs to."""
        is_enrolment = self.entity is Entity.COURSE_MEMBER
        return self.record_id if is_enrolment else self.references.course_member_id


def row_of(entity: Entity, changed: Changed) -> ListRow:
    """Read one row of a list."""
    seen = version_of_row(entity, changed.record_id, changed.at, changed.row)
    return ListRow(
        entity,
        changed.record_id,
        changed.at,
        References.of(seen),
        _text(changed, "CoworkerFullName", "CourseMemberCoworkerFullName"),
        _text(changed, "CourseTitle"),
        _text(changed, "CourseLessonTitle"),
        seen,
    )


def row_of_record(
    entity: Entity, record_id: int, record: Record, at: datetime | None = None
) -> ListRow:
    """Return the row of a record that no list shows."""
    found = ListRow(entity, record_id, at or changed_at(record), References.of(record))
    match record:
        case CourseMember():
            return replace(found, person=record.full_name, course=record.course_title)
        case CompletedLesson():
            return replace(found, person=record.full_name, lesson=record.lesson_title)
        case _:
            return found


def event_keys(row: ListRow) -> tuple[str, ...]:
    """Return the keys of the events that a row may lead to."""
    return event_keys_of(row.entity, row.record_id, row.references)


def event_keys_of(entity: Entity, record_id: int, ids: References) -> tuple[str, ...]:
    """Return the keys of the events that a record with these references may lead to."""
    if entity is Entity.COMPLETED_LESSON:
        if ids.course_member_id is None or ids.lesson_id is None:
            return ()
        return (lesson_completed_key(ids.course_member_id, ids.lesson_id),)
    requested = enrolment_requested_key(record_id)
    if ids.course_id is None or ids.coworker_id is None:
        return (requested,)
    return requested, enrolled_key(ids.course_id, ids.coworker_id)


def _text(changed: Changed, *names: str) -> str | None:
    for name in names:
        found = changed.row.get(name)
        if isinstance(found, str) and (text := found.strip()):
            return text
    return None


@dataclass(slots=True)
class Listing:
    """One list while it is read: the Ids it showed (`met`), and its total by its first page.

    `stated` is None if the page has no total.
    """

    entity: Entity
    met: set[int] = field(default_factory=set)
    stated: int | None = None
    pages: int = 0

    def take(self, page: Changes) -> list[ListRow]:
        """Note a page and return its rows."""
        self.stated = self.stated if self.pages else page.total
        self.pages += 1
        self.met.update(one.record_id for one in page.rows)
        return [row_of(self.entity, one) for one in page.rows]


@dataclass(frozen=True, slots=True)
class Member:
    """The person and course of an enrolment, as far as ledger and source know them."""

    course_id: int | None
    coworker_id: int | None
    is_gone: bool = False
    person: str | None = None
    course: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A course and where it is offered."""

    title: str
    location_id: int | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The enrolments, people, lessons and courses that rows refer to, by Id."""

    members: Mapping[int, Member] = field(default_factory=dict)
    people: Mapping[int, str] = field(default_factory=dict)
    lessons: Mapping[int, str] = field(default_factory=dict)
    courses: Mapping[int, Place] = field(default_factory=dict)

    def whose(self, row: ListRow) -> References:
        """Return the references of a row, with course and person taken from its enrolment."""
        member = self.members.get(row.enrolment_id or 0)
        return row.references if member is None else row.references.or_else(References.of(member))

    def course_of(self, row: ListRow) -> int | None:
        """Return the course of a row, from its enrolment where the row has none."""
        course_id = row.references.course_id
        if course_id is not None:
            return course_id
        member = self.members.get(row.enrolment_id or 0)
        return None if member is None else member.course_id


def names_among(
    connection: Connection, members: Mapping[int, Member], meant: Collection[References]
) -> Names:
    """Return the names that the ledger has for these references and enrolments."""
    people = {one.coworker_id for one in members.values()} | {one.coworker_id for one in meant}
    courses = {one.course_id for one in members.values()} | {one.course_id for one in meant}
    lessons = {one.lesson_id for one in meant}
    read = records_of(connection, Entity.LESSON, _numbers(lessons)).values()
    titles = (one.record for one in read)
    places = (
        one.record for one in records_of(connection, Entity.COURSE, _numbers(courses)).values()
    )
    return Names(
        members,
        names_of(connection, _numbers(people)),
        {one.record_id: one.title for one in titles if isinstance(one, Lesson)},
        places_of(one for one in places if isinstance(one, Course)),
    )


def members_of(enrolments: Mapping[int, KnownRecord]) -> dict[int, Member]:
    """Return person and course of these enrolments, also of those that are gone."""
    found: dict[int, Member] = {}
    for record_id, known in enrolments.items():
        record = None if known.stored is None else known.stored.record
        if known.stored is not None and isinstance(record, CourseMember):
            found[record_id] = Member(
                record.course_id,
                record.coworker_id,
                known.stored.gone_at is not None,
                record.full_name,
                record.course_title,
            )
        elif known.seen is not None and known.seen.references.course_id is not None:
            ids = known.seen.references
            found[record_id] = Member(
                ids.course_id, ids.coworker_id, known.seen.gone_at is not None
            )
    return found


def places_of(courses: Iterable[Course]) -> dict[int, Place]:
    """Return where these courses are offered, by their Ids."""
    return {one.record_id: Place(one.title, one.business_id, one.business_name) for one in courses}


def clean(text: str) -> str:
    """Return a name as one line, with anything like an email address masked."""
    return _ADDRESS.sub("***", one_line(text))


def counted(number: int, entity: Entity) -> str:
    """Return a number of records with its noun."""
    one, many = WORDS[entity]
    return f"{number:,} {one if number == 1 else many}"


def _numbers(ids: Iterable[int | None]) -> set[int]:
    return {one for one in ids if one is not None}


# The fields of a row with the names of the person and of the course or lesson.
_NAMES = {
    Entity.COURSE_MEMBER: ("CoworkerFullName", "CourseTitle"),
    Entity.COMPLETED_LESSON: ("CourseMemberCoworkerFullName", "CourseLessonTitle"),
}

_log = structlog.get_logger("backfill")


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One record that was requested: its time of change, the person, and the course or lesson."""

    entity: Entity
    record_id: int
    at: datetime
    name: str | None
    title: str | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search: numbers by kind of record, and the first `rows`.

    `requested` are the records that are looked up; `enrolments` are the Ids of the enrolments that
    listed rows belong to.
    """

    compared: Mapping[Entity, int]
    news: Mapping[Entity, int]
    rows: tuple[FoundRow, ...]
    requested: frozenset[tuple[Entity, int]] = frozenset()
    enrolments: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows of one kind of record; `choose` returns the Ids of those to look up."""

    entity: Entity
    rows: Sequence[tuple[SeenVersion, Row]]
    choose: Callable[[Connection, Sequence[SeenVersion]], Collection[int]]


@dataclass(slots=True)
class Search:
    """One backfill while it runs. `check_id` None: a dry run that writes nothing."""

    sync: SyncContext
    origins: Sequence[Origin]
    keep: int
    check_id: int | None = None
    _compared: Counter[Entity] = field(default_factory=Counter)
    _news: Counter[Entity] = field(default_factory=Counter)
    _rows: list[FoundRow] = field(default_factory=list)
    _requested: set[tuple[Entity, int]] = field(default_factory=set)
    _enrolments: set[int] = field(default_factory=set)

    @contextmanager
    def recorded(self, entities: Collection[Entity], since: datetime | None) -> Iterator[None]:
        """Record this backfill in the ledger, with its result or error."""
        engine, clock = self.sync.engine, self.sync.clock
        one = next(iter(entities)) if len(entities) == 1 else None
        with writing(engine) as connection:
            run = begin_check(connection, CheckKind.BACKFILL, one, clock.now(), since=since)
        self.check_id = run.check_id
        try:
            yield
        except SourceError as error:
            with writing(engine) as connection:
                fail_check(connection, run.check_id, reason_of(error), str(error))
            raise
        with writing(engine) as connection:
            end_check(connection, run.check_id, clock.now(), {"news": dict(self._news)})
        _log.info("backfill.ended", check_id=run.check_id, news=self._news.total())

    def request(self, *together: Candidates) -> None:
        """Request lookups of the chosen rows, in one transaction."""
        if self.check_id is None:
            with reading(self.sync.engine) as connection:
                for seen in together:
                    self._choose(connection, seen)
            return
        with writing(self.sync.engine) as connection:
            # The same lock order as lookups, so no deadlock.
            lock_decisions(connection)
            before = self._news.total()
            self._request_chosen(connection, together)
            note_page(
                connection,
                self.check_id,
                rows=sum(len(seen.rows) for seen in together),
                news=self._news.total() - before,
                reached=None,
            )

    def _request_chosen(self, connection: Connection, together: Sequence[Candidates]) -> None:
        now = self.sync.clock.now()
        notifications: list[Notification] = []
        for seen in together:
            chosen = self._choose(connection, seen)
            note_seen(connection, seen.entity, chosen, now)
            notifications += [Notification(seen.entity, one.record_id) for one in chosen]
        # All kinds at once, so that lookups are locked in the same order everywhere.
        for origin in self.origins:
            store_notifications(connection, notifications, origin, now)

    def _choose(self, connection: Connection, seen: Candidates) -> list[SeenVersion]:
        wanted = seen.choose(connection, [version for version, _ in seen.rows])
        chosen = [(one, row) for one, row in seen.rows if one.record_id in wanted]
        self._compared[seen.entity] += len(seen.rows)
        self._news[seen.entity] += len(chosen)
        self._requested |= {(seen.entity, one.record_id) for one, _ in chosen}
        self._enrolments |= {_enrolment_of(seen.entity, one) for one, _ in seen.rows}
        room = max(0, self.keep - len(self._rows))
        self._rows += [_found_row(seen.entity, *one) for one in chosen[:room]]
        return [one for one, _ in chosen]

    @property
    def found(self) -> SearchResult:
        """The result so far."""
        return SearchResult(
            dict(self._compared),
            dict(self._news),
            tuple(self._rows),
            frozenset(self._requested),
            frozenset(self._enrolments),
        )


def _enrolment_of(entity: Entity, one: SeenVersion) -> int:
    """Return the Id of its enrolment; 0 if a partial row lacks it."""
    return one.record_id if entity is Entity.COURSE_MEMBER else one.course_member_id or 0


def _found_row(entity: Entity, one: SeenVersion, row: Row) -> FoundRow:
    name, title = (_search_text(row.get(field_name)) for field_name in _NAMES[entity])
    return FoundRow(entity, one.record_id, one.changed_at, name, title)


def _search_text(value: object) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None
