"""Every reason has words for an operator, and the page says what it asks of them."""

from schemas.reasons import EXPLANATIONS, Reason
from tests.house.source_tree import modules, table_rows

NOT_USED = "Not used by this version."


def test_every_reason_is_explained_and_says_who_acts() -> None:
    assert list(EXPLANATIONS) == list(Reason)
    assert {one.who_acts for one in EXPLANATIONS.values()} <= {"nobody", "operator", "engineer"}
    assert all(one.sentence for one in EXPLANATIONS.values())


def test_the_page_has_every_reason_in_the_same_words() -> None:
    words = {f"`{reason.value}`" for reason in Reason}
    rows = [row for row in table_rows("using-it.md") if row[0] in words]
    assert [row[:3] for row in rows] == [
        [f"`{reason.value}`", EXPLANATIONS[reason].sentence, EXPLANATIONS[reason].who_acts]
        for reason in Reason
    ]
    assert all(row[3] for row in rows)


def test_the_page_says_which_reasons_are_unused() -> None:
    source = "".join(text for path, _, text in modules() if not path.startswith("schemas/"))
    unused = {f"`{one.value}`" for one in Reason if f"Reason.{one.name}" not in source}
    documented = {row[0] for row in table_rows("using-it.md") if row[-1] == NOT_USED}
    assert documented == unused
