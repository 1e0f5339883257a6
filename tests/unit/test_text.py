"""Texts that look alike compare as equal, in every script."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import folded, language_tag


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", unicodedata.normalize("NFD", "JOSÉ")),
        ("Straße", "STRASSE"),
        ("\u1e9e", "ß"),
        ("İstanbul", "istanbul"),
        ("I\u015f\u0131k", "\u0131\u015f\u0131k"),
        ("ISPARTA", "\u0131sparta"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),
        ("\u212bngström", "ångström"),
        ("한국", unicodedata.normalize("NFD", "한국")),
        (" Zoë \u00a0 Brandt\n", "zoë brandt"),
        ("Finance\u200b\u00ad", "\ufefffinance"),
        ("❤\ufe0f Yoga", "❤ yoga"),
        (None, "  "),
    ],
)
def test_texts_that_look_alike_are_equal(one: str | None, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("José", "Jose"), ("Bär", "Bar"), ("½", "1/2")])
def test_texts_that_look_different_stay_different(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@given(st.text())
def test_folding_does_not_depend_on_the_form_and_is_done_once(text: str) -> None:
    once = folded(text)
    assert folded(once) == once == unicodedata.normalize("NFC", once)
    for form in ("NFC", "NFD"):
        assert folded(unicodedata.normalize(form, text)) == once


def test_every_letter_is_equal_to_itself_in_another_case() -> None:
    for character in map(chr, range(0x20000)):
        if unicodedata.category(character)[0] == "L":
            for other in (character.upper(), character.lower(), character.title()):
                assert folded(other) == folded(character), ascii(character)


def test_a_lone_surrogate_becomes_text_that_a_database_accepts() -> None:
    assert folded("Jos\udce9") == "jos\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("pt", "pt"),
        ("PT", "pt"),
        ("pt-br", "pt-BR"),
        ("pt_BR", "pt-BR"),
        (" es-ES\n", "es-ES"),
        ("es-ES_tradnl", "es-ES-tradnl"),
        ("es-419", "es-419"),
        ("zh-hans", "zh-Hans"),
        ("zh-Hant-tw", "zh-Hant-TW"),
        ("nb-NO", "nb-NO"),
        ("iw", "iw"),
        ("fil-PH", "fil-PH"),
    ],
)
def test_a_language_tag_is_cleaned_and_kept_as_it_is(written: str, tag: str) -> None:
    assert language_tag(written) == tag


@pytest.mark.parametrize(
    "written",
    [
        *(None, "", " ", "-", "e", "español", "English (UK)", "12", "en-", "-en", "en GB"),
        *(
            "e" * 300,
            "en-" + "GB-" * 99 + "GB",
            "<b>",
            "en\x00",
            "en\u200f",
            "\u202een",
            "\uff25\uff2e",
        ),
    ],
)
def test_what_is_no_language_tag_is_none(written: str | None) -> None:
    assert language_tag(written) is None


@given(st.text() | st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,4}", fullmatch=True))
def test_any_text_is_a_short_tag_or_none_and_a_tag_is_cleaned_once(text: str) -> None:
    tag = language_tag(text)
    if tag is not None:
        assert len(tag) <= 35
        assert tag.isascii()
        assert language_tag(tag) == tag
        assert tag.lower() == text.strip().replace("_", "-").lower()
