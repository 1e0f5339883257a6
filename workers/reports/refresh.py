"""Reads at Nexudus what a digest to a host depends on: the host, their language, their courses."""

from datetime import datetime, timedelta

from ledger.engine import lock_decisions, reading, writing
from ledger.reports import Report
from schemas.actions import HOST, Outcome
from schemas.errors import SourceError
from workers.deliver.language import refresh_languages
from workers.lookup.commit import keep_findings
from workers.lookup.read import FRESH, Findings, Reader
from workers.reports.study import courses_of_digest
from workers.reports.tools import ReportTools
from workers.retries import LOOK_PATIENCE_S, source_reason
from workers.source.limits import Patience, Urgency

_MOST_COURSES = 20  # the first by title
_AGAIN = timedelta(minutes=15)


def refresh_host(tools: ReportTools, claimed: Report, now: datetime) -> Outcome | None:
    """Update the ledger with what Nexudus has about the host of a digest and their courses.

    Returns the outcome if Nexudus cannot be read now. Raises `LedgerUnavailable` and `LeaseLost`.
    """
    digest = tools.rules.digest_named(claimed.plan.name)
    host_id = claimed.plan.coworker_id
    if digest is None or host_id is None or claimed.plan.audience != HOST:
        return None
    with reading(tools.engine) as connection:
        courses = courses_of_digest(connection, digest, host_id)[:_MOST_COURSES]
    keep = tools.lease_of(claimed).keep
    patience = Patience(Urgency.WORK, tools.clock.monotonic() + LOOK_PATIENCE_S, keep)
    try:
        with tools.lend(patience) as source:
            reader = Reader(tools.engine, source, Findings(now), keep, tools.locks)
            reader.person(host_id, FRESH)
            for course in courses:
                reader.course(course.record_id, FRESH)
            with writing(tools.engine) as connection:
                lock_decisions(connection)
                keep_findings(connection, reader.findings, now)
            if courses:
                refresh_languages(reader, host_id, courses[0].record_id, lambda _: True)
    except SourceError as error:
        return Outcome.waiting(now + _AGAIN, source_reason(error), str(error))
    return None
