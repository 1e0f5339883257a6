"""Texts that look alike compare as equal, in every script."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import folded


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
