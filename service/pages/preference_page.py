"""Writes the preference page and the short pages beside it, in the member's language.

The pages load nothing from elsewhere and need no script and no cookie. They show at most the first
letters of the address, so that a forwarded link reveals nothing about the member.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from babel.dates import format_date
from flask import Response, request

from schemas.choices import ALL, SNOOZES, Choices
from schemas.person import Person
from schemas.rules import Stream
from schemas.settings import Settings
from schemas.text import one_line
from service.limits import MINUTE_S
from service.pages.frame import PageFrame
from service.pages.preferences import LESSON_EMAILS, LinkedMember
from workers.languages import Language, language_for
from workers.zones import own_zone

_RETRY_AFTER_S = 30  # while the ledger cannot be used


@dataclass(frozen=True, slots=True)
class FormOption:
    """One box or one of several circles in the form."""

    value: str
    words: str
    is_chosen: bool
    hint: str = ""


class PreferencePages:
    """The pages, with the style that all of them have."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.zone)
        self._frame = PageFrame(settings, form_action="'self'")

    def preferences(self, member: LinkedMember, token: str, now: datetime) -> Response:
        """Return the page with what a member chose, and the form to change it."""
        language = self._language(member.person)
        zone = own_zone(member.person.zone if member.person else None, self._zone)
        day = partial(_day, language=language, zone=zone)
        is_saved = "saved" in request.args
        masked = _masked(member)
        known = {
            "title": language.gettext("Choose which emails you get"),
            "saved": language.gettext("Saved.") if is_saved else "",
            "address": language.gettext("For the address {address}").format(address=masked)
            if masked
            else "",
            "now_title": language.gettext("Your emails now"),
            "now": list(_now_lines(member.chosen, language, now, day)),
            "streams_title": language.gettext("Emails"),
            "streams": list(_streams(member.chosen, language)),
            "lessons_title": language.gettext("Emails about finished lessons"),
            "lessons": list(_lesson_emails(member.chosen, language)),
            "snoozes_title": language.gettext("Pause all emails"),
            "snoozes": list(_snoozes(member.chosen, language, now, day)),
            "save": language.gettext("Save"),
            "stop": language.gettext("Stop all course emails"),
            "notes": [
                language.gettext("You keep your place on every course."),
                language.gettext(
                    "Anyone with this link can change your email preferences, so please don't"
                    " share it."
                ),
            ],
            "action": f"{token}{self._suffix('?')}",
        }
        return self._frame.page(200, "preferences.html", language, known)

    def stopped(self, page: str, person: Person | None = None) -> Response:
        """Return the answer to a one-click unsubscribe; `page` leads to the other choices."""
        language = self._language(person)
        title = language.gettext("You won't get these emails any more")
        lines = [language.gettext("You keep your place on every course.")]
        return self._message(200, language, title, lines, link=f"{page}{self._suffix('?')}")

    def report(self, *, is_stopped: bool) -> Response:
        """Return the page with which the reader of a report stops it, or gets it again."""
        language = self._language()
        title = language.gettext("Stop these emails")
        button = ("stop", title)
        if is_stopped:
            title = language.gettext("You won't get these emails any more")
            button = ("save", language.gettext("Get these emails again"))
        return self._message(200, language, title, [], button=button)

    def unknown_link(self) -> Response:
        """Return the answer to a link that is not genuine."""
        language = self._language()
        lines = [
            language.gettext("Please open the link in the email again."),
            language.gettext("A part of it may be missing."),
        ]
        if self._settings.mail_reads_replies:
            lines.append(
                language.gettext(
                    "If that does not help, reply to the email and say which emails you want."
                )
            )
        return self._message(404, language, language.gettext("This link does not work"), lines)

    def unusable_form(self) -> Response:
        """Return the answer to a POST that no page and no mail program of ours sends."""
        language = self._language()
        lines = [language.gettext("Please open the link in the email again.")]
        return self._message(400, language, language.gettext("Nothing was changed"), lines)

    def too_many(self) -> Response:
        """Return the answer to more changes, or more wrong links, than a person makes."""
        return self._not_now(429, MINUTE_S)

    def unavailable(self) -> Response:
        """Return the answer while the ledger cannot be used."""
        return self._not_now(503, _RETRY_AFTER_S)

    def see_other(self, path: str) -> Response:
        """Lead to another page, given relative to this one, in the same language."""
        where = f"{path}{self._suffix('&' if '?' in path else '?')}"
        return Response("", 303, {**self._frame.headers, "Location": where}, mimetype="text/plain")

    def _not_now(self, status: int, retry_after_s: int) -> Response:
        language = self._language()
        lines = [language.gettext("Please try again in a minute.")]
        title = language.gettext("This page is not available right now")
        if request.method == "POST":
            title = language.gettext("Nothing was changed")
        response = self._message(status, language, title, lines)
        response.headers["Retry-After"] = str(retry_after_s)
        return response

    def _language(self, person: Person | None = None) -> Language:
        own = person.language if person else None
        return language_for(request.args.get("lang"), own, self._settings.language)

    def _suffix(self, sign: str) -> str:
        """Return the language that the address asks for, to ask for it again."""
        wanted = request.args.get("lang")
        return f"{sign}lang={language_for(wanted).code}" if wanted else ""

    def _message(  # noqa: PLR0913 - the parts of a short page
        self,
        status: int,
        language: Language,
        title: str,
        lines: list[str],
        *,
        link: str = "",
        button: tuple[str, str] | None = None,
    ) -> Response:
        words = language.gettext("Choose which emails you get")
        known = {
            "title": title,
            "lines": lines,
            "link": link,
            "link_words": words,
            "button": button,
        }
        return self._frame.page(status, "message.html", language, known)


