"""Settings, to read: when emails go, which ones, and from whom, with where each is changed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

from babel.dates import format_time, get_day_names
from babel.lists import format_list
from babel.numbers import format_decimal
from babel.units import format_unit
from flask import Response

from schemas.actions import MEMBER
from schemas.entity import CompletionType
from schemas.events import EventKind
from schemas.rules import Flood, QuietHours, Rule, Rules, SendWindow, Stream
from schemas.settings import PREFIX, MailAddress
from service.desk.visit import Visit
from service.desk.what_if import OFFERED, usual_timing
from service.desk.wording import words
from workers.rules_file import rules_path

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
_LESSONS = {
    CompletionType.VISITED: words("opening it"),
    CompletionType.BUTTON: words("a button"),
    CompletionType.VIDEO: words("watching its video"),
}
_WHEN = {
    EventKind.ENROLLED: words("When a member enrols."),
    EventKind.ENROLMENT_REQUESTED: words("When a member asks to join."),
    EventKind.ENROLMENT_APPROVED: words("When a member is approved."),
    EventKind.ENROLMENT_BLOCKED: words("When a member is blocked on a course."),
    EventKind.ENROLMENT_UNBLOCKED: words("When a member is no longer blocked."),
    EventKind.UNENROLLED: words("When a member is no longer enrolled."),
    EventKind.COURSE_STARTED: words("When a member finishes their first lesson."),
    EventKind.LESSON_COMPLETED: words("When a member finishes a lesson."),
    EventKind.LESSON_REOPENED: words("When a lesson counts as not finished again."),
    EventKind.COURSE_COMPLETED: words("When a member finishes a course."),
    EventKind.NOT_STARTED: words("When a member has not started."),
    EventKind.STALLED: words("When a member has been away."),
    EventKind.LESSON_AVAILABLE: words("When a lesson opens for a member."),
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is set, in words, and the setting or key of the rules file where it is changed."""

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class RuleShown:
    """One rule: its name, whether it is on, when it writes, and what it does differently."""

    name: str
    is_on: bool
    text: str
    own: tuple[Sentence, ...]


def show(visit: Visit) -> Response:
    """Show the settings as sentences."""
    rules, settings = visit.pages.rules.setup().rules, visit.pages.settings
    written = _Written(visit)
    usual = usual_timing(rules)
    return visit.page(
        "settings.html",
        timing=[one for name, value in usual.items() if (one := written.timing(name, value))],
        rules=[_rule(visit, written, one, usual) for one in rules.rules],
        courses=[
            (
                ", ".join(one.course),
                [written.off(visit.rule_title(each)) for each in one.off],
                [found for pair in one.timing.items() if (found := written.timing(*pair))],
            )
            for one in rules.courses
        ],
        counts=written.counts(rules),
        tried=OFFERED,
        main=list(_main(visit, written)),
        rules_file=rules_path(settings) if settings.rules else None,
    )


def _rule(visit: Visit, written: "_Written", rule: Rule, usual: dict[str, object]) -> RuleShown:
    say = visit.language.say
    text = [say(_WHEN[rule.event])]
    if rule.delay_s:
        text.append(say("It waits {time}.").format(time=written.length(rule.delay_s)))
    if rule.gather_s and rule.gather_at_most_s:
        text.append(
            say("It waits {time} for more lessons, never longer than {most}.").format(
                time=written.length(rule.gather_s), most=written.length(rule.gather_at_most_s)
            )
        )
    elif rule.gather_s:
        text.append(
            say("It waits {time} for more lessons.").format(time=written.length(rule.gather_s))
        )
    if rule.after_s:
        lengths = format_list([*map(written.length, rule.after_s)], locale=visit.language.locale)
        text.append(say("After {times}.").format(times=lengths))
    if rule.stream is Stream.REMINDER:
        text.append(say("Only to people who agreed to reminders."))
    if MEMBER not in rule.to:
        text.append(say("It is not to the member, so limits do not apply."))
        return RuleShown(rule.name, rule.enabled, " ".join(text), ())
    own = [
        found
        for name, value in usual.items()
        if getattr(rule.timing, name) != value
        and (found := written.timing(name, getattr(rule.timing, name)))
    ]
    return RuleShown(rule.name, rule.enabled, " ".join(text), tuple(own))


