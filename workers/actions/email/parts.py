"""The parts that an email consists of. The frame shows each of them in HTML and in text."""

from dataclasses import dataclass
from typing import ClassVar

from workers.actions.email.phrases import Phrase


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences that belong together."""

    kind: ClassVar[str] = "paragraph"
    phrases: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class TitleList:
    """A list of titles."""

    kind: ClassVar[str] = "list"
    items: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """How many of all lessons are done, as a bar and in words."""

    kind: ClassVar[str] = "progress"
    done: int
    total: int
    words: Phrase

    @property
    def percent(self) -> int:
        """How much of the bar is filled."""
        return 100 * self.done // self.total


@dataclass(frozen=True, slots=True)
class Button:
    """The one next step."""

    kind: ClassVar[str] = "button"
    words: Phrase
    url: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link beside the one next step."""

    kind: ClassVar[str] = "link"
    words: Phrase
    url: str


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a section."""

    kind: ClassVar[str] = "heading"
    words: Phrase


@dataclass(frozen=True, slots=True)
class Figures:
    """A table of numbers, each with what it counts."""

    kind: ClassVar[str] = "figures"
    rows: tuple[tuple[Phrase, str], ...]


Part = Paragraph | TitleList | ProgressBar | Button | Link | Heading | Figures


@dataclass(frozen=True, slots=True)
class Content:
    """What one email says. `preview` is the line that an inbox shows beside the subject."""

    subject: Phrase
    heading: Phrase
    preview: tuple[Phrase, ...]
    parts: tuple[Part, ...]


def said(*parts: Part | None) -> tuple[Part, ...]:
    """Return the parts that say something."""
    return tuple(
        one
        for one in parts
        if one is not None and not (isinstance(one, Paragraph) and not one.phrases)
    )
