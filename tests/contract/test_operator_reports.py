"""Digests and the weekly summary on the operators' pages, as they would be now."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from schemas.roles import Role
from service.desk.drafts import ReportDrafts, WrittenReport
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Browser, Office, over
from tests.contract.study_rig import rules_of
from tests.contract.test_digests import FILE, TEAM, with_host
from tests.contract.test_operator_pages import text_of
from tests.servers.programs import wait_until

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


def read(browser: Browser, path: str) -> TestResponse:
    """Open a report until it is written."""
    wait_until(lambda: "Refresh" not in browser.get(path).headers, "the report was written")
    return browser.get(path)


def test_digests_and_the_summary_are_listed_and_shown_as_they_would_be_now(
    desk: Desk, office: Office
) -> None:
    browser = office.signed_in()
    listed = browser.get("/emails")
    for name in ("for-hosts", "for-acme", "summary"):
        assert f'href="/reports/{name}"' in listed.text
    assert "Digest (For hosts) for-hosts On" in text_of(listed)
    assert "Weekly summary summary Off" in text_of(listed)
    shown = read(browser, "/reports/for-hosts")
    assert "Subject Freelance Finance: last week" in text_of(shown)
    assert "- Person 1" in shown.text
    written = read(browser, "/reports/for-hosts/body?to=500")
    assert "<h2" in written.text
    assert " href=" not in written.text
    assert "1 email" in read(browser, "/reports/summary").text.lower()
    assert read(browser, "/reports/for-acme").status_code == 200
    assert len(desk.space.mailer.caught) == 1  # to the member


def test_what_is_no_report_is_said_so_and_who_may_look_sees_no_address(office: Office) -> None:
    looks = office.signed_in(Role.LOOK)
    for path in ("/reports/welcome", "/reports/%00", "/reports/x/body"):
        answer = read(looks, path)
        assert answer.status_code == 404
        assert "There is no report of this name." in answer.text
    for odd in ("to=x", "to=1", "to=" + "9" * 40):
        assert "Freelance Finance: last week" in text_of(read(looks, f"/reports/for-hosts?{odd}"))
    for path in ("/emails", "/reports/for-acme", "/reports/for-hosts"):
        assert TEAM not in read(looks, path).text


def test_a_report_is_written_once_for_page_and_frame_and_not_shown_when_old(office: Office) -> None:
    rules = rules_of(FILE)
    drafts = ReportDrafts(office.web.settings, office.engine, office.clock)

    def written(host_id: int | None) -> WrittenReport:
        wait_until(lambda: drafts.newest(rules, "for-hosts", host_id) is not None, "it is written")
        found = drafts.newest(rules, "for-hosts", host_id)
        assert found is not None
        return found

    first = written(500)
    assert first.prepared is not None
    assert written(500) is first
    office.clock.move(11 * 60)
    assert written(500).at == office.clock.now()
    kept = written(500)
    for other in range(1, 10):
        written(other)
    assert written(500) is not kept  # a few are kept, not all
    drafts.close()
