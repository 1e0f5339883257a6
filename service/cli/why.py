"""`coursebell why`: one person's events, the emails about them, and why any was not sent."""

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import click
import structlog

from ledger.controls import sending_of
from ledger.engine import Connection, reading
from ledger.pauses import open_pauses, pause_of
from ledger.queries import ActionView, EventView, history_of
from ledger.record_queries import EarlierEnrolment, enrolments_before_start
from ledger.records import record_of
from ledger.retention import ATTEMPTS, COPIES
from schemas.actions import OPEN_ACTIONS, ActionState, Mode
from schemas.entity import Entity
from schemas.errors import ConfigurationError
from schemas.events import EventKind
from schemas.reasons import EXPLANATIONS, Reason
from schemas.records import Course, CourseMember, Lesson
from schemas.settings import Settings
from service.cli.common import (
    as_json,
    command_clock,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
    show_addresses,
)
from service.cli.outcomes import kept_text, outcome_text, outcomes_by_sending
from service.cli.people import (
    NOBODY_KNOWN,
    PeopleQuery,
    PersonMatch,
    coworker_id_in,
    is_ambiguous,
    matching_people,
    people_at_nexudus,
    print_candidates,
    unknown_address,
)
from workers.deliver.forecast import make_send_setup

NOBODY = 1
_NOT_AT_NEXUDUS = "Nexudus has no course member with exactly this address either."
_WHO_IS_UNKNOWN = "Try part of their name or address, or their Id from Nexudus: coursebell why 1234"

_WORDS = {
    EventKind.ENROLLED: "Enrolled",
    EventKind.ENROLMENT_REQUESTED: "Asked to join, waiting for approval",
    EventKind.COURSE_STARTED: "Started the course",
    EventKind.LESSON_COMPLETED: "Finished",
    EventKind.COURSE_COMPLETED: "Finished the course",
    EventKind.UNENROLLED: "Is no longer enrolled",
    EventKind.LESSON_REOPENED: "A lesson counts as not finished again",
    EventKind.ENROLMENT_APPROVED: "Was approved",
    EventKind.ENROLMENT_BLOCKED: "Was blocked",
    EventKind.ENROLMENT_UNBLOCKED: "Is no longer blocked",
    EventKind.NOT_STARTED: "Has not started",
    EventKind.STALLED: "Has been away",
    EventKind.LESSON_AVAILABLE: "A lesson opened",
}
STATES = {
    ActionState.DONE: "Sent",
    ActionState.SKIPPED: "Not sent on purpose",
    ActionState.WAITING: "Waiting",
    ActionState.PLANNED: "Planned",
    ActionState.PERFORMING: "Being sent",
    ActionState.HELD: "Held for a person",
    ActionState.FAILED: "Failed",
    ActionState.UNKNOWN: "Unknown",
}
_REPEATED = 2  # tries after which the number is shown
_NOT_KEPT = (
    f"Deleted: texts of emails after {COPIES.days} days, attempts to send after {ATTEMPTS.days}."
)


@dataclass(frozen=True, slots=True)
class TitledEvent:
    """One event with the titles of its course and lesson."""

    event: EventView
    course: str
    lesson: str | None


@dataclass(frozen=True, slots=True)
class PersonHistory:
    """One person's events, and their enrolments from before the baseline.

    `with_sending` is, by action, what a change to sending would do to an email held in observe
    mode. `person` is None if neither their record nor their name was ever read.
    """

    coworker_id: int
    person: PersonMatch | None
    events: list[TitledEvent]
    earlier: list[tuple[EarlierEnrolment, str]]
    with_sending: dict[int, str]
    paused: frozenset[int] = frozenset()  # emails that wait and will be held by a pause


