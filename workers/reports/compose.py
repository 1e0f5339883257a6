"""Composes a report from what is true just before it is sent, or says why it is not sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from ledger.choices import mailbox_hash
from ledger.engine import Connection, reading
from ledger.heartbeats import last_gap_end
from ledger.outages import PastOutage
from ledger.pauses import open_pauses
from ledger.records import record_of, records_of
from ledger.report_queries import (
    RecordedTime,
    count_events,
    done_by_template,
    skipped_by_reason,
    waiting_by_kind,
)
from ledger.reports import Report, note_report_state, report_state
from ledger.suppressions import suppression_of
from schemas.actions import HOST, Outcome
from schemas.choices import ALL
from schemas.entity import Entity
from schemas.events import EventKind, is_ahead, is_within
from schemas.reasons import Reason
from schemas.records import Course
from workers.actions.base import Recipient, keep_nothing
from workers.actions.email.parts import Content
from workers.actions.email.phrases import Phrase, Writer
from workers.attention import MAIL
from workers.deliver.context import languages_of, still_there
from workers.languages import Language, language_for
from workers.lookup.read import FRESH
from workers.reports import alert_text, digest_text, summary_text
from workers.reports.alert_text import alert_content, why_operator
from workers.reports.alerts import AlertState, after_night, when_to_say
from workers.reports.digest_text import digest_content, why_digest
from workers.reports.schedule import Period, Progress
from workers.reports.situation import (
    ALERTS,
    ATTENTION,
    FOR_OPERATORS,
    TROUBLE,
    mail_was_away,
    situation,
)
from workers.reports.study import CourseNews, DigestScope, news_of
from workers.reports.summary_text import summary_content, week_numbers
from workers.reports.tools import ReportTools
from workers.zones import own_zone

COURSE = "course"  # of what a digest is about, if it is about one course alone
_TOO_OLD = timedelta(days=7)  # after the end of its period
_AGAIN = timedelta(hours=1)  # during a pause, which may end at any time
_READ_AGAIN = timedelta(minutes=15)  # courses that could not be read just now


Keep: TypeAlias = Callable[[Connection, datetime], None]


@dataclass(frozen=True, slots=True)
class Draft:
    """A report as it would be sent now, before it is addressed.

    `source` is the file with its sentences. `begin` stores that it is tried, in the transaction
    after which it is being sent, and `keep` what was said, in the one that stores its receipt: what
    may not have arrived counts as not said.
    """

    reader: Recipient = field(repr=False)
    said: Content = field(repr=False)
    language: Language
    why: Phrase
    source: Path
    begin: Keep = keep_nothing
    keep: Keep = keep_nothing


def compose(
    tools: ReportTools, connection: Connection, report: Report, now: datetime
) -> Draft | Outcome:
    """Return the report as it is now, or the outcome if it is not to be sent."""
    reader = tools.reader_of(connection, report.plan)
    if reader is None:
        return Outcome.skipped(Reason.KIND_OFF)
    if report.plan.name in ALERTS:
        return _alert(tools, connection, report, reader, now)
    if report.plan.name in FOR_OPERATORS:
        return _summary(tools, connection, report, reader, now)
    return _digest(tools, connection, report, reader, now)


def objection_to(
    tools: ReportTools, connection: Connection, report: Report, now: datetime
) -> Outcome | None:
    """Return why a report is not sent now, or None. It reads a few rows only."""
    reader = tools.reader_of(connection, report.plan)
    reason = Reason.KIND_OFF if reader is None else _refusal(tools, connection, report, reader, now)
    if reader is None or reason is not None:
        return Outcome.skipped(reason or Reason.KIND_OFF)
    if _is_paused(connection, report, now):
        return Outcome.waiting(now + _AGAIN, Reason.PAUSED)
    morning = after_night(now, own_zone(reader.zone, tools.zone))
    if report.plan.period_to is not None and morning > now:
        return Outcome.waiting(morning, Reason.QUIET_HOURS)
    return None


def _refusal(
    tools: ReportTools, connection: Connection, report: Report, reader: Recipient, now: datetime
) -> Reason | None:
    """Return why a report is never sent, or None."""
    if not reader.address:
        return Reason.NO_EMAIL
    chosen = tools.choices_of(connection, reader)
    restored_at, period_end = last_gap_end(connection), report.plan.period_to
    is_about_members = report.plan.name not in FOR_OPERATORS
    came_back = suppression_of(connection, mailbox_hash(reader.address, tools.secret_key))
    objections = (
        (chosen.stopped_report_at(report.plan.name) is not None, Reason.OPTED_OUT_KIND),
        (is_about_members and chosen.agreed.get(ALL) is False, Reason.OPTED_OUT_ALL),
        (is_about_members and chosen.snoozed_until(now) is not None, Reason.SNOOZED),
        (came_back is not None, Reason.BOUNCED_BEFORE),
        (_may_have_gone(report, restored_at, now), Reason.RESTORED),
        (period_end is not None and now - period_end > _TOO_OLD, Reason.TOO_OLD),
    )
    return next((reason for objects, reason in objections if objects), None)


def _may_have_gone(report: Report, restored_at: datetime | None, now: datetime) -> bool:
    """Return whether a report may have gone out before the ledger was restored.

    A clock that was ahead may put the restore in the future. That must not silence alerts, which
    may be repeated.
    """
    if restored_at is None or (report.plan.name in ALERTS and is_ahead(restored_at, now)):
        return False
    return report.planned_at <= restored_at


def _is_paused(connection: Connection, report: Report, now: datetime) -> bool:
    plan, these = report.plan, open_pauses(connection)
    return any(
        one.holds_report(plan.name, plan.coworker_id) and not one.is_over(now) for one in these
    )


def _alert(
    tools: ReportTools, connection: Connection, report: Report, reader: Recipient, now: datetime
) -> Draft | Outcome:
    name, audience = report.plan.name, report.plan.audience
    causes = situation(connection, tools.settings, now)[name]
    state = AlertState.read(report_state(connection, name).get(audience))
    away: list[PastOutage] = []
    if name == TROUBLE and not _is_preview(report):
        # Once this can be read, emails can be sent again.
        away = mail_was_away(connection, state.untold_since(report.planned_at, now), now)
        causes = tuple(one for one in causes if one.code != MAIL)
    new = state.seeing(causes).new_among(causes)
    if not (new or away or (causes and _is_preview(report))):
        return Outcome.skipped(Reason.CHANGED_MEANWHILE)
    morning = when_to_say(new, now, tools.zone)
    if morning > now and not (away or _is_preview(report)):
        return Outcome.waiting(morning, Reason.QUIET_HOURS)

    write = Writer(language_for(tools.settings.language))
    known = [one for one in causes if one not in new]
    return Draft(
        reader,
        alert_content(new, away, known, write, now, tools.zone),
        write.language,
        why_operator(write),
        Path(alert_text.__file__),
        _noting(report, lambda before, at: before.tried(new, at)),
        _noting(report, lambda before, at: before.after_saying(causes, at)),
    )


def _noting(report: Report, change: Callable[[AlertState, datetime], AlertState]) -> Keep:
    """Return what changes the state of an alert's reader in a transaction."""
    name, audience = report.plan.name, report.plan.audience

    def note(connection: Connection, at: datetime) -> None:
        before = AlertState.read(report_state(connection, name).get(audience))
        note_report_state(connection, name, audience, change(before, at).plain, at)

    return note


