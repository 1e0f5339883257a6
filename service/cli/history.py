"""Reads from the ledger what `coursebell why` and its pages tell about one person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ledger.checks import CheckKind, last_run
from ledger.choices import choice_keys, choices_of, mailbox_hash
from ledger.controls import sending_of
from ledger.decisions import RuleTrace, decisions_of
from ledger.engine import Connection
from ledger.mail_reports import ReportView, reports_of
from ledger.open_lookups import OpenLookup, open_lookups
from ledger.pauses import open_pauses, pause_of
from ledger.queries import EventView, history_of
from ledger.record_queries import EarlierEnrolment, enrolment_ids_of, enrolments_before_start
from ledger.records import record_of
from ledger.suppressions import Suppression, suppression_of
from schemas.actions import OPEN_ACTIONS, ActionState, Mode
from schemas.choices import Choices
from schemas.entity import Entity
from schemas.errors import ConfigurationError
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Lesson
from schemas.settings import Settings
from schemas.text import folded
from service.cli.common import command_clock
from service.cli.outcomes import kept_text, outcome_text, outcomes_by_sending
from service.cli.people import PersonMatch
from workers.deliver.forecast import make_send_setup
from workers.secret_key import known_secret_key

_LISTING = (CheckKind.CHECK, CheckKind.BASELINE, CheckKind.RECONCILE)


@dataclass(frozen=True, slots=True)
class TitledEvent:
    """One event with the titles of its course and lesson."""

    event: EventView
    course: str
    lesson: str | None


@dataclass(frozen=True, slots=True)
class HistoryFilter:
    """Which events are meant: of this course, or about lessons whose title contains this."""

    course_id: int | None = None
    lesson: str | None = None

    def admits(self, one: TitledEvent) -> bool:
        """Return whether this event is meant."""
        if self.course_id not in {None, one.event.course_id}:
            return False
        return self.lesson is None or folded(self.lesson) in folded(one.lesson)


@dataclass(frozen=True, slots=True)
class PersonHistory:
    """One person's events, and their enrolments from before the baseline.

    `with_sending` is, by action, what a change to sending would do to an email held in observe
    mode. `person` is None if neither their record nor their name was ever read. `unread` are the
    changes that were reported and are not read yet, or cannot be. `traces` are, by event, how it
    was decided. `reports` are, by email, what the mail provider reported, and `suppression` why
    nothing is sent to their address. `listed_at` is when the finished lessons at Nexudus were last
    listed.
    """

    coworker_id: int
    person: PersonMatch | None
    events: list[TitledEvent]
    earlier: list[tuple[EarlierEnrolment, str]]
    with_sending: dict[int, str]
    paused: frozenset[int] = frozenset()  # emails that wait and will be held by a pause
    unread: tuple[OpenLookup, ...] = ()
    traces: Mapping[int, RuleTrace] = field(default_factory=dict)
    listed_at: datetime | None = None
    mode: Mode = Mode.SENDING
    chosen: Choices = field(default_factory=Choices)
    reports: Mapping[int, list[ReportView]] = field(default_factory=dict)
    suppression: Suppression | None = None


def person_history(
    connection: Connection,
    settings: Settings,
    coworker_id: int,
    person: PersonMatch | None,
    wanted: HistoryFilter,
) -> PersonHistory | None:
    """Return one person's history; None if nothing of them was ever read, listed or found."""
    every = _titled(connection, history_of(connection, coworker_id))
    before = enrolments_before_start(connection, coworker_id)
    if not ((person is not None and person.was_read) or every or before):
        return None
    events = [one for one in every if wanted.admits(one)]
    earlier = [
        (one, _title(connection, one.course_id, one.course_member_id))
        for one in before
        if wanted.course_id in {None, one.course_id} and wanted.lesson is None
    ]
    key = known_secret_key(settings)
    enrolments = enrolment_ids_of(connection, coworker_id, wanted.course_id)
    listed = last_run(connection, _LISTING, Entity.COMPLETED_LESSON)
    return PersonHistory(
        coworker_id,
        person,
        events,
        earlier,
        _outcomes_with_sending(connection, settings, coworker_id, events),
        _paused(connection, coworker_id, events),
        tuple(one for each in enrolments for one in open_lookups(connection, each)),
        decisions_of(connection, [one.event.event_id for one in events]),
        None if listed is None or listed.reason is not None else listed.begun_at,
        sending_of(connection).mode,
        _chosen(connection, key, coworker_id, person),
        reports_of(connection, _action_ids(events)),
        _suppression(connection, key, person),
    )


