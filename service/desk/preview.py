"""Email preview: how an email would look to a person on record, and whether it would be sent now.

It is written by what writes the real ones, as `coursebell preview` shows it, with links that act
for nobody. Nothing is sent, and Nexudus is not asked.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import unescape
from typing import NamedTuple
from urllib.parse import urlencode

from flask import Response, request

from ledger.engine import Connection, reading
from ledger.history import enrolments_of
from ledger.stories import EventView, newest_events, titles_of_courses
from schemas.actions import ActionState
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from schemas.rules import Rule
from service.desk.emails import language_names
from service.desk.message import height_class, text_page
from service.desk.visit import Visit, id_in
from service.desk.wording import Shown, email_title, explained, shown_email
from service.email_examples import (
    WantedEmail,
    earlier_events,
    email_action,
    emails_of,
    expected_now,
    read_example,
)
from service.people_search import PersonMatch, known_person, matching_people
from service.sending_outcomes import missing_to_send
from workers.actions.base import Prepared
from workers.actions.email import KIND, TEMPLATES
from workers.actions.email.message import KeptMessage, read_message
from workers.deliver.context import SendSetup
from workers.deliver.example import Example, first_rule, templates_of
from workers.deliver.simulation import Imagined
from workers.languages import language_codes

_LONGEST_QUERY = 200
_MOST_RECENT = 25
_LARGEST_KB = 100  # Gmail cuts off what comes after about 102 KB
_LONGEST_SUBJECT = 60  # characters that phones show
_HEAD_END = "</head>"
_INBOX_LINE = re.compile(r'<div style="display:none;[^>]*>(.*?)&#847;', re.DOTALL)
_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "width": ("computer", "phone"),
    "scheme": ("light", "dark"),
    "form": ("html", "text"),
}


@dataclass(frozen=True, slots=True)
class PreviewChoice:
    """What the address says: whose data, which course and language, and how it is shown."""

    person: int | None = None
    course: int | None = None
    language: str = ""
    step: str = ""
    width: str = "computer"
    scheme: str = "light"
    form: str = "html"

    def query(self, **changed: object) -> str:
        """Return the address's query with these changes."""
        values = asdict(self) | changed
        return urlencode({name: value for name, value in values.items() if value})


class MailCheck(NamedTuple):
    """One check of an email, in words, and whether it passed."""

    is_fine: bool
    sentence: str


class CourseChoice(NamedTuple):
    """One of the courses that a person is on."""

    course_id: int
    title: str


@dataclass(frozen=True, slots=True)
class Shot:
    """One email as it would look: of which rule, about whom, and its parts if it can be written."""

    template: str
    rule: Rule | None
    choice: PreviewChoice
    person: PersonMatch | None = None
    courses: tuple[CourseChoice, ...] = ()
    example: Example | None = None
    earlier: tuple[EventView, ...] = ()
    prepared: Prepared | None = field(default=None, repr=False)
    why_not: str = ""


def show(visit: Visit, name: str) -> Response:
    """Show an email as a person would get it now, or the people who match what was typed."""
    typed = visit.query("q", _LONGEST_QUERY)
    setup = visit.pages.rules.setup()
    shot = chosen_email(setup, name, request.args)
    if shot is None:
        return no_such_email(visit)
    found: list[PersonMatch] = []
    if typed:
        with reading(visit.pages.engine) as connection:
            found = matching_people(connection, typed, by_part=visit.may_operate)
    if len(found) == 1:
        query = shot.choice.query(person=found[0].coworker_id, course=None)
        return visit.see_other(f"/emails/{name}?{query}")
    return preview_page(visit, name, taken(visit, setup, shot), typed=typed, found=found)


def preview_page(  # noqa: PLR0913 - what one page shows
    visit: Visit,
    name: str,
    shot: Shot,
    *,
    status: int = 200,
    typed: str = "",
    found: Sequence[PersonMatch] = (),
    problem: str = "",
    to: str | None = None,
) -> Response:
    """Return the page of an email; `problem` says why no test was sent `to` an address."""
    setup = visit.pages.rules.setup()
    kept = None if shot.prepared is None else read_message(shot.prepared.body)
    verdict, seen_at = _verdict(visit, setup, shot)
    own = visit.pages.settings.operator_email
    return visit.page(
        "preview.html",
        status,
        name=name,
        title=_title(visit, shot),
        shot=shot,
        steps=_steps(visit, shot),
        typed=typed,
        found=found,
        choices=_CHOICES,
        languages=language_names(visit.language),
        kept=kept,
        height="" if kept is None else height_class(kept.text),
        inbox_line="" if kept is None else _inbox_line(kept.html),
        checks=[] if kept is None or shot.prepared is None else _checks(visit, shot.prepared, kept),
        verdict=verdict,
        seen_at=seen_at,
        problem=problem,
        to=(own[0] if own else "") if to is None else to,
        can_send=not missing_to_send(visit.pages.settings),
    )


