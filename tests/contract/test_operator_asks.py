"""Ask Nexudus now: an operator asks the stand-in about a person, and brings in what differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from ledger.engine import reading
from ledger.record_queries import enrolment_ids_of
from ledger.tables import notifications, records
from schemas.roles import Role
from service.cli.source_access import open_sync
from tests.contract.operator_rig import Browser, Office, opened
from tests.contract.source_rig import answer
from tests.contract.test_operator_pages import text_of
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from tests.servers.programs import wait_until
from tests.servers.ready_ledgers import sqlite_copy
from workers.sync.poll import poll_all

pytestmark = pytest.mark.engines("sqlite")


@dataclass
class Place:
    """The pages, and the Nexudus that they ask."""

    office: Office
    nexudus: Running
    joel: int
    member: int

    def origins(self) -> list[str]:
        with reading(self.office.engine) as connection:
            return [row.origin for row in connection.execute(notifications.select())]

    def answer(self, browser: Browser) -> TestResponse:
        """Return the page once Nexudus answered."""
        path = f"/people/{self.joel}/asked"
        wait_until(lambda: "Refresh" not in browser.get(path).headers, "Nexudus answered")
        return browser.get(path)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Open the pages over a ledger that knows who is enrolled at the stand-in."""
    url = sqlite_copy(tmp_path / "coursebell.db")
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with (
        running("--no-deliver", *sign_in) as sandbox,
        opened(
            tmp_path,
            url,
            COURSEBELL_SECRET_KEY="a-key-for-this-test",
            COURSEBELL_NEXUDUS_URL=sandbox.addresses["api"],
            COURSEBELL_NEXUDUS_USERNAME=USERNAME,
            COURSEBELL_NEXUDUS_PASSWORD=PASSWORD,
            COURSEBELL_NEXUDUS_LIMITS="1000/second;100000/hour",
        ) as office,
    ):
        sandbox.enrol("Joël", "Freelance Finance", deliver=False)
        with open_sync(office.web.settings) as sync:
            poll_all(sync, for_s=60)
        joel = sandbox.person("Joël")
        with reading(office.engine) as connection:
            [member] = enrolment_ids_of(connection, joel)
        yield Place(office, sandbox, joel, member)


def test_an_operator_asks_nexudus_and_brings_in_what_differs_without_an_email(
    place: Place,
) -> None:
    browser, joel = place.office.signed_in(Role.OPERATE), place.joel
    before = place.origins()
    asked = browser.press(f"/people/{joel}", f"/people/{joel}/ask")
    assert asked.headers["Location"] == f"/people/{joel}/asked"
    seen = text_of(place.answer(browser))
    assert "Nexudus has 1 enrolment and 0 finished lessons. That is the same as here." in seen

    place.nexudus.post("/sandbox/finish-lesson", course_member_id=place.member, deliver=False)
    browser.press(f"/people/{joel}", f"/people/{joel}/ask")
    shown = place.answer(browser)
    assert "Nothing. We never heard of it." in text_of(shown)
    assert place.origins() == before, "asking changes nothing"

    browser.send(shown, f"/people/{joel}/bring")
    second = browser.send(shown, f"/people/{joel}/bring", emails="no")
    assert second.status_code == 303
    seen = text_of(place.answer(browser))
    assert "It is brought in, and no email is sent about it." in seen
    assert place.origins() == [*before, "backfill"]
    with reading(place.office.engine) as connection:
        held = connection.execute(records.select().where(records.c.suppressed_reason.is_not(None)))
        assert "imported" in {row.suppressed_reason for row in held}


def test_what_differs_can_be_brought_in_with_its_emails_held(place: Place) -> None:
    browser, joel = place.office.signed_in(Role.OPERATE), place.joel
    place.nexudus.post("/sandbox/finish-lesson", course_member_id=place.member, deliver=False)
    browser.press(f"/people/{joel}", f"/people/{joel}/ask")
    shown = place.answer(browser)
    browser.send(shown, f"/people/{joel}/bring", emails="held")
    assert "Emails about it wait for you, and none was sent." in text_of(place.answer(browser))
    assert "review" in place.origins()


def test_an_answer_that_is_not_kept_here_is_asked_for_again(place: Place) -> None:
    browser, joel = place.office.signed_in(Role.OPERATE), place.joel
    assert "Nothing was asked here lately." in text_of(browser.get(f"/people/{joel}/asked"))
    token = browser.get("/account").text.split('name="token" value="')[1].split('"')[0]
    for fields in ({"emails": "no"}, {"emails": "x" * 9_000}, {}):
        pressed = browser.post(f"/people/{joel}/bring", {"token": token, **fields})
        assert pressed.status_code == 303
        assert "There is nothing to bring in" in text_of(browser.get(f"/people/{joel}/asked"))
    for path in ("ask", "bring"):
        assert browser.post(f"/people/{10**30}/{path}", {"token": token}).status_code == 404
    assert browser.get(f"/people/{10**30}/asked").status_code == 404


def test_who_may_only_look_asks_nothing_and_an_outage_is_said(place: Place) -> None:
    looking, joel = place.office.signed_in(Role.LOOK, "Otto Lind"), place.joel
    assert "/ask" not in looking.get(f"/people/{joel}").text
    token = looking.get("/account").text.split('name="token" value="')[1].split('"')[0]
    for path in ("ask", "bring"):
        assert looking.post(f"/people/{joel}/{path}", {"token": token}).status_code == 403
    answer(place.nexudus, "/api/content", 403, body={"Message": "no"})
    browser = place.office.signed_in(Role.OPERATE)
    browser.press(f"/people/{joel}", f"/people/{joel}/ask")
    seen = text_of(place.answer(browser))
    assert "Nexudus could not be asked. Nothing was changed." in seen
    assert "403" not in seen
