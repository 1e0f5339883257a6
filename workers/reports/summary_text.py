"""What the summary on Mondays says to operators: the numbers of the week, and what waits now."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from schemas.events import EventKind
from schemas.reasons import Reason
from workers.actions.email import KIND
from workers.actions.email.parts import Content, Figures, Heading, Paragraph, Part
from workers.actions.email.phrases import Foreign, Phrase, Writer
from workers.attention import LOOKUPS_FAILED
from workers.reports.alerts import Cause

_Words = Callable[[Writer], Phrase]

_KINDS: Mapping[str, _Words] = {
    "welcome": lambda write: write.phrase("Welcome"),
    "lesson-finished": lambda write: write.phrase("Lesson finished"),
    "course-finished": lambda write: write.phrase("Course finished"),
    "not-started": lambda write: write.phrase("Reminder to start"),
    "stalled": lambda write: write.phrase("Reminder to continue"),
    "lesson-available": lambda write: write.phrase("Lesson open"),
    "notice": lambda write: write.phrase("To hosts and fixed addresses"),
}
# Why emails are not sent, in groups that fit a table; the rest are other reasons.
_GROUPS: tuple[tuple[_Words, frozenset[Reason]], ...] = (
    (
        lambda write: write.phrase("The member chose so, or got enough emails"),
        frozenset(
            {
                Reason.CAP_WEEK,
                Reason.REMINDER_LIMIT,
                Reason.NEXUDUS_REMINDED,
                Reason.OPTED_OUT_KIND,
                Reason.OPTED_OUT_ALL,
                Reason.NO_CONSENT,
                Reason.SNOOZED,
            }
        ),
    ),
    (
        lambda write: write.phrase("No usable address"),
        frozenset({Reason.NO_EMAIL}),
    ),
    (
        lambda write: write.phrase("An earlier email to the address came back"),
        frozenset({Reason.BOUNCED_BEFORE}),
    ),
    (
        lambda write: write.phrase("No longer true when it was due"),
        frozenset(
            {
                Reason.SUPERSEDED,
                Reason.DUPLICATE,
                Reason.ACTIVE_MEANWHILE,
                Reason.COMPLETED_MEANWHILE,
                Reason.CHANGED_MEANWHILE,
                Reason.RECORD_GONE,
            }
        ),
    ),
    (
        lambda write: write.phrase("The place, the course or the account is not active"),
        frozenset(
            {
                Reason.NOT_APPROVED,
                Reason.BLOCKED,
                Reason.COURSE_INACTIVE,
                Reason.MEMBER_INACTIVE,
            }
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class OtherActions:
    """How many webhooks, notes and the like were done in a week, were left out, and wait now."""

    done: int = 0
    not_done: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class WeekNumbers:
    """The numbers of a week, and what waits now. `sent` is by template, `unread` lookups."""

    enrolled: int
    finished: int
    sent: Mapping[str | None, int]
    not_sent: Mapping[Reason, int]
    waiting: int
    other: OtherActions
    needs_you: int
    unread: int


def week_numbers(
    happened: Mapping[EventKind, int],
    done: Mapping[tuple[str, str | None], int],
    skipped: Mapping[tuple[str, Reason], int],
    waiting: Mapping[str, int],
    causes: Iterable[Cause],
) -> WeekNumbers:
    """Return the numbers of a week, with emails apart from all other kinds of action."""
    sent = {template: number for (kind, template), number in done.items() if kind == KIND}
    not_sent = {reason: number for (kind, reason), number in skipped.items() if kind == KIND}
    emails = waiting.get(KIND, 0)
    other = OtherActions(
        sum(done.values()) - sum(sent.values()),
        sum(skipped.values()) - sum(not_sent.values()),
        sum(waiting.values()) - emails,
    )
    counts = {one.code: one.count for one in causes}
    unread = counts.pop(LOOKUPS_FAILED, 0)
    return WeekNumbers(
        happened.get(EventKind.ENROLLED, 0),
        happened.get(EventKind.COURSE_COMPLETED, 0),
        sent,
        not_sent,
        emails,
        other,
        sum(counts.values()),
        unread,
    )


def summary_content(week: WeekNumbers, days: tuple[date, date], write: Writer) -> Content:
    """Return the summary; also of a week in which nothing happened."""
    sent = sum(week.sent.values())
    is_quiet = not (sent or week.enrolled or week.finished or week.other.done)
    what = write.plural("{number} email last week", "{number} emails last week", sent)
    if is_quiet:
        what = write.phrase("a quiet week")
    subject = write.phrase("Coursebell: {what}", what=what.text())
    begin, end = map(write.day, days)
    when = write.phrase("{start} to {end}", start=begin, end=end)
    happened = (
        (write.phrase("New enrolments"), write.number(week.enrolled)),
        (write.phrase("Finished courses"), write.number(week.finished)),
    )
    parts: list[Part] = [Paragraph((when,)), Figures(happened)]
    parts += _table(write.phrase("Sent"), _sent(week, write))
    parts += _table(write.phrase("Not sent on purpose"), _not_sent(week, write))
    parts += _table(write.phrase("Other actions"), _other(week.other, write))
    parts += _table(write.phrase("Now"), _now(week, write))
    if week.needs_you or week.unread:
        command = Foreign("coursebell status", strong=True)
        parts.append(
            Paragraph((write.phrase("To see what to do, run {command}.", command=command),))
        )
    return Content(subject, subject, (when,), tuple(parts))


def _table(words: Phrase, rows: Iterator[tuple[Phrase, str]]) -> Iterator[Part]:
    found = tuple(rows)
    if found:
        yield Heading(words)
        yield Figures(found)


def _sent(week: WeekNumbers, write: Writer) -> Iterator[tuple[Phrase, str]]:
    for template, words in _KINDS.items():
        if week.sent.get(template):
            yield words(write), write.number(week.sent[template])
    others = sum(number for name, number in week.sent.items() if name not in _KINDS)
    if others:
        yield write.phrase("Other emails"), write.number(others)


def _other(other: OtherActions, write: Writer) -> Iterator[tuple[Phrase, str]]:
    """Yield what became of webhooks, notes and the like, if there were any."""
    if other.done:
        yield write.phrase("Done"), write.number(other.done)
    if other.not_done:
        yield write.phrase("Not done on purpose"), write.number(other.not_done)


def _now(week: WeekNumbers, write: Writer) -> Iterator[tuple[Phrase, str]]:
    yield write.phrase("Emails waiting for their time"), write.number(week.waiting)
    if week.other.waiting:
        yield write.phrase("Other actions waiting for their time"), write.number(week.other.waiting)
    yield write.phrase("Emails and other actions that need you"), write.number(week.needs_you)
    if week.unread:
        yield write.phrase("Records of Nexudus that could not be read"), write.number(week.unread)


def _not_sent(week: WeekNumbers, write: Writer) -> Iterator[tuple[Phrase, str]]:
    rest = dict(week.not_sent)
    for words, reasons in _GROUPS:
        number = sum(rest.pop(reason, 0) for reason in reasons)
        if number:
            yield words(write), write.number(number)
    if rest:
        yield write.phrase("Other reasons"), write.number(sum(rest.values()))
