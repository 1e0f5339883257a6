"""Reads the records that an action depends on again, unless they were read a moment ago."""

from ledger.actions import ClaimedAction
from ledger.engine import Connection, lock_decisions, writing
from ledger.intake import Origin, keep_notifications
from ledger.records import present_among, record_of
from schemas.entity import Entity
from schemas.notification import Notification
from schemas.records import Record
from workers.check.rows import version_of_record
from workers.lookup.conclude import keep_findings
from workers.lookup.findings import Findings
from workers.lookup.reading import CACHED, FRESH, Reader


def refresh(reader: Reader, claimed: ClaimedAction) -> bool:
    """Update the ledger with what the source has about this action's person and course.

    Returns whether the source has a change that was not decided on yet: the person completed
    another lesson a moment ago, was approved, or a list lacks a record it had. That record is
    looked up at once, and the action waits for it: it may be about that too, or not be due at all.

    Raises what `Source.fetch` raises, `LedgerUnavailable`, and `Overtaken`.
    """
    reader.enrolment(claimed.course_member_id, FRESH)
    reader.person(claimed.coworker_id, FRESH)
    reader.course(claimed.course_id, CACHED)
    reader.lessons(claimed.course_id, CACHED)
    reader.completions(claimed.course_member_id, FRESH)
    findings = reader.findings
    with writing(reader.engine) as connection:
        # Two transactions that keep the same records must not wait for each other in a circle.
        lock_decisions(connection)
        undecided = _changed_enrolments(connection, findings) + _new_completions(
            connection, findings
        )
        # A changed record is kept by the lookup that decides on it, which compares the two.
        findings.records = [
            (entity, record)
            for entity, record in findings.records
            if Notification(entity, record.record_id) not in undecided
        ]
        lacking = keep_findings(connection, findings, findings.asked_at)
        went = [Notification(*one) for one in findings.gone if one[0] is Entity.COURSE_MEMBER]
        keep_notifications(connection, undecided + went, Origin.CHECK, findings.asked_at)
    # Without an enrolment there is nothing to wait for: the action is not performed.
    return not went and (lacking or bool(undecided))


def _changed_enrolments(connection: Connection, findings: Findings) -> list[Notification]:
    """Return the enrolments that changed since they were decided on."""
    entity, changed = Entity.COURSE_MEMBER, []
    for kind, record in findings.records:
        known = record_of(connection, kind, record.record_id) if kind is entity else None
        if known is not None and _version(entity, known.record) != _version(entity, record):
            changed.append(Notification(entity, record.record_id))
    return changed


def _version(entity: Entity, record: Record) -> str:
    return version_of_record(entity, record).digest


def _new_completions(connection: Connection, findings: Findings) -> list[Notification]:
    """Return the completions on the list that are not in the ledger."""
    listed = {
        record.record_id
        for entity, _, records in findings.listings
        for record in records
        if entity is Entity.COMPLETED_LESSON
    }
    known = present_among(connection, Entity.COMPLETED_LESSON, listed)
    return [Notification(Entity.COMPLETED_LESSON, one) for one in sorted(listed - known.keys())]
