"""The envelope of a list and the answer of a sign-in."""

from typing import Any

import pytest

from schemas.errors import RecordUnreadable
from schemas.records.answers import load_page, load_token


def test_a_page_of_a_list_is_read() -> None:
    page = load_page({"Records": [{"Id": 1}, {}], "HasNextPage": True, "TotalItems": 40})
    assert page.rows == [{"Id": 1}, {}]
    assert page.has_next


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "Not found",
        [],
        {},
        {"Records": []},
        {"HasNextPage": False},
        {"Records": None, "HasNextPage": False},
        {"Records": {}, "HasNextPage": False},
        {"Records": [7], "HasNextPage": False},
        {"Records": [], "HasNextPage": "false"},
        {"Records": [], "HasNextPage": 0},
    ],
)
def test_an_answer_that_is_no_page_is_refused(answer: object) -> None:
    with pytest.raises(RecordUnreadable, match="not a page of a list"):
        load_page(answer)


def test_a_token_is_read_and_never_shown() -> None:
    token = load_token(
        {
            "access_token": "sesame",
            "token_type": "bearer",
            "expires_in": 604_799,
            "refresh_token": "open",
        }
    )
    assert (token.access_token, token.refresh_token, token.expires_in) == (
        "sesame",
        "open",
        604_799,
    )
    assert repr(token) == "Token(expires_in=604799)"


@pytest.mark.parametrize("absent", [{}, {"refresh_token": None}, {"refresh_token": ""}])
def test_a_token_may_come_without_a_refresh_token_and_without_its_lifetime(
    absent: dict[str, Any],
) -> None:
    token = load_token({"access_token": "sesame", **absent})
    assert token.refresh_token is None
    assert 60 <= token.expires_in <= 3_600


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "sesame",
        [],
        {},
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 7},
        {"access_token": "sesame", "refresh_token": 7},
    ],
)
def test_an_answer_that_is_no_token_is_refused_without_repeating_it(answer: object) -> None:
    with pytest.raises(RecordUnreadable) as caught:
        load_token(answer)
    assert str(caught.value) == "not a token"
    assert not caught.value.fields
