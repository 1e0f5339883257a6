"""`why`: one person's story: did they get it, and if not, for what reason."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import click
import structlog

from ledger.controls import sending_of
from ledger.engine import Connection, reading
from ledger.queries import ActionView, EventView, history_of
from ledger.record_queries import EarlierEnrolment, enrolments_before_start
from ledger.records import record_of
from ledger.retention import ATTEMPTS, COPIES
from schemas.actions import ActionState, Mode
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
from service.cli.fates import kept_text, outcome_text, outcomes_by_sending
from service.cli.people import (
    NOBODY_KNOWN,
    PeopleQuery,
    PersonMatch,
    asked_for,
    coworker_id_in,
    is_ambiguous,
    matching_people,
    print_candidates,
    unknown_address,
)
from workers.context import make_send_setup

NOBODY = 1
_NOT_AT_NEXUDUS = "Nexudus has no course member with exactly this address either."
_WHO_IS_UNKNOWN = (
    "Try a part of their name or address, or their Id from Nexudus: coursebell why 1234"
)

_WORDS = {
    EventKind.ENROLLED: "Enrolled",
    EventKind.ENROLMENT_REQUESTED: "Asked to join, and waits for approval",
    EventKind.COURSE_STARTED: "Started the course",
    EventKind.LESSON_COMPLETED: "Finished",
    EventKind.COURSE_COMPLETED: "Finished the course",
    EventKind.UNENROLLED: "Is no longer enrolled",
    EventKind.LESSON_REOPENED: "A lesson counts as not finished again",
}
STATES = {
    ActionState.DONE: "Sent",
    ActionState.SKIPPED: "Not sent on purpose",
    ActionState.WAITING: "Waiting",
    ActionState.PLANNED: "Planned",
    ActionState.PERFORMING: "Being handed over",
    ActionState.HELD: "Held for a person",
    ActionState.FAILED: "Failed",
    ActionState.UNKNOWN: "Unknown",
}
_NOT_KEPT = (
    f"Not kept: texts of emails after {COPIES.days} days, attempts to send after {ATTEMPTS.days}."
)


@dataclass(frozen=True, slots=True)
class Narration:
    """One event with the titles that make it readable."""

    event: EventView
    course: str
    lesson: str | None


@dataclass(frozen=True, slots=True)
class PersonHistory:
    """One person: what happened to them, and what was there before we first looked.

    `fates` are what a change to sending would do to each email that is held in observe mode.
    `person` is None where neither they nor their name were ever read.
    """

    coworker_id: int
    person: PersonMatch | None
    told: list[Narration]
    earlier: list[tuple[EarlierEnrolment, str]]
    fates: dict[int, str]


@click.command()
@click.argument("who", metavar="EMAIL")
@as_json
@show_addresses
def why(who: str, *, as_json: bool, show_addresses: bool) -> None:
    """Tell what happened to a person, what they were sent, and why.

    EMAIL is their address or a part of it with the @; their Id, or a part of their name or of what
    stands before the @, will do. If several people fit, they are listed, unless one fits exactly.
    Nexudus is asked about a whole address that is not known here.
    """
    settings = settings_now()
    with opened_ledger(settings) as engine:
        with reading(engine) as connection:
            people = matching_people(connection, who)
        asked = _asked(settings, who, people)
        people = (asked.people if asked else []) or people
        is_unclear = is_ambiguous(people) and not as_json
        with reading(engine) as connection:
            found = [] if is_unclear else _stories(connection, settings, people, who)
    if is_unclear:
        print_candidates(people, whole=show_addresses)
    elif as_json:
        print_json([_as_plain(one, whole=show_addresses) for one in found])
    if not found and not is_unclear:
        for line in _unknown_lines(asked):
            click.echo(line, err=True)
    for one in [] if as_json else found:
        for line in _story_lines(one, whole=show_addresses):
            click.echo(printable(line))
    if not found:
        raise SystemExit(NOBODY)


def _asked(settings: Settings, who: str, known: list[PersonMatch]) -> PeopleQuery | None:
    """Ask Nexudus about an address that none of these has; None if there is nothing to ask."""
    address = unknown_address(who, known)
    if address is None:
        return None
    # What the source client logs would stand between the lines for people.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return asked_for(settings, address)


def _unknown_lines(asked: PeopleQuery | None) -> Iterator[str]:
    yield NOBODY_KNOWN
    if asked is not None:
        yield (
            _NOT_AT_NEXUDUS
            if asked.trouble is None
            else f"Nexudus could not be asked: {asked.trouble}."
        )
    yield _WHO_IS_UNKNOWN


def _stories(
    connection: Connection, settings: Settings, people: list[PersonMatch], who: str
) -> list[PersonHistory]:
    unknown = None if people else coworker_id_in(who)
    ids = [one.coworker_id for one in people] + ([] if unknown is None else [unknown])
    known = {one.coworker_id: one for one in people}
    found = []
    for coworker_id in ids:
        told = _tellings(connection, history_of(connection, coworker_id))
        earlier = [
            (one, _title(connection, one.course_id, one.course_member_id))
            for one in enrolments_before_start(connection, coworker_id)
        ]
        fates = _fates(connection, settings, coworker_id, told)
        person = known.get(coworker_id)
        was_read = person is not None and person.was_read
        if was_read or told or earlier:
            found.append(PersonHistory(coworker_id, person, told, earlier, fates))
    return found


def _fates(
    connection: Connection, settings: Settings, coworker_id: int, told: list[Narration]
) -> dict[int, str]:
    """Return what a change to sending would do to the emails held in observe mode, by action."""
    observed = {
        action.action_id
        for telling in told
        for action in telling.event.actions
        if (action.state, action.reason) == (ActionState.HELD, Reason.OBSERVE)
    }
    if not observed or sending_of(connection).mode is Mode.SENDING:
        return {}
    now = command_clock().now()
    try:
        setup = make_send_setup(settings)
    except ConfigurationError:
        return {}  # `coursebell status` tells of it; what happened can be told all the same
    fates = outcomes_by_sending(connection, setup, now, coworker_id)
    found = {one: kept_text(reason) for reason, ids in fates.kept.items() for one in ids}
    found |= {one.action.action_id: outcome_text(one, now) for one in fates.expected}
    return {action_id: fate for action_id, fate in found.items() if action_id in observed}


def _story_lines(one: PersonHistory, *, whole: bool) -> Iterator[str]:
    yield _heading(one, whole=whole)
    if one.person is not None and one.person.just_asked and not one.told and not one.earlier:
        yield (
            "  Enrolled in Nexudus, and not known here yet; to read it now: "
            f"coursebell backfill --person {one.coworker_id}"
        )
    for enrolment, title in one.earlier:
        when = "" if enrolment.created_at is None else f"{local(enrolment.created_at)}  "
        yield f"  {when}Enrolled  ({title})"
        yield "    Before Coursebell was installed; no email was due"
    for telling in one.told:
        for line in _lines(telling, one.fates):
            yield f"  {line}"
    if _has_outdated(one.told, command_clock().now()):
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
        "with_sending": {str(action_id): fate for action_id, fate in one.fates.items()},
        "events": [
            {"course": each.course, "lesson": each.lesson, **_plain_event(each.event)}
            for each in one.told
        ],
    }


def _plain_event(event: EventView) -> dict[str, object]:
    """Return an event for programs, which know the title of an email as its subject."""
    actions = [asdict(action) for action in event.actions]
    for action in actions:
        action["subject"] = action.pop("title")
    return asdict(event) | {"actions": actions}


def _has_outdated(told: list[Narration], now: datetime) -> bool:
    return any(
        action.finished_at is not None and action.finished_at < now - COPIES
        for telling in told
        for action in telling.event.actions
    )


def _tellings(connection: Connection, story: list[EventView]) -> list[Narration]:
    # The source's times are whole seconds; the last lesson still comes before the end.
    in_order = sorted(
        story,
        key=lambda event: (event.happened_at, event.kind == EventKind.COURSE_COMPLETED),
    )
    return [
        Narration(event, _course(connection, event), _lesson(connection, event))
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


def _lines(telling: Narration, fates: Mapping[int, str]) -> list[str]:
    event = telling.event
    what = _WORDS[EventKind(event.kind)]
    about = f"{what} {telling.lesson}" if telling.lesson else what
    lines = [f"{local(event.happened_at)}  {about}  ({telling.course})"]
    if event.reason:
        lines.append(f"    No email: {explained(event.reason)}")
    for action in event.actions:
        lines.append(f"    {_action_line(action)}")
        if action.action_id in fates:
            lines.append(f"      After `coursebell mode sending` it {fates[action.action_id]}")
    return lines


def _action_line(action: ActionView) -> str:
    state = STATES[ActionState(action.state)]
    subject = f' "{action.title}"' if action.title else f" ({action.template or action.rule})"
    line = f"{action.action_id}  {state}{subject}"
    if action.state == ActionState.DONE and action.finished_at:
        return f"{line} at {local(action.finished_at)}: {action.receipt}"
    if action.reason:
        line += f": {explained(action.reason)}"
    if action.state in {ActionState.WAITING, ActionState.PLANNED}:
        line += f". Decided again at {local(action.due_at)}"
    details = [one.detail for one in action.tries if one.detail]
    return f"{line} ({details[-1]})" if details else line


def explained(reason: str) -> str:
    """Return the reason in words, and the reason word to look it up by."""
    return f"{EXPLANATIONS[Reason(reason)].sentence} [{reason}]"