def _day(moment: datetime, *, language: Language, zone: ZoneInfo) -> str:
    return format_date(moment.astimezone(zone).date(), "long", locale=language.locale)


def _masked(member: LinkedMember) -> str | None:
    """Return the first letters of the address; None if the link was sent to another."""
    email = member.person.email if member.person and member.has_address else None
    name, _, domain = one_line(email).rpartition("@")
    # Isolated, so that it reads the same in a sentence that runs from right to left.
    return (
        f"\N{LEFT-TO-RIGHT ISOLATE}{name[:1]}…@{domain[:1]}…\N{POP DIRECTIONAL ISOLATE}"
        if name
        else None
    )


def _now_lines(
    chosen: Choices, language: Language, now: datetime, day: Callable[[datetime], str]
) -> Iterator[str]:
    """Yield what is true now, in sentences."""
    if chosen.agreed.get(ALL) is False:
        yield language.gettext("All course emails are stopped.")
        return
    if chosen.wants(Stream.SERVICE):
        yield language.gettext("You get emails about your courses.")
    else:
        yield language.gettext("You get no emails about your courses.")
    if chosen.wants(Stream.REMINDER):
        yield language.gettext("You get reminders.")
    else:
        yield language.gettext("You get no reminders.")
    if chosen.is_weekly and chosen.wants(Stream.SERVICE):
        yield language.gettext("Finished lessons share one email a week, on Friday.")
    until = chosen.snoozed_until(now)
    if until is not None:
        pause = language.gettext("Your emails are paused until {date}.")
        yield pause.format(date=day(until))
        yield language.gettext("You won't get emails later about what you miss.")


def _streams(chosen: Choices, language: Language) -> Iterator[FormOption]:
    """Yield a box for each stream."""
    yield FormOption(
        Stream.SERVICE,
        language.gettext("Emails about your courses"),
        chosen.wants(Stream.SERVICE),
        language.gettext("When you join a course, finish lessons or finish a course."),
    )
    yield FormOption(
        Stream.REMINDER,
        language.gettext("Reminders"),
        chosen.wants(Stream.REMINDER),
        language.gettext(
            "When you have not started yet, have been away, or a lesson opens. Only with your"
            " agreement."
        ),
    )


def _lesson_emails(chosen: Choices, language: Language) -> Iterator[FormOption]:
    """Yield how often emails about finished lessons can come."""
    for name, words in (
        ("sitting", language.gettext("After each time you study")),
        ("weekly", language.gettext("Once a week, on Friday")),
    ):
        yield FormOption(name, words, LESSON_EMAILS[name] is chosen.is_weekly)


def _snoozes(
    chosen: Choices, language: Language, now: datetime, day: Callable[[datetime], str]
) -> Iterator[FormOption]:
    """Yield what the member can choose about a break; the first is what is so now."""
    until = chosen.snoozed_until(now)
    if until is None:
        yield FormOption("none", language.gettext("No pause"), is_chosen=True)
    else:
        keep = language.gettext("Stay paused until {date}").format(date=day(until))
        yield FormOption("keep", keep, is_chosen=True)
        yield FormOption("end", language.gettext("End the pause now"), is_chosen=False)
    week, month = (
        language.gettext("For a week, until {date}"),
        language.gettext("For a month, until {date}"),
    )
    for name, words in (("week", week), ("month", month)):
        yield FormOption(name, words.format(date=day(now + SNOOZES[name])), is_chosen=False)
