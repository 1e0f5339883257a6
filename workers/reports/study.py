"""Who enrolled, who finished and who got stuck, on each course that a digest is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ledger.engine import Connection
from ledger.people import names_of
from ledger.records import IS_HERE, StoredRecord, records_of, stored_where
from ledger.report_queries import CourseChange, changes_of_course, quiet_members
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.records import Course, CourseMember
from schemas.rules import Digest, Where
from schemas.text import one_line
from workers.decide.conditions import Subject, holds
from workers.reports.schedule import Period

_DONE = (EventKind.ENROLLED, EventKind.COURSE_COMPLETED)


@dataclass(frozen=True, slots=True)
class Members:
    """Some members: how many, and the names that are known, in order."""

    count: int = 0
    names: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CourseNews:
    """What happened on one course in a period."""

    title: str
    enrolled: Members
    finished: Members
    stuck: Members

    @property
    def count(self) -> int:
        """How much happened."""
        return self.enrolled.count + self.finished.count + self.stuck.count


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


def news_of(
    connection: Connection,
    digest: Digest,
    courses: Iterable[Course],
    period: Period,
    reader_id: int | None,
) -> list[CourseNews]:
    """Return what happened on these courses, those first on which most did.

    The reader is left out, as is who is no longer enrolled, but for those who finished.
    """
    found = [_news(connection, digest, one, period, reader_id) for one in courses]
    return sorted((one for one in found if one.count), key=lambda one: (-one.count, one.title))


def _news(
    connection: Connection, digest: Digest, course: Course, period: Period, reader_id: int | None
) -> CourseNews:
    patience = timedelta(seconds=digest.stuck_after_s)
    whole = (period.begin, period.end)
    changes = changes_of_course(connection, course.record_id, _DONE, *whole)
    quiet = quiet_members(connection, course.record_id, *(at - patience for at in whole))
    members = records_of(
        connection, Entity.COURSE_MEMBER, [one.course_member_id for one in changes + quiet]
    )
    finished = [one for one in changes if one.kind is EventKind.COURSE_COMPLETED]
    ended = {one.coworker_id for one in finished}
    groups = [
        [one for one in changes if one.kind is EventKind.ENROLLED and _is_here(members, one)],
        finished,
        [one for one in quiet if one.coworker_id not in ended],
    ]
    wanted = [
        [
            one
            for one in group
            if one.coworker_id != reader_id and _fits(digest.where, course, members, one)
        ]
        for group in groups
    ]
    named = names_of(connection, {one.coworker_id for group in wanted for one in group})
    return CourseNews(course.title, *(_members(group, named, members) for group in wanted))


def _members(
    group: Sequence[CourseChange],
    named: Mapping[int, str],
    members: Mapping[int, StoredRecord],
) -> Members:
    names = (
        one_line(named.get(one.coworker_id) or _own_name(members.get(one.course_member_id)))
        for one in group
    )
    return Members(len(group), tuple(filter(None, names)))


def _own_name(stored: StoredRecord | None) -> str | None:
    record = stored.record if stored else None
    return record.full_name if isinstance(record, CourseMember) else None


def _is_here(members: Mapping[int, StoredRecord], change: CourseChange) -> bool:
    stored = members.get(change.course_member_id)
    return stored is None or stored.gone_at is None


def _fits(
    where: Where, course: Course, members: Mapping[int, StoredRecord], change: CourseChange
) -> bool:
    """Return whether a member meets the conditions; one never read meets none about members."""
    if where == _about_courses(where):
        return True
    stored = members.get(change.course_member_id)
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
