"""Commits what a lookup found: records, events and planned actions, together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from ledger.actions import completion_planned_at, plan_action, supersede_lessons
from ledger.controls import sending_of
from ledger.engine import Connection
from ledger.events import (
    known_events,
    note_reason,
    requested_among,
    store_events,
    suppressed_among,
)
from ledger.intake import Origin, store_notifications
from ledger.listings import accept_listing
from ledger.lookups import Claim, finish_lookup
from ledger.people import accept_person, mark_person_gone, person_of
from ledger.records import accept_records, mark_decided, mark_gone, record_of, references_of
from schemas.actions import Plan
from schemas.entity import FOLLOWED, Entity
from schemas.events import ABOUT_GONE, Event, EventKind, not_ahead
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import CourseMember
from schemas.rules import Rules
from workers.decide.completion import closed_among
from workers.decide.events import (
    EnrolmentRef,
    History,
    from_completions,
    from_enrolment,
    from_gone_completion,
    from_gone_enrolment,
)
from workers.decide.rules import DecisionContext, Subject, plans_for
from workers.leases import LeaseLost
from workers.lookup.read import LONGEST_LOOKUP, Findings, completion_of
from workers.versions import version_of_record
from workers.zones import own_zone


@dataclass(frozen=True, slots=True)
class DecisionSetup:
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
    deciding: DecisionSetup,
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
    events += _events_of_gone(connection, findings.gone, now)
    old = known_events(connection, [event.key for event in events])
    records = [event.record for event in events if event.record is not None]
    whose = (claim.entity, claim.record_id)
    requested = requested_among(connection, [whose, *records])
    _mark_decided(connection, findings)
    history = History(
        suppressed_among(connection, records),
        requested.by_person,
        {key: event_id for key, event_id in old.items() if event_id is not None},
        requested.for_review,
        whose in requested.for_review,
    )
    new = [event for event in events if event.key not in old or history.is_decided_again(event)]
    if not new:
        return 0
    zone = _zone_of(connection, findings, deciding.zone)
    since = sending_of(connection).watching_since
    deciding = replace(deciding, zone=zone, watching_since=since)
    # The end of a course is decided first, since it replaces the email about its last lesson.
    ends = [event for event in new if event.kind is EventKind.COURSE_COMPLETED]
    others = [event for event in new if event.kind is not EventKind.COURSE_COMPLETED]
    return sum(
        _decide(connection, some, history, findings, deciding, now)
        for some in (ends, others)
        if some
    )


def keep_findings(connection: Connection, findings: Findings, now: datetime) -> bool:
    """Store every record that was read, and mark those that are gone.

    Returns whether a list lacks records it had before; these are then looked up by Id.

    A record's age counts from before the request, since it may have changed right after.
    """
    asked_at, lacking = findings.asked_at, False
    listed = {
        (entity, record.record_id): record
        for entity, _, records in findings.listings
        for record in records
    }
    accept_records(
        connection,
        [
            (entity, record)
            for entity, record in findings.records
            if listed.get((entity, record.record_id)) != record
        ],
        asked_at,
    )
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
    versions = [
        (entity, version_of_record(entity, record))
        for entity, record in read
        if entity in FOLLOWED and (entity, record.record_id) in decided
    ]
    mark_decided(connection, versions, findings.upto, findings.asked_at)


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
    findings: Findings, before: CourseMember | None, deciding: DecisionSetup
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


def _events_of_gone(
    connection: Connection, gone: list[tuple[Entity, int]], found_at: datetime
) -> list[Event]:
    """Return the events of enrolments and completions that are gone.

    A completion that went with its enrolment has no event of its own; nor has a record never seen.
    """
    found = []
    for entity, record_id in gone:
        if entity is Entity.COURSE_MEMBER:
            member = _member(connection, record_id)
            if member is not None:
                found.append(from_gone_enrolment(member, found_at))
        elif entity is Entity.COMPLETED_LESSON:
            enrolment_id, lesson_id = completion_of(connection, record_id)
            member = None if enrolment_id is None else _member(connection, enrolment_id)
            went = (Entity.COURSE_MEMBER, enrolment_id) in gone or _is_gone(
                connection, enrolment_id
            )
            if member is not None and not went:
                found.append(from_gone_completion(record_id, lesson_id, member, found_at))
    return found


def _member(connection: Connection, record_id: int) -> EnrolmentRef | None:
    known = references_of(connection, Entity.COURSE_MEMBER, record_id)
    if known.course_id is None or known.coworker_id is None:
        return None
    return EnrolmentRef(record_id, known.course_id, known.coworker_id)


def _is_gone(connection: Connection, course_member_id: int | None) -> bool:
    if course_member_id is None:
        return False
    known = record_of(connection, Entity.COURSE_MEMBER, course_member_id)
    return known is not None and known.gone_at is not None


def _decide(  # noqa: PLR0913, PLR0917 - independent inputs of one decision
    connection: Connection,
    events: Sequence[Event],
    history: History,
    findings: Findings,
    deciding: DecisionSetup,
    now: datetime,
) -> int:
    """Store these events and plan their actions; return how many were planned."""
    finished_at = _finished_at(connection, events)
    decided = [
        # A suppression compares the source's times, before `not_ahead`.
        _plans(not_ahead(event, now), history, findings, deciding, reason, finished_at)
        for event, reason in ((one, history.suppressed_reason(one)) for one in events)
    ]
    event_ids = {**history.kept, **_store_events(connection, decided, history, now)}
    planned = 0
    for event, plans in decided:
        if isinstance(plans, Reason) or event.key not in event_ids:
            continue
        for plan in plans:
            plan_action(connection, plan, event_ids[event.key], now)
        planned += len(plans)
        if event.kind is EventKind.COURSE_COMPLETED:
            supersede_lessons(connection, event.course_id, event.coworker_id, now)
    return planned


def _finished_at(connection: Connection, events: Sequence[Event]) -> datetime | None:
    """Return when the course of these lessons was completed, if an action announces that."""
    lesson = next((one for one in events if one.kind is EventKind.LESSON_COMPLETED), None)
    if lesson is None:
        return None
    return completion_planned_at(connection, lesson.course_id, lesson.coworker_id)


_Decided = tuple[Event, list[Plan] | Reason]


def _store_events(
    connection: Connection, decided: Sequence[_Decided], history: History, now: datetime
) -> dict[str, int]:
    """Store these events, or why one that was stored still leads to nothing; return ids by key."""
    reasons = [(event, plans if isinstance(plans, Reason) else None) for event, plans in decided]
    for event, reason in reasons:
        if event.key in history.kept:
            note_reason(connection, history.kept[event.key], reason)
    fresh = [(event, reason) for event, reason in reasons if event.key not in history.kept]
    return store_events(connection, fresh, now)


def _plans(  # noqa: PLR0913, PLR0917 - independent inputs of one decision
    event: Event,
    history: History,
    findings: Findings,
    deciding: DecisionSetup,
    suppressed: Reason | None,
    finished_at: datetime | None,
) -> _Decided:
    """Return the event with the actions to plan for it, or with the reason why there are none."""
    if suppressed is not None or event.kind in ABOUT_GONE or findings.enrolment is None:
        return event, suppressed or Reason.KIND_OFF
    lesson = next((one for one in findings.lessons if one.record_id == event.lesson_id), None)
    return event, plans_for(
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
