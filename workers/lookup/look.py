"""Finds out what one changed record means: which other records have to be read, and how fresh."""

from datetime import timedelta

from ledger.lookups import Claim
from schemas.entity import Entity
from schemas.rules import Rules
from workers.decide.completion import progress
from workers.lookup.findings import Findings
from workers.lookup.reading import CACHED, FRESH, Reader

NOW = timedelta()  # no age is fresh enough: ask the source


def look(claim: Claim, reader: Reader, rules: Rules) -> Findings:
    """Read what deciding about this record needs. Raises what `Source.fetch` raises."""
    findings = reader.findings
    if claim.entity is Entity.COURSE_MEMBER:
        enrolment = reader.enrolment(claim.record_id, NOW)
    else:
        completed = reader.completed_lesson(claim.record_id)
        if completed is None:
            return findings
        enrolment = reader.enrolment(completed.course_member_id, CACHED)
        reader.completions(completed.course_member_id, NOW)
        if all(one.record_id != completed.record_id for one in findings.completions):
            # It answers by its Id, so it is there, also if the list does not have it yet.
            findings.completions = [*findings.completions, completed]
    if enrolment is None:
        return findings
    reader.course(enrolment.course_id, CACHED)
    reader.person(enrolment.coworker_id, CACHED)
    if claim.entity is Entity.COMPLETED_LESSON:
        reader.lessons(enrolment.course_id, CACHED)
        done_ids = {completion.lesson_id for completion in findings.completions}
        if progress(findings.lessons, done_ids, rules.counts).finished:
            # "Finished" is said once and for ever, so it is not said on an old list of lessons.
            reader.lessons(enrolment.course_id, FRESH)
    return findings
