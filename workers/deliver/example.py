"""Shows what an email would say to a person now, from their real data, without planning it."""

from dataclasses import dataclass
from datetime import datetime

from ledger.choices import choice_keys, choices_of
from ledger.engine import Connection
from ledger.history import completions_of, enrolments_of
from ledger.people import person_of
from ledger.records import record_of
from schemas.actions import HOST, NOTICE
from schemas.entity import Entity
from schemas.events import ABOUT_LESSONS, TIMED, Event, EventKind
from schemas.records import Course, CourseMember, Lesson
from schemas.rules import Rule, Rules, Stream
from workers.actions.base import ActionContext, Recipient
from workers.decide.completion import counting_lessons, in_order, progress
from workers.deliver.context import SendSetup, languages_of, still_there
from workers.deliver.past import lessons_of
from workers.deliver.recipients import recipient_of

_MOST_LESSONS = 3  # that an example of a gathered email is about
_UNKNOWN_ADDRESS = "host@example.invalid"


@dataclass(frozen=True, slots=True)
class Example:
    """An email as it would be prepared for a person now.

    `rule` is the first rule that sends it, if one does; `kind` is the event it would be about.
    """

    context: ActionContext
    rule: Rule | None
    kind: EventKind

    @property
    def can_be_imagined(self) -> bool:
        """Whether its event can be imagined to happen now: an absence cannot."""
        return self.rule is not None and self.kind not in TIMED


def example_of(  # noqa: PLR0913, PLR0917 - which email, about whom, and when
    connection: Connection,
    setup: SendSetup,
    template: str,
    fits: frozenset[EventKind],
    coworker_id: int,
    course_id: int | None,
    now: datetime,
    by: Rule | None = None,
) -> Example | None:
    """Return an example of an email of this template, which `fits` these events.

    It is that of the rule `by`, which may be off, or else of the first rule that sends it. None if
    it is unclear which of their courses it would be about, or a record is unknown.
    """
    places = enrolments_of(connection, coworker_id, course_id)
    person = person_of(connection, coworker_id)
    if len(places) != 1 or person is None:
        return None
    [member] = places
    course = still_there(record_of(connection, Entity.COURSE, member.course_id), Course)
    if course is None:
        return None
    rule = by or first_rule(setup.rules, template)
    kind = rule.event if rule else _usual_event(template, fits)
    lessons, closed = lessons_of(connection, member.course_id)
    done = completions_of(connection, [member.record_id]).get(member.record_id, [])
    counting = counting_lessons(lessons, setup.rules.counts, closed)
    to = _other_recipient(connection, rule, course) if template == NOTICE else None
    chosen = choices_of(connection, choice_keys(setup.secret_key, coworker_id, person.email))
    finished = {one for _, one in done}
    state = progress(lessons, finished, setup.rules.counts, closed)
    events = _events(kind, member, lessons, done, state.next_lesson, now)
    if kind is EventKind.LESSON_COMPLETED and not finished:  # as if they finished the first one
        first = {one.lesson_id for one in events if one.lesson_id is not None}
        state = progress(lessons, first, setup.rules.counts, closed)
    context = ActionContext(
        action_key=f"example/{template}/{member.record_id}",
        template=template,
        events=events,
        enrolment=member,
        course=course,
        person=person,
        lessons=tuple(lessons),
        progress=state,
        first_lesson=counting[0] if counting else None,
        started_at=min((at for at, _ in done), default=None),
        now=now,
        languages=languages_of(connection, (to or person).language, course, setup.language),
        stream=rule.stream if rule else Stream.usual_for(kind),
        recipient=to,
        rule=rule,
        is_weekly=chosen.is_weekly and kind is EventKind.LESSON_COMPLETED and to is None,
    )
    return Example(context, rule, kind)


def _other_recipient(connection: Connection, rule: Rule | None, course: Course) -> Recipient:
    """Return whom a notice would be to; a host who was never read has an invented address."""
    audience = rule.audiences[0] if rule else HOST
    host = None if course.host_id is None else person_of(connection, course.host_id)
    if audience == HOST and host is None:
        return Recipient(HOST, _UNKNOWN_ADDRESS, course.host_name or "")
    return recipient_of(audience, None, host, rule)


def first_rule(rules: Rules, template: str) -> Rule | None:
    """Return the first rule that is on and sends this template, if one does."""
    return next((one for one in rules.rules if one.enabled and template in templates_of(one)), None)


def templates_of(rule: Rule) -> tuple[str, ...]:
    """Return the templates that a rule sends, each once, in the order of its steps."""
    named = (rule.template, *(step.template for step in rule.steps))
    return tuple(dict.fromkeys(one for one in named if one is not None))


def _usual_event(template: str, fits: frozenset[EventKind]) -> EventKind:
    """Return the event that an email without a rule is about: for a reminder, an absence."""
    return min((fits & TIMED if template != NOTICE else None) or fits)


def _events(  # noqa: PLR0913, PLR0917 - what happened, to whom, and when
    kind: EventKind,
    member: CourseMember,
    lessons: list[Lesson],
    done: list[tuple[datetime, int]],
    next_lesson: Lesson | None,
    now: datetime,
) -> tuple[Event, ...]:
    """Return the events of an example: about the lessons finished last, or else the next one."""
    about: list[int | None] = [None]
    if kind in ABOUT_LESSONS or kind is EventKind.LESSON_AVAILABLE:
        most = _MOST_LESSONS if kind is EventKind.LESSON_COMPLETED else 1
        latest = [lesson_id for _, lesson_id in sorted(done)][-most:]
        first = next_lesson or next(iter(in_order(lessons)), None)
        is_to_come = kind is EventKind.LESSON_AVAILABLE or not latest
        about = [first.record_id if first else None] if is_to_come else [*latest]
    whose = (member.course_id, member.coworker_id, member.record_id)
    return tuple(Event(kind, f"example {one}", now, *whose, one) for one in about)
