"""A person: what happened, which emails they got or did not, and why."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from flask import Response

from ledger.engine import reading
from ledger.people import person_of
from ledger.queries import EmailView
from ledger.stories import ActionView, TitledEvent
from schemas.actions import OPEN_ACTIONS, ActionState
from schemas.choices import ALL, Choices, objection_to
from schemas.errors import ConfigurationError
from schemas.events import EventKind
from schemas.rules import Stream
from service.desk.visit import Visit
from service.desk.wording import (
    REMINDING,
    Holding,
    Shown,
    explained,
    happened,
    shown_email,
    shown_event,
    words,
)
from service.people_search import known_person
from service.person_history import HistoryFilter, PersonHistory, main_action, person_history
from workers.languages import language_for
from workers.progress import CourseProgress, progress_in

_COUNTED_FOR = timedelta(days=30)
_QUESTIONS = {
    EventKind.LESSON_COMPLETED: words("Did {name} get the congratulations?"),
    EventKind.COURSE_COMPLETED: words("Did {name} get the congratulations?"),
    EventKind.ENROLLED: words("Did {name} get the welcome?"),
    EventKind.ENROLMENT_APPROVED: words("Did {name} get the welcome?"),
}
_OPENINGS = {
    ActionState.DONE: words("Yes."),
    ActionState.PERFORMING: words("It is being sent right now."),
    ActionState.PLANNED: words("Not yet."),
    ActionState.WAITING: words("Not yet."),
    ActionState.HELD: words("Not yet."),
    ActionState.SKIPPED: words("No, on purpose."),
    ActionState.FAILED: words("No, it failed."),
    ActionState.UNKNOWN: words("We do not know."),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The question an operator is likely to have, and its answer in a sentence or two."""

    question: str
    text: str
    action: ActionView | None
    needs_someone: bool = False


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One thing that happened, and what came of it."""

    titled: TitledEvent
    what: str
    shown: Shown
    emails: tuple[tuple[ActionView, Shown], ...]

    @property
    def is_to_come(self) -> bool:
        """Whether its email is still to be sent."""
        return any(one.state in OPEN_ACTIONS for one, _ in self.emails)


@dataclass(frozen=True, slots=True)
class CourseStory:
    """What happened in one course, the newest first."""

    title: str
    progress: CourseProgress | None
    lines: tuple[StoryLine, ...]


def show(visit: Visit, coworker_id: int) -> Response:
    """Show the answer, then the story of each course."""
    progress: dict[tuple[int, int], CourseProgress] = {}
    with reading(visit.pages.engine) as connection:
        match = known_person(connection, coworker_id)
        person = person_of(connection, coworker_id)
        found = person_history(
            connection,
            visit.pages.settings,
            coworker_id,
            match,
            wanted=HistoryFilter(),
            now=visit.now,
        )
        if found is None:
            nobody = visit.language.say("There is no member with this number, or not yet.")
            return visit.missing(nobody, coworker_id)
        enrolments = {(one.event.course_id, one.event.course_member_id) for one in found.events}
        with suppress(ConfigurationError):  # the rules say which lessons count
            counts = visit.pages.rules.setup().rules.counts
            progress = progress_in(connection, enrolments, counts)
    language = language_for(person.language) if person and person.language else None
    return visit.page(
        "person.html",
        found=found,
        person=person,
        name=(match.full_name if match else "") or visit.member_name(coworker_id),
        address=visit.masked(person.email if person else None),
        language_name=language.locale.get_display_name(visit.language.locale) if language else None,
        answer=_answer(visit, found),
        stories=list(_stories(visit, found, progress)),
        sent_lately=_sent_lately(visit, found),
        wishes=list(_wishes(visit, found)),
    )


def _sent_lately(visit: Visit, found: PersonHistory) -> int:
    return len(
        {
            action.action_id
            for one in found.events
            for action in one.event.actions
            if action.state == ActionState.DONE
            and action.audience is None
            and action.finished_at is not None
            and action.finished_at >= visit.now - _COUNTED_FOR
        }
    )


def _wishes(visit: Visit, found: PersonHistory) -> Iterator[str]:
    """Yield what the member chose about emails, in a few words each."""
    say, chosen = visit.language.say, found.chosen
    if chosen.agreed.get(ALL) is False:
        yield say("wants no emails")
        return
    yield say("course emails on") if chosen.wants(Stream.SERVICE) else say("course emails off")
    yield say("reminders on") if chosen.wants(Stream.REMINDER) else say("reminders off")
    if chosen.is_weekly:
        yield say("lessons once a week")
    until = chosen.snoozed_until(visit.now)
    if until is not None:
        yield say("no emails until {time}").format(time=visit.times.words(until))


def _answer(visit: Visit, found: PersonHistory) -> Answer:
    say, times = visit.language.say, visit.times
    name = found.person.full_name if found.person else ""
    name = name or visit.member_name(found.coworker_id)
    if not found.events:
        return Answer(
            say("What do we know of {name}?").format(name=name), _nothing(visit, found), None
        )
    last = found.events[-1]
    question = say(_QUESTIONS.get(EventKind(last.event.kind), words("Did {name} get an email?")))
    what = say("{what} in {course}, {time}.").format(
        what=happened(times, last), course=last.course, time=times.words(last.event.happened_at)
    )
    action = main_action(last.event.actions)
    if action is None:
        shown = shown_event(times, last, visit.holding())
        none = say("No email to them was planned.")
        return Answer(question.format(name=name), f"{what} {none} {shown.sentence}".strip(), None)
    shown = _shown(visit, found, action, visit.holding(found.events))
    state = ActionState(action.state)
    is_stopped = shown.badge == "skipped" and state in OPEN_ACTIONS
    opened = ActionState.SKIPPED if is_stopped else state
    opening = (
        say("No.")
        if shown.badge == "failed" and state is ActionState.DONE
        else say(_OPENINGS[opened])
    )
    needs = shown.badge in {"needs", "failed"} and not action.was_resent
    return Answer(
        question.format(name=name), f"{opening} {what} {shown.sentence}".strip(), action, needs
    )


def _nothing(visit: Visit, found: PersonHistory) -> str:
    say = visit.language.say
    if found.unread:
        return say("Something changed in Nexudus and is not read yet, so nothing was decided.")
    if found.earlier:
        return say("They enrolled before this service began, and nothing has happened since.")
    return say("Nexudus has reported nothing about them.")


def _stories(
    visit: Visit, found: PersonHistory, progress: dict[tuple[int, int], CourseProgress]
) -> Iterator[CourseStory]:
    """Yield the story of each course, the one with the newest event first."""
    by_course: dict[int, list[TitledEvent]] = defaultdict(list)
    for one in reversed(found.events):
        by_course[one.event.course_id].append(one)
    for course_id, events in by_course.items():
        newest = events[0].event.course_member_id
        lines = tuple(_line(visit, found, one) for one in events)
        yield CourseStory(events[0].course, progress.get((course_id, newest)), lines)


def _line(visit: Visit, found: PersonHistory, one: TitledEvent) -> StoryLine:
    holding = visit.holding([one])
    emails = tuple((each, _shown(visit, found, each, holding)) for each in one.event.actions)
    shown = shown_event(visit.times, one, holding)
    return StoryLine(one, happened(visit.times, one), shown, emails)


def _shown(visit: Visit, found: PersonHistory, email: ActionView, holding: Holding) -> Shown:
    shown = shown_email(visit.times, email, holding, found.reports.get(email.action_id, ()))
    return as_chosen(visit, shown, email, holding, found.chosen)


def as_chosen(
    visit: Visit, shown: Shown, email: ActionView | EmailView, holding: Holding, chosen: Choices
) -> Shown:
    """Return badge and sentence of an email, and whether what the member chose stops it."""
    if email.state not in OPEN_ACTIONS or email.audience is not None:
        return shown
    stream = visit.stream_of(email.rule)
    objection = None if stream is None else objection_to(stream, chosen.agreed)
    if objection is not None:
        never = visit.language.say("Not sent on purpose")
        return Shown("skipped", never, explained(visit.times, objection))
    is_like_reminder = email.template in REMINDING and stream is Stream.SERVICE
    is_paused = email.action_id in holding.paused
    if is_like_reminder and not is_paused and not chosen.wants(Stream.REMINDER):
        text = visit.language.say("It is a course email, so it goes although reminders are off.")
        return replace(shown, sentence=f"{shown.sentence} {text}")
    return shown
