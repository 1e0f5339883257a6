"""Commits what a lookup found: records, events and planned actions, together or not at all."""

from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from ledger.actions import completion_planned_at, plan_action, supersede_lessons
from ledger.controls import sending_of
from ledger.engine import Connection
from ledger.events import (
    known_keys,
    note_reason,
    requested_by_person,
    store_event,
    suppressed_among,
    suppressed_event_ids,
    under_review,
)
from ledger.intake import Origin, store_notifications
from ledger.listings import accept_listing
from ledger.lookups import Claim, finish_lookup
from ledger.people import accept_person, mark_person_gone, person_of
from ledger.records import accept_records, mark_decided, mark_gone, record_of
from schemas.actions import Plan
from schemas.entity import FOLLOWED, Entity
from schemas.events import ABOUT_GONE, Event, EventKind, not_ahead
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import CourseMember
from schemas.rules import Rules
from workers.decide.completion import closed_among
from workers.decide.events import History, from_completions, from_enrolment
from workers.decide.rules import DecisionContext, Subject, plans_for
from workers.leases import LeaseLost
from workers.lookup.read import LONGEST_LOOKUP, Findings, events_of_gone
from workers.versions import version_of_record
from workers.zones import own_zone

# The end of a course is decided first, since it replaces the email about its last lesson.
_FIRST = {EventKind.COURSE_COMPLETED: 0}


@dataclass(frozen=True, slots=True)
class DecideContext:
    """The rules to decide by; `zone` is for members whose own is unknown.

    `watching_since` is when sending began or, before that, when we started.
    """

    rules: Rules
    zone: ZoneInfo
    watching_since: datetime | None = None


def store_lookup(
    connection: Connection,
    claim: Claim,
    findings: Findings,
    deciding: DecideContext,
    now: datetime,
) -> int:
    """Store a lookup's findings and its end; return how many actions were planned.

    The caller holds `ledger.engine.lock_decisions`.

    Raises:
        LeaseLost: another worker has this lookup now, so nothing may be committed.
    """
    if findings.is_answered:
        if not finish_lookup(connection, claim, now):
            raise LeaseLost
        return 0
    is_gone = (claim.entity, claim.record_id) in findings.gone
    reason = Reason.RECORD_GONE if is_gone else None
    if not finish_lookup(connection, claim, now, reason):
        raise LeaseLost
    before = _enrolment_before(connection, findings)
    keep_findings(connection, findings, now)
    events = _events(findings, before, deciding)
    events += events_of_gone(connection, findings.gone, now)
    old = known_keys(connection, [event.key for event in events])
    records = [event.record for event in events if event.record is not None]
    whose = (claim.entity, claim.record_id)
    reviewed = under_review(connection, [whose, *records])
    _mark_decided(connection, findings)
    history = History(
        suppressed_among(connection, records),
        requested_by_person(connection, records),
        suppressed_event_ids(connection, old),
        reviewed,
        whose in reviewed,
    )
    new = [event for event in events if event.key not in old or history.is_decided_again(event)]
    if not new:
        return 0
    zone = _zone_of(connection, findings, deciding.zone)
    since = sending_of(connection).watching_since
    deciding = replace(deciding, zone=zone, watching_since=since)
    return sum(
        _decide(connection, event, history, findings, deciding, now)
        for event in sorted(new, key=lambda event: _FIRST.get(event.kind, 1))
    )


def keep_findings(connection: Connection, findings: Findings, now: datetime) -> bool:
    """Store every record that was read, and mark those that are gone.

    Returns whether a list lacks records it had before; these are then looked up by Id.

    A record's age counts from before the request, since it may have changed right after.
    """
    asked_at, lacking = findings.asked_at, False
    for entity in {entity: None for entity, _ in findings.records}:
        read = [record for kind, record in findings.records if kind is entity]
        accept_records(connection, entity, read, asked_at)
    for entity, parent, records in findings.listings:
        # Other workers may have stored records that this list does not have yet.
        sure_before = asked_at - LONGEST_LOOKUP
        missing = accept_listing(
            connection, entity, parent, records, asked_at, asked_at=sure_before
        )
        if entity in FOLLOWED:
            # A list may be wrong for a moment; reading by Id shows whether a record was deleted.
            missed = [Notification(entity, record_id) for record_id in missing]
            store_notifications(connection, missed, Origin.CHECK, now)
            lacking = lacking or bool(missing)
    for coworker, zone in findings.people:
        accept_person(connection, coworker, asked_at, zone)
    for entity, record_id in findings.gone:
        if entity is Entity.COWORKER:
            mark_person_gone(connection, record_id, now)
        else:
            mark_gone(connection, entity, record_id, now)
    return lacking


