"""docs/source.md names a test and a switch for each known pitfall, and they are there."""

import ast
import re

from sandbox.misbehaviour.catalogue import DEFAULT_BEHAVIOUR, SWITCHES
from tests.house.source_tree import ROOT, table_rows

PITFALLS = 35


def pitfalls() -> dict[int, list[str]]:
    """Return the rows of the table by their number; those of another table begin with a status."""
    rows = table_rows("source.md")
    return {int(row[0]): row for row in rows if row[0].isdigit() and int(row[0]) < 100}


def functions_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_pitfall_has_one_row_in_order_with_all_its_cells() -> None:
    assert list(pitfalls()) == list(range(1, PITFALLS + 1))
    assert all(len(row) == 5 and all(row) for row in pitfalls().values())


def test_every_pitfall_names_an_existing_test() -> None:
    for row in pitfalls().values():
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[4])
        assert named, f"{row[0]} names no test"
        for file, test in named:
            assert test in functions_in(file), f"{row[0]}: {file} has no {test}"


def test_every_test_of_a_pitfall_carries_its_number() -> None:
    for number, row in pitfalls().items():
        [*named] = re.findall(r"::(test_\w+)`", row[4])
        assert any(name.startswith(f"test_{number:02}_") for name in named), row[0]


def test_every_switch_that_is_named_shows_that_pitfall() -> None:
    by_name = {switch.name: switch for switch in SWITCHES.values()}
    for number, row in pitfalls().items():
        named = re.findall(r"`([\w-]+)`", row[3])
        assert all(number in by_name[name].pitfalls for name in named), row[0]
        assert named or number in DEFAULT_BEHAVIOUR, row[0]
