"""The catalogue of switches, its API and its page."""

import re
from itertools import chain
from pathlib import Path

import pytest
import requests

from sandbox.misbehaviour.board import Board
from sandbox.misbehaviour.catalogue import DEFAULT_BEHAVIOUR, SWITCHES
from tests.sandbox.sandbox_rig import Running
from tests.sandbox.switch_rig import COURSES, LESSONS, switched

PATH = "/sandbox/misbehaviours"


def _refused(sandbox: Running, **fields: object) -> str:
    address = sandbox.addresses["api"] + PATH
    answer = sandbox.web.post(address, json=fields, timeout=20)
    assert answer.status_code == 400
    return str(answer.json()["error"])


def _on(sandbox: Running) -> list[str]:
    return [line["name"] for line in sandbox.get(PATH).json() if line["on"]]


def test_every_pitfall_is_shown_by_a_switch_or_always() -> None:
    shown = set(chain.from_iterable(switch.pitfalls for switch in SWITCHES.values()))
    assert shown | set(DEFAULT_BEHAVIOUR) == set(range(1, 36))


def test_every_switch_is_tried_by_a_test_and_says_what_it_does() -> None:
    folder = Path(__file__).parent
    tried = {
        name
        for path in folder.glob("test_*.py")
        for name in re.findall(r'switched\(\s*\w+,\s*"([\w-]+)"', path.read_text())
    }
    # These are switched on by a parameter of their test.
    tried |= {"client-id-header-only", "client-id-field-only", "slow-headers", "slow-body"}
    tried.add("latency")
    assert set(SWITCHES) - tried == set()
    assert all(switch.sentence.endswith(".") for switch in SWITCHES.values())
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in SWITCHES)


def test_every_default_fits_its_own_parameter() -> None:
    for switch in SWITCHES.values():
        defaults = {one.name: one.default for one in switch.parameters}
        assert switch.read(defaults) == switch.read({}) == defaults


def test_the_list_says_what_is_on_and_how(shared: Running) -> None:
    lines = {line["name"]: line for line in shared.get(PATH).json()}
    assert set(lines) == set(SWITCHES)
    assert lines["throttle"]["parameters"]["retry_after"] == "1"
    assert (lines["throttle"]["on"], lines["throttle"]["settings"]) == (False, None)
    with switched(shared, "throttle", times=5, path=LESSONS) as line:
        assert (line["settings"]["times"], line["left"]) == (5, 5)
        assert _on(shared) == ["throttle"]
    assert _on(shared) == []


def test_a_switch_applies_to_a_path_and_goes_off_after_its_times(
    shared: Running,
) -> None:
    with switched(shared, "throttle", times=2, path=LESSONS):
        assert shared.get(COURSES).status_code == 200
        assert [shared.get(LESSONS).status_code for _ in range(3)] == [409, 409, 200]
        assert _on(shared) == []


def test_a_switch_applies_to_sign_in_only_if_its_path_says_so(shared: Running) -> None:
    with switched(shared, "outage-500"):
        shared.sign_in()
    with switched(shared, "outage-500", path="/api/token", times=1):
        address = shared.addresses["api"] + "/api/token"
        assert requests.post(address, data={}, timeout=20).status_code == 500
        assert shared.get(COURSES).status_code == 200


def test_all_are_switched_off_at_once(shared: Running) -> None:
    for name in ("throttle", "fractions", "quota"):
        shared.post(PATH, name=name)
    assert len(_on(shared)) == 3
    shared.web.delete(shared.addresses["api"] + PATH, timeout=20)
    assert _on(shared) == []
    assert shared.get(COURSES).status_code == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "kindness"}, "There is no misbehaviour called 'kindness'."),
        ({}, "name must be a text."),
        ({"name": "throttle", "status": 418}, "status must be one of 409, 429, 503."),
        ({"name": "throttle", "times": -1}, "times must be a whole number, 0 or more, or nothing."),
        ({"name": "throttle", "times": True}, "times must be a whole number"),
        ({"name": "latency", "seconds": "long"}, "seconds must be a number, 0 or more."),
        ({"name": "missing-right", "entity": "Dog"}, "entity must be the name of a kind of"),
        ({"name": "local-times-in-deliveries", "zone": "Mars"}, "zone must be the name of a time"),
        ({"name": "totp-required", "key": "!"}, "key must be a base32 key, or nothing."),
        ({"name": "fractions", "digits": 3}, "fractions has no parameter digits; it has: none."),
    ],
)
def test_a_mistake_is_a_sentence(shared: Running, fields: dict[str, object], said: str) -> None:
    assert said in _refused(shared, **fields)
    assert _on(shared) == []


def test_chance_is_the_same_for_the_same_seed() -> None:
    def met(board: Board) -> list[bool]:
        board.switch_on("throttle", {"chance": 0.5})
        return [board.take("throttle", "/api/x") is not None for _ in range(200)]

    first = met(Board(3))
    assert met(Board(3)) == first
    assert met(Board(4)) != first
    assert 50 < sum(first) < 150


def _press(sandbox: Running, **form: str) -> requests.Response:
    return sandbox.web.post(sandbox.addresses["api"] + "/misbehave", data=form, timeout=20)


def test_the_page_switches_on_and_off_without_script(shared: Running) -> None:
    page = shared.get("/misbehave").text
    assert all(f"<code>{name}</code>" in page for name in SWITCHES)
    assert "nothing is switched on" in page
    form = {"name": "throttle", "act": "on", "status": "429", "times": "7", "retry_after": ""}
    pressed = _press(shared, **form)
    assert [step.status_code for step in pressed.history] == [303]
    assert "On, 7 left" in pressed.text
    [line] = [line for line in shared.get(PATH).json() if line["on"]]
    assert line["settings"] == {
        "path": "/api/",
        "times": 7,
        "chance": 1.0,
        "status": 429,
        "retry_after": None,
    }
    assert "nothing is switched on" in _press(shared, name="throttle", act="off").text
    _press(shared, name="never-ending-list", act="on", repeat="false", entity="Course")
    assert _on(shared) == ["never-ending-list"]
    assert "nothing is switched on" in _press(shared, act="clear").text


@pytest.mark.parametrize(
    "form", [{"name": "throttle", "times": "often"}, {"name": "<b>"}, {"name": "x", "act": "off"}]
)
def test_the_page_says_what_was_wrong(shared: Running, form: dict[str, str]) -> None:
    answer = _press(shared, **form)
    assert answer.status_code == 400
    assert "must be" in answer.text or "There is no" in answer.text
    assert "<b>" not in answer.text
    assert _on(shared) == []


def test_another_site_cannot_switch_anything_on(shared: Running) -> None:
    address = shared.addresses["api"] + "/misbehave"
    headers = {"Sec-Fetch-Site": "cross-site"}
    form = {"name": "throttle", "act": "on"}
    assert requests.post(address, data=form, headers=headers, timeout=20).status_code == 403
    assert _on(shared) == []
