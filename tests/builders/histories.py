"""Histories in plain words, and what Coursebell decides about them, also in plain words.

A history has one line for each thing that happens, with its time on the business's clock:

    3 Mar 14:02 Ana finishes lesson 1
    3 Mar 14:15 Ana finishes lesson 2, found 4 Mar 08:30
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from schemas.actions import HOST, ActionState
from schemas.events import Event, EventKind, Timer
from schemas.reasons import Reason
from schemas.records import Lesson
from schemas.rules import Rules
from tests.builders.playback import Playback
from tests.builders.space import Member
from workers.actions.email.action import EmailAction
from workers.decide.absence import Study, judge, timers_of
from workers.decide.completion import progress
from workers.decide.conditions import Subject
from workers.decide.events import (
    EnrolmentRef,
    from_completions,
    from_enrolment,
    from_gone_completion,
    from_gone_enrolment,
)
from workers.decide.play import Circumstances, Forecast, Found, Play, PlayedAction
from workers.decide.send_check import StudyState


class Stage(Playback):
    """Plays a history by rules, with the code that decides for Coursebell.

    `forecast` is the accepted one: emails on the busiest day, by rule.
    """

    def __init__(
        self,
        rules: Rules,
        zone: str,
        people: Mapping[str, str],
        forecast: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(zone, people)
        self._rules = rules
        self._known: set[str] = set()
        accepted = None if forecast is None else Forecast(forecast, self._zone)
        self._play = Play(rules, self._ask, {"email": EmailAction.needs}, forecast=accepted)
        self._timers: dict[str, Timer | None] = {}  # None: it happened, or was cancelled
        self._enrolled_at: dict[int, datetime] = {}  # by the Id of the enrolment

    def _release(self, name: str, now: datetime) -> None:
        for action in self._play.unsettled():
            is_theirs = action.plan.coworker_id == self._space.person(name).coworker_id
            if action.state is ActionState.HELD and is_theirs:
                self._play.release(action, now)

    def _find(self, name: str, title: str, now: datetime) -> None:
        member = self._space.member(name, title)
        enrolment = member.enrolment or member.before
        if enrolment is None:
            return  # a person who is not on this course
        detected = self._detected(member, title, now)
        shown = list(detected)
        shown += self._timed(member, title, shown, now)
        events = [one for one in shown if one.key not in self._known]
        self._known |= {one.key for one in events}
        place, done = self._space.course(title), {one.lesson_id for one in member.done}
        how_far = progress(self._space.lessons[place.record_id], done, self._rules.counts)
        subject = Subject(enrolment, place, None, how_far)
        found = [
            Found(
                *(one, now, replace(subject, lesson=self._lesson_of(one)), self._zone),
                zones={
                    to: self._zone_of(whose) for to, whose in self._people_at(name, title).items()
                },
            )
            for one in events
        ]
        self._play.watching_since = self._space.sending_since
        for event, plans in self._play.find(found):
            named = any(rule.event is event.kind for rule in self._rules.rules)
            if isinstance(plans, Reason) and (named or plans is not Reason.KIND_OFF):
                self._write(now, f"{name}: {_about(event)} leads to nothing: {plans}")
        if member.enrolment is not None:
            member.before = member.enrolment

    def _timed(
        self, member: Member, title: str, shown: Sequence[Event], now: datetime
    ) -> list[Event]:
        """Update the timers of an enrolment; return the events that happen now."""
        if member.enrolment is None:
            return []
        lessons = self._space.lessons[self._space.course(title).record_id]
        done = member.done
        ids = {one.lesson_id for one in done}
        whose = member.enrolment.record_id
        for one in shown:
            if one.kind is EventKind.ENROLLED:
                self._enrolled_at.setdefault(whose, min(one.happened_at, now))
        begun_at = self._enrolled_at.get(whose, min(member.enrolment.created_at, now))
        is_finished = progress(lessons, ids, self._rules.counts).finished
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

    def _next_timer(self) -> tuple[datetime, int, str] | None:
        timers = [one for one in self._timers.values() if one]
        timer = min(timers, key=lambda one: one.due_at, default=None)
        return (timer.due_at, timer.course_member_id, timer.key) if timer else None

    def _drop_timer(self, key: str) -> None:
        self._timers[key] = None

    def _detected(self, member: Member, title: str, now: datetime) -> Iterator[Event]:
        if member.enrolment is None:
            if member.before is not None:
                gone = member.before
                whose = EnrolmentRef(gone.record_id, gone.course_id, gone.coworker_id)
                yield from_gone_enrolment(whose, now)
            return
        enrolment = member.enrolment
        before = member.before
        is_same = before is not None and before.record_id == enrolment.record_id
        yield from from_enrolment(before if is_same else None, enrolment)
        lessons = self._space.lessons[self._space.course(title).record_id]
        done = member.done
        yield from from_completions(enrolment, done, lessons, self._rules.counts)
        whose = EnrolmentRef(enrolment.record_id, enrolment.course_id, enrolment.coworker_id)
        for one in member.gone:
            yield from_gone_completion(one.record_id, one.lesson_id, whose, now)

    def _lesson_of(self, event: Event) -> Lesson | None:
        lessons = self._space.lessons[event.course_id]
        return next((one for one in lessons if one.record_id == event.lesson_id), None)

    def _people_at(self, name: str, title: str) -> dict[str | None, str]:
        """Return the member and the host of the course, by audience."""
        hosts = self._space.course(title).host_id
        found: dict[str | None, str] = {None: name}
        for who, one in self._space.people.items():
            if one.coworker_id == hosts:
                found[HOST] = who
        return found

    def _whose(self, action: PlayedAction) -> tuple[str, str]:
        space, plan = self._space, action.plan
        name = next(n for n, one in space.people.items() if one.coworker_id == plan.coworker_id)
        title = next(t for t, one in space.courses.items() if one.record_id == plan.course_id)
        return name, title

    def _ask(self, action: PlayedAction, _: datetime) -> Circumstances:
        space, (name, title) = self._space, self._whose(action)
        member = space.member(name, title)
        enrolment = member.enrolment
        who = self._people_at(name, title)
        to = who.get(action.plan.audience, "")  # nobody of this space, if it is an address
        if enrolment is not None and enrolment.record_id != action.plan.course_member_id:
            enrolment = None  # the member left, and enrolled anew
        return Circumstances(
            space.mode,
            space.sending_since,
            self._zone_of(to) if to else self._zone,
            enrolment,
            space.course(title),
            space.person(name),
            space.choices.get(to, {}),
            frozenset(member.reopened),
            self._study(member, title),
            messages=space.messages.get(name, []),
            host=space.person(who[HOST]) if HOST in who else None,
        )

    def _study(self, member: Member, title: str) -> StudyState:
        done = member.done
        lessons = self._space.lessons[self._space.course(title).record_id]
        ids = frozenset(one.lesson_id for one in done)
        moments = [one.created_at for one in done]
        if member.enrolment and member.enrolment.last_access_at:
            moments.append(member.enrolment.last_access_at)
        is_finished = progress(lessons, ids, self._rules.counts).finished
        return StudyState(ids, max(moments, default=None), is_finished)

    def _advance(self, until: datetime) -> None:
        for action in self._play.advance(until):
            waits = dict.fromkeys(
                str(outcome.reason)
                for _, outcome in action.decided
                if outcome.state is ActionState.WAITING and outcome.reason is not Reason.GATHERING
            )
            state = "sent" if action.state is ActionState.DONE else str(action.state)
            at, words = action.decided[-1][0], self._email_of(action)
            self._write_end(at, words, state, str(action.reason), waits)

    def _waiting(self) -> Iterator[tuple[datetime, str]]:
        for action in self._play.unsettled():
            if action.is_open:
                yield action.due_at, f"{self._email_of(action)} still waits: {action.reason}"

    def _email_of(self, action: PlayedAction) -> str:
        lessons = {one.lesson_id for one in action.events if one.lesson_id}
        template = action.plan.template or action.plan.rule
        is_sent = action.state is ActionState.DONE
        words = self._words(self._whose(action), template, lessons, is_sent=is_sent)
        return f"{words}{self._to_whom(action)}"

    def _to_whom(self, action: PlayedAction) -> str:
        audience, rule = action.plan.audience, self._rules.by_name(action.plan.rule)
        if audience is None or rule is None:
            return ""
        return f" to {rule.address_of(audience) or 'the host'}"


def _about(event: Event) -> str:
    return str(event.kind) if event.lesson_id is None else f"{event.kind} {event.lesson_id}"
