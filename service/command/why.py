"""`why`: one person's story: did they get it, and if not, for what reason."""

from dataclasses import asdict, dataclass
from datetime import datetime

import click

from ledger.engine import Connection, reading
from ledger.people import Person
from ledger.retention import ATTEMPTS, COPIES
from ledger.snapshots import snapshot_of
from ledger.stories import ActionStory, EventStory, story_of
from schemas.entity import Entity
from schemas.events import EventKind
from schemas.reasons import EXPLANATIONS, Reason
from schemas.records import Course, CourseMember, Lesson
from schemas.states import ActionState
from service.command.common import (
    as_json,
    local,
    opened_ledger,
    print_json,
    printable,
    settings_now,
    shortened,
    show_addresses,
)
from service.command.whom import people_meant
from workers.clocks import utc_now

NOBODY = 1

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
class Telling:
    """One event with the titles that make it readable."""

    event: EventStory
    course: str
    lesson: str | None


@click.command()
@click.argument("who", metavar="EMAIL")
@as_json
@show_addresses
def why(who: str, *, as_json: bool, show_addresses: bool) -> None:
    """Tell what happened to a person, what they were sent, and why.

    EMAIL is their address; their Id, or a part of their name or of what stands before the @, will
    do.
    """
    with opened_ledger(settings_now()) as engine, reading(engine) as connection:
        found = [
            (person, _tellings(connection, story_of(connection, person.coworker_id)))
            for person in people_meant(connection, who)
        ]
    if as_json:
        print_json([_as_plain(person, told, whole=show_addresses) for person, told in found])
    elif not found:
        click.echo("Nobody like that was in any news we had.", err=True)
        click.echo("Try: coursebell why with a part of their name, or coursebell tail", err=True)
    for person, told in [] if as_json else found:
        address = person.email if show_addresses else shortened(person.email)
        click.echo(printable(f"{person.full_name}  {address or '(no email address in Nexudus)'}"))
        for telling in told:
            for line in _lines(telling):
                click.echo(f"  {printable(line)}")
        if _has_outdated(told, utc_now()):
            click.echo(f"  {_NOT_KEPT}")
    if not found:
        raise SystemExit(NOBODY)


def _as_plain(person: Person, told: list[Telling], *, whole: bool) -> dict[str, object]:
    return {
        "name": person.full_name,
        "email": person.email if whole else shortened(person.email),
        "coworker_id": person.coworker_id,
        "events": [
            {"course": one.course, "lesson": one.lesson, **asdict(one.event)} for one in told
        ],
    }


def _has_outdated(told: list[Telling], now: datetime) -> bool:
    return any(
        action.finished_at is not None and action.finished_at < now - COPIES
        for telling in told
        for action in telling.event.actions
    )


def _tellings(connection: Connection, story: list[EventStory]) -> list[Telling]:
    # The source's times are whole seconds; the last lesson still comes before the end.
    in_order = sorted(
        story,
        key=lambda event: (event.happened_at, event.kind == EventKind.COURSE_COMPLETED),
    )
    return [
        Telling(event, _course(connection, event), _lesson(connection, event)) for event in in_order
    ]


def _course(connection: Connection, event: EventStory) -> str:
    for entity, record_id in (
        (Entity.COURSE, event.course_id),
        (Entity.COURSE_MEMBER, event.course_member_id),
    ):
        known = snapshot_of(connection, entity, record_id)
        if known is not None and isinstance(known.record, Course):
            return known.record.title
        if known is not None and isinstance(known.record, CourseMember):
            return known.record.course_title or f"course {event.course_id}"
    return f"course {event.course_id}"


def _lesson(connection: Connection, event: EventStory) -> str | None:
    if event.lesson_id is None or event.kind != EventKind.LESSON_COMPLETED:
        return None
    known = snapshot_of(connection, Entity.LESSON, event.lesson_id)
    if known is not None and isinstance(known.record, Lesson):
        return known.record.title
    return f"lesson {event.lesson_id}"


def _lines(telling: Telling) -> list[str]:
    event = telling.event
    what = _WORDS[EventKind(event.kind)]
    about = f"{what} {telling.lesson}" if telling.lesson else what
    lines = [f"{local(event.happened_at)}  {about}  ({telling.course})"]
    if event.reason:
        lines.append(f"    No email: {explained(event.reason)}")
    return lines + [f"    {_action_line(action)}" for action in event.actions]


def _action_line(action: ActionStory) -> str:
    state = STATES[ActionState(action.state)]
    subject = f' "{action.subject}"' if action.subject else f" ({action.template or action.rule})"
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
