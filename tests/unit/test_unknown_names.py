"""Names in rules that nothing at the source has: found, with the name that was likely meant."""

import unicodedata
from typing import Any

import pytest

from schemas.rules import Catalogue, Where, unknown_names
from tests.builders.records import NOON
from tests.builders.rules import rule, rules

CATALOGUE = Catalogue(
    {12: "Freelance Finance", 13: "Café Basics"},
    frozenset({"Business", ""}),
    {77: "Harbour Works"},
    NOON,
)


def found(known: Catalogue | None = CATALOGUE, **where: tuple[str, ...]) -> list[str]:
    one = rule(name="a", where=Where(**where))  # type: ignore[arg-type]  # each name given is such a field
    return list(unknown_names(rules(one), known))


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"course": ("12", "  freelance   FINANCE ", unicodedata.normalize("NFD", "café basics"))},
        {"group": ("business",), "location": ("77", "harbour works")},
        {"team": ("Team Red",)},
    ],
)
def test_a_name_that_the_rules_would_match_is_no_warning(where: dict[str, Any]) -> None:
    assert found(**where) == []


def test_each_unknown_name_is_a_warning_with_the_nearest_name() -> None:
    assert found(course=("Freelance Finanze", "999", "Ceramics"), location=("Harbor Works",)) == [
        "rule a: no course at Nexudus is called Freelance Finanze; did you mean Freelance Finance?",
        "rule a: no course at Nexudus has the Id or the name 999",
        "rule a: no course at Nexudus is called Ceramics",
        "rule a: no location at Nexudus is called Harbor Works; did you mean Harbour Works?",
    ]


def test_disabled_rules_and_an_unknown_catalogue_give_no_warning() -> None:
    off = rule(where=Where(course=("Ceramics",)), enabled=False)
    assert list(unknown_names(rules(off), CATALOGUE)) == []
    assert found(None, course=("Ceramics",)) == []
    assert found(Catalogue({}, frozenset(), {}, NOON), course=("Ceramics",)) == []


def test_names_that_the_list_omits_give_no_warning() -> None:
    partial = Catalogue({12: None}, frozenset({None}), {77: None}, NOON)
    assert found(partial, course=("Ceramics",), group=("Arts",), location=("Pier",)) == []
