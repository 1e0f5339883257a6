"""Who enrolled, who finished and who got stuck, on each course that a digest is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.engine import Connection
from ledger.people import names_of
from ledger.records import IS_HERE, StoredRecord, records_of, stored_where
from ledger.report_queries import CourseChange, RecordedTime, changes_of_course, quiet_members
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.records import Course, CourseMember
from schemas.rules import Digest, Where
from schemas.text import one_line
from workers.decide.conditions import Subject, holds
from workers.reports.schedule import Period

_DONE = (EventKind.ENROLLED, EventKind.COURSE_COMPLETED)


@dataclass(frozen=True, slots=True)
class DigestScope:
    """What one digest is about: what was recorded in its period, to whom it is, in which zone.

    What happened before `happened_from` is never in it, such as what the first poll found.
    `reader_id` is the host that it is to; None: an address.
    """

    digest: Digest
    period: Period
    happened_from: datetime
    reader_id: int | None
    zone: ZoneInfo
    course_id: int | None = None  # the only course that it is about; None: all that fit

    @property
    def recorded(self) -> RecordedTime:
        """Which events it is about."""
        return RecordedTime(self.period.begin, self.period.end, self.happened_from)

    def day_if_late(self, change: CourseChange) -> date | None:
        """Return when something happened, if that was before the period of the digest."""
        is_late = change.kind in _DONE and change.happened_at < self.period.begin
        return change.happened_at.astimezone(self.zone).date() if is_late else None


@dataclass(frozen=True, slots=True)
class NamedMember:
    """A member whose name is known. `is_here`: they are on the course, as far as was read.

    `late_day` is when it happened, if that was before the period.
    """

    name: str = field(repr=False)
    enrolment_id: int
    is_here: bool = True
    late_day: date | None = None


@dataclass(frozen=True, slots=True)
class Members:
    """Some members: how many, and those whose names are known, in order."""

    count: int = 0
    named: tuple[NamedMember, ...] = ()


@dataclass(frozen=True, slots=True)
class CourseNews:
    """What happened on one course in a period."""

    course_id: int
    title: str
    enrolled: Members
    finished: Members
    stuck: Members

    @property
    def count(self) -> int:
        """How much happened."""
        return self.enrolled.count + self.finished.count + self.stuck.count


@dataclass(frozen=True, slots=True)
class OneToWriteTo:
    """The member whom the host could write to, and about what: a field of `CourseNews`."""

    member: NamedMember
    about: str


def one_to_write_to(news: Iterable[CourseNews]) -> OneToWriteTo | None:
    """Return who is stuck, or else finished, or else enrolled, and still is on the course."""
    courses = list(news)
    found = (
        OneToWriteTo(member, about)
        for about in ("stuck", "finished", "enrolled")
        for one in courses
        for member in getattr(one, about).named
        if member.is_here
    )
    return next(found, None)


def courses_of_digest(connection: Connection, digest: Digest, host_id: int | None) -> list[Course]:
    """Return the courses that a digest is about, by title; with `host_id` those of this host."""
    stored = stored_where(connection, Entity.COURSE, IS_HERE).values()
    courses = (one.record for one in stored)
    fitting = [
        one
        for one in courses
        if isinstance(one, Course)
        and (host_id is None or one.host_id == host_id)
        and holds(_about_courses(digest.where), Subject(_nobody(one), one, None))
    ]
    return sorted(fitting, key=lambda one: (one.title, one.record_id))


def hosts_of_digest(connection: Connection, digest: Digest) -> list[int]:
    """Return the Ids of the hosts of the courses that a digest is about."""
    courses = courses_of_digest(connection, digest, None)
    return sorted({one.host_id for one in courses if one.host_id is not None})


def news_of(connection: Connection, scope: DigestScope) -> list[CourseNews]:
    """Return what a digest has to tell, the courses first on which most happened.

    The reader is left out, as is who is no longer enrolled, but for those who finished.
    """
    courses = courses_of_digest(connection, scope.digest, scope.reader_id)
    found = [
        _news(connection, scope, one) for one in courses if scope.course_id in {None, one.record_id}
    ]
    return sorted((one for one in found if one.count), key=lambda one: (-one.count, one.title))


def _news(connection: Connection, scope: DigestScope, course: Course) -> CourseNews:
    patience = timedelta(seconds=scope.digest.stuck_after_s)
    begin, end = scope.period.begin - patience, scope.period.end - patience
    changes = changes_of_course(connection, course.record_id, _DONE, scope.recorded)
    quiet = quiet_members(connection, course.record_id, begin, end)
    members = records_of(
        connection, Entity.COURSE_MEMBER, [one.course_member_id for one in changes + quiet]
    )
    finished = [one for one in changes if one.kind is EventKind.COURSE_COMPLETED]
    ended = {one.coworker_id for one in finished}
    groups = [
        [
            one
            for one in changes
            if one.kind is EventKind.ENROLLED and _is_here(members.get(one.course_member_id))
        ],
        finished,
        [one for one in quiet if one.coworker_id not in ended],
    ]
    wanted = [
        [
            one
            for one in group
            if one.coworker_id != scope.reader_id
            and _fits(scope.digest.where, course, members.get(one.course_member_id))
        ]
        for group in groups
    ]
    names = names_of(connection, {one.coworker_id for group in wanted for one in group})
    told = (_members(scope, group, names, members) for group in wanted)
    return CourseNews(course.record_id, course.title, *told)


def _members(
    scope: DigestScope,
    group: Sequence[CourseChange],
    names: Mapping[int, str],
    members: Mapping[int, StoredRecord],
) -> Members:
    named = []
    for one in group:
        stored = members.get(one.course_member_id)
        name = one_line(names.get(one.coworker_id) or _own_name(stored))
        if name:
            late_day = scope.day_if_late(one)
            named.append(NamedMember(name, one.course_member_id, _is_here(stored), late_day))
    return Members(len(group), tuple(named))


def _own_name(stored: StoredRecord | None) -> str | None:
    record = stored.record if stored else None
    return record.full_name if isinstance(record, CourseMember) else None


def _is_here(stored: StoredRecord | None) -> bool:
    """Return whether a member may be on the course, as far as their enrolment was read."""
    record = stored.record if stored else None
    if stored is None or not isinstance(record, CourseMember):
        return True
    return stored.gone_at is None and is_on_course(record)


def is_on_course(enrolment: CourseMember) -> bool:
    """Return whether a member has a place on the course now."""
    return enrolment.approved and not enrolment.blocked


def _fits(where: Where, course: Course, stored: StoredRecord | None) -> bool:
    """Return whether a member meets the conditions; one never read meets none about members."""
    if where == _about_courses(where):
        return True
    record = stored.record if stored else None
    return isinstance(record, CourseMember) and holds(where, Subject(record, course, None))


def _about_courses(where: Where) -> Where:
    """Return the conditions that courses alone decide."""
    excluded = where.excluded and replace(where.excluded, team=(), coworker_type=())
    return replace(where, team=(), coworker_type=(), excluded=excluded)


def _nobody(course: Course) -> CourseMember:
    """Return an enrolment that only says which course it is on."""
    return CourseMember(
        record_id=0,
        created_at=course.updated_at,
        updated_at=course.updated_at,
        course_id=course.record_id,
        course_title=course.title,
        coworker_id=0,
        coworker_kind=None,
        full_name=None,
        company_name=None,
        team_names=None,
        last_completed_lesson_id=None,
        last_access_at=None,
        approved=True,
        blocked=False,
    )
