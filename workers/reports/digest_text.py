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
from workers.reports.study import CourseNews, Members, NamedMember, one_to_write_to

MOST_COURSES = 20  # with what happened there; those after them are named
MOST_TITLES = 20
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_MOST_NAMES = 11  # lines of a list; if there are more names, the last counts the rest


def digest_content(
    digest: Digest,
    news: Sequence[CourseNews],
    days: tuple[date, date],
    write: Writer,
    unread: int = 0,
) -> Content:
    """Return a digest of what happened on these courses; `news` is not empty.

    `unread` is the number of other courses on which something happened, which are not named.
    """
    is_to_host = digest.is_to_hosts
    subject = _subject(digest, news, unread, write)
    begin, end = map(write.day, days)
    when = write.phrase("{start} to {end}", start=begin, end=end)
    parts: list[Part] = [Paragraph((when,))]
    told, others = news[:MOST_COURSES], news[MOST_COURSES:]
    to_do = _to_do(told, write) if is_to_host else None
    parts += [Paragraph((to_do,))] if to_do else []
    for one in told:
        parts += _section(one, write)
    if any(one.stuck.count for one in told):
        parts.append(Paragraph((_stuck_means(digest.stuck_after_s, write),)))
    parts += _others([one.title for one in others[:MOST_TITLES]], len(others) + unread, write)
    return Content(subject, subject, (to_do or when,), tuple(parts))


def why_digest(write: Writer, *, is_to_host: bool) -> Phrase:
    """Return the sentence that says why the reader gets a digest."""
    if is_to_host:
        return write.phrase("You're getting this email because you host courses.")
    return write.phrase(
        "You're getting this email because this address is set up to receive course updates."
    )


def _subject(digest: Digest, news: Sequence[CourseNews], unread: int, write: Writer) -> Phrase:
    is_weekly = digest.every is Every.WEEK
    if len(news) == 1 and not unread:
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


def _others(titles: Sequence[str], number: int, write: Writer) -> Iterator[Part]:
    """Yield how many courses are not told about, and the titles of the first."""
    if number:
        yield Heading(write.plural("{number} more course", "{number} more courses", number))
    if titles:
        more = number - len(titles)
        rest = (write.plural("and {number} other", "and {number} others", more),) if more else ()
        yield TitleList((*map(write.quote, titles), *rest))


def _group(members: Members, words: Phrase, write: Writer) -> Iterator[Part]:
    if members.count:
        yield Paragraph((words,))
        yield _names(members, write)


def _names(members: Members, write: Writer) -> TitleList:
    """Return the first names and how many others there are, also of those without a name."""
    is_short = members.count == len(members.named) <= _MOST_NAMES
    shown = members.named if is_short else members.named[: _MOST_NAMES - 1]
    more = members.count - len(shown)
    rest = (write.plural("and {number} other", "and {number} others", more),) if more else ()
    return TitleList((*(_name(one, write) for one in shown), *rest))


def _name(one: NamedMember, write: Writer) -> Phrase:
    """Return a name, with the day of what happened before the days that the digest names."""
    if one.late_day is None:
        return write.quote(one.name)
    day = write.day(one.late_day)
    return write.phrase("{member} ({day})", member=Foreign(one.name), day=day)


def _to_do(news: Sequence[CourseNews], write: Writer) -> Phrase | None:
    """Return the one thing to do: about who is stuck, or who finished, or who enrolled."""
    found = one_to_write_to(news)
    if found is None:
        return None
    member = Foreign(found.member.name, strong=True)
    if found.about == "stuck":
        return write.phrase("One thing to do: ask {member} what would help.", member=member)
    if found.about == "finished":
        return write.phrase("One thing to do: congratulate {member}.", member=member)
    return write.phrase("One thing to do: say hello to {member}.", member=member)


def _stuck_means(after_s: int, write: Writer) -> Phrase:
    """Return for how long a stuck member did nothing, in the largest unit that is exact."""
    if after_s % _DAY_S == 0:
        return write.plural(
            "Stuck means: for {number} day no lesson was finished, nor the course opened.",
            "Stuck means: for {number} days no lesson was finished, nor the course opened.",
            after_s // _DAY_S,
        )
    if after_s % _HOUR_S == 0:
        return write.plural(
            "Stuck means: for {number} hour no lesson was finished, nor the course opened.",
            "Stuck means: for {number} hours no lesson was finished, nor the course opened.",
            after_s // _HOUR_S,
        )
    return write.plural(
        "Stuck means: for {number} minute no lesson was finished, nor the course opened.",
        "Stuck means: for {number} minutes no lesson was finished, nor the course opened.",
        -(-after_s // _MINUTE_S),
    )
