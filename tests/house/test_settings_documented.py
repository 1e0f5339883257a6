"""The table of settings, the example environment and the page say the same."""

import ast

import yaml

from schemas.settings import SETTINGS
from tests.house.source_tree import ROOT, modules, table_rows


def example_blocks() -> list[tuple[str, str, str]]:
    """Read name, default and comment of every setting in the example environment."""
    text = (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")
    found = []
    for block in text.rstrip("\n").split("\n\n")[1:]:
        *comment, assignment = block.splitlines()
        name, _, quoted = assignment.removeprefix("#").partition("=")
        # Unquoted, a shell ends a value at a space, ; or <.
        assert quoted == f"'{quoted[1:-1]}'", name
        found.append((name, quoted[1:-1], " ".join(line.removeprefix("# ") for line in comment)))
    return found


def unread_settings() -> set[str]:
    """Find the settings whose attribute is used nowhere outside the package that loads them."""
    asked = {
        node.attr
        for path, tree, _ in modules()
        if not path.startswith(("schemas/", "sandbox/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    }
    return {doc.name for doc in SETTINGS if doc.attribute not in asked}


def expected_sentences() -> dict[str, str]:
    return {doc.name: doc.sentence for doc in SETTINGS}


def test_every_setting_is_used() -> None:
    assert unread_settings() == set()


def test_the_example_environment_has_every_setting_in_order_with_its_default() -> None:
    assert [(name, default) for name, default, _ in example_blocks()] == [
        (doc.name, doc.default or "") for doc in SETTINGS
    ]


def test_the_example_environment_says_what_each_setting_is() -> None:
    assert {name: comment for name, _, comment in example_blocks()} == expected_sentences()


def test_the_page_has_every_setting_with_its_default_and_sentence() -> None:
    rows = [row for row in table_rows("running-it.md") if row[0].startswith("`COURSEBELL_")]
    sentences = expected_sentences()
    assert rows == [
        [f"`{doc.name}`", f"`{doc.default}`" if doc.default else "unset", sentences[doc.name]]
        for doc in SETTINGS
    ]


def test_the_compose_file_names_only_existing_settings() -> None:
    composed = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    for name in ("release", "web", "worker", "clock"):
        given = composed["services"][name]["environment"]
        assert {one.removesuffix("_FILE") for one in given} <= {doc.name for doc in SETTINGS}