@click.command()
@click.argument("who", metavar="EMAIL")
@as_json
@show_addresses
def why(who: str, *, as_json: bool, show_addresses: bool) -> None:
    """Show what happened to a person, which emails they got, and why.

    EMAIL is their address or part of it with the @. Their Id works too, or part of their name or of
    the address before the @. If several people match, they are listed, unless one matches exactly.
    A whole address that is not known here is looked up at Nexudus.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            people = matching_people(connection, who)
        query = _ask_nexudus(settings, who, people)
        people = (query.people if query else []) or people
        is_unclear = is_ambiguous(people) and not as_json
        with reading(engine) as connection:
            found = [] if is_unclear else _histories(connection, settings, people, who)
    if is_unclear:
        print_candidates(people, whole=show_addresses)
    elif as_json:
        print_json([_as_plain(one, whole=show_addresses) for one in found])
    if not found and not is_unclear:
        for line in _unknown_lines(query):
            click.echo(line, err=True)
    for one in [] if as_json else found:
        for line in _history_lines(one, whole=show_addresses):
            click.echo(printable(line))
    if not found:
        raise SystemExit(NOBODY)


def _ask_nexudus(settings: Settings, who: str, known: list[PersonMatch]) -> PeopleQuery | None:
    """Look up at Nexudus an address that none of these has; None if there is none to look up."""
    address = unknown_address(who, known)
    if address is None:
        return None
    # Log lines of the source client would mix with the lines printed for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return people_at_nexudus(settings, address)


def _unknown_lines(query: PeopleQuery | None) -> Iterator[str]:
    yield NOBODY_KNOWN
    if query is not None:
        yield (
            _NOT_AT_NEXUDUS
            if query.error is None
            else f"Nexudus could not be asked: {query.error}. To find the cause: coursebell doctor"
        )
    yield _WHO_IS_UNKNOWN


def _histories(
    connection: Connection, settings: Settings, people: list[PersonMatch], who: str
) -> list[PersonHistory]:
    unknown = None if people else coworker_id_in(who)
    ids = [one.coworker_id for one in people] + ([] if unknown is None else [unknown])
    known = {one.coworker_id: one for one in people}
    found = []
    for coworker_id in ids:
        events = _titled(connection, history_of(connection, coworker_id))
        earlier = [
            (one, _title(connection, one.course_id, one.course_member_id))
            for one in enrolments_before_start(connection, coworker_id)
        ]
        with_sending = _outcomes_with_sending(connection, settings, coworker_id, events)
        person = known.get(coworker_id)
        was_read = person is not None and person.was_read
        if was_read or events or earlier:
            paused = _paused(connection, coworker_id, events)
            found.append(PersonHistory(coworker_id, person, events, earlier, with_sending, paused))
    return found


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


def _history_lines(one: PersonHistory, *, whole: bool) -> Iterator[str]:
    yield _heading(one, whole=whole)
    if one.person is not None and one.person.just_asked and not one.events and not one.earlier:
        yield (
            "  Enrolled in Nexudus, not known here yet. To read it now: "
            f"coursebell backfill --person {one.coworker_id}"
        )
    for enrolment, title in one.earlier:
        when = "" if enrolment.created_at is None else f"{local(enrolment.created_at)}  "
        yield f"  {when}Enrolled  ({title})"
        yield "    Before Coursebell was installed; no email was due"
    for titled in one.events:
        for line in _lines(titled, one.with_sending, one.paused):
            yield f"  {line}"
    if _has_deleted_parts(one.events, command_clock().now()):
        yield f"  {_NOT_KEPT}"


def _heading(one: PersonHistory, *, whole: bool) -> str:
    if one.person is None:
        return f"Coworker {one.coworker_id}, whose name and address were not read yet"
    if not one.person.was_read:
        return f"{one.person.full_name}  (coworker {one.coworker_id}; address not read yet)"
    address = one.person.email if whole else shortened(one.person.email)
    return f"{one.person.full_name}  {address or '(no email address in Nexudus)'}"


def _as_plain(one: PersonHistory, *, whole: bool) -> dict[str, object]:
    email = None if one.person is None else one.person.email
    return {
        "name": None if one.person is None else one.person.full_name,
        "email": email if whole else shortened(email),
        "coworker_id": one.coworker_id,
        "enrolled_before": [{"course": title, **asdict(each)} for each, title in one.earlier],
        "with_sending": {str(action_id): text for action_id, text in one.with_sending.items()},
        "events": [
            {"course": each.course, "lesson": each.lesson, **_plain_event(each.event)}
            for each in one.events
        ],
    }


def _plain_event(event: EventView) -> dict[str, object]:
    """Return an event for programs; an email's title is its `subject` there."""
    actions = [asdict(action) for action in event.actions]
    for action in actions:
        action["subject"] = action.pop("title")
    return asdict(event) | {"actions": actions}


def _has_deleted_parts(events: list[TitledEvent], now: datetime) -> bool:
    return any(
        action.finished_at is not None and action.finished_at < now - COPIES
        for titled in events
        for action in titled.event.actions
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


def _lines(
    titled: TitledEvent, with_sending: Mapping[int, str], paused: Collection[int]
) -> list[str]:
    event = titled.event
    what = _WORDS[EventKind(event.kind)]
    about = f"{what} {titled.lesson}" if titled.lesson else what
    lines = [f"{local(event.happened_at)}  {about}  ({titled.course})"]
    if event.reason:
        lines.append(f"    No email: {explained(event.reason)}")
    for action in event.actions:
        lines.append(f"    {_action_line(action)}")
        if action.action_id in with_sending:
            text = with_sending[action.action_id]
            lines.append(f"      After `coursebell mode sending` it {text}")
        if action.action_id in paused:
            lines.append(f"      It will be held: {explained(Reason.PAUSED)}")
    return lines


def _action_line(action: ActionView) -> str:
    state = STATES[ActionState(action.state)]
    subject = f' "{action.title}"' if action.title else f" ({action.template or action.rule})"
    line = f"{action.action_id}  {state}{subject}"
    if action.state == ActionState.DONE and action.finished_at:
        return f"{line} at {local(action.finished_at)}: {action.receipt}"
    if action.reason:
        line += f": {explained(action.reason)}{_since(action)}"
    if action.state in {ActionState.WAITING, ActionState.PLANNED}:
        line += f". Next checked at {local(action.due_at)}"
    details = [one.detail for one in action.tries if one.detail]
    return f"{line} ({details[-1]})" if details else line


def _since(action: ActionView) -> str:
    """Return since when an action waits for a reason that was met again, and how often."""
    last = action.tries[-1] if action.tries else None
    if last is None or last.reason != action.reason or last.tries < _REPEATED:
        return ""
    return f" (since {local(last.at)}, tried {last.tries} times)"


def explained(reason: str) -> str:
    """Return the reason's sentence and its code."""
    return f"{EXPLANATIONS[Reason(reason)].sentence} [{reason}]"
