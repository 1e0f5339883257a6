"""A colour of the space that text cannot be read on is replaced, and both commands say so."""

import json
from dataclasses import replace

import pytest

from schemas.checkup import Verdict
from tests.contract.desk_rig import Desk
from tests.contract.test_mail_checkup import checks, settings_for
from tests.doubles.scripted_smtp import ScriptedSmtp

pytestmark = pytest.mark.engines("sqlite")

YELLOW = "#ffd400"
SAID = (
    "COURSEBELL_SPACE_COLOUR is #FFD400, and the darker #8A7200 is used: white text on it needs a"
    " contrast of 4.5 and would have 1.4 (WCAG 2.2)"
)


def test_config_show_says_which_colour_is_used_instead_and_why(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSEBELL_SPACE_COLOUR", YELLOW)
    shown = desk.run("config", "show")
    assert shown.exit_code == 0
    assert f"! {SAID}\n" in shown.stdout
    lines = {one["name"]: one for one in json.loads(desk.run("config", "show", "--json").stdout)}
    assert lines["COURSEBELL_SPACE_COLOUR"]["warning"] == SAID
    monkeypatch.setenv("COURSEBELL_SPACE_COLOUR", "#0e6655")
    assert "! COURSEBELL_SPACE" not in desk.run("config", "show").stdout


@pytest.mark.parametrize(("colour", "found"), [(YELLOW, [SAID]), ("#0E6655", [])])
def test_doctor_says_which_colour_is_used_instead_and_why(colour: str, found: list[str]) -> None:
    with ScriptedSmtp() as server:
        settings = replace(settings_for(server), space_colour=colour)
        notes = [one for one in checks(settings, None) if one.name == "colour"]
    assert [one.found for one in notes] == found
    assert {one.verdict for one in notes} <= {Verdict.NOTE}
