"""Names and titles as a certificate of completion prints them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.completion_certificate.wording import (
    direction_of,
    printed_name,
    printed_title,
    without_pictures,
)

PERSIAN = "کتاب\u200cخانه"  # with a joiner between two letters, which must stay


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Ana López", "Ana López"),
        ("  Ana \t\n López ", "Ana López"),
        ("Zoë 🎓", "Zoë"),
        ("👩🏽‍💻 Ana", "Ana"),
        ("Ana ❤️ López", "Ana López"),
        ("🇪🇸 Ana 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "Ana"),
        ("1️⃣ Scrum™ ©", "1 Scrum™ ©"),
        ("Ana\u202eLópez", "AnaLópez"),
        ("Ana\x00López", "Ana López"),
        ("Ana\ud800López", "AnaLópez"),
        (PERSIAN, PERSIAN),
        ("Ana\u200d", "Ana"),
        ("葛\U000e0100城", "葛\U000e0100城"),
        ("🎓🎓", ""),
        ("", ""),
    ],
)
def test_pictures_are_left_out_and_letters_stay(text: str, printed: str) -> None:
    assert without_pictures(text) == printed


@given(st.text(max_size=80))
def test_what_is_printed_is_one_line_and_does_not_change_when_cleaned_again(text: str) -> None:
    cleaned = without_pictures(text)
    assert "\n" not in cleaned
    assert without_pictures(cleaned) == cleaned


def test_what_is_too_long_is_cut_with_a_sign() -> None:
    assert printed_name("Ana " * 100).endswith("…")
    assert len(printed_name("Ana " * 100)) <= 120
    assert len(printed_title("x" * 999)) == 240
    assert printed_title(None) == ""


@pytest.mark.parametrize(
    ("text", "direction"),
    [("Ana", "ltr"), ("123 נועה", "rtl"), ("محمد Ana", "rtl"), ("Ana محمد", "ltr"), ("123", "ltr")],
)
def test_a_text_has_the_direction_of_its_first_letter(text: str, direction: str) -> None:
    assert direction_of(text, "ltr") == direction


def test_a_text_without_letters_has_the_direction_of_the_page() -> None:
    assert direction_of("2026", "rtl") == "rtl"
