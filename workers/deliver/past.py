"""Reads what the ledger has about the people and courses of a history that is played again."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from ledger.choices import all_choices
from ledger.engine import Connection, Engine, reading
from ledger.history import StoredEvent, completions_of
from ledger.pauses import Pause, pause_of
from ledger.people import persons_of
from ledger.records import present_below, records_of
from schemas.actions import HOST, Mode
from schemas.choices import SNOOZE, Choices, combined
from schemas.entity import Entity
from schemas.events import Event
from schemas.person import Person
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Lesson, Section
from schemas.rules import Rules
from workers.actions.base import Recipient
from workers.decide.completion import closed_among, counting_lessons, progress
from workers.decide.conditions import Subject
from workers.decide.play import Circumstances, Found, PlayedAction
from workers.decide.send_check import StudyState
from workers.deliver.context import SendSetup, still_there
from workers.deliver.recipients import assumed_host, keys_of, recipient_of
from workers.zones import own_zone

# What was found for these reasons led to nothing, whatever the rules were.
_WHATEVER = frozenset({Reason.BEFORE_START, Reason.IMPORTED})


class Past:
    """What the ledger has about the people and courses of a history, each read once."""

    def __init__(
        self,
        engine: Engine,
        setup: SendSetup,
        mode: Mode = Mode.SENDING,
        pauses: Sequence[Pause] = (),
    ) -> None:
        self._engine = engine
        self._setup = setup
        self._mode = mode
        self._pauses = pauses
        self._enrolments: dict[int, CourseMember | None] = {}
        self._people: dict[int, Person | None] = {}
        self._courses: dict[int, Course | None] = {}
        self._lessons: dict[int, tuple[list[Lesson], frozenset[int]]] = {}
        self._completions: dict[int, list[tuple[datetime, int]]] = {}
        self._chosen: dict[Recipient, Choices] = {}
        with reading(engine) as connection:
            self._choices = all_choices(connection)

    def found(self, group: Sequence[StoredEvent], rules: Rules) -> list[Found]:
        """Return these events as a play needs them; those of unknown enrolments are left out."""
        first = group[0].event
        enrolment = self._enrolments[first.course_member_id]
        if enrolment is None:
            return []
        course, (lessons, closed) = self._courses[first.course_id], self._lessons[first.course_id]
        done = self._done(first.course_member_id, group[0].found_at)
        how_far = progress(lessons, done, rules.counts, closed) if lessons else None
        by_id = {one.record_id: one for one in lessons}
        return [
            Found(
                one.event,
                one.found_at,
                Subject(enrolment, course, by_id.get(one.event.lesson_id or 0), how_far),
                self._setup.zone,
                why_not=one.reason if one.reason in _WHATEVER else None,
                zones=self._zones(first, course),
            )
            for one in group
        ]

    def circumstances(self, action: PlayedAction, now: datetime) -> Circumstances:
        """Return what is true of an action: records of today, and lessons finished until then."""
        plan = action.plan
        person, course = self._people[plan.coworker_id], self._courses[plan.course_id]
        host, rule = self._host(course), self._setup.rules.by_name(plan.rule)
        to = recipient_of(plan.audience, person, host, rule)
        chosen = self._choices_of(to)
        lessons, closed = self._lessons[plan.course_id]
        done = self._done(plan.course_member_id, now)
        counting = counting_lessons(lessons, self._setup.rules.counts, closed)
        moments = [at for at, _ in self._completions[plan.course_member_id] if at <= now]
        whose = {"course_id": plan.course_id, "coworker_id": plan.coworker_id}
        return Circumstances(
            self._mode,
            None,
            own_zone(to.zone, self._setup.zone),
            self._enrolments[plan.course_member_id],
            course,
            person,
            chosen.agreed,
            study=StudyState(
                frozenset(done),
                max(moments, default=None),
                bool(counting) and all(one.record_id in done for one in counting),
            ),
            is_paused=pause_of(self._pauses, now, rule=plan.rule, **whose) is not None,
            is_snoozed=_is_snoozed(chosen, now),
            host=host,
        )

    def next_lesson(self, member: CourseMember, now: datetime) -> int | None:
        """Return the lesson that a member would finish next: the first that is not finished."""
        lessons, closed = self._lessons[member.course_id]
        done = self._done(member.record_id, now)
        counting = counting_lessons(lessons, self._setup.rules.counts, closed)
        left = [one for one in counting if one.record_id not in done]
        return (left or counting)[0].record_id if counting else None

    def _done(self, course_member_id: int, now: datetime) -> set[int]:
        found = self._completions[course_member_id]
        return {lesson_id for at, lesson_id in found if at <= now}

    def _zones(self, event: Event, course: Course | None) -> dict[str | None, ZoneInfo]:
        people = {None: self._people[event.coworker_id], HOST: self._host(course)}
        return {
            to: own_zone(one.zone if one else None, self._setup.zone) for to, one in people.items()
        }

    def _host(self, course: Course | None) -> Person | None:
        found = self._people.get(course.host_id or 0) if course else None
        return found or assumed_host(course)

    def _choices_of(self, to: Recipient) -> Choices:
        if not self._choices:
            return Choices()
        if to not in self._chosen:
            keys = keys_of(to, self._setup.secret_key)
            made = (each for key in keys for each in self._choices.get(key, ()))
            self._chosen[to] = combined(made)
        return self._chosen[to]

    def load(self, events: Sequence[Event]) -> None:
        """Read what is not known yet of the enrolments, people and courses of these events."""
        members = {one.course_member_id for one in events} - self._enrolments.keys()
        people = {one.coworker_id for one in events} - self._people.keys()
        courses = {one.course_id for one in events} - self._courses.keys()
        if not (members or people or courses):
            return
        with reading(self._engine) as connection:
            enrolments = records_of(connection, Entity.COURSE_MEMBER, members)
            finished = completions_of(connection, members)
            places = records_of(connection, Entity.COURSE, courses)
            for one in courses:
                self._courses[one] = still_there(places.get(one), Course)
            hosts = {one.host_id or 0 for one in self._courses.values() if one}
            people |= hosts - self._people.keys()
            persons = persons_of(connection, people)
            below = {one: lessons_of(connection, one) for one in courses}
        for one in members:
            self._enrolments[one] = still_there(enrolments.get(one), CourseMember)
            self._completions[one] = finished.get(one, [])
        for one in people:
            self._people[one] = persons.get(one)
        self._lessons |= below


def _is_snoozed(chosen: Choices, now: datetime) -> bool:
    snooze = chosen.made.get(SNOOZE)
    has_begun = snooze is not None and snooze.chosen_at <= now
    return has_begun and chosen.snoozed_until(now) is not None


def lessons_of(connection: Connection, course_id: int) -> tuple[list[Lesson], frozenset[int]]:
    """Return the lessons of a course, and the Ids of its sections that are switched off."""
    below = ("course_id", course_id)
    lessons = present_below(connection, Entity.LESSON, below)
    sections = present_below(connection, Entity.SECTION, below)
    closed = closed_among(one for one in sections if isinstance(one, Section))
    return [one for one in lessons if isinstance(one, Lesson)], closed