def _named(setting: str, text: str, **values: object) -> Sentence:
    return Sentence(text.format(**values), PREFIX + setting)


def _main(visit: Visit, written: "_Written") -> Iterator[Sentence]:
    """Yield the main settings of the installation, and none that is secret."""
    say, settings = visit.language.say, visit.pages.settings
    if settings.space_name:
        yield _named("SPACE_NAME", say("The space is called {name}."), name=settings.space_name)
    else:
        yield _named("SPACE_NAME", say("The space is called as in Nexudus."))
    yield from _mail(visit, written)
    zone = say("These pages show the time of {zone}, as do emails to people without a zone.")
    yield _named("ZONE", zone, zone=settings.zone)
    language = visit.language.locale.languages.get(settings.language, settings.language)
    text = say("Where we do not know the language of a person: {language}.")
    yield _named("LANGUAGE", text, language=language)
    if settings.check_every_s:
        every = written.length(settings.check_every_s)
        text = say("We look for changes in Nexudus every {time}.")
        yield _named("CHECK_EVERY_S", text, time=every)
    else:
        yield _named("CHECK_EVERY_S", say("We do not look for changes in Nexudus ourselves."))
    text = say("Members and you reach this service at {address}.")
    yield _named("PUBLIC_URL", text, address=settings.public_url)


def _mail(visit: Visit, written: "_Written") -> Iterator[Sentence]:
    """Yield from whom emails are, how they go, and who gets alerts."""
    say, say_n, settings = visit.language.say, visit.language.say_n, visit.pages.settings
    sender, replies = settings.mail_from, settings.mail_reply_to
    if sender is None:
        yield _named("MAIL_FROM", say("No sender is set, so no email can be sent."))
    else:
        yield _named("MAIL_FROM", say("Emails come from {sender}."), sender=_address(sender))
    if replies is not None:
        yield _named("MAIL_REPLY_TO", say("Replies go to {address}."), address=_address(replies))
    if settings.smtp is None:
        yield _named("SMTP_URL", say("No mail server is set."))
    else:
        yield _named("SMTP_URL", say("Emails go through {host}."), host=settings.smtp.host)
    if settings.mail_rate is not None:
        rate, length = settings.mail_rate.emails, written.length(settings.mail_rate.seconds)
        text = say_n(
            "At most {number} email in {{time}}.", "At most {number} emails in {{time}}.", rate
        )
        yield _named("MAIL_RATE", text, time=length)
    alerted = len(settings.operator_email)
    if alerted:
        text = say_n("Alerts go to {number} address.", "Alerts go to {number} addresses.", alerted)
        yield _named("OPERATOR_EMAIL", text)
    else:
        yield _named("OPERATOR_EMAIL", say("Nobody gets alerts."))


def _address(one: MailAddress) -> str:
    return f"{one.name} <{one.address}>" if one.name else one.address


