"""Which template can be about which event: every pair is refused with its line, or written."""

from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schemas.actions import HOST, NOTICE, KindForm
from schemas.errors import ChannelUnavailable, ConfigurationError
from schemas.events import ABOUT_GONE, ABSENCES, Event, EventKind
from schemas.reasons import Reason
from schemas.rules import load_rules
from tests.builders.records import (
    COURSE_MEMBER_ID,
    NOON,
    completed_lesson,
    course,
    course_member,
    lesson,
)
from tests.builders.rules import COUNTS, event
from tests.builders.send_context import person
from workers.actions.base import ActionContext, Prepared, Recipient
from workers.actions.email import TEMPLATES
from workers.actions.email.action import EmailAction
from workers.actions.email.letter import Letters
from workers.actions.email.letterhead import Letterhead
from workers.actions.email.message import read_message
from workers.actions.email.smtp import NO_CHECKPOINTS
from workers.decide.completion import progress
from workers.decide.events import from_completions, from_enrolment

RITA = Recipient(HOST, "rita@example.org", "Rita Okafor", "Rita")
KINDS = sorted(set(EventKind) - ABOUT_GONE)
EMAIL = EmailAction(Letters(), None, Letterhead(None, None, None, None, ZoneInfo("UTC")))
LESSONS = (lesson(1), lesson(2))
# A person asks to join, is let in, and finishes both lessons.
HAPPENED = [
    *from_enrolment(None, course_member(approved=False)),
    *from_enrolment(None, course_member()),
    *from_completions(
        course_member(), [completed_lesson(1, 1), completed_lesson(2, 2)], LESSONS, COUNTS
    ),
    *from_enrolment(course_member(approved=False), course_member())[1:],
    *from_enrolment(course_member(), course_member(blocked=True)),
    *from_enrolment(course_member(blocked=True), course_member())[1:],
    *(event(kind, lesson_id=None) for kind in sorted(ABSENCES)),
    event(EventKind.LESSON_AVAILABLE),
]
FITTING = [
    (template, kind) for template in sorted(TEMPLATES) for kind in sorted(TEMPLATES[template])
]


def rule(template: str, kind: EventKind) -> str:
    to = "    to: host\n" if template == NOTICE else ""
    return (
        "version: 1\nrules:\n  - name: a\n    action: email\n"
        f"    event: {kind}\n    template: {template}\n{to}"
    )


def mistakes(template: str, kind: EventKind) -> list[str]:
    try:
        load_rules(rule(template, kind), "mine.yaml", actions={"email": KindForm(TEMPLATES)})
    except ConfigurationError as error:
        return error.mistakes
    return []


def event_of(kind: EventKind) -> Event:
    return next(event for event in HAPPENED if event.kind is kind)


def written(template: str, event: Event, by: EmailAction = EMAIL, **more: Any) -> Prepared:  # noqa: ANN401 - any field of the context
    return by.prepare(
        ActionContext(
            action_key=f"a/{event.key}",
            template=template,
            events=(event,),
            enrolment=course_member(),
            course=course(),
            person=person(),
            lessons=LESSONS,
            progress=progress(LESSONS, {1, 2}, COUNTS),
            first_lesson=LESSONS[0],
            started_at=NOON,
            now=NOON,
            recipient=RITA if template == NOTICE else None,
            **more,
        )
    )


def test_the_events_of_this_story_are_all_that_a_rule_can_name() -> None:
    assert {event.kind for event in HAPPENED} == set(KINDS)
    assert {event.course_member_id for event in HAPPENED} == {COURSE_MEMBER_ID}


@pytest.mark.parametrize(("template", "kind"), FITTING)
def test_a_template_is_accepted_and_composed_for_each_event_it_fits(
    template: str, kind: EventKind
) -> None:
    assert mistakes(template, kind) == []
    copy = written(template, event_of(kind)).copy
    message = read_message(copy.body)
    assert "Freelance Finance" in message.text
    assert "Freelance Finance" in message.html
    assert "None" not in message.text
    assert copy.title
    assert message.html


@pytest.mark.parametrize(
    ("template", "kind"), sorted(set(product(TEMPLATES, KINDS)) - set(FITTING))
)
def test_any_other_template_is_a_mistake_with_its_line(template: str, kind: EventKind) -> None:
    [said] = mistakes(template, kind)
    assert said.startswith(
        f"mine.yaml:6:15: rules[0].template: it does not fit the event {kind}; expected "
    )
    fitting = [name for name, fit in FITTING if fit is kind and name != NOTICE]
    assert all(name in said.partition("expected ")[2] for name in fitting)
    assert ("another event" in said) == (not fitting)


def test_without_a_mail_server_an_email_can_be_composed_and_not_sent() -> None:
    prepared = written("welcome", event_of(EventKind.ENROLLED))
    with pytest.raises(ChannelUnavailable) as raised:
        prepared.send(NO_CHECKPOINTS)
    assert raised.value.reason is Reason.MAIL_NOT_SET


def test_an_email_about_a_finished_course_names_the_next_one_and_leads_there() -> None:
    portal = Letterhead(None, None, "https://portal.example.org/{course_id}", None, ZoneInfo("UTC"))
    following = course(record_id=777, title="Pricing <b>your</b> work")
    finished = event_of(EventKind.COURSE_COMPLETED)
    with_next = written(
        "course-finished", finished, EmailAction(Letters(), None, portal), next_course=following
    )
    message = read_message(with_next.copy.body)
    assert "Pricing <b>your</b> work" in message.text
    assert "https://portal.example.org/777" in message.text
    assert "https://portal.example.org/777" in (message.html or "")
    without = read_message(written("course-finished", finished).copy.body)
    assert "next course" not in without.text


@pytest.mark.parametrize(
    ("languages", "subject"),
    [
        (("es-UY", "de"), "Ya tienes plaza"),
        (("zh-Hans", "de"), "Du bist dabei"),
        (("en", "de"), "You're in"),
        ((), "You're in"),
    ],
)
def test_an_email_is_in_the_first_of_the_context_s_languages_that_we_have(
    languages: tuple[str, ...], subject: str
) -> None:
    enrolled = event_of(EventKind.ENROLLED)
    assert written("welcome", enrolled, languages=languages).copy.title.startswith(subject)


@pytest.mark.parametrize("kind", KINDS)
def test_a_notice_is_to_its_recipient_and_about_the_member(kind: EventKind) -> None:
    prepared = written(NOTICE, event_of(kind))
    assert prepared.recipient == "rita@example.org"
    assert "Ana López" in prepared.title
    text = read_message(prepared.copy.body).text
    assert "Ana López" in text.partition("\n")[0]
    assert "\n\nHello Rita,\n\n" in text
    assert "Freelance Finance" in text
    assert "you are the host" in text
    assert "ana@example.org" not in text
