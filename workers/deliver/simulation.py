"""Plays the history in the ledger by given rules: who would have got which email, and why not.

The events are those that were found then; whether rules act on them, and when, is decided anew. The
records are those of today: who is blocked now counts as blocked throughout. Absences that no rule
asked for then are not in the history. Nothing is written, and Nexudus is not asked.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from zoneinfo import ZoneInfo

from ledger.actions import count_sent, sent_times
from ledger.choices import all_choices, choice_keys
from ledger.controls import accepted_forecast, sending_of
from ledger.engine import Connection, Engine, reading
from ledger.history import (
    KeyedEmail,
    StoredEvent,
    completions_of,
    count_events_since,
    enrolments_of,
    events_after,
    first_event_since,
    sent_emails,
)
from ledger.pauses import Pause, open_pauses, pause_of
from ledger.people import persons_of
from ledger.records import present_below, records_of
from schemas.actions import ActionState, Mode
from schemas.choices import SNOOZE, Choices, combined
from schemas.entity import Entity
from schemas.events import ABOUT_LESSONS, Event, EventKind
from schemas.person import Person
from schemas.reasons import Reason
from schemas.records import Course, CourseMember, Lesson, Section
from schemas.rules import Rules
from workers.actions.email import KIND as EMAIL
from workers.decide.completion import closed_among, counting_lessons, progress
from workers.decide.conditions import Subject
from workers.decide.play import Circumstances, Forecast, Found, Play, PlayedAction
from workers.decide.send_check import StudyState
from workers.decide.timing import day_began
from workers.deliver.context import SendSetup, still_there
from workers.zones import own_zone

_AT_ONCE = 1_000  # events
_WEEK = timedelta(days=7)
_MOST_SHOWN = 50  # differences of one kind
_AFTER_LAST = timedelta(days=31)
# What was found for these reasons led to nothing, whatever the rules were.
_WHATEVER = frozenset({Reason.BEFORE_START, Reason.IMPORTED})
SENT = "sent"


@dataclass(slots=True)
class Simulation:
    """The result. Numbers are by rule, then by `sent` or the reason why not.

    `by_day` and `by_rule_and_day` have the sent ones, by days in COURSEBELL_ZONE. `events` are
    those that led to nothing, by reason. `added` would have been sent and were not, `missing` were
    sent and would not have been: the first of them, and all by rule.
    """

    since: datetime
    until: datetime
    played: int = 0
    by_rule: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    people: set[int] = field(default_factory=set)
    events: Counter[str] = field(default_factory=Counter)
    by_day: Counter[str] = field(default_factory=Counter)
    by_rule_and_day: defaultdict[str, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    waited: Counter[str] = field(default_factory=Counter)
    busiest: Counter[int] = field(default_factory=Counter)
    added: list[KeyedEmail] = field(default_factory=list)
    added_by_rule: Counter[str] = field(default_factory=Counter)
    missing: list[KeyedEmail] = field(default_factory=list)
    missing_by_rule: Counter[str] = field(default_factory=Counter)

    def busiest_day(self, rule: str) -> tuple[str, int] | None:
        """Return on which day a rule sent most, the last of several, and how many; or None."""
        days = self.by_rule_and_day.get(rule, Counter())
        return max(days.items(), key=lambda one: (one[1], one[0]), default=None)


def simulate(  # noqa: PLR0913 - what to play, since when and how
    engine: Engine,
    setup: SendSetup,
    since: datetime,
    now: datetime,
    progressed: Callable[[float], None] = lambda _: None,
    *,
    with_brakes: bool = True,
) -> Simulation:
    """Play the events found from `since` on by the rules of this set-up.

    `progressed` is called with the share done, 0 to 1. `with_brakes`: the accepted forecast
    applies. Raises `LedgerUnavailable`.
    """
    past, rules = _Past(engine, setup), setup.rules
    needs = {name: action.needs for name, action in setup.actions.items()}
    result = Simulation(since, now)
    with reading(engine) as connection:
        total = count_events_since(connection, since)
        were_sent = sent_emails(connection, since)
        forecast = _forecast_now(connection, setup.zone) if with_brakes else None
    play = Play(rules, past.circumstances, needs, forecast=forecast)
    note = partial(_note, result, were_sent, setup.zone)
    for group in _groups(engine, since, past.load):
        for action in play.advance(group[0].found_at):
            note(action)
        for event, plans in play.find(past.found(group, rules)):
            if isinstance(plans, Reason):
                result.events[f"{event.kind}: {plans}"] += 1
        result.played += len(group)
        progressed(min(1.0, result.played / max(1, total)))
    for action in play.advance(now + _AFTER_LAST):
        note(action)
    for action in play.unsettled():
        if action.is_open:
            result.by_rule[action.plan.rule][str(action.reason)] += 1
    result.missing_by_rule = Counter(one.rule for one in were_sent.values())
    result.missing = [were_sent[key] for key in sorted(were_sent)[:_MOST_SHOWN]]
    return result


def _groups(
    engine: Engine, since: datetime, load: Callable[[Sequence[Event]], None]
) -> Iterator[list[StoredEvent]]:
    """Yield the events that were found together, in the order of time; `load` gets more at once."""
    rest: list[StoredEvent] = []
    with reading(engine) as connection:
        after = first_event_since(connection, since) - 1
    while True:
        with reading(engine) as connection:
            some = events_after(connection, since, after, _AT_ONCE)
        if not some:
            break
        after = some[-1].event_id
        load([one.event for one in some])
        groups = [list(one) for _, one in groupby([*rest, *some], key=_together)]
        yield from groups[:-1]
        rest = groups[-1]
    if rest:
        yield rest


def _together(one: StoredEvent) -> tuple[datetime, int]:
    return one.found_at, one.event.course_member_id


def _forecast_now(connection: Connection, zone: ZoneInfo) -> Forecast | None:
    accepted = accepted_forecast(connection)
    return None if accepted is None else Forecast(accepted.per_day, zone)


def _note(
    result: Simulation, were_sent: dict[str, KeyedEmail], zone: ZoneInfo, action: PlayedAction
) -> None:
    plan, at = action.plan, action.decided[-1][0]
    is_sent = action.state is ActionState.DONE
    result.by_rule[plan.rule][SENT if is_sent else str(action.reason)] += 1
    for _, outcome in action.decided:
        if outcome.state is ActionState.WAITING:
            result.waited[str(outcome.reason)] += 1
    was_sent = plan.key in were_sent
    if is_sent or action.state is ActionState.HELD:
        were_sent.pop(plan.key, None)  # what is held is not missing: a person decides
    if not is_sent:
        return
    result.people.add(plan.coworker_id)
    result.busiest[plan.coworker_id] += 1
    day = f"{at.astimezone(zone):%Y-%m-%d}"
    result.by_day[day] += 1
    result.by_rule_and_day[plan.rule][day] += 1
    if not was_sent:
        result.added_by_rule[plan.rule] += 1
        if len(result.added) < _MOST_SHOWN:
            email = KeyedEmail(plan.key, plan.rule, plan.coworker_id, plan.course_id)
            result.added.append(email)


@dataclass(frozen=True, slots=True)
class ImaginedEmail:
    """What would become of one email: sent at `at`, or held or not sent then for this reason.

    Of a sent one, `reason` is what it had to wait for, if it had to.
    """

    rule: str
    state: ActionState
    at: datetime
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Imagined:
    """What would follow from an imagined event: emails, or the reason why there is none."""

    reason: Reason | None
    emails: tuple[ImaginedEmail, ...] = ()


def imagine(  # noqa: PLR0913, PLR0917 - what happens, to whom, and when
    engine: Engine,
    setup: SendSetup,
    kind: EventKind,
    coworker_id: int,
    course_id: int | None,
    now: datetime,
) -> Imagined | None:
    """Return what would follow if this happened to a person now; None if it is unclear where.

    The person's emails of the last week count for the limits, and all emails of today for brakes.
    Raises `LedgerUnavailable`.
    """
    with reading(engine) as connection:
        places = enrolments_of(connection, coworker_id, course_id)
        if len(places) != 1:
            return None
        sent = sent_times(connection, coworker_id, now - _WEEK, kind=EMAIL, but=0)
        forecast = _forecast_now(connection, setup.zone)
        today = day_began(now, setup.zone)
        by_rule = {
            name: count_sent(connection, name, today, but=0) for name in setup.rules.braked()
        }
        mode, pauses = sending_of(connection).mode, open_pauses(connection)
    [member] = places
    past = _Past(engine, setup, mode, pauses)
    whose = (member.course_id, coworker_id, member.record_id)
    past.load([Event(kind, "", now, *whose, None)])
    lesson_id = past.next_lesson(member, now) if kind in ABOUT_LESSONS else None
    event = Event(kind, f"{kind}:imagined", now, *whose, lesson_id)
    needs = {name: action.needs for name, action in setup.actions.items()}
    play = Play(setup.rules, past.circumstances, needs, forecast=forecast)
    play.count_as_sent(coworker_id, EMAIL, sent)
    for name, number in by_rule.items():
        play.count_as_sent_by(name, number, now)
    [(_, plans)] = play.find(past.found([StoredEvent(0, event, now, None)], setup.rules))
    if isinstance(plans, Reason):
        return Imagined(plans)
    for _ in play.advance(now + timedelta(days=400)):
        pass
    return Imagined(None, tuple(_imagined(one) for one in plans))


def _imagined(action: PlayedAction) -> ImaginedEmail:
    at, outcome = action.decided[-1]
    waits = [one.reason for _, one in action.decided if one.state is ActionState.WAITING]
    reason = outcome.reason or (waits[0] if waits else None)
    return ImaginedEmail(action.plan.rule, action.state, at, reason)


class _Past:
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
        self._chosen: dict[int, Choices] = {}
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
                self._zone(first.coworker_id),
                why_not=one.reason if one.reason in _WHATEVER else None,
            )
            for one in group
        ]

    def circumstances(self, action: PlayedAction, now: datetime) -> Circumstances:
        """Return what is true of an action: records of today, and lessons finished until then."""
        plan = action.plan
        person = self._people[plan.coworker_id]
        chosen = self._chosen.get(plan.coworker_id, Choices())
        lessons, closed = self._lessons[plan.course_id]
        done = self._done(plan.course_member_id, now)
        counting = counting_lessons(lessons, self._setup.rules.counts, closed)
        moments = [at for at, _ in self._completions[plan.course_member_id] if at <= now]
        whose = {"course_id": plan.course_id, "coworker_id": plan.coworker_id}
        return Circumstances(
            self._mode,
            None,
            self._zone(plan.coworker_id),
            self._enrolments[plan.course_member_id],
            self._courses[plan.course_id],
            person,
            chosen.agreed,
            study=StudyState(
                frozenset(done),
                max(moments, default=None),
                bool(counting) and all(one.record_id in done for one in counting),
            ),
            is_paused=pause_of(self._pauses, now, rule=plan.rule, **whose) is not None,
            is_snoozed=_is_snoozed(chosen, now),
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

    def _zone(self, coworker_id: int) -> ZoneInfo:
        person = self._people[coworker_id]
        return own_zone(person.zone if person else None, self._setup.zone)

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
            persons = persons_of(connection, people)
            places = records_of(connection, Entity.COURSE, courses)
            below = {one: lessons_of(connection, one) for one in courses}
        for one in members:
            self._enrolments[one] = still_there(enrolments.get(one), CourseMember)
            self._completions[one] = finished.get(one, [])
        for one in people:
            person = self._people[one] = persons.get(one)
            if self._choices:
                email = person.email if person else None
                keys = choice_keys(self._setup.secret_key, one, email)
                made = (each for key in keys for each in self._choices.get(key, ()))
                self._chosen[one] = combined(made)
        for one in courses:
            self._courses[one] = still_there(places.get(one), Course)
            self._lessons[one] = below[one]


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
