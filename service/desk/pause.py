"""Pause: hold all emails, one kind, those about one course or to one person."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from flask import Response

from ledger.courses import course_titles
from ledger.engine import Connection, reading
from ledger.pauses import Pause, PauseScope, open_among, open_by_rule_and_course
from schemas.errors import ConfigurationError
from schemas.text import folded
from service.desk.visit import Visit, id_in
from service.pausing import LONGEST_NOTE, PauseWish, begin
from service.people_search import PersonMatch, known_person, matching_people

_MORNING = time(8)
_LONGEST_AHEAD = timedelta(days=8)
_DAYS_A_WEEK = 7
_LONGEST_FIELD = 200  # characters
_ONE_PERSON = "person-"  # before the Id of a person who is offered as a choice of their own


@dataclass(frozen=True, slots=True)
class PauseChoice:
    """One thing to choose: what is sent, what is read, and how many emails of it wait now."""

    value: str
    words: str
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class PauseForm:
    """The form as it was filled in."""

    what: str = PauseScope.ALL
    rule: str = ""
    course: str = ""
    who: str = ""
    until: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class UnclearPause:
    """The form cannot be acted on; `sentence` says why, `people` are those who may be meant."""

    sentence: str
    people: tuple[PersonMatch, ...] = ()


def show(visit: Visit) -> Response:
    """Show the form; `person` in the address is offered as a choice."""
    coworker_id = visit.number_in_query("person")
    with reading(visit.pages.engine) as connection:
        match = None if coworker_id is None else known_person(connection, coworker_id)
        if match is None:
            return _page(visit, connection, PauseForm())
        filled = PauseForm(what=f"{_ONE_PERSON}{match.coworker_id}")
        return _page(visit, connection, filled, people=[match])


def pause(visit: Visit) -> Response:
    """Begin the pause. Pressing twice begins one."""
    fields = ("what", "rule", "course", "who", "until")
    filled = PauseForm(
        **{one: visit.field(one, _LONGEST_FIELD) for one in fields},
        note=visit.field("note", LONGEST_NOTE),
    )
    with reading(visit.pages.engine) as connection:
        wish = _wish(visit, connection, filled)
        if isinstance(wish, UnclearPause):
            return _ask_again(visit, connection, filled, wish)
        label = scope_words(visit, connection, wish.scope, wish.target)
    begun, waiting = begin(visit.pages.engine, wish, visit.operator.name, visit.now, once=True)
    say = visit.language.say
    number = waiting.emails + waiting.reports
    held = visit.language.say_n(
        "{number} waits now and is held when it is due.",
        "{number} wait now and are held when they are due.",
        number,
    )
    held = held if number else say("Nothing waits now; what comes is held.")
    ends = "" if begun.until is None else say("It ends {time}.")
    ends = ends.format(time=visit.times.words(begun.until)) if begun.until else ""
    paused = say("Paused: {what}.").format(what=label)
    back = f"/people/{wish.target}" if wish.scope is PauseScope.PERSON else "/"
    return visit.see_other(back, f"{paused} {ends} {held}".replace("  ", " "))


def scope_words(visit: Visit, connection: Connection, scope: PauseScope, target: str | None) -> str:
    """Return what such a pause holds, such as `emails to Ana Ribeiro`."""
    say = visit.language.say
    match scope:
        case PauseScope.RULE:
            return say("the emails “{what}”").format(what=visit.rule_title(target or ""))
        case PauseScope.COURSE:
            course_id = int(target or 0)
            title = course_titles(connection).get(course_id)
            title = title or say("course {id}").format(id=course_id)
            return say("emails about {course}").format(course=title)
        case PauseScope.PERSON:
            coworker_id = int(target or 0)
            match = known_person(connection, coworker_id)
            name = (match.full_name if match else "") or visit.member_name(coworker_id)
            return say("emails to {name}").format(name=name)
    return say("all emails")


def _wish(visit: Visit, connection: Connection, filled: PauseForm) -> PauseWish | UnclearPause:
    """Return what the form asks for, or why that is not clear."""
    say = visit.language.say
    until = _moment(filled.until)
    if filled.until and (until is None or not visit.now < until < visit.now + _LONGEST_AHEAD):
        return UnclearPause(say("That end has passed. Choose again until when to pause."))
    named = [one for one in (filled.rule, filled.course, filled.who) if one]
    if filled.what == PauseScope.ALL and named:
        return UnclearPause(say("You chose everything, and named something too. Which is it?"))
    found = _scope(visit, connection, filled)
    if isinstance(found, UnclearPause):
        return found
    scope, target = found
    report = target if scope is PauseScope.RULE and target in _digests(visit) else None
    return PauseWish(scope, target, until, filled.note, report)


def _scope(
    visit: Visit, connection: Connection, filled: PauseForm
) -> tuple[PauseScope, str | None] | UnclearPause:
    say = visit.language.say
    unclear = say("Choose what to pause.")
    match filled.what:
        case PauseScope.ALL:
            return PauseScope.ALL, None
        case PauseScope.RULE:
            if filled.rule in _names(visit):
                return PauseScope.RULE, filled.rule
            unclear = say("Choose which kind of email to pause.")
        case PauseScope.COURSE:
            course_id = id_in(filled.course)
            if course_id in course_titles(connection):
                return PauseScope.COURSE, str(course_id)
            unclear = say("Choose which course to pause.")
        case PauseScope.PERSON:
            return _typed_person(visit, connection, filled.who)
        case _:
            coworker_id = id_in(filled.what.removeprefix(_ONE_PERSON))
            if coworker_id is not None and known_person(connection, coworker_id) is not None:
                return PauseScope.PERSON, str(coworker_id)
    return UnclearPause(unclear)


def _typed_person(
    visit: Visit, connection: Connection, who: str
) -> tuple[PauseScope, str | None] | UnclearPause:
    say = visit.language.say
    if not who:
        return UnclearPause(say("Type the name or address of the person."))
    found = matching_people(connection, who)
    if not found:
        return UnclearPause(say("Nobody here matches “{typed}”.").format(typed=who))
    if len({one.coworker_id for one in found}) > 1:
        return UnclearPause(say("Several people match. Which one is it?"), tuple(found))
    return PauseScope.PERSON, str(found[0].coworker_id)


def _ask_again(
    visit: Visit, connection: Connection, filled: PauseForm, unclear: UnclearPause
) -> Response:
    """Show the form as it was filled in, with what is not clear."""
    people = unclear.people
    if people:
        filled = replace(filled, what=f"{_ONE_PERSON}{people[0].coworker_id}", who="")
    return _page(visit, connection, filled, people=people, problem=unclear.sentence)


def _page(
    visit: Visit,
    connection: Connection,
    filled: PauseForm,
    *,
    people: Sequence[PersonMatch] = (),
    problem: str = "",
) -> Response:
    waiting = open_by_rule_and_course(connection)
    by_rule: Counter[str] = Counter()
    by_course: Counter[int] = Counter()
    for (rule, course_id), number in waiting.items():
        by_rule[rule] += number
        by_course[course_id] += number
    titles = course_titles(connection)
    return visit.page(
        "pause.html",
        422 if problem else 200,
        filled=filled,
        problem=problem,
        waiting=sum(waiting.values()),
        rules=[PauseChoice(one, visit.rule_title(one), by_rule[one]) for one in _names(visit)],
        courses=[
            PauseChoice(str(one), title, by_course[one])
            for one, title in sorted(titles.items(), key=lambda each: folded(each[1]))
        ],
        people=[_person_choice(visit, connection, one) for one in people],
        ends=[PauseChoice(one.isoformat(), visit.times.words(one)) for one in _ends(visit)],
    )


def _person_choice(visit: Visit, connection: Connection, one: PersonMatch) -> PauseChoice:
    name = one.full_name or visit.member_name(one.coworker_id)
    who = f"{name} ({visit.masked(one.email)})" if one.email else name
    tried = Pause(0, PauseScope.PERSON, str(one.coworker_id), None, None, visit.now, "")
    return PauseChoice(
        f"{_ONE_PERSON}{one.coworker_id}", who, sum(open_among(connection, tried).values())
    )


def _names(visit: Visit) -> list[str]:
    """Return the names of the kinds of email; none while the rules cannot be read."""
    try:
        rules = visit.pages.rules.setup().rules
    except ConfigurationError:
        return []
    kinds = [one.name for one in rules.rules if one.enabled]
    return kinds + [one.name for one in rules.digests if one.enabled]


def _digests(visit: Visit) -> set[str]:
    return {one.name for one in visit.pages.rules.setup().rules.digests}


def _ends(visit: Visit) -> list[datetime]:
    """Return when a pause may end by itself: tomorrow and Monday morning where the space is."""
    zone = visit.times.zone
    today = visit.now.astimezone(zone).date()
    days = {1, _DAYS_A_WEEK - today.weekday()}
    mornings = (datetime.combine(today + timedelta(days=one), _MORNING, zone) for one in days)
    return sorted(one.astimezone(UTC) for one in mornings)


def _moment(text: str) -> datetime | None:
    """Return the moment that one of our own choices stands for; None for another text."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
