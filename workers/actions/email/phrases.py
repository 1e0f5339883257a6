"""Sentences of an email, each with what other people wrote in it, as text or as HTML.

A title or a name may be in another language and direction than the email. It is isolated, so that
neither changes how the other is read, and in HTML it is marked with its language where its script
tells.
"""

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo

from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_decimal
from markupsafe import Markup, escape

from schemas.text import cut_at_word
from workers.languages import Language

_PLACE = re.compile(r"\{(\w+)\}")
_ENDS = frozenset(".!?\u2026\u3002\uff01\uff1f\u061f")
_STOPS = frozenset(".\u3002")
_ISOLATE, _POP = "\u2068", "\u2069"  # first strong isolate, pop directional isolate
_ISOLATES = {"ltr": "\u2066", "rtl": "\u2067"}
_ISOLATED = re.compile(f"{_ISOLATE}([^{_POP}]*){_POP}")
_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_SHORTEST_CUT = 12  # characters of a title that a subject shows at least
# Scripts that tell the language of a title well enough for a screen reader, by the beginning of
# their characters' names.
_SCRIPTS = {"ARABIC": "ar", "HEBREW": "he", "HIRAGANA": "ja", "KATAKANA": "ja"}


@dataclass(frozen=True, slots=True)
class Foreign:
    """One line that other people wrote, such as a title or a name. `strong` prints it bold."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence in a language, with `{name}` where values belong.

    A full stop is left out after a title that ends with a mark of its own.
    """

    language: Language
    pattern: str
    values: Mapping[str, str | Foreign] = field(default_factory=dict)

    @property
    def space(self) -> str:
        """What stands between this sentence and the next one; nothing in Japanese."""
        return "" if self.pattern.endswith("\u3002") else " "

    def text(self) -> str:
        """Return the sentence as plain text."""
        return self._filled(self.pattern, self._as_text)

    def html(self) -> Markup:
        """Return the sentence as HTML."""
        return Markup(self._filled(escape(self.pattern), self._as_html))  # noqa: S704 - all escaped

    def subject(self, room: int) -> str:
        """Return the sentence as text of at most `room` characters, with its titles cut if needed.

        What a short title leaves is room for the others.
        """
        whole = self.text()
        if len(whole) <= room:
            return whole
        placed = ((name, self.values[name]) for name in _PLACE.findall(self.pattern))
        titles = [(name, one.text) for name, one in placed if isinstance(one, Foreign)]
        spare = room - (len(whole) - sum(len(text) for _, text in titles))
        cut = dict(self.values)
        for others, (name, text) in reversed([*enumerate(sorted(titles, key=_longest_first), 1)]):
            short = cut_at_word(text, max(spare // others, _SHORTEST_CUT))
            cut[name] = Foreign(short)
            spare -= len(short)
        return cut_at_word(Phrase(self.language, self.pattern, cut).text(), room)

    def _filled(self, pattern: str, written: Callable[[str | Foreign], str]) -> str:
        parts, end = [], 0
        for place in _PLACE.finditer(pattern):
            one = self.values[place[1]]
            parts += [pattern[end : place.start()], written(one)]
            end = place.end()
            ends_itself = isinstance(one, Foreign) and one.text[-1:] in _ENDS
            if ends_itself and pattern[end : end + 1] in _STOPS:
                end += 1
        return "".join([*parts, pattern[end:]])

    def _as_text(self, value: str | Foreign) -> str:
        if isinstance(value, str):
            return value
        is_other = _runs_otherwise(value.text, self.language.direction)
        return f"{_ISOLATE}{value.text}{_POP}" if is_other else value.text

    def _as_html(self, value: str | Foreign) -> str:
        if isinstance(value, str):
            return escape(value)
        marks = []
        if _runs_otherwise(value.text, self.language.direction):
            marks.append(f'dir="{_direction_of(value.text)}"')
        spoken = _language_of(value.text)
        if spoken not in {None, self.language.code}:
            marks.append(f'lang="{spoken}"')
        if value.strong:
            marks.append('style="font-weight:600;"')
        # A span, since Gmail and Outlook remove `<bdi>`; `dir` isolates as well.
        return (
            f"<span {' '.join(marks)}>{escape(value.text)}</span>" if marks else escape(value.text)
        )


class Writer:
    """Writes sentences, numbers and days in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def phrase(self, sentence: str, **values: str | Foreign) -> Phrase:
        """Return the translation of an English sentence, with these values for its places."""
        return Phrase(self.language, self.language.gettext(sentence), values)

    def plural(self, one: str, several: str, count: int, **values: str | Foreign) -> Phrase:
        """Return the translation of a sentence about so many things; `{number}` is how many."""
        pattern = self.language.ngettext(one, several, count)
        return Phrase(self.language, pattern, {"number": self.number(count), **values})

    def quote(self, text: str) -> Phrase:
        """Return what other people wrote as a sentence of its own."""
        return Phrase(self.language, "{text}", {"text": Foreign(text)})

    def number(self, number: int) -> str:
        """Return a number as it is written in this language."""
        return format_decimal(number, locale=self.language.locale)

    def day(self, day: date) -> str:
        """Return a day with its month in words and its year."""
        return format_date(day, format="long", locale=self.language.locale)

    def moment(self, moment: datetime, zone: tzinfo) -> str:
        """Return a time as calendar and clock show it there, to the minute."""
        local, locale = moment.astimezone(zone), self.language.locale
        day = format_date(local.date(), format="medium", locale=locale)
        clock = format_time(local, format="short", locale=locale)
        both = str(get_datetime_format("medium", locale=locale))
        return both.replace("{1}", day).replace("{0}", clock)


def _longest_first(title: tuple[str, str]) -> int:
    return -len(title[1])


def as_text(phrases: Iterable[Phrase]) -> str:
    """Return sentences as one line of plain text."""
    return "".join(phrase.text() + phrase.space for phrase in phrases).rstrip()


def wrapped(text: str, columns: int, indent: str = "") -> str:
    """Return a text in lines of at most so many characters; all but the first are indented.

    A title that is isolated stays so: each line has its own part of it as an isolate, with the
    direction of the whole title.
    """
    titles = [match[1] for match in _ISOLATED.finditer(text)]
    lines = textwrap.wrap(
        text,
        columns - len(_ISOLATE + _POP) if titles else columns,
        break_long_words=False,
        break_on_hyphens=False,
        subsequent_indent=indent,
    )
    closed, begun, is_open = [], 0, False
    for place, line in enumerate(lines):
        start = indent if place else ""
        again = _ISOLATES[_direction_of(titles[begun - 1])] if is_open else ""
        begun += line.count(_ISOLATE)
        is_open = line.rfind(_ISOLATE) > line.rfind(_POP) or (is_open and _POP not in line)
        closed.append(f"{start}{again}{line[len(start) :]}{_POP if is_open else ''}")
    return "\n".join(closed)


def _runs_otherwise(text: str, direction: str) -> bool:
    """Return whether a text has letters of the other direction."""
    found = {unicodedata.bidirectional(character) for character in text}
    return "L" in found if direction == "rtl" else bool(found & _RIGHT_TO_LEFT)


def _direction_of(text: str) -> str:
    """Return the direction of the first letter of a text that has one."""
    found = (unicodedata.bidirectional(character) for character in text)
    strong = next((one for one in found if one in {"L", *_RIGHT_TO_LEFT}), "L")
    return "ltr" if strong == "L" else "rtl"


def _language_of(text: str) -> str | None:
    """Return the language that the script of the first letter of a text tells, if it tells one."""
    letter = next((one for one in text if one.isalpha()), "")
    script = unicodedata.name(letter, "").partition(" ")[0] if letter else ""
    return _SCRIPTS.get(script)
