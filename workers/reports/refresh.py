"""Reads at Nexudus what a digest to a host depends on: the host, their language, their courses."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ledger.engine import Connection, lock_decisions, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.records import records_of
from ledger.reports import Report, plan_report, report_with_key
from schemas.actions import HOST, Outcome
from schemas.entity import Entity
from schemas.errors import RecordStuck, RecordUnreadable, SourceError
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import Course
from workers.deliver.language import refresh_languages
from workers.lookup.commit import keep_findings
from workers.lookup.read import FRESH, Findings, Reader
from workers.reports.compose import COURSE, just_read, scope_of
from workers.reports.digest_text import MOST_COURSES, MOST_TITLES
from workers.reports.plan import plan_once, reports_of_period
from workers.reports.schedule import Period
from workers.reports.study import CourseNews, is_on_course, news_of, one_to_write_to
from workers.reports.tools import ReportTools
from workers.retries import LOOK_PATIENCE_S, source_reason
from workers.source.limits import Patience, Urgency

_MOST_READ = MOST_COURSES + MOST_TITLES
_AGAIN = timedelta(minutes=15)
_DECIDED = timedelta(minutes=2)  # a lookup of a changed enrolment takes seconds


def refresh_host(tools: ReportTools, claimed: Report, now: datetime) -> Outcome | None:
    """Update the ledger with what Nexudus has about the host of a digest and their courses.

    Returns the outcome if Nexudus cannot be read now, or if the member to whom the host is asked to
    write has left. Raises `LedgerUnavailable` and `LeaseLost`.
    """
    host_id = claimed.plan.coworker_id
    if host_id is None or claimed.plan.audience != HOST or not (news := _news(tools, claimed)):
        return None
    keep = tools.lease_of(claimed).keep
    patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, keep)
    try:
        with tools.lend(patience) as source:
            reader = Reader(tools.engine, source, Findings(now), keep, tools.locks)
            reader.person(host_id, FRESH)
            told = _read_courses(tools, claimed, reader)
            with writing(tools.engine) as connection:
                lock_decisions(connection)
                keep_findings(connection, reader.findings, now)
                _plan_for_new_hosts(connection, tools, claimed, news, now)
            if told:
                refresh_languages(reader, host_id, told[0].course_id, lambda _: True)
            # Of another reader, since only a lookup may store an enrolment that changed.
            apart = Reader(tools.engine, source, Findings(now), keep, tools.locks)
            if _notes_who_left(apart, told):
                return Outcome.waiting(now + _DECIDED, Reason.CHANGED_MEANWHILE)
    except SourceError as error:
        return Outcome.waiting(now + _AGAIN, source_reason(error), str(error))
    return None


def _news(tools: ReportTools, claimed: Report) -> list[CourseNews]:
    """Return what the digest would tell now, by what is stored."""
    with reading(tools.engine) as connection:
        scope = scope_of(tools, connection, claimed)
        return news_of(connection, scope) if scope else []


def _read_courses(tools: ReportTools, claimed: Report, reader: Reader) -> list[CourseNews]:
    """Read the courses that the digest names, and those in place of any that has another host.

    Returns those it can name. One that cannot be read by itself is left out, unless all are so.
    Each is read once. A source too slow for all raises, and those that were found to have another
    host are not read again at the next try.
    """
    tried: set[int] = set()
    unreadable: SourceError | None = None
    while True:
        shown = _news(tools, claimed)[:_MOST_READ]
        with reading(tools.engine) as connection:
            fresh = just_read(connection, shown, reader.findings.asked_at)
        unread = {one.course_id for one in shown} - {one.course_id for one in fresh} - tried
        if not unread:
            if unreadable is not None and not fresh:
                raise unreadable
            return fresh
        for course_id in sorted(unread):
            tried.add(course_id)
            try:
                reader.course(course_id, FRESH)
            except (RecordUnreadable, RecordStuck) as error:
                unreadable = error


def _plan_for_new_hosts(
    connection: Connection,
    tools: ReportTools,
    claimed: Report,
    news: Sequence[CourseNews],
    now: datetime,
) -> None:
    """Plan the digest of this period for hosts whose course had another when it was planned.

    If that of the new host has gone, one about this course alone follows.
    """
    begin, end = claimed.plan.period_from, claimed.plan.period_to
    if begin is None or end is None:
        return
    told = records_of(connection, Entity.COURSE, [one.course_id for one in news])
    courses = [one.record for one in told.values() if isinstance(one.record, Course)]
    for plan in reports_of_period(connection, tools, claimed.plan.name, "", Period(begin, end)):
        plan_once(connection, plan, now)
        stored = report_with_key(connection, plan.key)
        if stored is None or stored.finished_at is None:
            continue
        for course in courses:
            if plan.coworker_id == course.host_id != claimed.plan.coworker_id:
                key = f"{plan.key}/course-{course.record_id}"
                about = {COURSE: str(course.record_id)}
                plan_report(connection, replace(plan, key=key, about=about), now)


def _notes_who_left(reader: Reader, news: Sequence[CourseNews]) -> bool:
    """Notify the ledger if the member to whom the host is asked to write left or was blocked."""
    found = one_to_write_to(news[:MOST_COURSES])
    if found is None:
        return False
    enrolment_id = found.member.enrolment_id
    try:
        enrolment = reader.enrolment(enrolment_id, FRESH)
    except (RecordUnreadable, RecordStuck):
        return False  # what is stored of it counts
    if enrolment is not None and is_on_course(enrolment):
        return False
    left = Notification(Entity.COURSE_MEMBER, enrolment_id)
    with writing(reader.engine) as connection:
        store_notifications(connection, [left], Origin.CHECK, reader.findings.asked_at)
    return True
