"""The wording file: what a space says in its own words, in place of parts of our emails.

It is YAML as strict as the rules file, and every mistake has its line and column.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.errors import ConfigurationError
from schemas.fields import InternalSchema
from schemas.rules import is_named
from schemas.rules.values import OneOrMany, choice, parse_words
from schemas.strict_yaml import MAX_FILE_BYTES, Path, located, mistake_at, read_tree
from schemas.text import Text, one_of

PARTS = ("subject", "greeting", "paragraph", "button", "signature")
_PLACES = ("course", "lesson", "name", "host", "space")
_PLACE = re.compile(r"\{([^{}]*)\}")
_LONGEST = {"subject": 100, "greeting": 80, "paragraph": 1_000, "button": 40, "signature": 200}
_DIGEST_LENGTH = 12
_VERSION = {"1": 1}


@dataclass(frozen=True, slots=True)
class WordingEntry:
    """One entry: what replaces parts of the emails it is about. Empty conditions are about all.

    Texts have `{course}`, `{lesson}`, `{name}`, `{host}` and `{space}` where these belong.
    """

    texts: Mapping[str, str]
    template: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    course: tuple[str, ...] = ()

    def is_about(self, template: str, language: str, course_id: int, title: str) -> bool:
        """Return whether this entry is about such an email."""
        return (
            (not self.template or template in self.template)
            and (not self.language or language in self.language)
            and (not self.course or is_named(self.course, course_id, title))
        )


@dataclass(frozen=True, slots=True)
class Wording:
    """A loaded wording file. `digest` is that of its text; empty without a file."""

    entries: tuple[WordingEntry, ...] = ()
    digest: str = ""

    def texts(self, template: str, language: str, course_id: int, title: str) -> dict[str, str]:
        """Return the texts for such an email, by part: of each part the first entry that has it."""
        found: dict[str, str] = {}
        for entry in self.entries:
            if entry.is_about(template, language, course_id, title):
                found = {**entry.texts, **found}
        return found


def places_in(text: str) -> set[str]:
    """Return the names in braces in an own text."""
    return set(_PLACE.findall(text))


def load_wording(
    text: str, file_name: str, *, templates: Mapping[str, bool], languages: Collection[str]
) -> Wording:
    """Load a wording file from its text.

    `templates` says of each whether it is about lessons; only those may name `{lesson}`.

    Raises:
        ConfigurationError: with every mistake, each as `file:line:column: path: message`.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_FILE_BYTES:
        too_large = mistake_at(None, (), f"expected at most {MAX_FILE_BYTES // 1024} KiB")
        raise ConfigurationError([too_large.as_line(file_name)])
    tree = read_tree(text)
    form = _file_form(templates, languages)
    loaded: dict[str, Any] = {}
    if tree.content is not None:
        try:
            loaded = form.load(tree.content)
        except ValidationError as error:
            tree.mistakes += located(error.messages_dict, (), _keys_at, tree)
    if tree.mistakes:
        raise ConfigurationError([one.as_line(file_name) for one in sorted(set(tree.mistakes))])
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST_LENGTH]
    return Wording(tuple(_entry(one) for one in loaded["wording"]), digest)


def _entry(keys: Mapping[str, Any]) -> WordingEntry:
    texts = {part: keys[part] for part in PARTS if part in keys}
    return WordingEntry(texts, keys["template"], keys["language"], keys["course"])


def _keys_at(path: Path) -> Collection[str]:
    return _KEYS if len(path) > 1 else _FILE_KEYS


_FILE_KEYS = ("version", "wording")
_KEYS = ("template", "language", "course", *PARTS)


def _own_text(part: str) -> Callable[[str], str]:
    longest, expected = _LONGEST[part], one_of("{" + one + "}" for one in _PLACES)

    def parse(text: str) -> str:
        words = parse_words(text)
        if len(words) > longest:
            raise ValidationError(f"expected at most {longest} characters")
        outside = _PLACE.sub("", words)
        if "{" in outside or "}" in outside:
            raise ValidationError("expected a } for every {")
        for name in _PLACE.findall(words):
            if name not in _PLACES:
                raise ValidationError(f"there is no {{{name[:40]}}}; expected {expected}")
        return words

    return parse


def _file_form(templates: Mapping[str, bool], languages: Collection[str]) -> Schema:
    """Return the schema of the file, which depends on what templates and languages there are."""
    conditions: dict[str, fields.Field[Any]] = {
        "template": OneOrMany(choice({one: one for one in templates}), load_default=()),
        "language": OneOrMany(choice({one: one for one in languages}), load_default=()),
        "course": OneOrMany(parse_words, load_default=()),
    }
    texts: dict[str, fields.Field[Any]] = {part: Text(_own_text(part)) for part in PARTS}

    class EntrySchema(InternalSchema):
        record_class: ClassVar[type[Any]] = dict

        @validates_schema
        def check_texts(self, loaded: dict[str, Any], **_: Any) -> None:  # noqa: ANN401 - marshmallow's own
            """Refuse an entry without texts, and `{lesson}` in emails that are about none."""
            own = {part: loaded[part] for part in PARTS if part in loaded}
            if not own:
                raise ValidationError(f"expected at least one of {one_of(PARTS)}")
            about = loaded["template"] or tuple(templates)
            without = [one for one in about if not templates[one]]
            wrong = [part for part, text in own.items() if "{lesson}" in text and without]
            if wrong:
                names = one_of(name for name, has in templates.items() if has)
                message = f"{{lesson}} is only known in {names}"
                raise ValidationError(
                    {part: [f"{message}; name them as template"] for part in wrong}
                )

    class FileForm(InternalSchema):
        record_class: ClassVar[type[Any]] = dict
        version = Text(choice(_VERSION), required=True)
        wording = fields.List(
            fields.Nested(EntrySchema.from_dict({**conditions, **texts})), required=True
        )

    return FileForm()
