"""What operators read about events and emails: words for what happened, badges, and sentences.

The reasons are those of `schemas.reasons`, in the same sentences as everywhere. A badge is a word
and a shape, so that it never depends on colour alone.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from babel.lists import format_list

from ledger.mail_reports import ReportView
from ledger.queries import EmailView
from ledger.stories import ActionView, TitledEvent
from schemas.actions import HOST, NOTICE, OPEN_ACTIONS, RECORD, STAFF, ActionState, endpoint_of
from schemas.events import EventKind
from schemas.mail_reports import ReportKind
from schemas.reasons import EXPLANATIONS, HOLD_REASONS, Reason
from schemas.rules import Rule, Rules
from service.desk.languages import Times, UiLanguage
from service.person_history import main_action
from workers.actions.email import KIND
from workers.attention import HELD_ON_PURPOSE
from workers.deliver.example import templates_of
from workers.reports.situation import SUMMARY


def words(text: str) -> str:
    """Mark a text for translators; it is translated where it is shown."""
    return text


_HAPPENED = {
    EventKind.ENROLLED: words("Enrolled"),
    EventKind.ENROLMENT_REQUESTED: words("Asked to join, waits for approval"),
    EventKind.COURSE_STARTED: words("Started the course"),
    EventKind.LESSON_COMPLETED: words("Finished {lesson}"),
    EventKind.COURSE_COMPLETED: words("Finished the course"),
    EventKind.UNENROLLED: words("Is no longer enrolled"),
    EventKind.LESSON_REOPENED: words("A lesson counts as not finished again"),
    EventKind.ENROLMENT_APPROVED: words("Was approved"),
    EventKind.ENROLMENT_BLOCKED: words("Was blocked"),
    EventKind.ENROLMENT_UNBLOCKED: words("Is no longer blocked"),
    EventKind.NOT_STARTED: words("Has not started"),
    EventKind.STALLED: words("Has been away"),
    EventKind.LESSON_AVAILABLE: words("A lesson opened"),
}
_BADGES = {
    ActionState.DONE: ("sent", words("Sent")),
    ActionState.SKIPPED: ("skipped", words("Not sent on purpose")),
    ActionState.PLANNED: ("scheduled", words("Scheduled")),
    ActionState.WAITING: ("scheduled", words("Scheduled")),
    ActionState.PERFORMING: ("scheduled", words("Being sent")),
    ActionState.HELD: ("needs", words("Needs you")),
    ActionState.FAILED: ("failed", words("Failed")),
    ActionState.UNKNOWN: ("needs", words("Needs you")),
}
_TITLES = {
    "welcome": words("Welcome"),
    "lesson-finished": words("Lesson finished"),
    "course-finished": words("Course finished"),
    "not-started": words("Reminder to start"),
    "stalled": words("Reminder to continue"),
    "lesson-available": words("A lesson opened"),
    NOTICE: words("Notice about a member"),
}
# Of these a reader thinks as reminders, whatever their stream.
REMINDING = frozenset({"not-started", "stalled", "lesson-available"})
_RESEND = re.compile(r"resend of (\d+) by (.+)", re.DOTALL)  # as `ledger.interventions` stores
_SOON = timedelta(minutes=1)  # by which an email may be late without a word about it
_BOUNCES = frozenset({ReportKind.HARD_BOUNCE, ReportKind.SOFT_BOUNCE})


@dataclass(frozen=True, slots=True)
class Shown:
    """A badge, as its kind and its word, and a sentence about it.

    Beside the badge stands `at` in place of the sentence, if the sentence says no more than that.
    `why` is the sentence without the time at which the email goes, for where that stands already.
    """

    badge: str
    word: str
    sentence: str = ""
    at: str = ""
    why: str = ""

    @property
    def beside(self) -> str:
        """What stands beside the badge."""
        return self.at or self.sentence


def to_whom(times: Times, audience: str | None) -> str:
    """Return to whom an action is, unless to the member; empty for the member."""
    say = times.language.say
    if audience is None:
        return ""
    if endpoint_of(audience) is not None:
        return say("a message to another service")
    if audience in {RECORD, STAFF}:
        return say("a note in Nexudus") if audience == RECORD else say("a task in Nexudus")
    return say("to the host of the course") if audience == HOST else say("to another address")


def happened(times: Times, one: TitledEvent) -> str:
    """Return what happened, such as `Finished Pricing your first offer`."""
    text = times.language.say(_HAPPENED[EventKind(one.event.kind)])
    return text.format(lesson=one.lesson or times.language.say("a lesson"))


def about_words(times: Times, email: EmailView, events: int) -> str:
    """Return what an email is about, such as `Finished 3 lessons`."""
    if email.event_kind == EventKind.LESSON_COMPLETED:
        return times.language.say_n("Finished {number} lesson", "Finished {number} lessons", events)
    return times.language.say(_HAPPENED[EventKind(email.event_kind)])


class Repeated(NamedTuple):
    """The email that another one repeats, and who asked for that."""

    action_id: int
    who: str


def repeated_in(detail: str | None) -> Repeated | None:
    """Return which email a try repeats, as its detail says; None if it says nothing of that."""
    found = _RESEND.fullmatch(detail or "")
    return None if found is None else Repeated(int(found[1]), found[2])


def email_title(language: UiLanguage, template: str) -> str:
    """Return what an email is called on these pages."""
    return language.say(_TITLES[template]) if template in _TITLES else template


def listed(language: UiLanguage, these: Sequence[str]) -> str:
    """Return these words as one list, such as `a, b and c`."""
    return format_list(these, locale=language.locale)


def rule_titles(language: UiLanguage, rules: Rules) -> dict[str, str]:
    """Return by name what rules and digests are called on these pages.

    Those that would be called the same have their own name behind it.
    """
    titles = {one.name: _own_title(language, one) for one in rules.rules}
    titles |= {one.name: language.say("Digest") for one in rules.digests}
    titles.setdefault(SUMMARY, language.say("Weekly summary"))
    number = Counter(titles.values())
    return {
        name: title if number[title] == 1 else f"{title} ({rule_words(name)})"
        for name, title in titles.items()
    }


def _own_title(language: UiLanguage, rule: Rule) -> str:
    if rule.action != KIND:
        return rule_words(rule.name)
    return listed(language, [email_title(language, one) for one in templates_of(rule)])


def number_words(language: UiLanguage, by_kind: Mapping[str, int]) -> str:
    """Return how many there are, such as `3 emails`, with posts and notes apart from emails."""
    emails = by_kind.get(KIND, 0)
    others = sum(by_kind.values()) - emails
    posts = language.say_n("{number} post or note", "{number} posts or notes", others)
    if not emails and others:
        return posts
    number = language.say_n("{number} email", "{number} emails", emails)
    if not others:
        return number
    return language.say("{emails} and {posts}").format(emails=number, posts=posts)


def rule_words(name: str) -> str:
    """Return the name of a rule that has no title as operators read it."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def explained(times: Times, reason: Reason | str | None) -> str:
    """Return the sentence of a reason with its full stop; empty for None."""
    if not reason:
        return ""
    return f"{times.language.say(EXPLANATIONS[Reason(reason)].sentence)}."


