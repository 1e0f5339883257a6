"""What digests say: for each course who enrolled, who finished and who got stuck."""

from collections.abc import Iterator, Sequence
from datetime import date

from schemas.rules import Digest, Every
from workers.actions.email.parts import (
    Content,
    Heading,
    Paragraph,
    Part,
    TitleList,
)
from workers.actions.email.phrases import Foreign, Phrase, Writer
from workers.reports.study import CourseNews, Members

_MOST_COURSES = 20
_DAY_S = 86_400
_MOST_NAMES = 11  # lines of a list; if there are more names, the last counts the rest


def digest_content(
    digest: Digest, news: Sequence[CourseNews], days: tuple[date, date], write: Writer
) -> Content:
    """Return a digest of what happened on these courses; `news` is not empty."""
    is_to_host = digest.is_to_hosts
    subject = _subject(digest, news, write)
    begin, end = map(write.day, days)
    when = write.phrase("{start} to {end}", start=begin, end=end)
    parts: list[Part] = [Paragraph((when,))]
    to_do = _to_do(news, write) if is_to_host else None
    parts += [Paragraph((to_do,))] if to_do else []
    for one in news[:_MOST_COURSES]:
        parts += _section(one, write)
    more = len(news) - _MOST_COURSES
    if more > 0:
        rest = write.plural("{number} more course", "{number} more courses", more)
        parts.append(Paragraph((rest,)))
    if any(one.stuck.count for one in news):
        parts.append(Paragraph((_stuck_means(digest.stuck_after_s // _DAY_S or 1, write),)))
    return Content(subject, subject, (to_do or when,), tuple(parts))


def why_digest(write: Writer, *, is_to_host: bool) -> Phrase:
    """Return the sentence that says why the reader gets a digest."""
    if is_to_host:
        return write.phrase("You're getting this email because you host courses.")
    return write.phrase(
        "You're getting this email because this address is set up to receive course updates."
    )


def _subject(digest: Digest, news: Sequence[CourseNews], write: Writer) -> Phrase:
    is_weekly = digest.every is Every.WEEK
    if len(news) == 1:
        course = Foreign(news[0].title)
        if is_weekly:
            return write.phrase("{course}: last week", course=course)
        return write.phrase("{course}: last month", course=course)
    if digest.is_to_hosts:
        weekly, monthly = (
            write.phrase("Your courses last week"),
            write.phrase("Your courses last month"),
        )
    else:
        weekly, monthly = write.phrase("Courses last week"), write.phrase("Courses last month")
    return weekly if is_weekly else monthly


def _section(news: CourseNews, write: Writer) -> Iterator[Part]:
    yield Heading(write.quote(news.title))
    yield from _group(
        news.enrolled,
        write.plural(
            "{number} member enrolled:", "{number} members enrolled:", news.enrolled.count
        ),
        write,
    )
    yield from _group(
        news.finished,
        write.plural(
            "{number} member finished:", "{number} members finished:", news.finished.count
        ),
        write,
    )
    yield from _group(
        news.stuck,
        write.plural("{number} member got stuck:", "{number} members got stuck:", news.stuck.count),
        write,
    )


def _group(members: Members, words: Phrase, write: Writer) -> Iterator[Part]:
    if members.count:
        yield Paragraph((words,))
        yield _names(members, write)


def _names(members: Members, write: Writer) -> TitleList:
    """Return the first names and how many others there are, also of those without a name."""
    is_short = members.count == len(members.names) <= _MOST_NAMES
    shown = members.names if is_short else members.names[: _MOST_NAMES - 1]
    more = members.count - len(shown)
    rest = (write.plural("and {number} other", "and {number} others", more),) if more else ()
    return TitleList((*map(write.quote, shown), *rest))


def _to_do(news: Sequence[CourseNews], write: Writer) -> Phrase | None:
    """Return the one thing to do: about who is stuck, or who finished, or who enrolled."""
    stuck, finished, enrolled = (
        next((name for group in groups for name in group.names), None)
        for groups in (
            [one.stuck for one in news],
            [one.finished for one in news],
            [one.enrolled for one in news],
        )
    )
    if stuck:
        member = Foreign(stuck, strong=True)
        return write.phrase("One thing to do: ask {member} what would help.", member=member)
    if finished:
        member = Foreign(finished, strong=True)
        return write.phrase("One thing to do: congratulate {member}.", member=member)
    if enrolled:
        member = Foreign(enrolled, strong=True)
        return write.phrase("One thing to do: say hello to {member}.", member=member)
    return None


def _stuck_means(days: int, write: Writer) -> Phrase:
    return write.plural(
        "Stuck means: for {number} day no lesson was finished, nor the course opened.",
        "Stuck means: for {number} days no lesson was finished, nor the course opened.",
        days,
    )
