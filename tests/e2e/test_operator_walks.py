"""Operators at work, each in a real browser, with every process of ours running."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.e2e.house import RULES, House, living
from tests.emails.gate import walk_in_browser
from tests.servers.programs import wait_until

FINANCE, CERAMICS = "Freelance Finance", "Ceramics: Feuer & Glasur <Grundkurs>"
WELCOME, LESSON = 2, 3  # the numbers of the emails to Joël
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
        seen = walk_in_browser(job)
        self.cookies = seen["cookies"]
        return " ".join(str(seen["text"]).split())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give a house in which everything runs and is observed, and a member has enrolled.

    About the course Ceramics more than one email in ten minutes is held.
    """
    folder = tmp_path_factory.mktemp("walks")
    rules = folder / "rules.yaml"
    held = f'courses:\n  - course: "{CERAMICS}"\n    flood: 1/10m\n'
    rules.write_text(RULES.read_text(encoding="utf-8") + held, encoding="utf-8")
    with living(folder, COURSEBELL_MODE="observe", COURSEBELL_RULES=str(rules)) as found:
        found.environment["COURSEBELL_PUBLIC_URL"] = found.url
        found.start("serve", "worker", "clock")
        wait_until(found.ready, "the service ready")
        found.sandbox.enrol("Siobhán", FINANCE)
        observed = "SELECT count(*) FROM actions WHERE state = 'held' AND reason = 'observe'"
        wait_until(lambda: found.rows(observed) == [(1,)], "the email to Siobhán is written")
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
    """Let Rita start sending on the first run, and a member then finish a lesson."""
    rita = operator(house, "Rita", "operate")
    rita.walk(
        ("open", "/"),
        ("see", "Observing. Emails are written and kept here. Nothing is sent."),
        ("press", "Start sending"),
        ("see", "Set up"),
        ("see", "Kept here so far: 1 email."),
        ("see", "What the last 7 days would have sent"),
        ("press", "Welcome"),
        ("seeInEmail", "Your place is ready."),
        ("open", "/start"),
        ("press", "Start sending"),
        ("see", "From now on emails are sent automatically to the members of this space."),
        ("see", "Stays here"),
        ("press", "Start sending"),
        ("see", "Sending is on from now."),
    )
    # The source's times are whole seconds: what happens in this one is from before the start.
    next_second = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    wait_until(lambda: datetime.now(UTC) >= next_second, "the next second")
    member = house.sandbox.enrol("Joël", FINANCE)
    house.wait_mails("joel", 1)
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_mails("joel", 2)
    return rita


def test_from_the_first_run_to_an_email_that_really_leaves(rita: Walker, house: House) -> None:
    seen = rita.walk(("open", "/start"), ("see", "Emails are sent automatically."))
    assert "Changed by Rita" in seen
    assert house.subjects("joel")[0] == "You're in: Freelance Finance"
    assert house.mails("siobhan") == [], "what happened before the start stays"


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
    assert "to Joël Núñez" in seen
    assert "joel.nunez@example.org" in seen


def test_an_email_is_sent_again_with_the_keyboard_and_without_scripts(
    rita: Walker, house: House
) -> None:
    before = len(house.mails("joel"))
    rita.walk(
        ("open", f"/messages/{WELCOME}"),
        ("type", "Send again"),
        ("see", "again?"),
        ("type", "Send again"),
        ("see", "It is checked and goes out again now."),
        scripts=False,
    )
    house.wait_mails("joel", before + 1)
    [last] = house.rows("SELECT resend_of, state FROM actions ORDER BY id DESC LIMIT 1")
    assert last[0] == WELCOME
    assert "Rita" in house.run("log").stdout


def test_what_an_operator_filled_in_survives_the_end_of_the_session(
    rita: Walker, house: House
) -> None:
    before = len(house.mails("joel"))
    rita.walk(
        ("open", f"/messages/{LESSON}/again"),
        ("loseSession",),
        ("press", "Send again"),
        ("see", "What you filled in is kept: sign in, then send it."),
        ("fill", "Name", "Rita"),
        ("fill", "Password", PASSWORD),
        ("press", "Sign in"),
        ("see", "Nothing was changed yet, and nothing you typed is lost."),
        ("press", "Send again"),
        ("see", "It is checked and goes out again now."),
    )
    house.wait_mails("joel", before + 1)


