"""Reads again from the source what an action depends on, unless we read it a moment ago."""

from ledger.actions import ClaimedAction
from ledger.engine import lock_decisions, writing
from workers.lookup.conclude import keep_findings
from workers.lookup.reading import CACHED, FRESH, Reader


def refresh(reader: Reader, claimed: ClaimedAction) -> None:
    """Bring the ledger up to what the source says of this action's person and course.

    Raises what `Source.fetch` raises, `LedgerUnavailable`, and `Overtaken`.
    """
    reader.enrolment(claimed.course_member_id, FRESH)
    reader.person(claimed.coworker_id, FRESH)
    reader.course(claimed.course_id, CACHED)
    reader.lessons(claimed.course_id, CACHED)
    reader.completions(claimed.course_member_id, FRESH)
    with writing(reader.engine) as connection:
        # Two transactions that keep the same records must not wait for each other in a circle.
        lock_decisions(connection)
        keep_findings(connection, reader.findings, reader.findings.asked_at)