def _is_preview(report: Report) -> bool:
    """Return whether this is not stored; then an alert says what was said before, and now."""
    return not report.report_id


def _summary(
    tools: ReportTools, connection: Connection, report: Report, reader: Recipient, now: datetime
) -> Draft:
    period = _period_of(report)
    window = (period.begin, period.end)
    kinds = (EventKind.ENROLLED, EventKind.COURSE_COMPLETED)
    since = _wanted_since(connection, report, period)
    happened = count_events(connection, kinds, RecordedTime(*window, since))
    week = week_numbers(
        happened,
        done_by_template(connection, *window),
        skipped_by_reason(connection, *window),
        waiting_by_kind(connection),
        situation(connection, tools.settings, now)[ATTENTION],
    )
    write = Writer(language_for(tools.settings.language))
    said = summary_content(week, period.days(tools.zone), write)
    return Draft(reader, said, write.language, why_operator(write), Path(summary_text.__file__))


def scope_of(tools: ReportTools, connection: Connection, report: Report) -> DigestScope | None:
    """Return what a digest is about; None if the rules no longer have it."""
    digest = tools.rules.digest_named(report.plan.name)
    if digest is None:
        return None
    period, host_id = _period_of(report), report.plan.coworker_id
    since = _wanted_since(connection, report, period)
    is_to_host = report.plan.audience == HOST
    course = report.plan.about.get(COURSE)
    return DigestScope(
        digest,
        period,
        since,
        host_id if is_to_host else None,
        tools.zone,
        None if course is None else int(course),
    )


def _digest(
    tools: ReportTools, connection: Connection, report: Report, reader: Recipient, now: datetime
) -> Draft | Outcome:
    scope = scope_of(tools, connection, report)
    if scope is None:
        return Outcome.skipped(Reason.KIND_OFF)
    news = found = news_of(connection, scope)
    is_to_host = scope.reader_id is not None
    if is_to_host and report.report_id:  # a preview is read by an operator
        news = just_read(connection, found, now)
    if not found:
        return Outcome.skipped(Reason.NOTHING_HAPPENED)
    if not news:
        return Outcome.waiting(now + _READ_AGAIN, Reason.CHANGED_MEANWHILE)
    tags: tuple[str | None, ...] = (tools.settings.language,)
    course = still_there(record_of(connection, Entity.COURSE, news[0].course_id), Course)
    if is_to_host and course is not None:
        tags = languages_of(connection, reader.language, course, tools.settings.language)
    write = Writer(language_for(*tags))
    days, unread = scope.period.days(tools.zone), len(found) - len(news)
    said = digest_content(scope.digest, news, days, write, unread)
    why = why_digest(write, is_to_host=is_to_host)
    return Draft(reader, said, write.language, why, Path(digest_text.__file__))


def just_read(
    connection: Connection, news: Sequence[CourseNews], now: datetime
) -> list[CourseNews]:
    """Return the courses that were read at Nexudus just now, so that their host is known.

    A host who was replaced an hour ago must get no names of members.
    """
    stored = records_of(connection, Entity.COURSE, [one.course_id for one in news])
    return [one for one in news if is_within(stored[one.course_id].fetched_at, now, FRESH)]


def _wanted_since(connection: Connection, report: Report, period: Period) -> datetime:
    """Return since when a report is wanted; what happened before is in none.

    So the first digest lists no members who enrolled before Coursebell was installed.
    """
    name, audience = report.plan.name, report.plan.audience
    stored = report_state(connection, name).get(audience if name in FOR_OPERATORS else "")
    return Progress.read(stored, period.end).since if stored else period.begin


def _period_of(report: Report) -> Period:
    begin, end = report.plan.period_from, report.plan.period_to
    if begin is None or end is None:
        raise ValueError("a report without a period")
    return Period(begin, end)


def compose_now(tools: ReportTools, report: Report, now: datetime) -> Draft | Outcome:
    """Return the report as it is now, or the outcome if it is not to be sent now."""
    with reading(tools.engine) as connection:
        objection = objection_to(tools, connection, report, now)
        return objection or compose(tools, connection, report, now)
