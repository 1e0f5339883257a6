"""The languages in which Coursebell writes to members, with their translations.

Each has a folder of `locales/` with a gettext catalogue, but English needs none: it is the language
of the code. The catalogues are read as translators write them, so nothing is compiled.
"""

import io
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from schemas.settings import LANGUAGES

FOLDER = Path(__file__).parent / "locales"
CATALOGUE = Path("LC_MESSAGES") / "coursebell.po"
TEMPLATE = FOLDER / "coursebell.pot"  # every text of the code
ENGLISH = "en"
# Older and narrower codes of languages that we have.
_ALIASES = {"iw": "he", "nb": "no", "nn": "no"}
_REGION = re.compile("[a-z]{2}")
_REGIONS = {"en": "GB", "pt": "PT"}  # where a code says none


@dataclass(frozen=True, slots=True)
class Language:
    """One language. `locale` formats its dates and numbers; `direction` is `ltr` or `rtl`."""

    code: str
    locale: Locale
    direction: str
    translations: NullTranslations

    def gettext(self, text: str) -> str:
        """Return the translation of a text, or the text itself if there is none."""
        return self.translations.gettext(text)

    def ngettext(self, one: str, several: str, number: int) -> str:
        """Return the translation of a text about so many things."""
        return self.translations.ngettext(one, several, number)


@cache
def language_codes() -> tuple[str, ...]:
    """Return the codes of all languages, English first."""
    return (ENGLISH, *sorted(set(LANGUAGES) - {ENGLISH}))


def language_for(*wanted: str | None) -> Language:
    """Return the language of the first of these codes that we have, or else English.

    A code is one such as `pt`, `pt-BR` or `pt_BR`. The region decides only how dates and numbers
    are written.
    """
    for code in filter(None, wanted):
        primary, *rest = re.split("[-_]", code.strip().lower())
        primary = _ALIASES.get(primary, primary)
        if primary in language_codes():
            region = rest[-1].upper() if rest and _REGION.fullmatch(rest[-1]) else None
            return _language(primary, region)
    return _language(ENGLISH, None)


@lru_cache(maxsize=100)
def _language(code: str, region: str | None) -> Language:
    locale = _locale(code, region)
    return Language(code, locale, locale.text_direction, _translations(code))


def _locale(code: str, region: str | None) -> Locale:
    regions = (region, _REGIONS.get(code))
    for one in filter(None, regions):
        try:
            return Locale(code, one)
        except UnknownLocaleError:
            continue
    return Locale(code)


def untranslated(code: str, folder: Path = FOLDER) -> list[str]:
    """Return the English texts that a language has no translation of, in their order in the code.

    One that lacks some of its plural forms, or is marked as fuzzy, counts as untranslated.
    """
    with TEMPLATE.open("rb") as file:
        wanted = [message for message in read_po(file) if message.id]
    if code == ENGLISH:
        return []
    with (folder / code / CATALOGUE).open("rb") as file:
        catalogue = read_po(file, locale=code)
    texts = [one.id if isinstance(one.id, str) else one.id[0] for one in wanted]
    return [text for text in texts if not _is_translated(catalogue.get(text))]


def _is_translated(message: Message | None) -> bool:
    if message is None or message.fuzzy:
        return False
    forms = message.string if isinstance(message.string, (tuple, list)) else [message.string]
    return all(forms)


@cache
def _translations(code: str) -> NullTranslations:
    if code == ENGLISH:
        return NullTranslations()
    return translations_in(FOLDER / code / CATALOGUE, code)


def translations_in(file: Path, code: str) -> GNUTranslations:
    """Return the translations in a catalogue, read as translators write it."""
    with file.open("rb") as opened:
        catalogue = read_po(opened, locale=code)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
