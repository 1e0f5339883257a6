"""Histories in plain words with the emails they lead to, read from `decide_cases`.

Each file says which rules its cases play by (`shipped`, or the rules themselves), and may have an
accepted forecast: how many emails each rule sends on its busiest day.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.rules import Rules, load_rules
from tests.builders.histories import Stage
from workers.actions.registry import kinds_for_rules

FOLDER = Path(__file__).parent / "decide_cases"
SHIPPED = Path(__file__).parents[2] / "rules.yaml"


def _read() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        found += [(f"{path.stem}: {case['name']}", content | case) for case in content["cases"]]
    return found


CASES = _read()


def _rules(text: str) -> Rules:
    text = SHIPPED.read_text() if text == "shipped" else f"version: 1\n{text}"
    return load_rules(text, "rules.yaml", actions=kinds_for_rules())


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_a_history_leads_to_these_emails(case: dict[str, Any]) -> None:
    zone, people = case.get("zone", "Europe/London"), case.get("people", {})
    stage = Stage(_rules(case["rules"]), zone, people, case.get("forecast"))
    assert stage.play(case["history"]) == case["result"].splitlines()


def test_every_case_has_a_name_of_its_own() -> None:
    names = [name for name, _ in CASES]
    assert len(names) >= 150
    assert len(set(names)) == len(names)
