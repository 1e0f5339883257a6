"""Texts that look alike compare as equal, in every script."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import (
    ascii_domain,
    folded,
    greeting_name,
    is_local_part,
    language_tag,
    searched,
)


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


@pytest.mark.parametrize(
    ("domain", "written"),
    [
        ("Harbour.example", "Harbour.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("r3---sn-4.example", "r3---sn-4.example"),
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.de", "xn--strae-oqa.de"),
        ("faß.de", "xn--fa-hia.de"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example", "xn--mgba3gch31f060k.example"),
        ("例え\u3002jp", "xn--r8jz45g.jp"),
    ],
)
def test_a_domain_is_written_by_idna_2008(domain: str, written: str) -> None:
    assert ascii_domain(domain) == written


@pytest.mark.parametrize(
    "domain",
    [
        *("", ".", "a..example", "ü..example", "-a.example", "ü-.example", "a_b.example"),
        *("\u2603.example", "a\u200db.example", "a b.example", "ü b.example", "ü" * 64),
        *("a." * 127 + "a", "ü." * 60 + "a", "ü" * 100_000, "[127.0.0.1]", "\ud800.example"),
    ],
)
def test_what_is_no_domain_has_no_written_form(domain: str) -> None:
    assert ascii_domain(domain) is None


@given(st.text())
def test_any_text_is_a_domain_in_ascii_or_none(text: str) -> None:
    written = ascii_domain(text)
    assert written is None or (written.isascii() and ascii_domain(written) == written)


def test_a_local_part_may_be_in_any_script_but_not_have_spaces_or_invisible_marks() -> None:
    assert all(map(is_local_part, ["ana", "añá", "a.b+c", "пошта", "x" * 64]))
    awkward = ["", ".a", "a..b", "a b", "a\u202eb", "a@b", '"a"', "é" * 33, "a\ud800", "a\u00a0b"]
    assert not any(map(is_local_part, awkward))


@pytest.mark.parametrize(
    ("capitals", "name"),
    [
        ("\u0130BRAH\u0130M", "\u0130brahim"),
        ("I\u0307BRAHI\u0307M", "\u0130brahim"),
        ("JE\u0301RO\u0302ME", "J\u00e9r\u00f4me"),
        ("M\u0325ARTA", "M\u0325arta"),
        ("ZOE\u0323\u0331K", "Zo\u1eb9\u0331k"),
        ("O'NEIL", "O'Neil"),
        ("JEAN-LUC", "Jean-Luc"),
        ("ANA MARIA", "Ana Maria"),
        (
            "\u0393\u0399\u03a9\u03a1\u0393\u039f\u03a3",
            "\u0393\u03b9\u03c9\u03c1\u03b3\u03bf\u03c2",
        ),
        ("\u041e\u041a\u0421\u0410\u041d\u0410", "\u041e\u043a\u0441\u0430\u043d\u0430"),
    ],
)
def test_a_name_in_capitals_is_greeted_as_names_are_written(capitals: str, name: str) -> None:
    assert greeting_name(capitals, f"{capitals} Y") == name


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Peña Íñiguez", "pena iniguez"),
        ("Zieliński Łukasz", "zielinski lukasz"),
        ("Søren Æbelø", "soren aebelo"),
        ("Weiß", "WEISS"),
        ("がぎ", "がぎ"),
        ("नमस्ते", "नमस्ते"),
    ],
)
def test_a_search_ignores_accents(name: str, typed: str) -> None:
    assert searched(name) == searched(typed)
    assert searched(searched(name)) == searched(name)


def test_a_search_keeps_marks_that_are_letters() -> None:
    assert searched("が") != searched("か")
    assert searched("नमस्ते") != searched("नमसत")
