"""Composes an email from facts: cleans them, chooses the language, and fills the frame.

What each email says is in `content`. A fact that is unknown is None, and the sentence that needs it
is left out. An email that lacks an essential fact is not written.

The HTML is written by hand instead of with MJML: the short emails need 5 KB of markup, and MJML's
output has no language, headings or dark colours.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from schemas.actions import NOTICE
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from schemas.text import MAX_SUBJECT_LENGTH, cut_at_word, greeting_name, one_line
from schemas.wording import Wording
from workers import languages
from workers.actions.email import TEMPLATES
from workers.actions.email.branding import Branding, accent_of
from workers.actions.email.content import LetterFacts, content_of
from workers.actions.email.notice import why_notified
from workers.actions.email.own_words import ABOUT_LESSONS, OwnWords
from workers.actions.email.parts import (
    Button,
    Content,
    Figures,
    Heading,
    Link,
    Paragraph,
    Part,
    ProgressBar,
)
from workers.actions.email.phrases import Foreign, Phrase, Writer, as_text, wrapped
from workers.languages import Language, language_for

_FOLDER = Path(__file__).parent
_FRAME = "frame.html"
_DECIDING = ("content.py", "letter.py", "notice.py", "own_words.py", "parts.py", "phrases.py")
_PLAIN, _OURS = Branding(), Wording()
_DIGEST_LENGTH = 12
_MAX_PREVIEW = 110  # characters; inboxes show fewer
_COLUMNS = 72
_MAX_TITLE = 200  # characters of a title or a name
_MAX_SUMMARY = 240  # characters of the course's summary
_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f-\x9f<>\"]+", re.IGNORECASE)
_BLOCK = re.compile(r"<(?=/?(?:br|div|h[1-6]|li|ol|p|td|tr|ul)\b)", re.IGNORECASE)
# What a browser never shows; an element without an end lasts until the end of the text.
_UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|title|template|noscript|iframe|object|svg|math|textarea|select)\b"
    r".*?(?:</\1\b[^>]*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP = re.compile(r"<!--|</?[A-Za-z][^<>]*>|&(#\d+|#x[0-9a-fA-F]+|\w+);")


class TemplateGap(DeliveryRefused):
    """An email lacks an essential fact, so it is not written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.TEMPLATE_ERROR)


@dataclass(frozen=True, slots=True)
class Letter:
    """An email ready to be addressed.

    `preview` is the line an inbox shows beside the subject. `wording` is a short digest of what
    decides the text: code, frame, translation and the space's own words. It changes whenever one of
    them does, also if the text of this email stays the same.
    """

    subject: str
    preview: str
    text: str
    html: str
    wording: str


@dataclass(frozen=True, slots=True)
class ReportFrame:
    """What surrounds a report: its language, whom it greets, why they get it, where they stop it.

    `source` is the file with its sentences, which its version covers.
    """

    language: Language
    name: str | None
    why: Phrase
    stop_url: str | None
    source: Path


@dataclass(frozen=True, slots=True)
class _Frame:
    """What surrounds the content of an email."""

    greeting: Phrase
    signature: tuple[Phrase, ...]
    why: Phrase
    choose: Phrase
    preferences_url: str | None
    address: Phrase | None


