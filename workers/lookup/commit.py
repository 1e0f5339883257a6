"""Commits what a lookup found: records, events and planned actions, together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from ledger.actions import completions_planned, plan_action, supersede_lessons
from ledger.controls import sending_of
from ledger.decisions import store_decisions
from ledger.engine import Connection
from ledger.events import (
    known_events,
    note_reason,
    requested_among,
    store_events,
    suppressed_among,
)
from ledger.intake import Origin, store_notifications
from ledger.listings import Listing, accept_listings
from ledger.lookups import Claim, finish_lookups
from ledger.people import accept_people, mark_person_gone, persons_of
from ledger.records import (
    accept_records,
    mark_decided,
    mark_gone,
    record_of,
    records_of,
    references_of,
)
from schemas.actions import HOST, Plan, is_to_person
from schemas.entity import FOLLOWED, Entity
from schemas.events import ABOUT_GONE, Event, EventKind, not_ahead
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import CourseMember
from schemas.rules import Rules
from schemas.trace import TriedRule
from workers.decide.completion import Progress, closed_among, progress
from workers.decide.conditions import Subject
from workers.decide.events import (
    EnrolmentRef,
    History,
    from_completions,
    from_enrolment,
    from_gone_completion,
    from_gone_enrolment,
)
from workers.decide.rules import DecisionContext, plans_for, tried_rules
from workers.lookup.read import LONGEST_LOOKUP, Findings, completion_of
from workers.lookup.timers import timed_events
from workers.versions import version_of_record
from workers.zones import own_zone


@dataclass(frozen=True, slots=True)
class DecisionSetup:
    """The rules to decide by; `zone` and `zones` are those of `DecisionContext`.

    `watching_since` is when sending began or, before that, when we started.
    """

    rules: Rules
    zone: ZoneInfo
    watching_since: datetime | None = None
    zones: Mapping[str | None, ZoneInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundLookup:
    """A lookup, and what it read."""

    claim: Claim
    findings: Findings

    @property
    def key(self) -> tuple[Entity, int]:
        """The record that was looked up."""
        return self.claim.entity, self.claim.record_id


@dataclass(slots=True)
class _Decision:
    """What one lookup decides on: the new events, and how many actions it planned."""

    findings: Findings
    history: History
    new: list[Event]
    progress: Progress | None = None  # None if the lessons were not read
    planned: int = 0


def store_lookups(
    connection: Connection, found: Sequence[FoundLookup], deciding: DecisionSetup, now: datetime
) -> list[int | None]:
    """Store the findings and the ends of several lookups of one batch, with few statements.

    Returns how many actions were planned for each. None: another worker has this lookup now, so
    nothing of it was stored. The caller holds `ledger.engine.lock_decisions`.
    """
    gone = [one.claim.lookup_id for one in found if one.key in one.findings.gone]
    ours = finish_lookups(connection, [one.claim for one in found], now, gone)
    planned = dict.fromkeys(ours, 0)
    rest = [one for one in found if one.claim.lookup_id in ours and not one.findings.is_answered]
    while rest:
        some, rest = _independent(rest)
        planned |= _store(connection, some, deciding, now)
    return [planned.get(one.claim.lookup_id) for one in found]


def _independent(found: Sequence[FoundLookup]) -> tuple[list[FoundLookup], list[FoundLookup]]:
    """Return lookups that do not affect each other, the first one included, and the others.

    What one stores about an enrolment or a person decides what the next one about it does. One that
    found a record gone is stored alone.
    """
    some: list[FoundLookup] = []
    others: list[FoundLookup] = []
    touched: set[tuple[Entity, int]] = set()
    for one in found:
        touches = _touched(one)
        is_alone = bool(one.findings.gone or (some and some[0].findings.gone))
        (others if some and (is_alone or touched & touches) else some).append(one)
        touched |= touches
    return some, others


def _touched(one: FoundLookup) -> set[tuple[Entity, int]]:
    findings, enrolment = one.findings, one.findings.enrolment
    touched = {one.key} | {(entity, record.record_id) for entity, record in findings.records}
    touched |= {(Entity.COURSE_MEMBER, parent[1]) for _, parent, _ in findings.listings}
    if enrolment is not None:
        touched.add((Entity.COURSE_MEMBER, enrolment.record_id))
        touched.add((Entity.COWORKER, enrolment.coworker_id))
    return touched


def _store(
    connection: Connection, found: Sequence[FoundLookup], deciding: DecisionSetup, now: datetime
) -> dict[int, int]:
    """Store what these lookups found and decide; return how many actions each planned, by id."""
    read = [one.findings for one in found]
    before = _enrolments_before(connection, read)
    keep_all(connection, read, now)
    events = [
        _events(findings, before, deciding) + _events_of_gone(connection, findings.gone, now)
        for findings in read
    ]
    timed = timed_events(connection, read, events, deciding.rules, now)
    events = [[*some, *others] for some, others in zip(events, timed, strict=True)]
    every = [event for some in events for event in some]
    old = known_events(connection, [event.key for event in every])
    records = [event.record for event in every if event.record is not None]
    requested = requested_among(connection, [*(one.key for one in found), *records])
    _mark_decided(connection, read)
    suppressed = suppressed_among(connection, records)
    kept = {key: event_id for key, event_id in old.items() if event_id is not None}
    decisions = []
    for one, some in zip(found, events, strict=True):
        is_reviewed = one.key in requested.for_review
        history = History(suppressed, requested.by_person, kept, requested.for_review, is_reviewed)
        new = [event for event in some if event.key not in old or history.is_decided_again(event)]
        decisions.append(_Decision(one.findings, history, new))
    _decide_all(connection, [one for one in decisions if one.new], deciding, now)
    ids = (one.claim.lookup_id for one in found)
    return {number: one.planned for number, one in zip(ids, decisions, strict=True)}


def keep_findings(connection: Connection, findings: Findings, now: datetime) -> None:
    """Store every record that was read, and mark those that are gone.

    Records that a list lacks although it had them before are then looked up by Id. A record's age
    counts from before the request, since it may have changed right after.
    """
    keep_all(connection, [findings], now)


def keep_all(connection: Connection, several: Sequence[Findings], now: datetime) -> None:
    """Store several findings as `keep_findings` does."""
    listings = [
        # Other workers may have stored records that this list does not have yet.
        Listing(*listed, one.asked_at, one.asked_at - LONGEST_LOOKUP)
        for one in several
        for listed in one.listings
    ]
    listed = {(one.entity, record.record_id): record for one in listings for record in one.found}
    accept_records(
        connection,
        [
            (entity, record, one.asked_at)
            for one in several
            for entity, record in one.records
            if listed.get((entity, record.record_id)) != record
        ],
    )
    missing = accept_listings(connection, listings)
    # A list may be wrong for a moment; reading by Id shows whether a record was deleted.
    missed = [Notification(*one) for one in missing if one[0] in FOLLOWED]
    store_notifications(connection, missed, Origin.CHECK, now)
    accept_people(connection, [(*found, one.asked_at) for one in several for found in one.people])
    for entity, record_id in (gone for one in several for gone in one.gone):
        if entity is Entity.COWORKER:
            mark_person_gone(connection, record_id, now)
        else:
            mark_gone(connection, entity, record_id, now)


def _mark_decided(connection: Connection, several: Sequence[Findings]) -> None:
    """Note which versions are decided on, so that none of them is read again for that."""
    versions = []
    for findings in several:
        decided = set(findings.decided)
        read = findings.records + [
            (entity, record) for entity, _, found in findings.listings for record in found
        ]
        versions += [
            (entity, version_of_record(entity, record), findings.upto, findings.asked_at)
            for entity, record in read
            if entity in FOLLOWED and (entity, record.record_id) in decided
        ]
    mark_decided(connection, versions)


def _enrolments_before(
    connection: Connection, several: Sequence[Findings]
) -> dict[int, CourseMember]:
    """Return the stored versions of the enrolments that were read."""
    ids = [one.enrolment.record_id for one in several if one.enrolment is not None]
    stored = {
        record_id: one.record
        for record_id, one in records_of(connection, Entity.COURSE_MEMBER, ids).items()
    }
    return {number: one for number, one in stored.items() if isinstance(one, CourseMember)}


def _progress(findings: Findings, deciding: DecisionSetup) -> Progress | None:
    if not findings.lessons:
        return None
    done_ids = {one.lesson_id for one in findings.completions}
    closed = closed_among(findings.sections)
    return progress(findings.lessons, done_ids, deciding.rules.counts, closed)


def _events(
    findings: Findings, before: Mapping[int, CourseMember], deciding: DecisionSetup
) -> list[Event]:
    if findings.enrolment is None:
        return []
    enrolment_before = before.get(findings.enrolment.record_id)
    return from_enrolment(enrolment_before, findings.enrolment) + from_completions(
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


def _decide_all(
    connection: Connection, decisions: Sequence[_Decision], deciding: DecisionSetup, now: datetime
) -> None:
    """Store the new events and plan their actions."""
    if not decisions:
        return
    since = sending_of(connection).watching_since
    concerned = [_concerned(one.findings) for one in decisions]
    people = persons_of(connection, {number for each in concerned for number in each.values()})
    chosen = []
    for one, whose in zip(decisions, concerned, strict=True):
        known = {to: people[number] for to, number in whose.items() if number in people}
        zones = {to: own_zone(person.zone, deciding.zone) for to, person in known.items()}
        setup = replace(deciding, watching_since=since, zones=zones)
        one.progress = _progress(one.findings, deciding)
        chosen += [(one, setup, event) for event in one.new]
    # The end of a course is decided first, since it replaces the email about its last lesson.
    for is_end in (True, False):
        some = [one for one in chosen if (one[2].kind is EventKind.COURSE_COMPLETED) is is_end]
        _decide(connection, some, now)


def _concerned(findings: Findings) -> dict[str | None, int]:
    """Return the coworker Ids of the member and of the host of the course; 0: unknown."""
    enrolment, course = findings.enrolment, findings.course
    host_id = course.host_id if course else None
    return {None: enrolment.coworker_id if enrolment else 0, HOST: host_id or 0}


def _decide(
    connection: Connection,
    chosen: Sequence[tuple[_Decision, DecisionSetup, Event]],
    now: datetime,
) -> None:
    if not chosen:
        return
    finishing = [one.coworker_id for _, _, one in chosen if one.kind is EventKind.LESSON_COMPLETED]
    finished = completions_planned(connection, finishing) if finishing else {}
    decided, traces = [], {}
    for one, setup, event in chosen:
        announced_at = finished.get((event.course_id, event.coworker_id), {})
        # A suppression compares the source's times, before `not_ahead`.
        reason = one.history.suppressed_reason(event)
        shown = not_ahead(event, now)
        plans, tried = (reason, ()) if reason else _plans(shown, one, setup, announced_at)
        decided.append((one, shown, plans))
        traces[event.key] = (setup.rules.digest, tried)
    event_ids = _store_events(connection, decided, now)
    store_decisions(connection, {event_ids[key]: traces[key] for key in event_ids}, now)
    for one, event, plans in decided:
        if isinstance(plans, Reason) or event.key not in event_ids:
            continue
        for plan in plans:
            plan_action(connection, plan, event_ids[event.key], now)
        one.planned += len(plans)
        if event.kind is EventKind.COURSE_COMPLETED:
            for to in filter(is_to_person, dict.fromkeys(plan.audience for plan in plans)):
                supersede_lessons(connection, event.course_id, event.coworker_id, now, to)


def _store_events(
    connection: Connection,
    decided: Sequence[tuple[_Decision, Event, list[Plan] | Reason]],
    now: datetime,
) -> dict[str, int]:
    """Store these events, or why one that was stored still leads to nothing; return ids by key."""
    event_ids, fresh = {}, []
    for one, event, plans in decided:
        reason, kept = plans if isinstance(plans, Reason) else None, one.history.kept
        if event.key in kept:
            note_reason(connection, kept[event.key], reason)
            event_ids[event.key] = kept[event.key]
        else:
            fresh.append((event, reason))
    return event_ids | store_events(connection, fresh, now)


def _plans(
    event: Event,
    decision: _Decision,
    setup: DecisionSetup,
    announced_at: Mapping[str | None, datetime],
) -> tuple[list[Plan] | Reason, tuple[TriedRule, ...]]:
    """Return the actions to plan for an event, or why there are none; and the rules tried."""
    findings, history = decision.findings, decision.history
    if event.kind in ABOUT_GONE or findings.enrolment is None:
        return Reason.KIND_OFF, ()
    lesson = next((one for one in findings.lessons if one.record_id == event.lesson_id), None)
    known = DecisionContext(
        setup.rules,
        setup.zone,
        Subject(findings.enrolment, findings.course, lesson, decision.progress),
        announced_at,
        setup.watching_since,
        history.is_asked_for(event),
        history.held_for(event),
        setup.zones,
    )
    return plans_for(event, known), tried_rules(event, known)