def test_who_may_only_look_sees_no_whole_address_and_no_act(rita: Walker) -> None:
    otto = operator(rita.house, "Otto", "look")
    seen = otto.walk(("open", f"/messages/{WELCOME}"), ("see", "Sent"))
    assert "Send again" not in seen
    assert "joel.nunez@example.org" not in seen
    assert "j…@example.org" in seen
    refused = otto.walk(("open", f"/messages/{WELCOME}/again"), ("see", "You may not do this"))
    assert "These people can do it: Rita" in refused
    group = otto.walk(("open", "/held/before-start"), ("see", "Held: 1 email"))
    assert "Siobhán" in group
    assert "Drop" not in group


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
        ("see", "Waited meanwhile: 1 email."),
        ("press", "Resume, send none of them"),
        ("see", "Of what waited, 1 stays held."),
        ("open", "/held/on-hold"),
        ("press", "Send all 1"),
        ("see", "Send 1 email to 1 person?"),
        ("press", "Send"),
        ("see", "1 is checked and goes out now."),
        scripts=False,
    )
    house.wait_mails("zoe", 1)


def test_of_a_flood_some_are_sent_and_some_dropped(rita: Walker, house: House) -> None:
    for name in ("Mara", "Jonas", "Lucía"):
        house.sandbox.enrol(name, CERAMICS)
    held = "SELECT count(*) FROM actions WHERE state = 'held' AND reason = 'flood-guard'"
    wait_until(lambda: house.rows(held) == [(3,)], "three emails are held")
    left = rita.walk(
        ("open", "/"),
        ("press", "Decide about all that wait for you"),
        ("see", "3 emails:"),
        ("open", "/held/flood-guard"),
        ("tick", "Mara"),
        ("press", "Send the ticked"),
        ("see", "Send 1 email to 1 person?"),
        ("press", "Send"),
        ("see", "1 is checked and goes out now."),
        ("open", "/held/flood-guard"),
        ("tick", "Jonas"),
        ("press", "Drop the ticked"),
        ("see", "Drop 1 email to 1 person?"),
        ("press", "Drop"),
        ("see", "1 is dropped."),
        ("open", "/held/flood-guard"),
        scripts=False,
    )
    house.wait_mails("kontor", 1)
    house.wait_idle()
    assert "Lucía" in left
    assert (house.mails("jonas"), house.mails("lucia")) == ([], [])


def test_what_members_choose_by_their_links_is_kept_and_shown(rita: Walker, house: House) -> None:
    """Joël uses the page; Siobhán uses the button of her mail program (RFC 8058)."""
    members = {name: house.sandbox.person(name) for name in ("Joël", "Siobhán")}
    [page] = set(re.findall(r"http://\S+/p/[\w.-]+", house.mails("joel")[0]["text"]))
    Walker(house, "Joël").walk(
        ("open", page),
        ("see", "You get emails about your courses."),
        ("untick", "Emails about your courses"),
        ("press", "Save"),
        ("see", "Saved."),
        ("see", "You get no emails about your courses."),
        scripts=False,
    )
    finish_lesson(house, members["Siobhán"])
    house.wait_mails("siobhan", 1)
    headers = house.mails("siobhan")[0]["headers"]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    one_click = headers["List-Unsubscribe"].strip("<>")
    sent = {"List-Unsubscribe": "One-Click"}
    assert requests.post(one_click, sent, timeout=20).status_code == 200
    before = {name: len(house.mails(name)) for name in ("joel", "siobhan")}
    for coworker_id in members.values():
        finish_lesson(house, coworker_id)
    house.wait_idle()
    assert {name: len(house.mails(name)) for name in before} == before
    shown = (("see", "course emails off"), ("see", "They switched this kind of email off."))
    joel, siobhan = (("open", f"/people/{one}") for one in members.values())
    assert "Not sent on purpose" in rita.walk(joel, *shown, siobhan, *shown)


def finish_lesson(house: House, coworker_id: int) -> None:
    """Let a member finish the next lesson of the only course they are enrolled in."""
    member = "SELECT record_id FROM records WHERE entity = 'CourseMember' AND coworker_id = "
    [(member_id,)] = house.rows(f"{member}{coworker_id}")
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)


def test_today_says_what_is_new_and_leaves_alone_what_is_being_typed(
    rita: Walker, house: House
) -> None:
    ids = {"course_id": house.sandbox.course(FINANCE), "coworker_id": house.sandbox.person("Noor")}
    seen = rita.walk(
        ("open", "/"),
        ("fill", "Find a person by name, address or course", "joël"),
        ("post", f"{house.sandbox.addresses['api']}/sandbox/enrol", json.dumps(ids)),
        ("seeInTime", "1 new, show it"),
        ("press", "Find"),
        ("see", "Did Joël Núñez get"),
        ("open", "/"),
        ("see", "Noor"),
    )
    assert "new, show it" not in seen
