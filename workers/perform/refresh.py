"""Reads again from the source what an action depends on, unless we read it a moment ago."""

from ledger.actions import ClaimedAction
from ledger.engine import Connection, lock_decisions, writing
from ledger.intake import Origin, keep_notifications
from ledger.snapshots import snapshots_of
from schemas.entity import Entity
from schemas.notification import Notification
from workers.lookup.conclude import keep_findings
from workers.lookup.findings import Findings
from workers.lookup.reading import CACHED, FRESH, Reader


def refresh(reader: Reader, claimed: ClaimedAction) -> bool:
    """Bring the ledger up to what the source says of this action's person and course.

    Returns whether something came up that nobody has decided on yet: somebody finished another
    lesson a moment ago. It is looked up at once, and the action has to wait for that, since it may
    be about that lesson too, or not be due at all.

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
        undecided = _undecided(connection, reader.findings)
        keep_findings(connection, reader.findings, reader.findings.asked_at)
        said = [Notification(Entity.COMPLETED_LESSON, record_id) for record_id in undecided]
        keep_notifications(connection, said, Origin.CHECK, reader.findings.asked_at)
        return bool(undecided)


def _undecided(connection: Connection, findings: Findings) -> list[int]:
    """Return the completions on the list that was read which are new here."""
    listed = {
        record.record_id
        for entity, _, records in findings.listings
        for record in records
        if entity is Entity.COMPLETED_LESSON
    }
    known = snapshots_of(connection, Entity.COMPLETED_LESSON, listed)
    return sorted(listed - known.keys())
