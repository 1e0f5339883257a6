"""Emails: every rule that sends one and every digest, in words, with how many were sent lately."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from babel import Locale
from babel.units import format_unit
from flask import Response

from schemas.actions import HOST, MEMBER
from schemas.events import EventKind
from schemas.rules import Digest, Every, Rule, Rules, Stream, Until, Where
from service.desk.languages import UiLanguage
from service.desk.visit import Visit
from service.desk.wording import listed, words
from workers.actions.email import KIND
from workers.languages import language_codes
from workers.reports.situation import SUMMARY

_WHEN = {
    EventKind.ENROLLED: words("When a member gets a place on a course"),
    EventKind.ENROLMENT_REQUESTED: words("When a member asks to join a course"),
    EventKind.ENROLMENT_APPROVED: words("When the place of a member is approved"),
    EventKind.ENROLMENT_BLOCKED: words("When a member is blocked on a course"),
    EventKind.ENROLMENT_UNBLOCKED: words("When a member is no longer blocked"),
    EventKind.UNENROLLED: words("When a member is no longer enrolled"),
    EventKind.COURSE_STARTED: words("When a member finishes the first lesson of a course"),
    EventKind.LESSON_COMPLETED: words("When a member finishes a lesson"),
    EventKind.LESSON_REOPENED: words("When a lesson counts as not finished again"),
    EventKind.COURSE_COMPLETED: words("When a member finishes a course"),
    EventKind.NOT_STARTED: words("When a member has finished no lesson after {lengths}"),
    EventKind.STALLED: words("When a member was away for {lengths}"),
    EventKind.LESSON_AVAILABLE: words("When a lesson opens for a member"),
}
_UNTIL = {
    Until.STARTED: words("It ends when they start."),
    Until.FINISHED: words("It ends when they finish the course."),
}


@dataclass(frozen=True, slots=True)
class EmailLine:
    """One rule or digest, in words. Without a `path` it has no preview."""

    title: str
    name: str
    is_on: bool
    sentences: tuple[str, ...]
    number: int
    path: str | None = None
    to: str = field(default="", repr=False)


def show(visit: Visit) -> Response:
    """Show every email that rules send, and the digests."""
    sent = visit.pages.sent_lately.count()
    rules = visit.pages.rules.setup().rules
    lines = [
        _line(visit, rules, one, sent.by_rule.get(one.name, 0))
        for one in rules.rules
        if one.action == KIND
    ]
    digests = [_digest(visit, one, sent.by_digest.get(one.name, 0)) for one in rules.digests]
    digests.append(_summary(visit, sent.by_digest.get(SUMMARY, 0)))
    names = language_names(visit.language)
    return visit.page(
        "emails.html",
        lines=lines,
        digests=digests,
        languages=list(names.values()),
        counted_at=sent.at,
    )


def language_names(language: UiLanguage) -> dict[str, str]:
    """Return the names of the languages of emails, by code."""
    return {
        code: Locale(code).get_display_name(language.locale) or code for code in language_codes()
    }


def _line(visit: Visit, rules: Rules, rule: Rule, number: int) -> EmailLine:
    return EmailLine(
        visit.rule_title(rule.name),
        rule.name,
        rule.enabled,
        tuple(_sentences(visit.language, rules, rule)),
        number,
        f"/emails/{rule.name}",
        _to(visit, rule.to),
    )


def _sentences(language: UiLanguage, rules: Rules, rule: Rule) -> Iterator[str]:
    say = language.say
    lengths = listed(language, [_length(language, one) for one in rule.after_s])
    yield f"{say(_WHEN[rule.event]).format(lengths=lengths)}."
    if rule.gather_s:
        yield say("Lessons of one sitting share an email: {length} after the last one.").format(
            length=_length(language, rule.gather_s)
        )
    if rule.delay_s:
        yield say("It waits {length} first.").format(length=_length(language, rule.delay_s))
    if rule.steps:
        steps = [
            _length(language, one.after_s) if one.after_s else say("at once") for one in rule.steps
        ]
        yield say("One email each after: {steps}.").format(steps=listed(language, steps))
    if rule.until is not None:
        yield say(_UNTIL[rule.until])
    if rule.stream is Stream.REMINDER and MEMBER in rule.to:
        yield say("Only to members who agreed to reminders.")
    if rule.certificate:
        yield say("It carries a certificate of completion.")
    if rule.where != Where():
        yield _only(language, rule.where)
    off = [one for each in rules.courses if rule.name in each.off for one in each.course]
    if off and rule.enabled:
        yield say("Not for: {courses}.").format(courses=listed(language, off))


def _only(language: UiLanguage, where: Where) -> str:
    if where == Where(course=where.course):
        return language.say("Only for: {courses}.").format(courses=listed(language, where.course))
    return language.say("Only for some courses or members, as the rules say.")


def _digest(visit: Visit, digest: Digest, number: int) -> EmailLine:
    say = visit.language.say
    sentences = [
        say("Every Monday: who enrolled, who finished, and who got stuck.")
        if digest.every is Every.WEEK
        else say("On the first of the month: who enrolled, who finished, and who got stuck.")
    ]
    if digest.where != Where():
        sentences.append(_only(visit.language, digest.where))
    to = _to(visit, digest.to)
    title = visit.rule_title(digest.name)
    path = f"/reports/{digest.name}"
    return EmailLine(title, digest.name, digest.enabled, tuple(sentences), number, path, to)


def _summary(visit: Visit, number: int) -> EmailLine:
    say, readers = visit.language.say, visit.pages.settings.operator_email
    sentence = say("Every Monday: what was sent in the week, what was not, and why.")
    to = _to(visit, readers) if readers else say("nobody yet")
    path = f"/reports/{SUMMARY}"
    title = visit.rule_title(SUMMARY)
    return EmailLine(title, SUMMARY, bool(readers), (sentence,), number, path, to)


def _to(visit: Visit, to: Sequence[str]) -> str:
    say = visit.language.say
    known = {MEMBER: say("the member"), HOST: say("the host of the course")}
    return listed(visit.language, [known.get(one) or visit.masked(one) or "" for one in to])


def _length(language: UiLanguage, seconds: int) -> str:
    """Return how long it is, in the largest unit that is exact: `90 minutes`, `7 days`."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            return format_unit(seconds // size, f"duration-{unit}", locale=language.locale)
    raise AssertionError("a length is whole seconds")