def _action_ids(events: list[TitledEvent]) -> list[int]:
    return [action.action_id for one in events for action in one.event.actions]


def _suppression(
    connection: Connection, key: str | None, person: PersonMatch | None
) -> Suppression | None:
    if key is None or person is None or not person.email:
        return None
    return suppression_of(connection, mailbox_hash(person.email, key))


def _chosen(
    connection: Connection, key: str | None, coworker_id: int, person: PersonMatch | None
) -> Choices:
    """Return what this person chose about emails; nothing if there is no key to find it by."""
    if key is None:
        return Choices()
    email = person.email if person else None
    return choices_of(connection, choice_keys(key, coworker_id, email))


def _outcomes_with_sending(
    connection: Connection, settings: Settings, coworker_id: int, events: list[TitledEvent]
) -> dict[int, str]:
    """Return what a change to sending would do to the emails held in observe mode, by action."""
    observed = {
        action.action_id
        for titled in events
        for action in titled.event.actions
        if (action.state, action.reason) == (ActionState.HELD, Reason.OBSERVE)
    }
    if not observed or sending_of(connection).mode is Mode.SENDING:
        return {}
    now = command_clock().now()
    try:
        setup = make_send_setup(settings)
    except ConfigurationError:
        return {}  # `coursebell status` reports it; what happened can be shown all the same
    outcomes = outcomes_by_sending(connection, setup, now, coworker_id)
    found = {one: kept_text(reason) for reason, ids in outcomes.kept.items() for one in ids}
    found |= {one.action.action_id: outcome_text(one, now) for one in outcomes.expected}
    return {action_id: text for action_id, text in found.items() if action_id in observed}


def _paused(connection: Connection, coworker_id: int, events: list[TitledEvent]) -> frozenset[int]:
    """Return the emails that wait and that an open pause will hold once they are due."""
    these, now = open_pauses(connection), command_clock().now()
    return frozenset(
        action.action_id
        for titled in events
        for action in titled.event.actions
        if action.state in OPEN_ACTIONS
        and pause_of(
            these,
            now,
            rule=action.rule,
            course_id=titled.event.course_id or 0,
            coworker_id=coworker_id,
        )
    )


def _titled(connection: Connection, events: list[EventView]) -> list[TitledEvent]:
    # Times are whole seconds: put the end of the course after a lesson of the same second.
    in_order = sorted(
        events,
        key=lambda event: (event.happened_at, event.kind == EventKind.COURSE_COMPLETED),
    )
    return [
        TitledEvent(event, _course(connection, event), _lesson(connection, event))
        for event in in_order
    ]


def _course(connection: Connection, event: EventView) -> str:
    return _title(connection, event.course_id, event.course_member_id)


def _title(connection: Connection, course_id: int | None, course_member_id: int) -> str:
    for entity, record_id in (
        (Entity.COURSE, course_id or 0),
        (Entity.COURSE_MEMBER, course_member_id),
    ):
        known = record_of(connection, entity, record_id)
        if known is not None and isinstance(known.record, Course):
            return known.record.title
        if known is not None and isinstance(known.record, CourseMember):
            return known.record.course_title or f"course {course_id}"
    return "a course" if course_id is None else f"course {course_id}"


def _lesson(connection: Connection, event: EventView) -> str | None:
    if event.lesson_id is None or event.kind != EventKind.LESSON_COMPLETED:
        return None
    known = record_of(connection, Entity.LESSON, event.lesson_id)
    if known is not None and isinstance(known.record, Lesson):
        return known.record.title
    return f"lesson {event.lesson_id}"