@dataclass(frozen=True, slots=True)
class Holding:
    """What makes emails wait: which ones a pause will hold, and which rules gather lessons."""

    paused: Collection[int] = ()
    gathering: Collection[str] = ()


def shown_event(times: Times, one: TitledEvent, holding: Holding) -> Shown:
    """Return what came of an event: of its email to the member, or why there is none."""
    action = main_action(one.event.actions)
    if action is not None:
        return shown_email(times, action, holding)
    if one.event.actions:
        text = times.language.say_n(
            "One message to others.", "{number} messages to others.", len(one.event.actions)
        )
        return Shown("skipped", times.language.say("No email"), text)
    return Shown("skipped", times.language.say("No email"), explained(times, one.event.reason))


def shown_email(
    times: Times,
    email: ActionView | EmailView,
    holding: Holding,
    reports: Collection[ReportView] = (),
) -> Shown:
    """Return badge and sentence of an email; `reports` are those of the mail provider."""
    say, state = times.language.say, ActionState(email.state)
    badge, word = _BADGES[state]
    why = explained(times, email.reason)
    if state is ActionState.DONE:
        return _shown_sent(times, email, reports)
    if state in OPEN_ACTIONS:
        return _shown_waiting(times, email, holding)
    if state is ActionState.HELD and email.reason in HELD_ON_PURPOSE:
        is_kept = email.reason in {Reason.OBSERVE, Reason.BEFORE_START}
        return Shown("scheduled", say("Kept here") if is_kept else say("Held"), why)
    if state in {ActionState.UNKNOWN, ActionState.FAILED} and _is_settled(email):
        word = word if state is ActionState.FAILED else words("Unknown")
        return Shown("skipped", say(word), say("It was sent again."))
    if email.closed_at is not None:
        word = word if state is ActionState.FAILED else words("Unknown")
        closed = say("Closed: nothing more is to be done.")
        return Shown("skipped", say(word), f"{why} {closed}".strip())
    if state is ActionState.SKIPPED and email.reason in HOLD_REASONS:
        dropped = say("It was dropped.")
        why = dropped if email.reason == Reason.ON_HOLD else f"{why} {dropped}"
    return Shown(badge, say(word), why)


def _shown_waiting(times: Times, email: ActionView | EmailView, holding: Holding) -> Shown:
    say, reason = times.language.say, email.reason
    if email.action_id in holding.paused:
        paused = explained(times, Reason.PAUSED)
        return Shown("scheduled", say("Held"), paused, why=paused)
    is_new = email.state == ActionState.PLANNED and email.due_at > times.now
    if reason is None and is_new and email.rule in holding.gathering:
        reason = Reason.GATHERING
    is_late = email.due_at < times.now - _SOON
    goes = say("Due since {time}; it goes as soon as it can.") if is_late else say("Goes {time}.")
    goes = goes.format(time=times.words(email.due_at))
    why = explained(times, reason)
    sentence = f"{why} {goes}".strip()
    if reason == Reason.GATHERING:
        return Shown("gathering", say("Gathering"), sentence, why=why)
    return Shown("scheduled", say("Scheduled"), sentence, why=why)


def _is_settled(email: ActionView | EmailView) -> bool:
    return email.was_resent if isinstance(email, ActionView) else email.resent_as is not None


def _shown_sent(
    times: Times, email: ActionView | EmailView, reports: Collection[ReportView]
) -> Shown:
    say = times.language.say
    kinds = {one.kind for one in reports if not one.is_of_other}
    at = "" if email.finished_at is None else times.words(email.finished_at)
    if kinds & _BOUNCES:
        return Shown("failed", say("Bounced"), say("It came back from the address."))
    if ReportKind.DELIVERED in kinds:
        own = [one for one in reports if not one.is_of_other]
        at = times.words(max(one.happened_at for one in own if one.kind == ReportKind.DELIVERED))
        return Shown("sent", say("Delivered"), say("Delivered {time}.").format(time=at), at)
    return Shown("sent", say("Sent"), say("Sent {time}.").format(time=at) if at else "", at)
