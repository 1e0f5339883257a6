"""A kind of action is a folder, a word and an object."""

from pathlib import Path

import pytest

from schemas.rules import Rule, load_rules
from schemas.settings import load_settings
from tests.house.source_tree import ROOT
from workers.actions.email import TEMPLATES
from workers.actions.registry import KINDS, action_classes, kinds_for_rules
from workers.context import make_context, read_shared_config

FOLDER = ROOT / "workers" / "actions"
SHIPPED = ("rules.yaml", "service/cli/demo-rules.yaml")


def test_every_kind_of_action_has_a_folder_and_every_folder_a_kind() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/__init__.py")} == {
        name.replace("-", "_") for name in KINDS
    }


def test_every_kind_of_action_is_registered_by_its_own_name() -> None:
    assert {name: action.kind for name, action in action_classes().items()} == {
        name: name for name in KINDS
    }


def test_every_kind_of_action_is_performed_by_something(tmp_path: Path) -> None:
    settings = load_settings({"COURSEBELL_DATA_DIR": str(tmp_path)})
    context = make_context(settings, read_shared_config(settings))
    context.close()
    assert context.delivery.actions.keys() == kinds_for_rules().keys()


@pytest.mark.parametrize("shipped", SHIPPED)
def test_the_rules_we_ship_are_right_and_on(shipped: str) -> None:
    text = (ROOT / shipped).read_text(encoding="utf-8")
    rules = load_rules(text, shipped, actions=kinds_for_rules())
    assert {rule.template for rule in rules.rules if rule.action == "email"} == {
        "welcome",
        "lesson-finished",
        "course-finished",
    }
    assert all(rule.enabled for rule in rules.rules)


def test_the_examples_in_the_comments_are_right_and_use_the_other_templates() -> None:
    text = (ROOT / "rules.yaml").read_text(encoding="utf-8")
    kept = ("#   ", "# courses:", "# digests:")
    lines = [line[2:] for line in text.splitlines() if line.startswith(kept)]
    examples = "\n".join(lines)
    rules = load_rules(f"{text}\n{examples}\n", "rules.yaml", actions=kinds_for_rules())
    assert [one.off for one in rules.courses] == [("congratulate-lesson",)]
    assert [one.name for one in rules.digests] == ["weekly-for-hosts", "acme"]
    found = {template for rule in rules.rules for template in templates_of(rule)}
    assert found == {*TEMPLATES, None}
    assert {rule.action for rule in rules.rules} == kinds_for_rules().keys()
    # Each rule has one event, so none of the examples was left out.
    assert len(rules.rules) == text.count(" event: ")


def templates_of(rule: Rule) -> set[str | None]:
    return {rule.template, *(step.template for step in rule.steps)}
