"""What each email says: a function for each template, in the language of the member.

The sentences are English and are translated through `Writer.phrase`. A sentence is left out if the
fact that it needs is unknown. `Letters` puts the content into the frame that all emails share.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from schemas.actions import NOTICE
from schemas.entity import CompletionType
from schemas.events import EventKind
from workers.actions.email.notice import Notice, what_happened
from workers.actions.email.parts import (
    Button,
    Content,
    Link,
    Paragraph,
    Part,
    ProgressBar,
    TitleList,
    said,
)
from workers.actions.email.phrases import Foreign, Phrase, Writer

_MOST_TITLES = 6  # in one list; if there are more, the first five are named


@dataclass(frozen=True, slots=True)
class LessonLine:
    """One lesson that an email is about."""

    title: str
    completion_type: CompletionType


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """Everything an email may say. Texts are as the source has them; `Letters` cleans them.

    `languages` are the codes of those the member may read, the best first. `first_name` is the
    source's guess (GuessedFirstName). `lessons` are those this email is about, in display order.
    `done` and `total` count lessons of the course; `started_on` and `finished_on` are days where
    the member is. With `is_weekly` the lessons are those of a week. `lesson_url` leads to the
    lesson that the email suggests: the first in a welcome, the one that opened in
    `lesson-available`, else the next. `next_course` is the one to take after a finished one,
    `next_course_url` its address. `last_lesson` is the one they finished last. `preferences_url` is
    where the member chooses which emails they get; with `is_reminder` the link says that it stops
    reminders. `certificate_url` is where the attached certificate can be checked. With `notice` the
    reader is not the member, and the names are theirs.
    """

    template: str
    full_name: str
    first_name: str | None
    is_individual: bool
    course: str
    course_summary: str | None
    host: str | None
    space: str | None
    lessons: tuple[LessonLine, ...]
    done: int
    total: int
    first_lesson: str | None
    next_lesson: str | None
    started_on: date | None
    finished_on: date | None
    course_url: str | None
    lesson_url: str | None
    course_id: int = 0
    languages: tuple[str, ...] = ()
    last_lesson: str | None = None
    next_course: str | None = None
    next_course_url: str | None = None
    preferences_url: str | None = None
    is_reminder: bool = False
    is_weekly: bool = False
    certificate_url: str | None = None
    signs_as_host: bool = False
    reads_replies: bool = False
    notice: Notice | None = None


def content_of(facts: LetterFacts, write: Writer) -> Content:
    """Return what the email with these facts says. Its template is one of `CONTENTS`."""
    return CONTENTS[facts.template](facts, write)


def _welcome(facts: LetterFacts, write: Writer) -> Content:
    title = write.phrase("You're in: {course}", course=Foreign(facts.course))
    size = _size(facts, write)
    start = (
        [
            write.phrase(
                "The course begins with “{lesson}”.",
                lesson=Foreign(facts.first_lesson, strong=True),
            )
        ]
        if facts.first_lesson
        else []
    )
    host = [write.phrase("Your host is {host}.", host=Foreign(facts.host))] if facts.host else []
    help_offered = (
        [write.phrase("If you get stuck, reply to this email. A person will read it.")]
        if facts.reads_replies
        else []
    )
    ready = write.phrase("Your place is ready. You can start whenever it suits you.")
    return Content(
        title,
        title,
        tuple(size + start) or (ready,),
        said(
            Paragraph((ready,)),
            Paragraph((write.quote(facts.course_summary),)) if facts.course_summary else None,
            Paragraph((*size, *start, *host)),
            _button(facts, write, write.phrase("Start the first lesson")),
            Paragraph(tuple(help_offered)),
        ),
    )


def _lesson_finished(facts: LetterFacts, write: Writer) -> Content:
    count = len(facts.lessons)
    about: list[Part]
    only_visited = all(one.completion_type is CompletionType.VISITED for one in facts.lessons)
    if count > 1:
        title = _several_lessons(facts, write)
        been, done = write.phrase("You looked at:"), write.phrase("You finished:")
        about = [Paragraph((been if only_visited else done,)), _titles(facts, write)]
    else:
        lesson = Foreign(facts.lessons[0].title)
        been = write.phrase("You looked at “{lesson}”", lesson=lesson)
        title = been if only_visited else write.phrase("You finished “{lesson}”", lesson=lesson)
        praise = () if only_visited else (write.phrase("Well done."),)
        where = write.phrase("This lesson is part of “{course}”.", course=Foreign(facts.course))
        about = [Paragraph((*praise, where))]
    next_step = tuple(_next_step(facts, write))
    return Content(
        title,
        title,
        next_step or (title,),
        said(
            *about,
            _progress(facts, write),
            Paragraph(next_step),
            _button(facts, write, write.phrase("Continue with the next lesson")),
        ),
    )


def _several_lessons(facts: LetterFacts, write: Writer) -> Phrase:
    """Return the title of an email about more than one finished lesson."""
    course, count = Foreign(facts.course), len(facts.lessons)
    if facts.is_weekly:
        return write.plural(
            "Your week in {course}: {number} lesson done",
            "Your week in {course}: {number} lessons done",
            count,
            course=course,
        )
    return write.plural(
        "{number} lesson done in {course}",
        "{number} lessons done in {course}",
        count,
        course=course,
    )


def _course_finished(facts: LetterFacts, write: Writer) -> Content:
    title = write.phrase("You finished “{course}”", course=Foreign(facts.course))
    praise = [write.phrase("Well done."), *_completed(facts, write)]
    thanks = [
        write.phrase("{host} thanks you for taking this course.", host=Foreign(facts.host))
        if facts.host and facts.signs_as_host
        else write.phrase("Thank you for taking this course.")
    ]
    if facts.reads_replies:
        thanks.append(write.phrase("Would you tell us how it was? Just reply to this email."))
    return Content(
        title,
        title,
        tuple(praise[:2]),
        said(
            Paragraph(tuple(praise)),
            *_certificate(facts, write),
            Paragraph(tuple(thanks)),
            *_onward(facts, write),
        ),
    )


def _completed(facts: LetterFacts, write: Writer) -> Iterator[Phrase]:
    """Yield how many lessons were completed, and when."""
    if facts.total:
        yield write.plural(
            "You completed its one lesson.",
            "You completed every lesson, {number} in all.",
            facts.total,
        )
    started, finished = facts.started_on, facts.finished_on
    if started and finished and started < finished:
        yield write.phrase(
            "You started on {start} and finished on {end}.",
            start=write.day(started),
            end=write.day(finished),
        )
    elif finished:  # on one day, or enrolled again since, so that the start is misleading
        yield write.phrase("You finished on {end}.", end=write.day(finished))


def _certificate(facts: LetterFacts, write: Writer) -> Iterator[Part]:
    """Yield what announces an attached certificate of completion."""
    if facts.certificate_url:
        attached = write.phrase("Your certificate of completion is attached as a PDF.")
        yield Paragraph((attached, write.phrase("Anyone can check it with the code on it.")))
        yield Link(write.phrase("Check the certificate"), facts.certificate_url)


def _onward(facts: LetterFacts, write: Writer) -> Iterator[Part]:
    """Yield what leads from a finished course to the next one."""
    if facts.next_course:
        course = Foreign(facts.next_course, strong=True)
        yield Paragraph(
            (
                write.phrase(
                    "If you would like to learn more, “{course}” comes next.", course=course
                ),
            )
        )
        if facts.next_course_url:
            yield Button(write.phrase("See the next course"), facts.next_course_url)


def _not_started(facts: LetterFacts, write: Writer) -> Content:
    title = write.phrase("Your first lesson in {course} is ready", course=Foreign(facts.course))
    ready = write.phrase("Your place is ready. You can start whenever it suits you.")
    first = (
        [
            write.phrase(
                "The course begins with “{lesson}”.", lesson=Foreign(facts.next_lesson, strong=True)
            )
        ]
        if facts.next_lesson
        else []
    )
    size = _size(facts, write)
    return Content(
        title,
        title,
        tuple(size + first) or (ready,),
        said(
            Paragraph((ready,)),
            Paragraph((*size, *first)),
            _button(facts, write, write.phrase("Start the first lesson")),
        ),
    )


def _stalled(facts: LetterFacts, write: Writer) -> Content:
    title = write.phrase("Where you left off in {course}", course=Foreign(facts.course))
    invitation = write.phrase("You can continue whenever it suits you.")
    next_step = tuple(_next_step(facts, write)) if facts.next_lesson else ()
    last = facts.last_lesson
    stopped = (
        [write.phrase("The last lesson you finished was “{lesson}”.", lesson=Foreign(last))]
        if last
        else []
    )
    return Content(
        title,
        title,
        next_step or (invitation,),
        said(
            Paragraph((*stopped, invitation)),
            _progress(facts, write),
            Paragraph(next_step),
            _button(facts, write, write.phrase("Continue with the next lesson")),
        ),
    )


def _lesson_available(facts: LetterFacts, write: Writer) -> Content:
    title = write.phrase("Now open: {lesson}", lesson=Foreign(facts.lessons[0].title))
    where = write.phrase(
        "This lesson of “{course}” has opened for you.", course=Foreign(facts.course)
    )
    return Content(
        title,
        title,
        (where,),
        said(
            Paragraph((where,)),
            _progress(facts, write),
            _button(facts, write, write.phrase("Open the lesson")),
        ),
    )


def _notice(facts: LetterFacts, write: Writer) -> Content:
    if facts.notice is None:
        raise ValueError("a notice without a member")
    title = what_happened(facts.notice, facts.course, len(facts.lessons), write)
    member = Foreign(facts.notice.member)
    reach = write.phrase("To reach {member}, open their profile in Nexudus.", member=member)
    progress = _progress(facts, write)
    date_of = facts.finished_on
    day = (write.phrase("Date: {day}", day=write.day(date_of)),) if date_of else ()
    # The event of a finished course names its last lesson.
    has_titles = facts.lessons and facts.notice.event is not EventKind.COURSE_COMPLETED
    titles = _titles(facts, write) if has_titles else None
    return Content(
        title,
        title,
        (progress.words if progress else reach,),
        said(Paragraph(day), titles, progress, Paragraph((reach,))),
    )


# The templates that rules may name.
CONTENTS: Mapping[str, Callable[[LetterFacts, Writer], Content]] = {
    "welcome": _welcome,
    "lesson-finished": _lesson_finished,
    "course-finished": _course_finished,
    "not-started": _not_started,
    "stalled": _stalled,
    "lesson-available": _lesson_available,
    NOTICE: _notice,
}


def _size(facts: LetterFacts, write: Writer) -> list[Phrase]:
    if not facts.total:
        return []
    return [write.plural("There is one lesson.", "There are {number} lessons.", facts.total)]


def _titles(facts: LetterFacts, write: Writer) -> TitleList:
    titles = [one.title for one in facts.lessons]
    shown = titles if len(titles) <= _MOST_TITLES else titles[: _MOST_TITLES - 1]
    more = len(titles) - len(shown)
    rest = [write.plural("and {number} more", "and {number} more", more)] if more else []
    return TitleList((*map(write.quote, shown), *rest))


def _progress(facts: LetterFacts, write: Writer) -> ProgressBar | None:
    if not facts.total:
        return None
    words = write.plural(
        "{done} of {number} lesson",
        "{done} of {number} lessons",
        facts.total,
        done=write.number(facts.done),
    )
    return ProgressBar(facts.done, facts.total, words)


def _next_step(facts: LetterFacts, write: Writer) -> Iterator[Phrase]:
    """Yield what comes next; nothing if the number of lessons is unknown."""
    if facts.next_lesson:
        yield write.phrase("Next is “{lesson}”.", lesson=Foreign(facts.next_lesson, strong=True))
    elif facts.total and facts.done == facts.total:
        yield write.phrase("That was the last lesson.")
    elif facts.total:
        yield write.phrase("That was the last lesson that is open for now.")


def _button(facts: LetterFacts, write: Writer, to_lesson: Phrase) -> Button | None:
    """Return the button to the lesson that the email suggests, or else to the course."""
    has_lesson = {
        "welcome": facts.first_lesson,
        "lesson-available": facts.lessons[0].title if facts.lessons else None,
    }.get(facts.template, facts.next_lesson)
    if facts.lesson_url and has_lesson:
        return Button(to_lesson, facts.lesson_url)
    return Button(write.phrase("Open the course"), facts.course_url) if facts.course_url else None
