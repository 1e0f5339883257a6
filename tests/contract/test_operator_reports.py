"""Digests and the weekly summary on the operators' pages, as they would be now."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.roles import Role
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Office, over
from tests.contract.test_digests import FILE, TEAM, with_host
from tests.contract.test_operator_pages import text_of

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over a space with a host, one member and digests."""
    rules = tmp_path / "own.yaml"
    rules.write_text(FILE, encoding="utf-8")
    with_host(desk.space)
    desk.space.enrol(1)
    desk.space.work()
    with over(desk, tmp_path, rules) as found:
        found.clock.move(60)
        yield found


def test_digests_and_the_summary_are_listed_and_shown_as_they_would_be_now(
    desk: Desk, office: Office
) -> None:
    browser = office.signed_in()
    listed = browser.get("/emails")
    for name in ("for-hosts", "for-acme", "summary"):
        assert f'href="/reports/{name}"' in listed.text
    assert "Digest (For hosts) for-hosts On" in text_of(listed)
    assert "Weekly summary summary Off" in text_of(listed)
    shown = browser.get("/reports/for-hosts")
    assert "Subject Freelance Finance: last week" in text_of(shown)
    assert "- Person 1" in shown.text
    written = browser.get("/reports/for-hosts/body?to=500")
    assert "<h2" in written.text
    assert " href=" not in written.text
    assert "1 email" in browser.get("/reports/summary").text.lower()
    assert browser.get("/reports/for-acme").status_code == 200
    assert len(desk.space.mailer.caught) == 1  # to the member


def test_what_is_no_report_is_said_so_and_who_may_look_sees_no_address(office: Office) -> None:
    looks = office.signed_in(Role.LOOK)
    for path in ("/reports/welcome", "/reports/%00", "/reports/x/body"):
        answer = looks.get(path)
        assert answer.status_code == 404
        assert "There is no report of this name." in answer.text
    for odd in ("to=x", "to=1", "to=" + "9" * 40):
        assert "Freelance Finance: last week" in text_of(looks.get(f"/reports/for-hosts?{odd}"))
    for path in ("/emails", "/reports/for-acme", "/reports/for-hosts"):
        assert TEAM not in looks.get(path).text
