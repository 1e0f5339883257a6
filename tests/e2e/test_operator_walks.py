"""Operators at work, each in a real browser, with every process of ours running."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.house import House, open_house
from tests.emails.gate import run_in_browser
from tests.servers.programs import wait_until

FINANCE = "Freelance Finance"
PASSWORD = "four words are enough"
Step = tuple[str, ...]


@dataclass
class Walker:
    """An operator in a browser, who keeps its cookies from one walk to the next."""

    house: House
    name: str
    cookies: list[dict[str, Any]] = field(default_factory=list)

    def walk(self, *steps: Step, scripts: bool = True) -> str:
        """Do these steps, and return the text of the page where they end."""
        job = {"base": self.house.url, "steps": steps, "cookies": self.cookies, "scripts": scripts}
        seen = run_in_browser("walk.mjs", job)
        self.cookies = seen["cookies"]
        return " ".join(str(seen["text"]).split())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house in which everything runs, and a member has finished a lesson."""
    with open_house(tmp_path_factory.mktemp("walks")) as found:
        member = found.sandbox.enrol("Joël", FINANCE)
        found.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
        found.wait_mails("joel", 2)
        yield found


def operator(house: House, name: str, role: str) -> Walker:
    """Add an account, and let its owner choose a password by the link."""
    added = house.run("user", "add", name, "--role", role)
    [path] = re.findall(r"/welcome/\w+", added.stdout)
    walker = Walker(house, name)
    assert "What happened" in walker.walk(
        ("open", path),
        ("fill", "New password", PASSWORD),
        ("press", "Save and sign in"),
        ("see", "Today"),
    )
    return walker


@pytest.fixture(scope="module")
def rita(house: House) -> Walker:
    return operator(house, "Rita", "operate")


def test_did_he_get_his_congratulations_and_what_exactly(rita: Walker) -> None:
    seen = rita.walk(
        ("open", "/"),
        ("fill", "Find a person by name, address or course", "joël"),
        ("press", "Find"),
        ("see", "Did Joël Núñez get the congratulations?"),
        ("see", "Yes."),
        ("press", "See the email"),
        ("seeInEmail", "Hello Joël"),
    )
    assert "Sent to Joël Núñez" in seen
    assert "joel.nunez@example.org" in seen


def test_an_email_is_sent_again_with_the_keyboard_and_without_scripts(
    rita: Walker, house: House
) -> None:
    before = len(house.mails("joel"))
    rita.walk(
        ("open", "/messages/1"),
        ("type", "Send again"),
        ("see", "again?"),
        ("type", "Send again"),
        ("see", "It is checked and sent again now."),
        scripts=False,
    )
    house.wait_mails("joel", before + 1)
    [last] = house.rows("SELECT resend_of, state FROM actions ORDER BY id DESC LIMIT 1")
    assert last[0] == 1
    assert "Rita" in house.run("log").stdout


def test_what_an_operator_filled_in_survives_the_end_of_the_session(
    rita: Walker, house: House
) -> None:
    before = len(house.mails("joel"))
    rita.walk(
        ("open", "/messages/2/again"),
        ("loseSession",),
        ("press", "Send again"),
        ("see", "What you filled in is kept: sign in, then send it."),
        ("fill", "Name", "Rita"),
        ("fill", "Password", PASSWORD),
        ("press", "Sign in"),
        ("see", "Nothing was changed yet, and nothing you typed is lost."),
        ("press", "Send again"),
        ("see", "It is checked and sent again now."),
    )
    house.wait_mails("joel", before + 1)


def test_who_may_only_look_sees_no_whole_address_and_no_act(house: House) -> None:
    otto = operator(house, "Otto", "look")
    seen = otto.walk(("open", "/messages/1"), ("see", "Sent"))
    assert "Send again" not in seen
    assert "joel.nunez@example.org" not in seen
    assert "j…@example.org" in seen
    refused = otto.walk(("open", "/messages/1/again"), ("see", "You may not do this"))
    assert "These people can do it: Rita" in refused


def test_everything_is_paused_and_what_waited_is_looked_at_before_it_goes(
    rita: Walker, house: House
) -> None:
    rita.walk(
        ("open", "/pause"),
        ("press", "Pause now"),
        ("see", "Paused: all emails."),
        scripts=False,
    )
    house.sandbox.enrol("Zoë", FINANCE)
    held = "SELECT count(*) FROM actions WHERE state = 'held' AND reason = 'paused'"
    wait_until(lambda: house.rows(held) == [(1,)], "the email to Zoë is held")
    rita.walk(
        ("open", "/resume/1"),
        ("see", "1 email waited."),
        ("press", "Resume, send none of them"),
        ("see", "Of the emails that waited, 1 stays held."),
        ("open", "/held/on-hold"),
        ("press", "Send all 1"),
        ("see", "Send 1 email to 1 person?"),
        ("press", "Send"),
        ("see", "1 email is checked and sent."),
        scripts=False,
    )
    house.wait_mails("zoe", 1)