class _Written:
    """Writes values of the rules file as sentences in the visitor's language."""

    def __init__(self, visit: Visit) -> None:
        self._say, self._say_n = visit.language.say, visit.language.say_n
        self._locale, self._zone = visit.language.locale, visit.pages.settings.zone
        self._by_key: dict[str, Callable[[Any], str]] = {
            "quiet_hours": self._quiet_hours,
            "cap_per_day": self._cap_per_day,
            "cap_per_week": self._cap_per_week,
            "stale_after_s": self._stale_after,
            "flood": self._flood,
            "send": self._send,
            "holidays": self._holidays,
            "spread_s": self._spread,
            "brake": self._brake,
            "reminders_per_week": self._reminders_per_week,
            "reminders_per_enrolment": self._reminders_per_enrolment,
            "count_nexudus": self._count_nexudus,
        }

    def length(self, seconds: int) -> str:
        """Return a length of time, such as `30 minutes`."""
        unit_s, unit = next((one for one in _UNITS if seconds % one[0] == 0), _UNITS[-1])
        return format_unit(seconds // unit_s, f"duration-{unit}", "long", locale=self._locale)

    def counts(self, rules: Rules) -> str:
        """Return which lessons must be done before a course is finished."""
        ways = [self._say(text) for kind, text in _LESSONS.items() if kind in rules.counts]
        how = format_list(ways, "or", locale=self._locale)
        text = self._say("A lesson counts towards its course if it is completed by {how}.")
        return text.format(how=how)

    def off(self, name: str) -> str:
        """Return that a rule is off."""
        return self._say("{name} is off.").format(name=name)

    def timing(self, name: str, value: object) -> Sentence | None:
        """Return one key of `timing` as a sentence; None if it sets nothing worth a line."""
        if name == "quiet_hours" and value is None:
            text = self._say("No quiet hours: emails go at night too.")
        elif not value:
            return None
        else:
            text = self._by_key[name](value)
        return Sentence(text, name.removesuffix("_s"))

    def _quiet_hours(self, hours: QuietHours) -> str:
        text = self._say(
            "Quiet hours: {start} to {end} where the person is. If we do not know, {zone}."
        )
        return text.format(
            start=self._clock(hours.start), end=self._clock(hours.end), zone=self._zone
        )

    def _send(self, window: SendWindow) -> str:
        names = get_day_names("abbreviated", locale=self._locale)
        days = format_list([names[day] for day in sorted(window.days)], locale=self._locale)
        text = self._say("Emails go only from {start} to {end} on {days}.")
        return text.format(start=self._clock(window.start), end=self._clock(window.end), days=days)

    def _holidays(self, days: tuple[date, ...]) -> str:
        listed = format_list([f"{day:%Y-%m-%d}" for day in days], locale=self._locale)
        return self._say("Nothing is sent on {days}.").format(days=listed)

    def _stale_after(self, seconds: int) -> str:
        text = self._say("What happened more than {time} ago waits for you.")
        return text.format(time=self.length(seconds))

    def _spread(self, seconds: int) -> str:
        text = self._say("What waited for the morning is spread over {time}.")
        return text.format(time=self.length(seconds))

    def _flood(self, flood: Flood) -> str:
        text = self._say(
            "More than {number} emails in {time} look like an import and wait for you."
        )
        return text.format(number=flood.count, time=self.length(flood.window_s))

    def _brake(self, times: Decimal) -> str:
        text = self._say("More than {times} times the accepted forecast in a day waits for you.")
        return text.format(times=format_decimal(times, locale=self._locale))

    def _count_nexudus(self, _: bool) -> str:  # noqa: FBT001 - a value of the rules file
        return self._say("What Nexudus itself sends counts for reminders.")

    def _cap_per_day(self, most: int) -> str:
        return self._say_n(
            "At most {number} email a day per person.",
            "At most {number} emails a day per person.",
            most,
        )

    def _cap_per_week(self, most: int) -> str:
        return self._say_n(
            "At most {number} email in seven days per person.",
            "At most {number} emails in seven days per person.",
            most,
        )

    def _reminders_per_week(self, most: int) -> str:
        return self._say_n(
            "At most {number} reminder in seven days per person.",
            "At most {number} reminders in seven days per person.",
            most,
        )

    def _reminders_per_enrolment(self, most: int) -> str:
        return self._say_n(
            "At most {number} reminder about one enrolment.",
            "At most {number} reminders about one enrolment.",
            most,
        )

    def _clock(self, clock: time) -> str:
        return format_time(clock, "short", locale=self._locale)
