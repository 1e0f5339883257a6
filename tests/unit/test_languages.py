"""Which language an email is in, and that every translation fits the text it translates."""

import functools
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po

from tests.house.source_tree import ROOT
from workers.languages import CATALOGUE, FOLDER, language_codes, language_for

PLACE = re.compile(r"\{\w+\}")
KEYWORDS = {"gettext": None, "ngettext": (1, 2), "phrase": None, "plural": (1, 2)}
TRANSLATED = language_codes()[1:]


def catalogue(code: str) -> Catalog:
    with (FOLDER / code / CATALOGUE).open("rb") as file:
        return read_po(file, locale=code)


@functools.cache
def texts_in_code() -> set[str | tuple[str, ...]]:
    found: set[str | tuple[str, ...]] = set()
    for package in ("workers", "service"):
        for _, _, text, _, _ in extract_from_dir(str(ROOT / package), keywords=KEYWORDS):
            found.add(tuple(text) if isinstance(text, (tuple, list)) else text)
    return found


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (("pt-BR",), "pt"),
        (("pt_br",), "pt"),
        (("PT",), "pt"),
        (("iw",), "he"),
        (("nb-NO",), "no"),
        (("zh-Hans", "de-AT"), "de"),
        ((None, "", "fr"), "fr"),
        (("xx",), "en"),
        ((), "en"),
        (("../../etc", "ja"), "ja"),
    ],
)
def test_the_first_language_that_we_have_is_used(wanted: tuple[str | None, ...], code: str) -> None:
    assert language_for(*wanted).code == code


@pytest.mark.parametrize(
    ("wanted", "locale"),
    [("en", "en_GB"), ("en-US", "en_US"), ("en-ZZ", "en_GB"), ("pt-BR", "pt_BR"), ("pt", "pt_PT")],
)
def test_the_region_decides_how_dates_are_written(wanted: str, locale: str) -> None:
    assert str(language_for(wanted).locale) == locale


def test_arabic_and_hebrew_run_from_right_to_left() -> None:
    runs = {code for code in language_codes() if language_for(code).direction == "rtl"}
    assert runs == {"ar", "he"}


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated_and_nothing_else(code: str) -> None:
    messages = [one for one in catalogue(code) if one.id]
    known = {tuple(one.id) if isinstance(one.id, tuple) else one.id for one in messages}
    assert known == texts_in_code()
    for message in messages:
        assert not message.fuzzy, message.id
        assert all(strings(message)), message.id


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_has_the_places_of_its_text(code: str) -> None:
    for message in catalogue(code):
        for text in strings(message) if message.id else ():
            is_plural = isinstance(message.id, (tuple, list))
            allowed = set(PLACE.findall(message.id[-1] if is_plural else str(message.id)))
            assert set(PLACE.findall(text)) <= allowed, text
            # A form for exactly one thing may do without its number.
            missing = allowed - set(PLACE.findall(text))
            assert missing <= ({"{number}"} if is_plural else set()), text


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_catalogue_says_how_it_addresses_the_reader(code: str) -> None:
    comment = catalogue(code).header_comment.replace("# ", "")
    assert re.search(r"^Address: .{10,}", comment, re.MULTILINE)


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_language_has_a_form_for_each_of_its_numbers(code: str) -> None:
    assert catalogue(code).num_plurals == get_plural(code).num_plurals


@pytest.mark.parametrize(
    ("code", "number", "sentence"),
    [
        ("ar", 1, "في الدورة درس واحد."),
        ("ar", 2, "في الدورة درسان."),
        ("ar", 3, "في الدورة {number} دروس."),
        ("ar", 11, "في الدورة {number} درسًا."),
        ("ar", 21, "في الدورة {number} درسًا."),
        ("ar", 100, "في الدورة {number} درس."),
        ("pl", 1, "Kurs obejmuje jedną lekcję."),
        ("pl", 2, "Kurs obejmuje {number} lekcje."),
        ("pl", 5, "Kurs obejmuje {number} lekcji."),
        ("pl", 21, "Kurs obejmuje {number} lekcji."),
        ("pl", 22, "Kurs obejmuje {number} lekcje."),
        ("fr", 2, "Le cours compte {number} leçons."),
        ("ja", 1, "このコースは全{number}レッスンです。"),
    ],
)
def test_a_number_has_the_form_that_the_language_gives_it(
    code: str, number: int, sentence: str
) -> None:
    one, several = "There is one lesson.", "There are {number} lessons."
    assert language_for(code).ngettext(one, several, number) == sentence


def test_arabic_counts_a_hundred_lessons_otherwise_than_eleven() -> None:
    """The last two forms of this catalogue stand the other way round than in most."""
    for message in catalogue("ar"):
        if message.pluralizable:
            one, several = map(str, message.id)
            assert "درسًا" not in language_for("ar").ngettext(one, several, 100), several


def strings(message: Message) -> tuple[str, ...]:
    several = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
    return tuple(str(one or "") for one in several)


def test_the_folder_holds_catalogues_only() -> None:
    found = {path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.is_file()}
    assert found == {Path(code) / CATALOGUE for code in TRANSLATED} | {Path("coursebell.pot")}
