"""Finds out what one changed record means: which other records have to be read, and how fresh."""

from collections.abc import Sequence
from datetime import timedelta

from ledger.lookups import Claim
from schemas.entity import Entity
from schemas.errors import NotThereYet
from schemas.records import CompletedLesson, CourseMember
from schemas.rules import Rules
from workers.decide.completion import closed_among, progress
from workers.lookup.findings import Findings
from workers.lookup.reading import CACHED, FRESH, Reader

NOW = timedelta()  # no age is fresh enough: ask the source


def look(claim: Claim, reader: Reader, rules: Rules) -> Findings:
    """Read what deciding about this record needs. Raises what `Source.fetch` raises."""
    findings = reader.findings
    if reader.is_answered(claim.entity, claim.record_id):
        return findings  # it was on the list that another lesson of this person was decided with
    if claim.entity is Entity.COURSE_MEMBER:
        enrolment = reader.enrolment(claim.record_id, NOW)
    else:
        enrolment = _look_at_lesson(claim, reader)
    findings.decided += [(entity, record.record_id) for entity, record in findings.records]
    if enrolment is None:
        return findings
    reader.course(enrolment.course_id, CACHED)
    reader.person(enrolment.coworker_id, CACHED)
    if claim.entity is Entity.COMPLETED_LESSON:
        reader.lessons(enrolment.course_id, CACHED)
        done_ids = {completion.lesson_id for completion in findings.completions}
        closed = closed_among(findings.sections)
        if progress(findings.lessons, done_ids, rules.counts, closed).finished:
            # "Finished" is said once and for ever, so it is not said on an old list of lessons.
            reader.lessons(enrolment.course_id, FRESH)
    return findings


def _look_at_lesson(claim: Claim, reader: Reader) -> CourseMember | None:
    findings = reader.findings
    completed = reader.completed_lesson(claim.record_id)
    if completed is None:
        whose = reader.enrolment_of_gone(claim.record_id)
        if whose is not None:
            reader.enrolment(whose, FRESH)  # it may have gone with that
            findings.enrolment = None
        return None
    enrolment = reader.enrolment(completed.course_member_id, CACHED)
    if enrolment is None:
        return None
    reader.completions(completed.course_member_id, NOW)
    row = next((one for one in findings.completions if one.record_id == completed.record_id), None)
    if row is None and not reader.settled:
        # The list lags, so it may lack the lessons beside this one too, and with them the end of
        # the course, which nobody would tell us of again.
        raise NotThereYet("the list does not have this lesson yet")
    if row is None:
        # It answers by its Id, so it is there, also if the list never has it.
        findings.completions = [*findings.completions, completed]
    elif row == completed:
        # The list shows this one as it is by its Id, so its neighbours need not be asked for too.
        findings.decided += _ids(findings.completions)
    return enrolment


def _ids(completions: Sequence[CompletedLesson]) -> list[tuple[Entity, int]]:
    return [(Entity.COMPLETED_LESSON, one.record_id) for one in completions]