def _title(visit: Visit, shot: Shot) -> str:
    is_only = shot.rule is not None and templates_of(shot.rule) == (shot.template,)
    if shot.rule is None or not is_only:
        return email_title(visit.language, shot.template)
    return visit.rule_title(shot.rule.name)


def body(visit: Visit, name: str) -> Response:
    """Return the text of a preview as a page of its own, for the frame of the first."""
    setup = visit.pages.rules.setup()
    shot = chosen_email(setup, name, request.args)
    if shot is None:
        return no_such_email(visit)
    shot = taken(visit, setup, shot)
    if shot.prepared is None:
        return no_such_email(visit)
    return text_page(visit, in_scheme(read_message(shot.prepared.body).html, shot.choice.scheme))


def in_scheme(html: str, scheme: str) -> str:
    """Return an email as it looks in this colour scheme, whichever the browser has."""
    head, end, rest = html.partition(_HEAD_END)
    is_met = "all" if scheme == "dark" else "not all"
    head = head.replace("(prefers-color-scheme: dark)", is_met).replace("light dark", scheme)
    return f"{head}{end}{rest}"


def chosen_email(setup: SendSetup, name: str, values: Mapping[str, str]) -> Shot | None:
    """Return which email is meant: that of a rule, or else of a template; None if there is none.

    `values` are those of the address or of a form; what is wrong in them counts as missing.
    """
    language = values.get("language", "")
    choice = PreviewChoice(
        id_in(values.get("person", "")),
        id_in(values.get("course", "")),
        language if language in language_codes() else "",
        values.get("step", ""),
        *(_one_of(key, values.get(key, "")) for key in _CHOICES),
    )
    rule = setup.rules.by_name(name)
    templates = () if rule is None or rule.action != KIND else templates_of(rule)
    if rule is not None and templates:
        step = choice.step if choice.step in templates else templates[0]
        return Shot(step, rule, replace(choice, step=choice.step and step))
    if name in TEMPLATES:
        return Shot(name, first_rule(setup.rules, name), replace(choice, step=""))
    return None


def _one_of(key: str, wanted: str) -> str:
    known = _CHOICES[key]
    return wanted if wanted in known else known[0]


def taken(visit: Visit, setup: SendSetup, shot: Shot) -> Shot:
    """Return the email with everything that is read for it."""
    with reading(visit.pages.engine) as connection:
        return _shot(visit, connection, setup, shot)


def _shot(visit: Visit, connection: Connection, setup: SendSetup, shot: Shot) -> Shot:
    """Return the email with everything that is read for it."""
    choice = shot.choice
    if choice.person is None:
        choice = _someone_recent(connection, choice)
    if choice.person is None:
        return shot
    person = known_person(connection, choice.person)
    places = enrolments_of(connection, choice.person, None)
    titles = titles_of_courses(connection, {(one.course_id, one.record_id) for one in places})
    courses = tuple(CourseChoice(one, title) for (one, _), title in titles.items())
    latest = max(places, key=lambda one: one.created_at, default=None)
    if choice.course not in {one.course_id for one in courses}:
        choice = replace(choice, course=None if latest is None else latest.course_id)
    shot = replace(shot, choice=choice, person=person, courses=courses)
    wanted = WantedEmail(
        shot.template, choice.person or 0, choice.course, choice.language or None, shot.rule
    )
    new_id = visit.pages.clock.new_id()
    example = read_example(connection, setup, wanted, visit.now, new_id) if courses else None
    if example is None:
        return replace(shot, why_not=_why_no_example(visit, shot))
    shot = replace(shot, example=example, earlier=tuple(earlier_events(connection, example)))
    try:
        return replace(shot, prepared=email_action(setup).prepare_preview(example.context))
    except DeliveryRefused:
        has_address = bool(example.context.person.email)
        why = Reason.TEMPLATE_ERROR if has_address else Reason.NO_EMAIL
        return replace(shot, why_not=explained(visit.times, why))