def _mark_decided(connection: Connection, findings: Findings) -> None:
    """Note which versions this lookup decides on, so that none of them is read again for that."""
    decided = set(findings.decided)
    read = findings.records + [
        (entity, record) for entity, _, found in findings.listings for record in found
    ]
    for entity in FOLLOWED:
        versions = [
            version_of_record(kind, record)
            for kind, record in read
            if kind is entity and (kind, record.record_id) in decided
        ]
        mark_decided(connection, entity, versions, findings.upto, findings.asked_at)


def _enrolment_before(connection: Connection, findings: Findings) -> CourseMember | None:
    if findings.enrolment is None:
        return None
    known = record_of(connection, Entity.COURSE_MEMBER, findings.enrolment.record_id)
    record = None if known is None else known.record
    return record if isinstance(record, CourseMember) else None


def _zone_of(connection: Connection, findings: Findings, otherwise: ZoneInfo) -> ZoneInfo:
    """Return the time zone of the enrolled person, or `otherwise` if unknown."""
    if findings.enrolment is None:
        return otherwise
    person = person_of(connection, findings.enrolment.coworker_id)
    return own_zone(person.zone if person else None, otherwise)


def _events(
    findings: Findings, before: CourseMember | None, deciding: DecideContext
) -> list[Event]:
    if findings.enrolment is None:
        return []
    return from_enrolment(before, findings.enrolment) + from_completions(
        findings.enrolment,
        findings.completions,
        findings.lessons,
        deciding.rules.counts,
        closed_among(findings.sections),
    )


def _decide(  # noqa: PLR0913, PLR0917 - independent inputs of one decision
    connection: Connection,
    event: Event,
    history: History,
    findings: Findings,
    deciding: DecideContext,
    now: datetime,
) -> int:
    suppressed = history.suppressed_reason(event)  # compares the source's times, before `not_ahead`
    event = not_ahead(event, now)
    plans = _plans(connection, event, history, findings, deciding, suppressed)
    reason = plans if isinstance(plans, Reason) else None
    event_id = history.kept.get(event.key)
    if event_id is None:
        event_id = store_event(connection, event, now, reason)
        if event_id is None:
            return 0
    else:
        note_reason(connection, event_id, reason)
    if isinstance(plans, Reason):
        return 0
    for plan in plans:
        plan_action(connection, plan, event_id, now)
    if event.kind is EventKind.COURSE_COMPLETED:
        supersede_lessons(connection, event.course_id, event.coworker_id, now)
    return len(plans)


def _plans(  # noqa: PLR0913, PLR0917 - independent inputs of one decision
    connection: Connection,
    event: Event,
    history: History,
    findings: Findings,
    deciding: DecideContext,
    suppressed: Reason | None,
) -> list[Plan] | Reason:
    """Return the actions to plan for an event, or the reason why there are none."""
    if suppressed is not None or event.kind in ABOUT_GONE or findings.enrolment is None:
        return suppressed or Reason.KIND_OFF
    lesson = next((one for one in findings.lessons if one.record_id == event.lesson_id), None)
    finished_at = None
    if event.kind is EventKind.LESSON_COMPLETED:
        finished_at = completion_planned_at(connection, event.course_id, event.coworker_id)
    return plans_for(
        event,
        DecisionContext(
            deciding.rules,
            deciding.zone,
            Subject(findings.enrolment, findings.course, lesson),
            finished_at,
            deciding.watching_since,
            history.is_asked_for(event),
            history.held_for(event),
        ),
    )
