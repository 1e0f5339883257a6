"""Histories in plain words, and what Coursebell decides about them, also in plain words.

A history has one line for each thing that happens, with its time on the business's clock:

    3 Mar 14:02 Ana finishes lesson 1
    3 Mar 14:15 Ana finishes lesson 2, found 4 Mar 08:30
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.actions import ActionState
from schemas.events import Event, EventKind, Timer
from schemas.person import Person
from schemas.reasons import Reason
from schemas.records import Lesson
from schemas.rules import Rules
from tests.builders.space import Member, Space, Step, clock, step_of
from workers.actions.email.action import EmailAction
from workers.decide.absence import Study, judge, timers_of
from workers.decide.completion import progress
from workers.decide.events import (
    EnrolmentRef,
    from_completions,
    from_enrolment,
    from_gone_completion,
    from_gone_enrolment,
)
from workers.decide.play import Circumstances, Found, Play, PlayedAction
from workers.decide.rules import Subject
from workers.decide.send_check import StudyState

_PATIENCE = timedelta(days=60)


class Stage:
    """Plays a history by rules, in a space whose clock is in `zone`.

    `people` are time zones by name, for those whose zone is not the business's.
    """

    def __init__(self, rules: Rules, zone: str, people: Mapping[str, str]) -> None:
        self._zone = ZoneInfo(zone)
        self._rules = rules
        self._space = Space(people)
        self._known: set[str] = set()
        self._play = Play(rules, self._ask, {"email": EmailAction.needs})
        self._timers: dict[str, Timer | None] = {}  # None: it happened, or was cancelled
        self._lines: list[tuple[datetime, str]] = []

    def play(self, history: str) -> list[str]:
        """Return a line for each email that is sent, not sent or held, in the order of time.

        Also one for each event that a rule names and that led to nothing.
        """
        steps = [step_of(line, self._zone) for line in history.splitlines() if line.strip()]
        moments = [(min(step.at, step.found_at), 0, step) for step in steps]
        moments += [(step.found_at, 1, step) for step in steps]
        concerned: dict[Step, tuple[str, str] | None] = {}
        for moment, is_found, step in sorted(moments, key=lambda one: (one[0], one[1])):
            self._pass(moment)
            if not is_found:
                concerned[step] = self._space.happen(step)
                self._release(step)
            elif (whose := concerned[step]) is not None:
                self._find(step, *whose)
        self._pass(max(step.found_at for step in steps) + _PATIENCE)
        for action in self._play.unsettled():
            if action.is_open:
                self._write(action.due_at, f"{self._email_of(action)} still waits: {action.reason}")
        return [f"{clock(at, self._zone)} {text}" for at, text in sorted(self._lines)]

    def _write(self, at: datetime, text: str) -> None:
        self._lines.append((at, text))

    def _release(self, step: Step) -> None:
        name, words, _ = step.what.partition("'s held emails are released")
        for action in self._play.unsettled() if words else ():
            is_theirs = action.plan.coworker_id == self._space.person(name).coworker_id
            if action.state is ActionState.HELD and is_theirs:
                self._play.release(action, step.at)

    def _find(self, step: Step, name: str, title: str) -> None:
        member = self._space.member(name, title)
        enrolment = member.enrolment or member.before
        if enrolment is None:
            return  # a person who is not on this course
        detected = self._detected(member, title, step.found_at)
        shown = list(detected)
        shown += self._timed(member, title, shown, step.found_at)
        events = [one for one in shown if one.key not in self._known]
        self._known |= {one.key for one in events}
        zone, place = self._zone_of(self._space.person(name)), self._space.course(title)
        done = {one.lesson_id for one in member.done} - member.reopened
        how_far = progress(self._space.lessons[place.record_id], done, self._rules.counts)
        found = [
            Found(
                one, step.found_at, Subject(enrolment, place, self._lesson_of(one), how_far), zone
            )
            for one in events
        ]
        for event, plans in self._play.find(found):
            named = any(rule.event is event.kind for rule in self._rules.rules)
            if isinstance(plans, Reason) and (named or plans is not Reason.KIND_OFF):
                self._write(step.found_at, f"{name}: {_about(event)} leads to nothing: {plans}")
        if member.enrolment is not None:
            member.before = member.enrolment

    def _timed(
        self, member: Member, title: str, shown: Sequence[Event], now: datetime
    ) -> list[Event]:
        """Update the timers of an enrolment; return the events that happen now."""
        if member.enrolment is None:
            return []
        lessons = self._space.lessons[self._space.course(title).record_id]
        done = [one for one in member.done if one.lesson_id not in member.reopened]
        ids = {one.lesson_id for one in done}
        given = [one.happened_at for one in shown if one.kind is EventKind.ENROLLED]
        is_finished = progress(lessons, ids, self._rules.counts).finished
        begun_at = given[0] if given else member.enrolment.created_at
        study = Study(member.enrolment, begun_at, done, lessons, (), is_finished)
        timed, happened = self._rules.timed(), []
        for key, timer in list(self._timers.items()):
            if timer is None or timer.course_member_id != member.enrolment.record_id:
                continue
            result = judge(timer, study, timed, now)
            self._timers[key] = result if isinstance(result, Timer) else None
            happened += [result] if isinstance(result, Event) else []
        for timer in timers_of(study, timed):
            if timer.due_at > now:
                self._timers.setdefault(timer.key, timer)
        return happened

    def _pass(self, until: datetime) -> None:
        """Move the clock, and look at enrolments again whose timers are due on the way."""
        while True:
            due = [one for one in self._timers.values() if one and one.due_at <= until]
            timer = min(due, key=lambda one: (one.due_at, one.key), default=None)
            if timer is None:
                break
            self._advance(timer.due_at)
            whose = next((w for w, m in self._space.members.items() if _is_of(timer, m)), None)
            if whose is None or self._space.member(*whose).enrolment is None:
                self._timers[timer.key] = None  # the enrolment is gone
            else:
                self._find(Step(timer.due_at, timer.due_at, ""), *whose)
        self._advance(until)

    def _detected(self, member: Member, title: str, now: datetime) -> Iterator[Event]:
        if member.enrolment is None:
            if member.before is not None:
                gone = member.before
                whose = EnrolmentRef(gone.record_id, gone.course_id, gone.coworker_id)
                yield from_gone_enrolment(whose, now)
            return
        enrolment = member.enrolment
        yield from from_enrolment(member.before, enrolment)
        lessons = self._space.lessons[self._space.course(title).record_id]
        done = [one for one in member.done if one.lesson_id not in member.reopened]
        yield from from_completions(enrolment, done, lessons, self._rules.counts)
        whose = EnrolmentRef(enrolment.record_id, enrolment.course_id, enrolment.coworker_id)
        for one in member.done:
            if one.lesson_id in member.reopened:
                yield from_gone_completion(one.record_id, one.lesson_id, whose, now)

    def _lesson_of(self, event: Event) -> Lesson | None:
        lessons = self._space.lessons[event.course_id]
        return next((one for one in lessons if one.record_id == event.lesson_id), None)

    def _zone_of(self, someone: Person) -> ZoneInfo:
        return ZoneInfo(someone.zone) if someone.zone else self._zone

    def _whose(self, action: PlayedAction) -> tuple[str, str]:
        space, plan = self._space, action.plan
        name = next(n for n, one in space.people.items() if one.coworker_id == plan.coworker_id)
        title = next(t for t, one in space.courses.items() if one.record_id == plan.course_id)
        return name, title

    def _ask(self, action: PlayedAction, _: datetime) -> Circumstances:
        space, (name, title) = self._space, self._whose(action)
        member = space.member(name, title)
        return Circumstances(
            space.mode,
            space.sending_since,
            self._zone_of(space.person(name)),
            member.enrolment,
            space.course(title),
            space.person(name),
            space.choices.get(name, {}),
            frozenset(member.reopened),
            self._study(member, title),
        )

    def _study(self, member: Member, title: str) -> StudyState:
        done = [one for one in member.done if one.lesson_id not in member.reopened]
        lessons = self._space.lessons[self._space.course(title).record_id]
        ids = frozenset(one.lesson_id for one in done)
        moments = [one.created_at for one in done]
        if member.enrolment and member.enrolment.last_access_at:
            moments.append(member.enrolment.last_access_at)
        is_finished = progress(lessons, ids, self._rules.counts).finished
        return StudyState(ids, max(moments, default=None), is_finished)

    def _advance(self, until: datetime) -> None:
        for action in self._play.advance(until):
            self._write(action.decided[-1][0], self._end_of(action))

    def _email_of(self, action: PlayedAction) -> str:
        name, title = self._whose(action)
        is_sent = action.state is ActionState.DONE
        gone = self._space.member(name, title).reopened if is_sent else set()
        lessons = sorted({one.lesson_id for one in action.events if one.lesson_id} - gone)
        about = "" if action.plan.template != "lesson-finished" else f" {_numbers(lessons)}"
        return f"{name}: {action.plan.template or action.plan.rule}{about}"

    def _end_of(self, action: PlayedAction) -> str:
        waited = dict.fromkeys(
            str(outcome.reason)
            for _, outcome in action.decided
            if outcome.state is ActionState.WAITING and outcome.reason is not Reason.GATHERING
        )
        after = f" (after {', '.join(waited)})" if waited else ""
        email = self._email_of(action)
        match action.state:
            case ActionState.DONE:
                return f"{email} is sent{after}"
            case ActionState.HELD:
                return f"{email} is held: {action.reason}"
            case _:
                return f"{email} is not sent: {action.reason}"


def _numbers(lessons: list[int]) -> str:
    return ", ".join(str(one) for one in lessons)


def _about(event: Event) -> str:
    return str(event.kind) if event.lesson_id is None else f"{event.kind} {event.lesson_id}"


def _is_of(timer: Timer, member: Member) -> bool:
    enrolment = member.enrolment or member.before
    return enrolment is not None and enrolment.record_id == timer.course_member_id