def _someone_recent(connection: Connection, choice: PreviewChoice) -> PreviewChoice:
    """Return the choice with a person of whom something happened lately, if there is one."""
    recent = newest_events(connection, _MOST_RECENT)
    one = next((one for one in recent if one.person), None)
    if one is None:
        return choice
    return replace(choice, person=one.coworker_id, course=choice.course or one.event.course_id)


def _why_no_example(visit: Visit, shot: Shot) -> str:
    say = visit.language.say
    if shot.person is None:
        return say("There is nobody with this number here.")
    if not shot.courses:
        return say("This person is on no course now, so there is nothing to write about.")
    return say("Their course or their profile was not read from Nexudus yet.")


def _steps(visit: Visit, shot: Shot) -> list[tuple[str, str]]:
    """Return the templates of a rule that sends several, with their titles."""
    templates = () if shot.rule is None else templates_of(shot.rule)
    named = [(one, email_title(visit.language, one)) for one in templates]
    return named if len(named) > 1 else []


def _inbox_line(html: str) -> str:
    found = _INBOX_LINE.search(html)
    return unescape(found[1]).strip() if found else ""


def _checks(visit: Visit, prepared: Prepared, kept: KeptMessage) -> Iterator[MailCheck]:
    say = visit.language.say
    size = -(-len(prepared.body) // 1024)
    text = say("{number} KB with its attachments").format(number=visit.language.number(size))
    yield MailCheck(len(kept.html) < _LARGEST_KB * 1024, text)
    length = len(prepared.title)
    fits = length <= _LONGEST_SUBJECT
    subject = (
        say("The subject fits on a phone ({number} characters)")
        if fits
        else say("The subject is long for a phone ({number} characters)")
    )
    yield MailCheck(fits, subject.format(number=length))
    yield MailCheck('<html lang="' in kept.html, say("It says its language"))
    yield MailCheck(bool(kept.text.strip()), say("It has a plain text part"))
    images = _IMAGE.findall(kept.html)
    if images:
        described = all(" alt=" in one for one in images)
        yield MailCheck(described, say("Its pictures are described for those who cannot see them"))
    for one in kept.attachments:
        yield MailCheck(is_fine=True, sentence=say("Attached: {file}").format(file=one.name))


def _verdict(visit: Visit, setup: SendSetup, shot: Shot) -> tuple[Shown | None, int | None]:
    """Return whether it would be sent now, and the number of the email that was sent before."""
    say, example = visit.language.say, shot.example
    if example is None:
        return None, None
    if example.rule is None:
        return Shown("skipped", say("No"), say("No email that is switched on says this.")), None
    if not example.rule.enabled:
        return Shown("skipped", say("No"), say("This email is switched off.")), None
    if shot.earlier:
        return _earlier(visit, shot.template, shot.earlier[-1])
    expected = expected_now(visit.pages.engine, setup, example)
    if expected is None:
        text = say("It is sent by itself once its time has come, if it is still true then.")
        return Shown("scheduled", say("Not now"), text), None
    return _expected(visit, example.rule, expected), None


def _earlier(visit: Visit, template: str, event: EventView) -> tuple[Shown, int | None]:
    say, times = visit.language.say, visit.times
    once = say("It happened {time} and does not happen again.").format(
        time=times.words(event.happened_at)
    )
    emails = emails_of(event, template)
    if not emails:
        return Shown("skipped", say("No"), f"{once} {explained(times, event.reason)}"), None
    came = shown_email(times, emails[-1], visit.holding())
    became = came.sentence if came.at else f"{came.word}. {came.sentence}"
    sentence = f"{once} {became}".strip()
    return Shown("skipped", say("No"), sentence), emails[-1].action_id


def _expected(visit: Visit, rule: Rule, expected: Imagined) -> Shown:
    say, times = visit.language.say, visit.times
    one = next((each for each in expected.emails if each.rule == rule.name), None)
    if one is None:
        return Shown("skipped", say("No"), explained(times, expected.reason))
    why = explained(times, one.reason)
    if one.state is ActionState.HELD:
        return Shown("scheduled", say("No, it would be held"), why)
    if one.state is not ActionState.DONE:
        return Shown("skipped", say("No"), why)
    if one.at <= visit.now:
        return Shown("sent", say("Yes"), say("If it happened now, it would be sent at once."))
    goes = say("If it happened now, it would go {time}.").format(time=times.words(one.at))
    return Shown("scheduled", say("Not now"), f"{goes} {why}".strip())


def no_such_email(visit: Visit) -> Response:
    """Answer that no rule and no template has this name."""
    return visit.missing(visit.language.say("There is no email of this name."))
