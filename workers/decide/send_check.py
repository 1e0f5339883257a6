"""Decides whether an action may be performed now. Asked again just before each attempt.

The checks run in a fixed order: first what rules the action out for good, then what needs a
person's decision, then what only needs time, then the brake of a rule, because it counts only
emails that would be sent now. What needs a request to the source is last. The first check that
objects gives the outcome and its reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.actions import HOST, Mode, Outcome, PersonNeeds
from schemas.choices import ALL, SNOOZE, WEEKLY, objection_to, stream_of
from schemas.events import ABSENCES, Event, EventKind
from schemas.person import Person
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Message
from schemas.rules import Rule, Stream, Until
from workers.decide.timing import (
    day_cap_until,
    gather_due,
    most_per_day,
    opens_at,
    spread,
    week_cap_until,
    weekly_due,
)

# These count towards the weekly cap but are not stopped by it: they come once per course.
_BEYOND_WEEK_CAP = {EventKind.ENROLLED, EventKind.COURSE_COMPLETED}
# This long after a restore, our polls have certainly listed what changed before it.
_CAUGHT_UP_AFTER = timedelta(days=1)
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SentReminder:
    """A reminder that a person got or may have got, and about which enrolment."""

    sent_at: datetime
    course_member_id: int


@dataclass(frozen=True, slots=True)
class StudyState:
    """How far a member is: the Ids of the lessons done, when they were last active, if finished."""

    done: frozenset[int] = frozenset()
    last_active_at: datetime | None = None
    is_finished: bool = False


_NO_STUDY = StudyState()


@dataclass(frozen=True, slots=True)
class SendContext:
    """What is true just before an action. A record that is gone is None.

    `needs` is what the action's kind needs of the person. `events` are those that still hold.
    `sent_at` are the actions of this kind about this person in the last week. `planned_nearby`
    counts the actions planned within the rule's flood window of this one; `asked` says that an
    operator asked for it. `chosen_on` says, by stream, `all` or `snooze`, when that was chosen.
    `released_at` is when an operator last released it after it was held,
    `restored_at` when the ledger was last restored from a backup before this was planned.
    `reminders` are all that this person ever got; they are needed only for a reminder.
    `step` is which email of a sequence this is. `suppressed_on` is when the address bounced.
    `forecast_per_day` is how many emails the rule sends on its busiest day by the accepted
    forecast, or None without one; `sent_today` is how many others it sent on this day in
    COURSEBELL_ZONE, without those an operator released. Both are needed only for a rule with a
    brake. `messages` are what Nexudus itself sent to the person in the last week; None if that was
    not read: see `needs_messages`.
    `audience` is whom the action is to (see `schemas.actions.audience_of`), `host` the host of the
    course; `zone` and `choices` are those of the recipient. `person` is the member it is about.
    """

    now: datetime
    zone: ZoneInfo
    mode: Mode
    sending_started_at: datetime | None
    rule: Rule | None
    needs: PersonNeeds
    events: Sequence[Event]
    planned_at: datetime
    due_at: datetime
    enrolment: CourseMember | None
    course: Course | None
    person: Person | None
    choices: Mapping[str, bool]
    sent_at: Sequence[datetime]
    planned_nearby: int
    asked: bool = False
    released_at: datetime | None = None
    restored_at: datetime | None = None
    is_paused: bool = False
    is_snoozed: bool = False
    chosen_on: Mapping[str, date] = field(default_factory=dict)
    suppressed_on: date | None = None
    step: int = 0
    study: StudyState = _NO_STUDY
    reminders: Sequence[SentReminder] = ()
    forecast_per_day: int | None = None
    sent_today: int = 0
    messages: Sequence[Message] | None = None
    audience: str | None = None
    host: Person | None = None


def check_send(context: SendContext) -> Outcome | None:
    """Return why the action may not be performed now, or None if it may."""
    if context.rule is None or not context.rule.enabled:
        return Outcome.skipped(Reason.KIND_OFF)
    if context.audience not in context.rule.audiences:
        return Outcome.skipped(Reason.KIND_OFF)
    for check in _CHECKS if context.audience is None else _CHECKS_FOR_OTHERS:
        outcome = check(context, context.rule)
        if outcome is not None:
            return outcome
    return None


def needs_messages(context: SendContext) -> bool:
    """Return whether messages of Nexudus itself count for this action and were not read yet.

    They are read only if `check_send` has no objection without them.
    """
    if context.rule is None or context.audience is not None:
        return False
    return context.messages is None and _counts_nexudus(context.rule)


def _counts_nexudus(rule: Rule) -> bool:
    return rule.stream == Stream.REMINDER and rule.timing.count_nexudus


def _records_exist(context: SendContext, _: Rule) -> Outcome | None:
    person = context.person
    there = context.enrolment and context.course and person and person.gone_at is None
    return None if there and context.events else Outcome.skipped(Reason.RECORD_GONE)


def _still_applies(context: SendContext, _: Rule) -> Outcome | None:
    enrolment, course, person = context.enrolment, context.course, context.person
    kind = context.events[0].kind
    asks_approval = kind == EventKind.ENROLMENT_REQUESTED
    about_block = kind == EventKind.ENROLMENT_BLOCKED
    objections = (
        (enrolment is not None and enrolment.blocked and not about_block, Reason.BLOCKED),
        (
            enrolment is not None and about_block and not enrolment.blocked,
            Reason.CHANGED_MEANWHILE,
        ),
        (
            enrolment is not None and not enrolment.approved and not (asks_approval or about_block),
            Reason.NOT_APPROVED,
        ),
        (course is not None and not course.active, Reason.COURSE_INACTIVE),
        (person is not None and not person.active, Reason.MEMBER_INACTIVE),
        (context.needs.address and not _has_address(context), Reason.NO_EMAIL),
    )
    return next((Outcome.skipped(reason) for objects, reason in objections if objects), None)


def _has_address(context: SendContext) -> bool:
    """Return whether the recipient can be written to; a fixed address always can."""
    if context.audience not in {None, HOST}:
        return True
    to = context.person if context.audience is None else context.host
    return to is not None and to.gone_at is None and to.active and to.email is not None


def _still_absent(context: SendContext, rule: Rule) -> Outcome | None:
    """Skip a reminder, or a later step of a sequence, if the member came back or finished."""
    event, study = context.events[0], context.study
    until = rule.until if context.step else None
    came_back = study.last_active_at is not None and study.last_active_at > event.happened_at
    objections = (
        (study.is_finished and (event.kind in ABSENCES or until), Reason.COMPLETED_MEANWHILE),
        (event.kind in ABSENCES and came_back, Reason.ACTIVE_MEANWHILE),
        (event.kind is EventKind.NOT_STARTED and study.done, Reason.ACTIVE_MEANWHILE),
        (until is Until.STARTED and study.done, Reason.ACTIVE_MEANWHILE),
        (
            event.kind is EventKind.LESSON_AVAILABLE and event.lesson_id in study.done,
            Reason.ACTIVE_MEANWHILE,
        ),
    )
    return next((Outcome.skipped(reason) for objects, reason in objections if objects), None)


def _may_be_sent_to(context: SendContext, rule: Rule) -> Outcome | None:
    asks = context.needs.stream
    stream = stream_of(rule, context.audience) if asks else None
    choices, is_snoozed = context.choices if asks else {}, asks and context.is_snoozed
    return refusal(stream, choices, context.chosen_on, context.suppressed_on, is_snoozed=is_snoozed)


def refusal(
    stream: str | None,
    choices: Mapping[str, bool],
    chosen_on: Mapping[str, date],
    suppressed_on: date | None,
    *,
    is_snoozed: bool,
) -> Outcome | None:
    """Return the outcome for one whose address bounced or who does not want this now, else None."""
    if suppressed_on is not None:
        return Outcome.skipped(Reason.BOUNCED_BEFORE, f"since {suppressed_on}")
    reason = objection_to(stream, choices) or (Reason.SNOOZED if is_snoozed else None)
    if reason is None:
        return None
    by_reason = {Reason.OPTED_OUT_ALL: ALL, Reason.SNOOZED: SNOOZE}
    day = chosen_on.get(by_reason.get(reason, stream or ALL))
    return Outcome.skipped(reason, None if day is None else f"since {day}")


def _since_start(context: SendContext, _: Rule) -> Outcome | None:
    started = context.sending_started_at
    wished = context.asked or context.released_at is not None
    if started is not None and _latest(context) < started and not wished:
        return Outcome.skipped(Reason.BEFORE_START)
    return None


def _not_paused(context: SendContext, _: Rule) -> Outcome | None:
    return Outcome.held(Reason.PAUSED) if context.is_paused else None


def _not_sent_before_restore(context: SendContext, rule: Rule) -> Outcome | None:
    """Hold what the lost ledger may have sent after the backup was made.

    It may have detected the same event as soon as it happened. The rule's gathering time does not
    count, since the rules may have been different then.
    """
    restored_at, released_at = context.restored_at, context.released_at
    # It was planned after the restore, so a release came after that too.
    if restored_at is None or released_at is not None:
        return None
    first_at = min(event.happened_at for event in context.events)
    is_new = context.planned_at - restored_at < _CAUGHT_UP_AFTER
    if is_new and context.enrolment and context.events[0].kind == EventKind.ENROLLED:
        # An enrolment that was approved and then changed again shows only the later change.
        first_at = min(first_at, context.enrolment.created_at)
    may_be_sent = first_at + timedelta(seconds=rule.delay_s) <= restored_at
    return Outcome.held(Reason.RESTORED) if may_be_sent else None


def _mode(context: SendContext, _: Rule) -> Outcome | None:
    return None if context.mode == Mode.SENDING else Outcome.held(Reason.OBSERVE)


def _recent_enough(context: SendContext, rule: Rule) -> Outcome | None:
    if rule.timing.stale_after_s is None:
        return None
    stale = timedelta(seconds=rule.timing.stale_after_s)
    # Old when it was detected, or due for so long that we must have been down: a person decides.
    # The time an email waits on purpose does not make it old.
    was_old = context.planned_at - _latest(context) > stale + timedelta(seconds=rule.delay_s)
    due_at = context.due_at
    if context.asked or context.released_at is not None:
        # The operator who asked knows its age; the wait since then still counts.
        was_old, due_at = False, max(due_at, context.released_at or context.planned_at)
    return Outcome.held(Reason.TOO_OLD) if was_old or context.now - due_at > stale else None


def _within_flood_limit(context: SendContext, rule: Rule) -> Outcome | None:
    flood = rule.timing.flood
    is_many = flood is not None and context.planned_nearby > flood.count
    flooded = is_many and context.released_at is None
    return Outcome.held(Reason.FLOOD_GUARD) if flooded else None


def _gathered(context: SendContext, rule: Rule) -> Outcome | None:
    if is_weekly(context):
        friday = weekly_due(context.events, rule, context.zone)
        return Outcome.waiting(friday, Reason.WEEKLY) if friday > context.now else None
    if rule.gather_s is None:
        return None
    due = gather_due(context.events, rule, context.zone)
    return Outcome.waiting(due, Reason.GATHERING) if due > context.now else None


def is_weekly(context: SendContext) -> bool:
    """Return whether this email waits for all lessons of a week, as its member chose.

    What an operator asked for does not.
    """
    is_lesson = context.events[0].kind is EventKind.LESSON_COMPLETED
    to_member = context.audience is None and context.needs.stream
    is_planned = not context.asked and not context.step
    return is_lesson and to_member and is_planned and context.choices.get(WEEKLY, False)


def _within_reminder_limit(context: SendContext, rule: Rule) -> Outcome | None:
    most = rule.timing.reminders_per_enrolment
    if rule.stream != Stream.REMINDER or most is None or context.enrolment is None:
        return None
    whose = context.enrolment.record_id
    had = sum(one.course_member_id == whose for one in context.reminders)
    return Outcome.skipped(Reason.REMINDER_LIMIT) if had >= most else None


def _at_a_time_to_send(context: SendContext, rule: Rule) -> Outcome | None:
    opens = opens_at(context.now, rule.timing, context.zone, _recipient_id(context))
    return None if opens is None else Outcome.waiting(*opens)


def _below_caps(context: SendContext, rule: Rule) -> Outcome | None:
    reminded = [one.sent_at for one in context.reminders]
    return _cap_reached(context, rule, context.sent_at, reminded)


def _not_reminded_by_nexudus(context: SendContext, rule: Rule) -> Outcome | None:
    is_absence = context.events[0].kind in ABSENCES
    was_reminded = any(one.is_reminder for one in _messages(context, rule))
    return Outcome.skipped(Reason.NEXUDUS_REMINDED) if is_absence and was_reminded else None


def _below_caps_with_nexudus(context: SendContext, rule: Rule) -> Outcome | None:
    """Apply the caps again, with the messages of Nexudus; its reminders count as reminders."""
    messages = _messages(context, rule)
    # A time ahead of our clock counts as now, so that no wait is longer than a cap.
    written = [(min(one.created_at, context.now), one.is_reminder) for one in messages]
    sent_at = [*context.sent_at, *(at for at, _ in written)]
    reminded = [one.sent_at for one in context.reminders]
    reminded += [at for at, is_reminder in written if is_reminder]
    reached = _cap_reached(context, rule, sent_at, reminded) if messages else None
    return None if reached is None else replace(reached, detail="counting what Nexudus itself sent")


def _messages(context: SendContext, rule: Rule) -> list[Message]:
    """Return the messages of Nexudus that count for this action."""
    found = (context.messages or ()) if _counts_nexudus(rule) else ()
    return [one for one in found if one.created_at > context.now - _WEEK]


def _cap_reached(
    context: SendContext, rule: Rule, sent_at: Sequence[datetime], reminded: Sequence[datetime]
) -> Outcome | None:
    tomorrow = day_cap_until(context.now, sent_at, rule, context.zone)
    if tomorrow is not None:
        until = spread(tomorrow, rule.timing, context.zone, _recipient_id(context))
        return Outcome.waiting(until, Reason.CAP_DAY)
    if rule.stream == Stream.REMINDER:
        later = week_cap_until(context.now, reminded, rule.timing.reminders_per_week)
        if later is not None:
            return Outcome.waiting(later, Reason.CAP_WEEK)
    if context.events[0].kind in _BEYOND_WEEK_CAP:
        return None
    later = week_cap_until(context.now, sent_at, rule.timing.cap_per_week)
    return None if later is None else Outcome.waiting(later, Reason.CAP_WEEK)


def _within_forecast(context: SendContext, rule: Rule) -> Outcome | None:
    brake, busiest_day = rule.timing.brake, context.forecast_per_day
    if brake is None or busiest_day is None or context.released_at is not None:
        return None
    is_beyond = context.sent_today >= most_per_day(brake, busiest_day)
    return Outcome.held(Reason.OVER_FORECAST) if is_beyond else None


def _recipient_id(context: SendContext) -> int:
    whose = {None: context.person, HOST: context.host}.get(context.audience)
    return whose.coworker_id if whose else 0


def _latest(context: SendContext) -> datetime:
    return max(event.happened_at for event in context.events)


_CHECKS: tuple[Callable[[SendContext, Rule], Outcome | None], ...] = (
    _records_exist,
    _still_applies,
    _still_absent,
    _may_be_sent_to,
    _within_reminder_limit,
    _since_start,
    _mode,
    _not_paused,
    _not_sent_before_restore,
    _recent_enough,
    _within_flood_limit,
    _gathered,
    _at_a_time_to_send,
    _below_caps,
    _within_forecast,
    # What these need is read only if nothing above objects.
    _not_reminded_by_nexudus,
    _below_caps_with_nexudus,
)
# These are about the member as a recipient.
_OF_MEMBER = (
    _within_reminder_limit,
    _below_caps,
    _not_reminded_by_nexudus,
    _below_caps_with_nexudus,
)
_CHECKS_FOR_OTHERS = tuple(check for check in _CHECKS if check not in _OF_MEMBER)