@cache
def _frame_template() -> Template:
    """Return the frame of all emails, which takes a while to compile."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_FRAME)


class Letters:
    """Composes emails of one space. Safe to share between threads."""

    def __init__(self, branding: Branding = _PLAIN, own: Wording = _OURS) -> None:
        self._branding = branding
        self._own = own
        self._accent = accent_of(branding.colour)
        self._frame = _frame_template()

    def compose(self, facts: LetterFacts) -> Letter:
        """Return the email for these facts; the same facts give the same email.

        Raises:
            TemplateGap: there is no such template, or an essential fact is missing.
        """
        if facts.template not in TEMPLATES:
            raise TemplateGap("there is no template of that name")
        known = self._cleaned(facts)
        language = language_for(*facts.languages)
        write = Writer(language)
        texts = self._own.texts(known.template, language.code, known.course_id, known.course)
        own = OwnWords(texts, known, _greeted(known), language)
        said = own.applied_to(content_of(known, write))
        frame = _frame(known, self._branding, write, own)
        return self._letter(said, frame, language, known.space, self._wording(language))

    def compose_report(self, said: Content, about: ReportFrame) -> Letter:
        """Return an email to someone who is not the member it is about.

        Raises:
            TemplateGap: the link is not a web address.
        """
        language, space = about.language, one_line(self._branding.name) or None
        write = Writer(language)
        name = greeting_name(about.name, about.name or "")
        frame = _Frame(
            write.phrase("Hello {name},", name=Foreign(name)) if name else write.phrase("Hello,"),
            (write.quote(space),) if space else (),
            about.why,
            write.phrase("Stop these emails"),
            _address(about.stop_url),
            write.quote(self._branding.address) if self._branding.address else None,
        )
        return self._letter(
            said, frame, language, space, wording(language.code, source=about.source)
        )

    def _letter(
        self, said: Content, frame: _Frame, language: Language, space: str | None, version: str
    ) -> Letter:
        subject = one_line(said.subject.subject(MAX_SUBJECT_LENGTH))
        preview = cut_at_word(as_text(said.preview), _MAX_PREVIEW)
        html = self._frame.render(
            language=language,
            subject=subject,
            preview=preview,
            content=said,
            frame=frame,
            accent=self._accent,
            logo_url=self._branding.logo_url,
            space=space,
        )
        return Letter(subject, preview, _text(said, frame), html.strip() + "\n", version)

    def _wording(self, language: Language) -> str:
        ours = wording(language.code)
        return hashlib.sha256(f"{ours} {self._own.digest}".encode()).hexdigest()[:_DIGEST_LENGTH]

    def _cleaned(self, facts: LetterFacts) -> LetterFacts:
        """Return the facts with all foreign text cleaned, and what does not add up left out.

        Raises `TemplateGap` if the course or a lesson has no title, if an email about lessons has
        none, if a notice names no member, or if a link is not a web address.
        """
        about = facts.notice
        if facts.template == NOTICE and about is None:
            raise TemplateGap("a notice is about no member")
        if about is not None:
            about = replace(about, member=_required(about.member, "the member's name"))
        lessons = tuple(
            replace(one, title=_required(one.title, "a lesson's title")) for one in facts.lessons
        )
        if facts.template in ABOUT_LESSONS and not lessons:
            raise TemplateGap("the email is about lessons and has none")
        adds_up = 0 <= facts.done <= facts.total
        return replace(
            facts,
            full_name=_title(facts.full_name),
            last_lesson=_title(facts.last_lesson) or None,
            course=_required(facts.course, "the course's title"),
            course_summary=cut_at_word(one_line(_plain(facts.course_summary)), _MAX_SUMMARY)
            or None,
            host=_title(facts.host) or None,
            space=_title(self._branding.name or facts.space) or None,
            lessons=lessons,
            done=facts.done if adds_up else 0,
            total=facts.total if adds_up else 0,
            first_lesson=_title(facts.first_lesson) or None,
            next_lesson=_title(facts.next_lesson) or None,
            next_course=_title(facts.next_course) or None,
            course_url=_address(facts.course_url),
            lesson_url=_address(facts.lesson_url),
            next_course_url=_address(facts.next_course_url),
            preferences_url=_address(facts.preferences_url),
            certificate_url=_address(facts.certificate_url),
            signs_as_host=self._branding.signs_as_host,
            reads_replies=self._branding.reads_replies,
            notice=about,
        )


@cache
def wording(code: str, folder: Path = _FOLDER, source: Path | None = None) -> str:
    """Return the digest of what decides the text of all emails in a language.

    `folder` has the modules, as this process read them. `source` has the sentences of a report.
    """
    files = [folder / name for name in (_FRAME, *_DECIDING)]
    files += [] if source is None else [source]
    if code != languages.ENGLISH:
        files.append(languages.FOLDER / code / languages.CATALOGUE)
    digest = hashlib.sha256()
    for path in files:
        body = path.read_bytes()
        digest.update(f"{path.name} {len(body)}\n".encode() + body)
    return digest.hexdigest()[:_DIGEST_LENGTH]


def _greeted(facts: LetterFacts) -> str | None:
    name = facts.first_name if facts.is_individual else facts.full_name
    return greeting_name(name, facts.full_name)


def _frame(facts: LetterFacts, branding: Branding, write: Writer, own: OwnWords) -> _Frame:
    greeted, signature = _greeted(facts), own.words("signature")
    greeting = write.phrase("Hello,")
    if greeted:
        greeting = write.phrase("Hello {name},", name=Foreign(greeted))
    signs = branding.signs_as_host and facts.notice is None
    host = [write.quote(facts.host)] if facts.host and signs else []
    space = [write.quote(facts.space)] if facts.space else []
    return _Frame(
        own.words("greeting") or greeting,
        (signature,) if signature else (*host, *space),
        _why(facts, write),
        _choose(facts, write),
        facts.preferences_url,
        write.quote(branding.address) if branding.address else None,
    )


def _choose(facts: LetterFacts, write: Writer) -> Phrase:
    """Return what the link at the end does."""
    if facts.notice is not None:
        return write.phrase("Stop these emails")
    if facts.is_reminder:
        return write.phrase("Stop reminders, or choose which emails you get")
    return write.phrase("Choose which emails you get")


def _why(facts: LetterFacts, write: Writer) -> Phrase:
    if facts.notice is not None:
        return why_notified(facts.notice, write)
    if facts.space:
        return write.phrase(
            "You're getting this email because you are enrolled on a course at {space}.",
            space=Foreign(facts.space),
        )
    return write.phrase("You're getting this email because you are enrolled on this course.")


def _text(said: Content, frame: _Frame) -> str:
    """Return an email as plain text: paragraphs with a blank line between, links on lines alone."""
    blocks = [_line(said.heading.text()), _line(frame.greeting.text())]
    blocks += [_block(part) for part in said.parts]
    blocks.append("\n".join(_line(one.text()) for one in frame.signature))
    foot = [frame.why.text()]
    foot += [frame.address.text()] if frame.address else []
    blocks.append("\n".join(map(_line, foot)))
    if frame.preferences_url:
        blocks.append(_link(frame.choose, frame.preferences_url))
    return "\n\n".join(filter(None, blocks)) + "\n"


def _block(part: Part) -> str:
    if isinstance(part, Paragraph):
        return _line(as_text(part.phrases))
    if isinstance(part, ProgressBar):
        return _line(part.words.text())
    if isinstance(part, Button | Link):
        return _link(part.words, part.url)
    if isinstance(part, Heading):
        return _line(f"** {part.words.text()} **")
    if isinstance(part, Figures):
        return "\n".join(_line(f"{words.text()}: {number}") for words, number in part.rows)
    return "\n".join(_line(f"- {item.text()}", indent="  ") for item in part.items)


def _link(words: Phrase, url: str) -> str:
    """Return a link: what it does, as a line that ends as such a line does in the language."""
    pattern = words.language.gettext("{words}:")
    label = Phrase(words.language, pattern, {"words": words.text()})
    return f"{_line(label.text())}\n{url}"


def _line(text: str, indent: str = "") -> str:
    return wrapped(text, _COLUMNS, indent)


def _plain(text: str | None) -> str:
    """Return a text without markup, if it has any: a summary may be written in an HTML editor."""
    if not text or not _MARKUP.search(text):
        return text or ""
    seen = _UNSEEN.sub(" ", text)
    return Markup(_BLOCK.sub(" <", seen)).striptags()  # noqa: S704 - stripped, and escaped later


def _title(text: str | None) -> str:
    """Return a title or a name as an email shows it: one line, not too long."""
    return cut_at_word(one_line(text), _MAX_TITLE)


def _required(text: str, what: str) -> str:
    clean = _title(text)
    if not clean:
        raise TemplateGap(f"{what} is empty")
    return clean


def _address(url: str | None) -> str | None:
    if not url:
        return None
    if not _WEB_ADDRESS.fullmatch(url):
        raise TemplateGap("a link is not a web address")
    return url
