"""Applies the rules to an event: which actions to plan, or why none.

A rule's `where` is a table with one small condition per key; all must hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.actions import Plan, action_key
from schemas.events import Event, EventKind
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Lesson
from schemas.rules import Rule, Rules, SequenceStep, Where, is_named
from schemas.text import folded
from workers.decide.completion import Progress
from workers.decide.timing import gather_due, gather_until


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about, as far as conditions need it."""

    enrolment: CourseMember
    course: Course | None
    lesson: Lesson | None
    progress: Progress | None = None

    @property
    def title(self) -> str | None:
        """The title of the course, if it is known."""
        return self.course.title if self.course else self.enrolment.course_title


def holds(where: Where, subject: Subject) -> bool:
    """Return whether every given condition holds for this subject, and no excluded one does."""
    excluded = where.excluded
    return all(condition(where, subject) for condition in _CONDITIONS.values()) and not (
        excluded
        and any(
            getattr(excluded, name) and condition(excluded, subject)
            for name, condition in _CONDITIONS.items()
        )
    )


def _course(where: Where, subject: Subject) -> bool:
    return _named(where.course, subject.enrolment.course_id, subject.title)


def _location(where: Where, subject: Subject) -> bool:
    if not where.location:
        return True
    course = subject.course
    return course is not None and _named(where.location, course.business_id, course.business_name)


def _group(where: Where, subject: Subject) -> bool:
    name = subject.course.group_name if subject.course else None
    return not where.group or folded(name) in {folded(group) for group in where.group}


def _team(where: Where, subject: Subject) -> bool:
    teams = {folded(team) for team in (subject.enrolment.team_names or "").split(",")}
    return not where.team or bool(teams & {folded(team) for team in where.team})


def _coworker_type(where: Where, subject: Subject) -> bool:
    return not where.coworker_type or subject.enrolment.coworker_kind in where.coworker_type


def _visibility(where: Where, subject: Subject) -> bool:
    visibility = subject.course.visibility if subject.course else None
    return not where.visibility or visibility in where.visibility


def _completion_type(where: Where, subject: Subject) -> bool:
    kind = subject.lesson.completion_type if subject.lesson else None
    return not where.completion_type or kind in where.completion_type


def _host(where: Where, subject: Subject) -> bool:
    name = subject.course.host_name if subject.course else None
    return not where.host or folded(name) in {folded(one) for one in where.host}


def _completion(where: Where, subject: Subject) -> bool:
    if where.completion is None:
        return True
    least, most = where.completion
    done = subject.progress
    return done is not None and done.total > 0 and least <= 100 * done.done // done.total <= most


def _named(wanted: tuple[str, ...], record_id: int, name: str | None) -> bool:
    return not wanted or is_named(wanted, record_id, name)


# By the names of the fields of `Where`.
_CONDITIONS: Mapping[str, Callable[[Where, Subject], bool]] = {
    "course": _course,
    "location": _location,
    "group": _group,
    "team": _team,
    "coworker_type": _coworker_type,
    "visibility": _visibility,
    "completion_type": _completion_type,
    "host": _host,
    "completion": _completion,
}


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """What is known when an event is decided on.

    `completion_planned_at` is when this person finished this course, if an action announces it.
    `watching_since` is when sending began or, before that, when we started. `asked` means that an
    operator asked for it, whenever it happened. `held_for` is why emails are held as soon as
    planned, if they are.
    """

    rules: Rules
    zone: ZoneInfo
    subject: Subject
    completion_planned_at: datetime | None = None
    watching_since: datetime | None = None
    asked: bool = False
    held_for: Reason | None = None


def plans_for(event: Event, known: DecisionContext) -> list[Plan] | Reason:
    """Return the actions to plan for `event`, or the reason why there are none."""
    if event.kind == EventKind.ENROLMENT_REQUESTED and not known.rules.for_event(event.kind):
        return Reason.NOT_APPROVED
    title = known.subject.title
    about = [
        known.rules.for_course(rule, event.course_id, title)
        for rule in known.rules.for_event(event.kind)
        if event.step_s in {None, *rule.after_s} and holds(rule.where, known.subject)
    ]
    fitting = [rule for rule in about if rule.enabled]
    if not fitting:
        return Reason.KIND_OFF
    since = None if known.asked else known.watching_since
    if since is not None and event.happened_at < since:
        return Reason.BEFORE_START
    finished_at = known.completion_planned_at
    if (
        event.kind == EventKind.LESSON_COMPLETED
        and finished_at is not None
        and event.happened_at <= finished_at
    ):
        return Reason.SUPERSEDED
    return [
        _plan(event, rule, known, number, step)
        for rule in fitting
        for number, step in enumerate(rule.steps or (SequenceStep(rule.delay_s, rule.template),))
    ]


def _plan(
    event: Event, rule: Rule, known: DecisionContext, number: int, step: SequenceStep
) -> Plan:
    gathers = rule.gather_s is not None
    due_at = (
        gather_due([event], rule, known.zone)
        if gathers
        else event.happened_at + timedelta(seconds=step.after_s)
    )
    return Plan(
        key=action_key(rule.name, event.key, number),
        kind=rule.action,
        rule=rule.name,
        rules_version=known.rules.digest,
        event_kind=event.kind,
        template=step.template,
        stream=rule.stream,
        course_id=event.course_id,
        coworker_id=event.coworker_id,
        course_member_id=event.course_member_id,
        happened_at=event.happened_at,
        due_at=due_at,
        gather_until=gather_until(event.happened_at, rule) if gathers else None,
        asked=known.asked,
        held_for=known.held_for,
    )
