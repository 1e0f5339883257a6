"""Plays events against rules in memory: which actions are performed when, and why others are not.

It applies the decisions that workers apply, in the order in which workers apply them, on a clock of
its own. Nothing fails in it and nothing takes time: each action is performed the moment it may be.
A simulation plays what the ledger knows; tests play made-up histories. Pure.
"""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.actions import (
    OPEN_ACTIONS,
    ActionState,
    Mode,
    Outcome,
    PersonNeeds,
    Plan,
    is_to_person,
    step_of,
)
from schemas.events import ABOUT_GONE, ABOUT_LESSONS, Event, EventKind, not_ahead
from schemas.person import Person
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Message
from schemas.rules import Rule, Rules, Stream
from workers.decide.conditions import Subject
from workers.decide.rules import DecisionContext, plans_for
from workers.decide.send_check import SendContext, SentReminder, StudyState, check_send

_WEEK = timedelta(days=7)
_ENDED = (ActionState.DONE, ActionState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Found:
    """An event as it was found. `why_not` is why it leads to nothing whatever the rules say.

    The zones are those of `DecisionContext`.
    """

    event: Event
    found_at: datetime
    subject: Subject
    zone: ZoneInfo
    asked: bool = False
    why_not: Reason | None = None
    zones: Mapping[str | None, ZoneInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is true of one enrolment and its member at one moment. What is gone is None.

    `zone` and `choices` are those of the recipient of the action that was asked about.
    """

    mode: Mode
    sending_started_at: datetime | None
    zone: ZoneInfo
    enrolment: CourseMember | None
    course: Course | None
    person: Person | None
    choices: Mapping[str, bool] = field(default_factory=dict)
    reopened: frozenset[int] = frozenset()  # Ids of lessons that count as not finished again
    study: StudyState = field(default_factory=StudyState)
    is_paused: bool = False
    is_snoozed: bool = False
    messages: Sequence[Message] | None = None  # from Nexudus itself; a simulation has none
    host: Person | None = None  # of the course


@dataclass(slots=True, eq=False)
class PlayedAction:
    """One action of a play, with everything that was decided about it, the earliest first."""

    plan: Plan
    events: list[Event]
    planned_at: datetime
    due_at: datetime
    state: ActionState
    reason: Reason | None
    number: int  # of the order in which actions were planned
    released_at: datetime | None = None
    decided: list[tuple[datetime, Outcome]] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it may still be performed without a person."""
        return self.state in OPEN_ACTIONS


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many emails each rule sends on its busiest day, and in which zone days are counted."""

    per_day: Mapping[str, int]
    zone: ZoneInfo


class Play:
    """Events go in by the time they were found; actions come out as they are settled.

    `ask` returns the circumstances of an action at a moment. `needs` says by kind of action what it
    needs of a person. What happened before `watching_since` leads to nothing; it may be changed.
    Without a `forecast` the brakes of rules hold nothing.
    """

    def __init__(
        self,
        rules: Rules,
        ask: Callable[[PlayedAction, datetime], Circumstances],
        needs: Mapping[str, PersonNeeds],
        watching_since: datetime | None = None,
        forecast: Forecast | None = None,
    ) -> None:
        self._rules = rules
        self._forecast = forecast or Forecast({}, ZoneInfo("UTC"))
        self._sent_on: Counter[tuple[str, date]] = Counter()  # by rule and day of the forecast
        self._ask = ask
        self._needs = needs
        self.watching_since = watching_since
        # When it is checked, when it was due, and its number: the order in which workers claim.
        self._due: list[tuple[datetime, datetime, int, PlayedAction]] = []
        self._superseded: list[PlayedAction] = []  # since the last `advance`
        self._number = 0
        self._unsettled: defaultdict[int, list[PlayedAction]] = defaultdict(list)  # by coworker
        self._performed: defaultdict[tuple[int, str], list[datetime]] = defaultdict(list)
        self._reminders: defaultdict[int, list[SentReminder]] = defaultdict(list)
        # By audience: when actions were planned that were not skipped, in order.
        self._planned_at: defaultdict[str | None, list[datetime]] = defaultdict(list)
        # By course and coworker, then by audience: when an announced course was finished.
        self._finished_at: defaultdict[tuple[int, int], dict[str | None, datetime]] = defaultdict(
            dict
        )

    def find(self, found: Sequence[Found]) -> list[tuple[Event, list[PlayedAction] | Reason]]:
        """Decide on events that were found together, after `advance` to that moment.

        Returns for each event what it planned or joined, or why it led to nothing.
        """
        # The end of a course is decided first, since it replaces the email about its last lesson.
        ends = [one for one in found if one.event.kind is EventKind.COURSE_COMPLETED]
        others = [one for one in found if one.event.kind is not EventKind.COURSE_COMPLETED]
        return [self._decide(one) for one in (*ends, *others)]

    def advance(self, until: datetime) -> Iterator[PlayedAction]:
        """Move the clock, and yield each action that is performed, skipped or held on the way.

        First come those that `find` superseded since the last time.
        """
        yield from self._superseded
        self._superseded.clear()
        while self._due and self._due[0][0] <= until:
            now, due_at, _, action = heapq.heappop(self._due)
            if not action.is_open or action.due_at != due_at:
                continue  # it was superseded, or is due at another time
            outcome = check_send(self._context(action, now)) or Outcome.done("")
            self._settle(action, outcome, now)
            if outcome.state not in OPEN_ACTIONS:
                yield action

    def count_as_sent(self, coworker_id: int, kind: str, moments: Sequence[datetime]) -> None:
        """Let actions performed before this play count for the limits of a person."""
        self._performed[coworker_id, kind] += sorted(moments)

    def count_as_sent_by(self, rule: str, number: int, now: datetime) -> None:
        """Let emails that a rule sent before this play count on the day of `now`."""
        self._sent_on[rule, self._day_of(now)] += number

    def release(self, action: PlayedAction, now: datetime) -> None:
        """Let a held action be checked again now, as an operator's release does."""
        action.state, action.reason, action.released_at = ActionState.WAITING, None, now
        self._schedule(action, now, now)

    def unsettled(self) -> list[PlayedAction]:
        """Return the actions that wait or are held, in the order they were planned."""
        found = (one for these in self._unsettled.values() for one in these)
        return sorted(found, key=lambda one: one.number)

    def _decide(self, found: Found) -> tuple[Event, list[PlayedAction] | Reason]:
        event = not_ahead(found.event, found.found_at)
        if found.why_not is not None or event.kind in ABOUT_GONE:
            return event, found.why_not or Reason.KIND_OFF
        announced = self._finished_at[event.course_id, event.coworker_id]
        plans = plans_for(
            event,
            DecisionContext(
                self._rules,
                found.zone,
                found.subject,
                announced,
                self.watching_since,
                found.asked,
                zones=found.zones,
            ),
        )
        if isinstance(plans, Reason):
            return event, plans
        planned = [self._join_or_plan(plan, event, found.found_at) for plan in plans]
        if event.kind is EventKind.COURSE_COMPLETED:
            for to in filter(is_to_person, dict.fromkeys(plan.audience for plan in plans)):
                announced[to] = max(event.happened_at, announced.get(to, event.happened_at))
                self._supersede(event, to, found.found_at)
        return event, planned

    def _join_or_plan(self, plan: Plan, event: Event, now: datetime) -> PlayedAction:
        action = self._gathering(plan)
        if action is not None:
            action.events.append(event)
            first = min(action.plan.happened_at, plan.happened_at)
            action.plan = replace(
                action.plan, happened_at=first, asked=plan.asked or action.plan.asked
            )
            if action.reason is Reason.GATHERING:
                self._schedule(action, plan.due_with(first) if plan.due_with else plan.due_at, now)
            elif action.reason is Reason.WEEKLY:
                self._schedule(action, min(action.due_at, plan.due_at), now)
            return action
        gathers = plan.gather_until is not None
        action = PlayedAction(
            plan,
            [event],
            now,
            plan.due_at,
            ActionState.WAITING if gathers else ActionState.PLANNED,
            Reason.GATHERING if gathers else None,
            self._number,
        )
        self._number += 1
        self._unsettled[plan.coworker_id].append(action)
        if not step_of(plan.key):
            insort(self._planned_at[plan.audience], now)
        self._schedule(action, plan.due_at, now)
        return action

    def _gathering(self, plan: Plan) -> PlayedAction | None:
        if not plan.may_join:
            return None
        alike = [
            one
            for one in self._unsettled[plan.coworker_id]
            if one.is_open
            and one.plan.rule == plan.rule
            and one.plan.audience == plan.audience
            and one.plan.course_member_id == plan.course_member_id
            and (one.reason is Reason.WEEKLY or _is_one_sitting(one.plan, plan))
        ]
        return max(alike, key=lambda one: one.plan.happened_at, default=None)

    def _supersede(self, event: Event, audience: str | None, now: datetime) -> None:
        for action in list(self._unsettled[event.coworker_id]):
            plan = action.plan
            is_lesson = plan.event_kind is EventKind.LESSON_COMPLETED
            can_be = action.is_open or action.state is ActionState.HELD
            is_same = plan.course_id == event.course_id and plan.audience == audience
            if is_lesson and can_be and is_same:
                self._settle(action, Outcome.skipped(Reason.SUPERSEDED), now)
                self._superseded.append(action)

    def _context(self, action: PlayedAction, now: datetime) -> SendContext:
        true_now = self._ask(action, now)
        rule = self._rule_of(action, true_now.course)
        flood = rule.timing.flood if rule else None
        window = timedelta(seconds=flood.window_s if flood else 0)
        performed = self._performed[action.plan.coworker_id, action.plan.kind]
        holding = [
            one
            for one in sorted(action.events, key=lambda one: one.happened_at)
            if one.kind not in ABOUT_LESSONS or one.lesson_id not in true_now.reopened
        ]
        return SendContext(
            now=now,
            zone=true_now.zone,
            mode=true_now.mode,
            sending_started_at=true_now.sending_started_at,
            rule=rule,
            needs=self._needs.get(action.plan.kind, PersonNeeds()),
            events=holding,
            planned_at=action.planned_at,
            due_at=action.due_at,
            enrolment=true_now.enrolment,
            course=true_now.course,
            person=true_now.person,
            choices=true_now.choices,
            sent_at=[moment for moment in performed if moment > now - _WEEK],
            planned_nearby=self._nearby(action, window),
            asked=action.plan.asked,
            is_paused=true_now.is_paused,
            is_snoozed=true_now.is_snoozed,
            released_at=action.released_at,
            step=step_of(action.plan.key),
            study=true_now.study,
            reminders=self._reminders[action.plan.coworker_id],
            forecast_per_day=self._forecast.per_day.get(action.plan.rule),
            sent_today=self._sent_on[action.plan.rule, self._day_of(now)],
            messages=true_now.messages,
            audience=action.plan.audience,
            host=true_now.host,
        )

    def _rule_of(self, action: PlayedAction, place: Course | None) -> Rule | None:
        rule = self._rules.by_name(action.plan.rule)
        if rule is None or place is None:
            return rule
        return self._rules.for_course(rule, place.record_id, place.title)

    def _day_of(self, moment: datetime) -> date:
        return moment.astimezone(self._forecast.zone).date()

    def _nearby(self, action: PlayedAction, window: timedelta) -> int:
        moment, alike = action.planned_at, self._planned_at[action.plan.audience]
        return bisect_right(alike, moment + window) - bisect_left(alike, moment - window)

    def _settle(self, action: PlayedAction, outcome: Outcome, now: datetime) -> None:
        action.state, action.reason = outcome.state, outcome.reason
        action.decided.append((now, outcome))
        if outcome.state is ActionState.WAITING:
            self._schedule(action, outcome.until or action.due_at, now)
        elif outcome.state is ActionState.DONE:
            if action.released_at is None:
                self.count_as_sent_by(action.plan.rule, 1, now)
            if action.plan.audience is None:
                self._count_to_member(action.plan, now)
        elif outcome.state is ActionState.SKIPPED and not step_of(action.plan.key):
            alike = self._planned_at[action.plan.audience]
            del alike[bisect_left(alike, action.planned_at)]
        if outcome.state in _ENDED:
            self._unsettled[action.plan.coworker_id].remove(action)

    def _count_to_member(self, plan: Plan, now: datetime) -> None:
        self._performed[plan.coworker_id, plan.kind].append(now)
        if plan.stream == Stream.REMINDER:
            sent = SentReminder(now, plan.course_member_id)
            self._reminders[plan.coworker_id].append(sent)

    def _schedule(self, action: PlayedAction, due_at: datetime, now: datetime) -> None:
        action.due_at = due_at
        heapq.heappush(self._due, (max(due_at, now), due_at, action.number, action))


def _is_one_sitting(first: Plan, plan: Plan) -> bool:
    """Return whether these gather into one action, the first of which was at that time."""
    if plan.gather_until is None:
        return False
    longest = plan.gather_until - plan.happened_at
    return plan.happened_at - longest <= first.happened_at <= plan.gather_until
