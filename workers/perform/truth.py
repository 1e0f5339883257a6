"""Brings together what is true just before an action, from the ledger, in one transaction.

What the network had to be asked for was read before: see `workers.perform.refresh`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.actions import ClaimedAction
from ledger.controls import sending_of
from ledger.engine import Connection
from ledger.events import events_of_action
from ledger.gaps import gap_ended_by
from ledger.people import address_hash, choices_of, person_of
from ledger.sendings import planned_nearby, sent_to
from ledger.snapshots import present_below, snapshot_of
from schemas.entity import Entity
from schemas.events import Event, EventKind
from schemas.records import CompletedLesson, Course, CourseMember, Lesson, Section
from schemas.rules import Rules
from workers.actions.base import Order
from workers.decide.again import Truth
from workers.decide.completion import closed_among, counting_lessons, progress
from workers.zones import own_zone

_WEEK = timedelta(days=7)
_ABOUT_LESSONS = {EventKind.LESSON_COMPLETED, EventKind.COURSE_COMPLETED, EventKind.COURSE_STARTED}


@dataclass(frozen=True, slots=True)
class Standpoint:
    """From where truth is looked at: the rules, the zone, and the key of address hashes.

    `zone` is for whoever has none of their own that we know.
    """

    rules: Rules
    zone: ZoneInfo
    secret_key: str


@dataclass(frozen=True, slots=True)
class Whole:
    """The truth for deciding, and the order for writing: None if a record is gone.

    `events` is how many the action has in the ledger, whether they still hold or not.
    """

    truth: Truth
    order: Order | None
    events: int


def whole_truth(
    connection: Connection, claimed: ClaimedAction, stand: Standpoint, now: datetime
) -> Whole:
    """Return what is true of this action now."""
    lessons = _lessons(connection, claimed.course_id)
    closed = _closed_sections(connection, claimed.course_id)
    completions = _completions(connection, claimed.course_member_id)
    done_ids = {one.lesson_id for one in completions}
    linked = events_of_action(connection, claimed.action_id)
    events = [event for event in linked if _holds(event, done_ids)]
    truth = _truth(connection, claimed, stand, events, now)
    order = None
    if truth.enrolment and truth.course and truth.person and events:
        counting = counting_lessons(lessons, stand.rules.counts, closed)
        order = Order(
            action_key=claimed.key,
            template=claimed.template,
            events=tuple(events),
            enrolment=truth.enrolment,
            course=truth.course,
            person=truth.person,
            lessons=tuple(lessons),
            progress=progress(lessons, done_ids, stand.rules.counts, closed),
            first_lesson=counting[0] if counting else None,
            started_at=min((one.created_at for one in completions), default=None),
            now=now,
        )
    return Whole(truth, order, len(linked))


def _truth(
    connection: Connection,
    claimed: ClaimedAction,
    stand: Standpoint,
    events: list[Event],
    now: datetime,
) -> Truth:
    enrolment = _present(connection, Entity.COURSE_MEMBER, claimed.course_member_id)
    course = _present(connection, Entity.COURSE, claimed.course_id)
    person = person_of(connection, claimed.coworker_id)
    rule = stand.rules.by_name(claimed.rule)
    flood = rule.timing.flood if rule else None
    hashed = address_hash(person.email, stand.secret_key) if person and person.email else ""
    sending = sending_of(connection)
    return Truth(
        now=now,
        zone=own_zone(person.zone if person else None, stand.zone),
        mode=sending.mode,
        sending_started_at=sending.started_at,
        asked=claimed.asked,
        released_at=claimed.released_at,
        restored_at=gap_ended_by(connection, claimed.planned_at),
        rule=rule,
        events=events,
        planned_at=claimed.planned_at,
        due_at=claimed.due_at,
        enrolment=enrolment if isinstance(enrolment, CourseMember) else None,
        course=course if isinstance(course, Course) else None,
        person=person,
        choices=choices_of(connection, hashed),
        sent_at=sent_to(connection, claimed.coworker_id, now - _WEEK, but=claimed.action_id),
        planned_nearby=planned_nearby(
            connection, claimed.planned_at, timedelta(seconds=flood.window_s if flood else 0)
        ),
    )


def _holds(event: Event, done_ids: set[int]) -> bool:
    return event.kind not in _ABOUT_LESSONS or event.lesson_id in done_ids


def _present(connection: Connection, entity: Entity, record_id: int) -> object | None:
    known = snapshot_of(connection, entity, record_id)
    return None if known is None or known.gone_at is not None else known.record


def _lessons(connection: Connection, course_id: int) -> list[Lesson]:
    found = present_below(connection, Entity.LESSON, ("course_id", course_id))
    return [record for record in found if isinstance(record, Lesson)]


def _closed_sections(connection: Connection, course_id: int) -> frozenset[int]:
    found = present_below(connection, Entity.SECTION, ("course_id", course_id))
    return closed_among(record for record in found if isinstance(record, Section))


def _completions(connection: Connection, course_member_id: int) -> list[CompletedLesson]:
    below = ("course_member_id", course_member_id)
    found = present_below(connection, Entity.COMPLETED_LESSON, below)
    return [record for record in found if isinstance(record, CompletedLesson)]
