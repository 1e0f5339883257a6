"""Applies the rules to an event: which actions to plan, or why none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from schemas.actions import Plan, action_key, is_to_person
from schemas.events import Event, EventKind
from schemas.reasons import Reason
from schemas.rules import Rule, Rules, SequenceStep
from schemas.trace import TriedRule
from workers.decide.conditions import Subject, checked, holds
from workers.decide.timing import gather_due, gather_until


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """What is known when an event is decided on.

    `announced_at` is when this person finished this course, by the audience that an action
    announces it to: see `schemas.actions.audience_of`.
    `watching_since` is when sending began or, before that, when we started. `asked` means that an
    operator asked for it, whenever it happened. `held_for` is why emails are held as soon as
    planned, if they are. `zones` are those of recipients, by audience; that of others is `zone`.
    """

    rules: Rules
    zone: ZoneInfo
    subject: Subject
    announced_at: Mapping[str | None, datetime] = field(default_factory=dict)
    watching_since: datetime | None = None
    asked: bool = False
    held_for: Reason | None = None
    zones: Mapping[str | None, ZoneInfo] = field(default_factory=dict)

    def covers(self, event: Event, audience: str | None) -> bool:
        """Return whether this audience learns of a lesson with the end of the course."""
        at = self.announced_at.get(audience) if is_to_person(audience) else None
        is_lesson = event.kind == EventKind.LESSON_COMPLETED
        return is_lesson and at is not None and event.happened_at <= at


def plans_for(event: Event, known: DecisionContext) -> list[Plan] | Reason:
    """Return the actions to plan for `event`, or the reason why there are none."""
    if event.kind == EventKind.ENROLMENT_REQUESTED and not known.rules.for_event(event.kind):
        return Reason.NOT_APPROVED
    about = [rule for rule in _rules_for(event, known) if holds(rule.where, known.subject)]
    fitting = [rule for rule in about if rule.enabled]
    if not fitting:
        return Reason.KIND_OFF
    since = None if known.asked else known.watching_since
    if since is not None and event.happened_at < since:
        return Reason.BEFORE_START
    plans = [
        _plan(event, rule, known, number, step, audience)
        for rule in fitting
        for number, step in enumerate(rule.steps or (SequenceStep(rule.delay_s, rule.template),))
        for audience in rule.audiences
        if not known.covers(event, audience)
    ]
    return plans or Reason.SUPERSEDED


def tried_rules(event: Event, known: DecisionContext) -> tuple[TriedRule, ...]:
    """Return the rules for this kind of event, each with what its conditions saw."""
    return tuple(
        TriedRule(rule.name, rule.enabled, checked(rule.where, known.subject))
        for rule in _rules_for(event, known)
    )


def _rules_for(event: Event, known: DecisionContext) -> Iterator[Rule]:
    """Yield the rules for this kind of event, on or off, as they apply to its course."""
    for rule in known.rules.rules:
        if rule.event is event.kind and event.step_s in {None, *rule.after_s}:
            yield known.rules.for_course(rule, event.course_id, known.subject.title)


def _plan(  # noqa: PLR0913, PLR0917 - one plan: of what, by which rule, and to whom
    event: Event,
    rule: Rule,
    known: DecisionContext,
    number: int,
    step: SequenceStep,
    audience: str | None,
) -> Plan:
    gathers, zone = rule.gather_s is not None, known.zones.get(audience, known.zone)
    due_at = (
        gather_due([event], rule, zone)
        if gathers
        else event.happened_at + timedelta(seconds=step.after_s)
    )
    return Plan(
        key=action_key(rule.name, event.key, number, audience),
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
        due_with=partial(_due_with, event, rule, zone) if gathers else None,
        asked=known.asked,
        held_for=known.held_for,
        audience=audience,
    )


def _due_with(event: Event, rule: Rule, zone: ZoneInfo, first: datetime) -> datetime:
    return gather_due([replace(event, happened_at=first), event], rule, zone)
