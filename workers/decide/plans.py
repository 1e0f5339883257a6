"""From an event to planned actions, by the rules; or to the reason why there is none."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.actions import Plan
from schemas.events import Event, EventKind
from schemas.reasons import Reason
from schemas.rules import Rule, Rules
from workers.decide.conditions import Subject, holds
from workers.decide.timing import gather_due, gather_until


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known when an event is decided on.

    `finish_announced_at` is when this person finished this course, if that is being told them.
    `watching_since` is when sending began, or as long as nobody has started it, when we began;
    `asked`: a person asked for this, also for what happened before. `held_for` is why emails are
    held from the beginning, if they are.
    """

    rules: Rules
    zone: ZoneInfo
    subject: Subject
    finish_announced_at: datetime | None = None
    watching_since: datetime | None = None
    asked: bool = False
    held_for: Reason | None = None


def plans_for(event: Event, known: Circumstances) -> list[Plan] | Reason:
    """Return what to do about `event`, or the reason why nothing is done."""
    if event.kind == EventKind.ENROLMENT_REQUESTED and not known.rules.for_event(event.kind):
        return Reason.NOT_APPROVED
    fitting = [
        rule for rule in known.rules.for_event(event.kind) if holds(rule.where, known.subject)
    ]
    if not fitting:
        return Reason.KIND_OFF
    since = None if known.asked else known.watching_since
    if since is not None and event.happened_at < since:
        return Reason.BEFORE_START
    finished_at = known.finish_announced_at
    if (
        event.kind == EventKind.LESSON_COMPLETED
        and finished_at is not None
        and event.happened_at <= finished_at
    ):
        return Reason.SUPERSEDED
    return [_plan(event, rule, known) for rule in fitting]


def _plan(event: Event, rule: Rule, known: Circumstances) -> Plan:
    gathers = rule.gather_s is not None
    due_at = (
        gather_due([event], rule, known.zone)
        if gathers
        else event.happened_at + timedelta(seconds=rule.delay_s)
    )
    return Plan(
        key=f"{rule.name}/{event.key}",
        kind=rule.action,
        rule=rule.name,
        rules_version=known.rules.digest,
        event_kind=event.kind,
        template=rule.template,
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
