"""The page that shows engineers how an event was handled, and which step broke."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.engine import writing
from ledger.intake import Arrival, Origin, store_arrivals
from ledger.tables import actions, decisions, lookups, notifications, records
from schemas.entity import Entity
from schemas.notification import Notification
from schemas.roles import Role
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import on_both_engines
from tests.contract.operator_rig import Office, over
from tests.contract.test_operator_pages import statements, text_of

pytestmark = pytest.mark.engines("sqlite")
BODY = b'[{"Id": 9001, "CoworkerFullName": "<script>Person 1</script>"}]'


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with over(desk, tmp_path) as found:
        yield found


@on_both_engines
def test_each_step_of_an_event_is_shown(desk: Desk, office: Office) -> None:
    member = desk.space.enrol(1)
    desk.space.work()
    desk.space.finish(member, 1)
    desk.space.work()
    browser = office.signed_in()
    seen = text_of(browser.get("/events/1"))
    for text in (
        "Enrolled Person 1 , Freelance Finance,",
        "Received Enrolment 9001, by a message of the relay,",
        "Read Enrolment 9001 read last",
        "CourseTitle Freelance Finance",
        "by version ",
        "of the rules welcome: fits",
        "Planned See it by the rule welcome",
        "Tried ",
        "Result Sent, ",
    ):
        assert text in seen
    assert "It broke here" not in seen
    lesson = text_of(browser.get("/events/3"))
    assert "Finished lesson 50001, by a message of the relay" in lesson
    assert 'href="/events/1"' in browser.get("/people/1").text
    assert 'href="/events/1"' in browser.get("/messages/1").text


def test_the_step_that_broke_is_marked(desk: Desk, office: Office) -> None:
    desk.refuse(1)
    browser = office.signed_in()
    seen = text_of(browser.get("/events/1"))
    assert "Tried It broke here" in seen
    assert "550" in seen
    assert seen.count("It broke here") == 1
    with writing(office.engine) as connection:
        connection.execute(lookups.update().values(state="failed", last_error="it answered 500"))
    seen = text_of(browser.get("/events/1"))
    assert "Read It broke here Enrolment 9001" in seen
    assert "it answered 500" in seen


def test_a_step_that_broke_no_longer_looks_so_once_the_email_was_sent_again(
    desk: Desk, office: Office
) -> None:
    desk.refuse(1)
    browser = office.signed_in()
    assert 'class="problem"' in browser.get("/events/1").text
    desk.space.mailer.accept("person1@example.org")
    browser.press("/messages/1/again", "/messages/1/again")
    desk.space.work()
    cured = browser.get("/events/1")
    seen = text_of(cured)
    assert "It did not get through at first, and was settled since." in seen
    assert seen.count("It broke here, settled since") == seen.count("It broke here") == 1
    assert "550" in seen
    for present in ('class="problem"', 'class="stop"', 'class="badge failed"'):
        assert present not in cured.text
    repeated = 'It repeats <a href="/messages/1">an earlier email</a>, asked for by Rita Sousa'
    for page in (cured, browser.get("/messages/2")):
        assert repeated in page.text
        assert "resend of" not in page.text


def test_a_step_that_broke_is_not_called_settled_while_the_email_still_waits(
    desk: Desk, office: Office
) -> None:
    desk.refuse(1)
    with writing(office.engine) as connection:
        connection.execute(actions.update().values(state="waiting", finished_at=None))
    seen = text_of(office.signed_in().get("/events/1"))
    assert "It broke here" in seen
    assert "settled" not in seen


def test_a_repetition_that_fails_too_looks_broken(desk: Desk, office: Office) -> None:
    desk.refuse(1)
    browser = office.signed_in()
    desk.space.mailer.answer("person1@example.org", "550 5.1.1 no such person")
    browser.press("/messages/1/again", "/messages/1/again")
    desk.space.work()
    broken = browser.get("/events/1")
    assert 'class="problem"' in broken.text
    assert text_of(broken).count("It broke here ") == 1


def test_what_arrived_is_shown_as_long_as_it_is_kept_and_records_of_people_never(
    desk: Desk, office: Office
) -> None:
    said = Notification(Entity.COURSE_MEMBER, 9_001)
    arrival = Arrival(
        office.clock.now(), "relay", Origin.RELAY, "bearer", BODY, len(BODY), "0" * 64, (said,)
    )
    with writing(office.engine) as connection:
        store_arrivals(connection, [arrival])
    desk.space.enrol(1, reported=False)
    desk.space.work()
    answer = office.signed_in().get("/events/1")
    seen = text_of(answer)
    assert "What arrived" in seen
    assert "<script>" not in answer.text
    assert "person1@example.org" not in answer.text


def test_what_is_no_longer_kept_is_said(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    with writing(office.engine) as connection:
        for table in (notifications, decisions, lookups, records):
            connection.execute(table.delete())
    seen = text_of(office.signed_in().get("/events/1"))
    assert "No notice of it is kept." in seen
    assert "was never read by its number" in seen
    assert "this is kept for 90 days" in seen


def test_only_engineers_see_how_an_event_was_handled(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    office.add()
    browser = office.signed_in(Role.OPERATE, "Otto Lind")
    refused = browser.get("/events/1")
    assert refused.status_code == 403
    assert "Rita Sousa" in refused.text
    assert "/events/" not in browser.get("/people/1").text + browser.get("/messages/1").text


@pytest.mark.parametrize("number", ["77", "0", "9" * 30])
def test_an_event_that_does_not_exist_is_missing(office: Office, number: str) -> None:
    answer = office.signed_in().get(f"/events/{number}")
    assert answer.status_code == 404
    assert "There is no" in answer.text


def test_the_page_takes_as_many_statements_for_many_notifications_as_for_one(
    desk: Desk, office: Office
) -> None:
    desk.space.enrol(1)
    desk.space.work()
    browser = office.signed_in()
    few = statements(office, browser, "/events/1")
    for _ in range(20):
        desk.space.notify(Entity.COURSE_MEMBER, 9_001)
    desk.space.work()
    assert statements(office, browser, "/events/1") == few
