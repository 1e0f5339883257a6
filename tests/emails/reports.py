"""Reports as emails to check: alerts, the summary and digests, ordinary ones and awkward ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

from ledger.outages import PastOutage
from schemas.reasons import Reason
from schemas.rules import Digest, Every, Where
from tests.emails.people import PEOPLE, EmailCase
from workers.actions.email.letter import Letters, ReportFrame
from workers.actions.email.parts import Content
from workers.actions.email.phrases import Phrase, Writer
from workers.languages import language_for
from workers.reports import alert_text, digest_text, summary_text
from workers.reports.alert_text import alert_content, known_causes, why_operator
from workers.reports.alerts import Cause
from workers.reports.digest_text import digest_content, why_digest
from workers.reports.study import CourseNews, Members, NamedMember
from workers.reports.summary_text import OtherActions, WeekNumbers, summary_content

_ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 27, 15, tzinfo=UTC)
_DAYS = date(2026, 11, 16), date(2026, 11, 22)
_LONG = "Donaudampfschifffahrtsgesellschaftskapitaen" * 2
_NAMES = ("Ana Lopez", "\u05e0\u05d5\u05e2\u05d4", "\u4f50\u85e4", _LONG, "<b>Joel</b>")
_KINDS: tuple[str | None, ...] = ("welcome", "lesson-finished", "stalled", "notice", None)

_Said = tuple[Content, Phrase, ModuleType]


def _alert(write: Writer, *, is_awkward: bool) -> _Said:
    codes = sorted(known_causes()) if is_awkward else ["held"]
    causes = [Cause(code, 26, NOW, place=_LONG if code == "lost" else None) for code in codes]
    away = [PastOutage(NOW, NOW)] if is_awkward else []
    return alert_content(causes, away, [], write, NOW, _ZONE), why_operator(write), alert_text


def _summary(write: Writer, *, is_awkward: bool) -> _Said:
    sent = dict.fromkeys(_KINDS if is_awkward else _KINDS[:1], 1_234_567)
    reasons = dict.fromkeys(Reason, 3) if is_awkward else {}
    other, unread = (OtherActions(9, 4, 1), 3) if is_awkward else (OtherActions(), 0)
    week = WeekNumbers(14, 3, sent, reasons, 7, other, 2, unread)
    return summary_content(week, _DAYS, write), why_operator(write), summary_text


def _digest(write: Writer, *, is_awkward: bool) -> _Said:
    digest = Digest("weekly", Every.WEEK, Where(), 14 * 86_400, enabled=True, to=("host",))
    names = _NAMES * 9 if is_awkward else _NAMES[:1]
    late_day = date(2026, 11, 15) if is_awkward else None
    named = tuple(NamedMember(name, 9001, late_day=late_day) for name in names)
    many = Members(47 if is_awkward else 1, named)
    stuck = Members(1, (NamedMember("Joel", 9002),))
    news = [CourseNews(7, "Freelance Finance", many, Members(), stuck)]
    if is_awkward:
        titles = (_LONG, _NAMES[1], *(f"Course {number}" for number in range(30)))
        news += [CourseNews(7, title, many, many, many) for title in titles]
    return (
        digest_content(digest, news, _DAYS, write, unread=12 if is_awkward else 0),
        why_digest(write, is_to_host=True),
        digest_text,
    )


REPORTS: Mapping[str, Callable[..., _Said]] = {
    "alert": _alert,
    "summary": _summary,
    "digest": _digest,
}


def report_case(language: str, report: str, person: str) -> EmailCase:
    """Compose a report in a language, to an ordinary reader or with awkward names and numbers."""
    spoken, branding = language_for(language), PEOPLE["branded"].branding
    said, why, module = REPORTS[report](Writer(spoken), is_awkward=person != "ordinary")
    source = Path(str(module.__file__))
    frame = ReportFrame(spoken, "Rita", why, "https://courses.example/p/6XbVqW1TzO8", source)
    letter = Letters(branding).compose_report(said, frame)
    return EmailCase(language, spoken.direction, report, person, letter)


def every_report(languages: Iterable[str]) -> Iterator[EmailCase]:
    """Compose every report in these languages, in both ways."""
    for language in languages:
        for report in REPORTS:
            for person in ("ordinary", "awkward"):
                yield report_case(language, report, person)
