"""May this action be performed now? Decided again just before, against what is true then.

A list of small questions in a fixed order: first what makes it wrong for good, then what needs a
person, then what only needs time. The first that objects gives the outcome and its reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.people import Person
from schemas.actions import Outcome
from schemas.events import Event, EventKind
from schemas.reasons import Reason
from schemas.records import Course, CourseMember
from schemas.rules import Rule, Stream
from schemas.states import Mode
from workers.decide.timing import day_cap_until, gather_due, quiet_until, week_cap_until

# These are counted in the week's cap, and not stopped by it: they come once per course.
_BEYOND_WEEK_CAP = {EventKind.ENROLLED, EventKind.COURSE_COMPLETED}
# How long after the ledger was restored our own checks have surely listed what changed before.
_CAUGHT_UP_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true just before an action. None stands for a record that is gone.

    `events` are those that still hold. `sent_at` are the emails to this person in the last week.
    `planned_nearby` counts the actions planned within the rule's flood window of this one; `asked`
    says that a person asked for it. `released_at` is when a person last released it after it was
    held, `restored_at` when the ledger was last restored from a backup before this was planned.
    """

    now: datetime
    zone: ZoneInfo
    mode: Mode
    sending_started_at: datetime | None
    rule: Rule | None
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


def objection(truth: Truth) -> Outcome | None:
    """Return why the action may not be performed now, or None: go ahead."""
    if truth.rule is None or not truth.rule.enabled:
        return Outcome.skipped(Reason.KIND_OFF)
    for question in _QUESTIONS:
        outcome = question(truth, truth.rule)
        if outcome is not None:
            return outcome
    return None


def _still_there(truth: Truth, _: Rule) -> Outcome | None:
    person = truth.person
    there = truth.enrolment and truth.course and person and person.gone_at is None
    return None if there and truth.events else Outcome.skipped(Reason.RECORD_GONE)


def _still_true(truth: Truth, _: Rule) -> Outcome | None:
    enrolment, course, person = truth.enrolment, truth.course, truth.person
    asks_approval = truth.events[0].kind == EventKind.ENROLMENT_REQUESTED
    objections = (
        (enrolment is not None and enrolment.blocked, Reason.BLOCKED),
        (
            enrolment is not None and not enrolment.approved and not asks_approval,
            Reason.NOT_APPROVED,
        ),
        (course is not None and not course.active, Reason.COURSE_INACTIVE),
        (person is not None and not person.active, Reason.MEMBER_INACTIVE),
        (person is not None and person.email is None, Reason.NO_EMAIL),
    )
    return next((Outcome.skipped(reason) for objects, reason in objections if objects), None)


def _wanted(truth: Truth, rule: Rule) -> Outcome | None:
    if truth.choices.get("all") is False:
        return Outcome.skipped(Reason.OPTED_OUT_ALL)
    if truth.choices.get(rule.stream) is False:
        return Outcome.skipped(Reason.OPTED_OUT_KIND)
    if rule.stream == Stream.REMINDER and not truth.choices.get(Stream.REMINDER):
        return Outcome.skipped(Reason.NO_CONSENT)
    return None


def _since_start(truth: Truth, _: Rule) -> Outcome | None:
    started = truth.sending_started_at
    wished = truth.asked or truth.released_at is not None
    if started is not None and _latest(truth) < started and not wished:
        return Outcome.skipped(Reason.BEFORE_START)
    return None


def _surely_unsent(truth: Truth, rule: Rule) -> Outcome | None:
    """Hold what the ledger that was lost may have sent after the backup was made.

    It may have found the same event as soon as it happened. How long the rule gathers does not
    count: the rules may have been others then.
    """
    restored_at, released_at = truth.restored_at, truth.released_at
    # It was planned after the restore, so a person who released it did so after that too.
    if restored_at is None or released_at is not None:
        return None
    first_at = min(event.happened_at for event in truth.events)
    is_new = truth.planned_at - restored_at < _CAUGHT_UP_AFTER
    if is_new and truth.enrolment and truth.events[0].kind == EventKind.ENROLLED:
        # A record that was approved and then changed once more shows the later change only.
        first_at = min(first_at, truth.enrolment.created_at)
    may_be_sent = first_at + timedelta(seconds=rule.delay_s) <= restored_at
    return Outcome.held(Reason.RESTORED) if may_be_sent else None


def _mode(truth: Truth, _: Rule) -> Outcome | None:
    return None if truth.mode == Mode.SENDING else Outcome.held(Reason.OBSERVE)


def _recent_enough(truth: Truth, rule: Rule) -> Outcome | None:
    if rule.timing.stale_after_s is None:
        return None
    stale = timedelta(seconds=rule.timing.stale_after_s)
    # Old when it was found, or due for so long that we must have been down: both ask a person.
    # The time an email waits on purpose does not make it old.
    old_news = truth.planned_at - _latest(truth) > stale + timedelta(seconds=rule.delay_s)
    due_at = truth.due_at
    if truth.asked or truth.released_at is not None:
        # Whoever asks knows that it is old; how long it waits since then still counts.
        old_news, due_at = False, max(due_at, truth.released_at or truth.planned_at)
    return Outcome.held(Reason.TOO_OLD) if old_news or truth.now - due_at > stale else None


def _no_flood(truth: Truth, rule: Rule) -> Outcome | None:
    flood = rule.timing.flood
    is_many = flood is not None and truth.planned_nearby > flood.count
    flooded = is_many and truth.released_at is None
    return Outcome.held(Reason.FLOOD_GUARD) if flooded else None


def _gathered(truth: Truth, rule: Rule) -> Outcome | None:
    if rule.gather_s is None:
        return None
    due = gather_due(truth.events, rule, truth.zone)
    return Outcome.waiting(due, Reason.GATHERING) if due > truth.now else None


def _decent_hour(truth: Truth, rule: Rule) -> Outcome | None:
    quiet = rule.timing.quiet_hours
    until = None if quiet is None else quiet_until(truth.now, quiet, truth.zone)
    return None if until is None else Outcome.waiting(until, Reason.QUIET_HOURS)


def _not_too_many(truth: Truth, rule: Rule) -> Outcome | None:
    tomorrow = day_cap_until(truth.now, truth.sent_at, rule, truth.zone)
    if tomorrow is not None:
        return Outcome.waiting(tomorrow, Reason.CAP_DAY)
    if truth.events[0].kind in _BEYOND_WEEK_CAP:
        return None
    later = week_cap_until(truth.now, truth.sent_at, rule)
    return None if later is None else Outcome.waiting(later, Reason.CAP_WEEK)


def _latest(truth: Truth) -> datetime:
    return max(event.happened_at for event in truth.events)


_QUESTIONS: tuple[Callable[[Truth, Rule], Outcome | None], ...] = (
    _still_there,
    _still_true,
    _wanted,
    _since_start,
    _surely_unsent,
    _mode,
    _recent_enough,
    _no_flood,
    _gathered,
    _decent_hour,
    _not_too_many,
)
