"""The code of a certificate of completion: derived, printed in groups, and read as people type."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.completion_certificate.code import (
    CertificateLook,
    code_hash,
    completion_code,
    typed_code,
    written_code,
)

KEY = "a-secret-key-of-this-installation"
PRINTED = re.compile(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}")
CODE = completion_code(KEY, 12, 7)


def test_a_code_is_the_same_for_the_same_person_and_course_and_key() -> None:
    assert completion_code(KEY, 12, 7) == CODE
    # A changed derivation would leave every certificate that was sent without a match.
    assert completion_code("a-key", 1, 2) == "7VZV-C4EA-FTCF-9R5K"


def test_a_code_is_different_for_any_other_person_course_or_key() -> None:
    others = [
        completion_code(KEY, 12, 8),
        completion_code(KEY, 13, 7),
        completion_code(KEY, 1, 27),
        completion_code(KEY, 127, 0),
        completion_code(KEY + "x", 12, 7),
    ]
    assert len({CODE, *others}) == 6


def test_a_code_is_printed_in_four_groups_of_symbols_that_look_different() -> None:
    codes = {completion_code(KEY, course, person) for course in range(40) for person in range(40)}
    assert len(codes) == 1600
    assert all(PRINTED.fullmatch(code) for code in codes)


def test_every_symbol_occurs_in_every_place() -> None:
    codes = [completion_code(KEY, 1, person).replace("-", "") for person in range(2_000)]
    assert [len({code[place] for code in codes}) for place in range(16)] == [32] * 16


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_printed_code_is_read_as_itself_however_it_is_typed(course: int, person: int) -> None:
    code = completion_code(KEY, course, person)
    typed = [code, code.lower(), code.replace("-", ""), code.replace("-", " "), f" {code} "]
    misread = code.lower().replace("1", "l").replace("0", "o")
    assert {typed_code(one) for one in (*typed, misread, misread.replace("l", "I"))} == {code}


@pytest.mark.parametrize(
    "text",
    ["", "-", CODE[:-1], f"{CODE}0", CODE[:-1] + "U", CODE[:-1] + "é", CODE[:-1] + "\0", "x" * 999],
)
def test_anything_else_is_no_code(text: str) -> None:
    assert typed_code(text) is None


@given(st.text(string.printable, max_size=30))
def test_whatever_is_typed_is_no_code_or_one_as_it_is_printed(text: str) -> None:
    code = typed_code(text)
    assert code is None or PRINTED.fullmatch(code)


def test_a_hash_is_of_fixed_length_and_does_not_contain_the_code() -> None:
    for text in (CODE, "", "\ud800", "x" * 10_000):
        assert re.fullmatch(r"[0-9a-f]{64}", code_hash(text))
    assert code_hash(CODE) != code_hash(written_code("0" * 16))


def test_an_address_has_one_slash_before_the_path() -> None:
    for base in ("https://courses.example.org", "https://courses.example.org/"):
        assert (
            CertificateLook(base, "#000000").address_of(CODE)
            == f"https://courses.example.org/c/{CODE}"
        )
