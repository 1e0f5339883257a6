"""`coursebell user`: accounts for the pages, as the person who runs the service makes them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import load_settings
from service.cli.user import first_account_lines
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import PASSWORD, Office, over

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    with over(desk, tmp_path) as found:
        yield found


def path_in(text: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:8000(/welcome/\w+)", text)
    assert found, text
    return found[1]


def test_an_account_is_added_listed_changed_and_closed(desk: Desk, office: Office) -> None:
    added = desk.run("user", "add", "Otto Lind", "--role", "look")
    assert added.exit_code == 0
    assert "Give this link to Otto Lind. It works once, for 24 hours:" in added.stdout
    assert "has not chosen a password yet" in desk.run("user", "list").stdout
    browser = office.browser()
    assert browser.post(path_in(added.stdout), {"new_password": PASSWORD}).status_code == 303
    assert desk.run("user", "role", "otto lind", "operate").stdout == (
        "Otto Lind now has the role operate.\n"
    )
    assert desk.run("user", "list").stdout == "Otto Lind  operate\n"
    assert desk.run("user", "close", "Otto Lind").exit_code == 3
    assert desk.run("user", "close", "Otto Lind", "--yes").exit_code == 0
    assert browser.get("/").status_code == 303
    assert "closed since" in desk.run("user", "list").stdout
    again = desk.run("user", "link", "Otto Lind")
    assert browser.post(path_in(again.stdout), {"new_password": PASSWORD}).status_code == 303
    logged = desk.run("log").stdout
    assert "added account 1 with the role look" in logged
    assert "closed account 1" in logged
    assert "Otto" not in logged


def test_mistakes_are_named_with_the_next_command(desk: Desk) -> None:
    desk.run("user", "add", "Otto Lind")
    twice = desk.run("user", "add", " OTTO LIND ")
    assert (twice.exit_code, "coursebell user link" in twice.stderr) == (1, True)
    for words in (("link", "Rita"), ("role", "Rita", "look"), ("close", "Rita", "--yes")):
        unknown = desk.run("user", *words)
        assert (unknown.exit_code, "coursebell user list" in unknown.stderr) == (1, True)
    for name in ("", "x" * 65, "a\nb"):
        assert desk.run("user", "add", name).exit_code == 2


def test_the_first_start_prints_a_link_whose_owner_chooses_name_and_password(
    desk: Desk, office: Office
) -> None:
    settings = load_settings(
        {
            "COURSEBELL_DATA_DIR": str(desk.folder),
            "COURSEBELL_DATABASE_URL": str(desk.space.engine.url),
        }
    )
    assert first_account_lines(settings)
    [line] = first_account_lines(settings)
    browser, link = office.browser(), path_in(line)
    desk.run("user", "add", "Rita")
    taken = browser.post(link, {"new_password": PASSWORD, "name": "rita"})
    assert (taken.status_code, "Another person here" in taken.text) == (422, True)
    assert browser.post(link, {"new_password": PASSWORD, "name": "Rita Sousa"}).status_code == 303
    assert "You may see and change everything." in browser.get("/account").text
    assert office.account("rita sousa").name == "Rita Sousa"
    assert first_account_lines(settings) == []


def test_the_list_of_an_empty_ledger_says_how_to_begin(desk: Desk) -> None:
    assert "coursebell user add NAME" in desk.run("user", "list").stdout


def test_who_signs_in_at_a_provider_is_added_by_address(
    desk: Desk, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = desk.run("user", "add", "Otto", "--email", "otto@example.org")
    assert (unset.exit_code, "COURSEBELL_OIDC_ISSUER" in unset.stderr) == (2, True)
    monkeypatch.setenv("COURSEBELL_OIDC_ISSUER", "https://id.example")
    monkeypatch.setenv("COURSEBELL_OIDC_CLIENT_ID", "x")
    wrong = desk.run("user", "add", "Otto", "--email", "otto")
    assert (wrong.exit_code, "An address is expected" in wrong.stderr) == (2, True)
    added = desk.run("user", "add", "Otto", "--email", "Otto@example.org")
    assert added.stdout.endswith("http://127.0.0.1:8000/sign-in\n")
    assert office.account("Otto").email == "otto@example.org"
    taken = desk.run("user", "add", "Rita", "--email", "otto@example.org")
    assert (taken.exit_code, "Another account" in taken.stderr) == (1, True)
    assert desk.run("user", "list").stdout == (
        "Otto  operate  may sign in at the provider, and has not yet\n"
    )
    assert desk.as_json("user", "email", "otto", "o@example.org")["name"] == "Otto"
    assert office.account("Otto").email == "o@example.org"
    office.add("Ann")
    assert desk.run("user", "list", "--json").stdout.count('"has_password": true') == 1
    desk.run("user", "email", "Ann", "ann@example.org")
    assert '"has_password": true' not in desk.run("user", "list", "--json").stdout
    assert "Ann  engineer  may sign in at the provider, and has not yet\n" in (
        desk.run("user", "list").stdout
    )
    assert office.browser().sign_in("Ann").status_code == 403
    office.browser().post(office.link("Ann"), {"new_password": PASSWORD})
    assert "Ann  engineer\n" in desk.run("user", "list").stdout
    desk.run("user", "close", "Otto", "--yes")
    closed = desk.run("user", "email", "Otto", "o@example.org")
    assert (closed.exit_code, "coursebell user link" in closed.stderr) == (1, True)
    logged = desk.run("log").stdout
    assert "entered an address by which account 1" in logged
    assert "example.org" not in logged
