"""Every translation of the operators' pages fits the text it translates."""

import functools
import re
from collections.abc import Iterator

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po

from service.desk.languages import CATALOGUE, FOLDER, ui_language, ui_languages
from tests.builders.desk_texts import texts_of_pages

PLACE = re.compile(r"\{\{\w+\}\}|\{\w+\}")
TRANSLATED = [one.code for one in ui_languages() if one.code != "en"]
# What is not written so in the language: spaces and quotation marks.
WRONG = {
    "de": r"[\"«»”]|“\w|\w„| - ",
    "es": r"[\"“”„]|\w«|« |^[^¿]*\?|^[^¡]*!",
    "fr": r"[\"“”„']|[^\u202f][;?!]|[^\u00a0\d]:(?!//)|«[^\u00a0]|[^\u00a0]»",
}


@functools.cache
def catalogue(code: str) -> Catalog:
    with (FOLDER / code / CATALOGUE).open("rb") as file:
        return read_po(file, locale=code)


def forms(said: object) -> tuple[str, ...]:
    return tuple(map(str, said)) if isinstance(said, (tuple, list)) else (str(said or ""),)


def translated(code: str) -> Iterator[Message]:
    return (one for one in catalogue(code) if one.id and any(forms(one.string)))


def test_the_collected_texts_are_those_of_the_code() -> None:
    """If not, `make messages` collects them, and each catalogue needs what is new."""
    with (FOLDER / "desk.pot").open("rb") as file:
        assert difference(read_po(file), texts_of_pages()) == (set(), set())


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated_and_nothing_else(code: str) -> None:
    """If not, `make messages` adds what is new to each catalogue, and it is translated there."""
    found = catalogue(code)
    assert difference(found, texts_of_pages()) == (set(), set())
    assert not found.obsolete
    for message in found:
        if message.id:
            assert not message.fuzzy, message.id
            assert all(forms(message.string)), message.id


def difference(one: Catalog, other: Catalog) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Return the texts that only one of two catalogues has."""
    mine, theirs = ({forms(each.id) for each in both if each.id} for both in (one, other))
    return mine - theirs, theirs - mine


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_has_the_places_of_its_text(code: str) -> None:
    for message in translated(code):
        for text in forms(message.string):
            allowed = set(PLACE.findall(forms(message.id)[-1]))
            found = set(PLACE.findall(text))
            # A form for exactly one thing may do without its number.
            assert found | {"{number}"} == allowed | {"{number}"}, text
            assert message.pluralizable or found == allowed, text
            assert "{" not in PLACE.sub("", text), text


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_has_no_markup_and_the_ends_of_its_text(code: str) -> None:
    for message in translated(code):
        for text in forms(message.string):
            assert not re.search(r"[<>&]", text), text
            assert text == text.strip(), text
            end = forms(message.id)[-1][-1]
            assert end not in ".?" or text[-1] == end, text
            assert end in ".?:" or text[-1] != ".", text


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_has_the_spaces_and_quotation_marks_of_its_language(code: str) -> None:
    wrong = re.compile(WRONG[code])
    found = [text for one in translated(code) for text in forms(one.string) if wrong.search(text)]
    assert found == []


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_catalogue_says_how_it_addresses_the_reader_and_has_its_plurals(code: str) -> None:
    found = catalogue(code)
    assert re.search(r"^(?:# )?Address: .{10,}", found.header_comment, re.MULTILINE)
    assert found.num_plurals == get_plural(code).num_plurals == 2
    for number in (0, 1, 2, 1000):
        said = ui_language(None, code).say_n("{number} email", "{number} emails", number)
        assert said.endswith("s") is (number >= 2 or (number == 0 and code != "fr")), said


def test_the_folder_holds_catalogues_only() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert found == {f"{code}/{CATALOGUE}" for code in TRANSLATED} | {"desk.pot"}


def test_texts_of_code_and_of_templates_are_collected() -> None:
    found = {forms(one.id)[0] for one in texts_of_pages() if one.id}
    assert {"Not found", "{number} waiting", "Sent", "Sending is paused", "Subject"} <= found


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\N{HEBREW LETTER NUN}\N{HEBREW LETTER VAV} (2)", True),
        ("Mina \N{ARABIC LETTER LAM}", True),
        ("Mina (2)", False),
    ],
)
def test_a_name_from_right_to_left_moves_nothing_beside_it_in_a_sentence(
    name: str, *, shown: bool
) -> None:
    asked = ui_language("en").say("Send {name} this email again?").format(name=name)
    kept = f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}" if shown else name
    assert asked == f"Send {kept} this email again?"
