"""Puts the space's own words, from its wording file, in place of parts of an email."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.strict_yaml import file_text
from schemas.wording import Wording, load_wording, places_in
from workers.actions.email import TEMPLATES
from workers.actions.email.content import LetterFacts
from workers.actions.email.parts import Button, Content, Paragraph, Part
from workers.actions.email.phrases import Foreign, Phrase
from workers.languages import Language, language_codes

ABOUT_LESSONS = frozenset({"lesson-finished", "lesson-available"})


def read_wording(settings: Settings) -> Wording:
    """Return the wording file of the settings, or an empty one.

    Raises:
        ConfigurationError: every mistake in it, or that it cannot be read.
    """
    if settings.wording is None:
        return Wording()
    path = Path(settings.wording)
    try:
        body = path.read_bytes()
    except OSError as error:
        why = (error.strerror or "the system refuses it").lower()
        raise ConfigurationError([f"COURSEBELL_WORDING: cannot read {path}: {why}"]) from None
    return load_wording(
        file_text(body, str(path)),
        str(path),
        templates={name: name in ABOUT_LESSONS for name in TEMPLATES},
        languages=language_codes(),
    )


class OwnWords:
    """The own words for one email. What they name must be known: otherwise ours are used.

    `{lesson}` is unknown in an email about several.
    """

    def __init__(
        self, texts: Mapping[str, str], facts: LetterFacts, name: str | None, language: Language
    ) -> None:
        known = {
            "course": facts.course,
            "lesson": facts.lessons[0].title if len(facts.lessons) == 1 else None,
            "name": name,
            "host": facts.host,
            "space": facts.space,
        }
        self._values = {place: Foreign(text) for place, text in known.items() if text}
        self._texts, self._language = texts, language

    def words(self, part: str) -> Phrase | None:
        """Return the own words for a part of the email, or None."""
        text = self._texts.get(part)
        if text is None or not places_in(text) <= self._values.keys():
            return None
        return Phrase(self._language, text, self._values)

    def applied_to(self, content: Content) -> Content:
        """Return the content with the own subject, opening paragraph and button."""
        subject, opening = self.words("subject"), self.words("paragraph")
        parts: tuple[Part, ...] = tuple(map(self._with_own_label, content.parts))
        if opening is not None:
            parts = (Paragraph((opening,)), *parts)
        if subject is not None:
            content = replace(content, subject=subject, heading=subject)
        return replace(content, parts=parts)

    def _with_own_label(self, part: Part) -> Part:
        label = self.words("button") if isinstance(part, Button) else None
        return part if label is None or not isinstance(part, Button) else replace(part, words=label)
