"""A second decider, written from docs/rules.md, decides as Coursebell does.

`make agree` compares both on many more random histories.
"""

from pathlib import Path

import pytest
import yaml

from tests.endurance.agree import difference
from tests.second_decider import SecondDecider

CASES = Path(__file__).parent / "decide_cases"
SHIPPED = Path(__file__).parents[2] / "rules.yaml"
NOT_COVERED = {"others", "weekly"}  # `to` and the email of the week are not part of it yet


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(CASES.glob("*.yaml")) if path.stem not in NOT_COVERED],
    ids=lambda path: path.stem,
)
def test_the_second_decider_decides_the_cases_as_they_say(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    for case in content["cases"]:
        rules = case.get("rules", content["rules"])
        text = SHIPPED.read_text() if rules == "shipped" else rules
        zone, people = case.get("zone", "Europe/London"), case.get("people", {})
        forecast = case.get("forecast", content.get("forecast"))
        found = SecondDecider(text, zone, people, forecast).play(case["history"])
        assert found == case["result"].splitlines(), case["name"]


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_both_decide_alike_on_random_histories(first: int) -> None:
    for seed in range(first, first + 100):
        assert not difference(seed)
