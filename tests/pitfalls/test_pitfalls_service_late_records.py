"""The whole service with notifications that arrive before their records can be read.

The number in a test's name is that of the pitfall in the table of docs/source.md. A record that was
read once is no longer late, so every test has a person or a course that was not read before.
"""

import contextlib
from pathlib import Path

import requests

from tests.e2e.house import House, living
from tests.e2e.test_input import UNREADABLE
from tests.pitfalls.pitfall_house import (
    CALLIGRAPHY,
    CERAMICS,
    COMPLETED,
    FINANCE,
    FINISHED,
    MEMBERS,
    PLENTY,
    WELCOME,
    finish,
    hook,
    hooks_of,
    is_titled,
    signed,
    switch_on,
    wait_letters,
)
from tests.servers.programs import wait_until


def test_21_an_enrolment_reported_before_it_can_be_read_is_retried(
    house: House,
) -> None:
    switch_on(house, "late-links", reads=1)
    member = house.sandbox.enrol("Joël", FINANCE)
    wait_letters(house, "joel", FINANCE, 1)
    assert _tried(house, member) == [("done", None)]
    _nothing_is_gone(house)


def test_21_a_person_who_can_be_read_later_than_their_enrolment_is_waited_for(
    house: House,
) -> None:
    switch_on(house, "late-links", entity="Coworker", reads=1)
    house.sandbox.enrol("Zoë", FINANCE)
    wait_letters(house, "zoe", FINANCE, 1)
    _nothing_is_gone(house)


def test_21_a_course_that_can_be_read_later_than_its_enrolment_is_waited_for(
    house: House,
) -> None:
    switch_on(house, "late-links", entity="Course", reads=1)
    house.sandbox.enrol("Joël", CERAMICS)
    wait_letters(house, "joel", CERAMICS, 1)
    _nothing_is_gone(house)


def test_21_an_enrolment_that_can_be_read_later_than_its_lesson_is_waited_for(
    house: House,
) -> None:
    member = house.sandbox.enrol("נועה", CALLIGRAPHY, deliver=False)
    completed = finish(house, member, deliver=False)
    switch_on(house, "late-links", entity="CourseMember", reads=1)
    house.relay({"entity": "CourseCompletedLesson", "id": completed})
    wait_letters(house, "noa.levi", CALLIGRAPHY, 2)  # a lesson tells of its enrolment too
    assert _tried(house, completed) == [("done", None)]
    _nothing_is_gone(house)


def test_21_a_lesson_reported_before_the_list_has_it_is_emailed_about(house: House) -> None:
    switch_on(house, "lagging-lists", seconds=2.0)
    member = house.sandbox.enrol("נועה", FINANCE)
    finish(house, member)
    wait_letters(house, "noa.levi", FINANCE, 2)
    _nothing_is_gone(house)


def test_21_a_course_finished_before_the_lists_have_its_lessons_is_emailed_about(
    house: House,
) -> None:
    switch_on(house, "lagging-lists", seconds=2.0)
    member = house.sandbox.enrol("ليلى", CERAMICS)
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    written = wait_letters(house, "layla", CERAMICS, 2)
    for text in (WELCOME, FINISHED):
        assert [is_titled(one, text, CERAMICS) for one in written].count(True) == 1
    _nothing_is_gone(house)


def test_18_with_every_worker_down_all_that_is_authentic_is_answered_2xx(
    tmp_path: Path,
) -> None:
    with living(tmp_path, COURSEBELL_NEXUDUS_LIMITS=PLENTY) as house:
        house.start("serve")
        wait_until(lambda: _answers(house), "the receiver")
        for route in (MEMBERS, COMPLETED, "/hooks/nexudus"):
            for body in UNREADABLE:
                assert house.post(route, body, signed(body)).status_code == 202, body[:40]
        for kind in ("Booking", "Coworker", "", "CourseMember2", "\u0667"):
            assert hook(house, f"/hooks/nexudus?resource={kind}", {"Id": 7}) == {"accepted": 1}
        member = house.sandbox.enrol("Joël", FINANCE)
        house.sandbox.post("/sandbox/finish-course", course_member_id=member)
        other = house.sandbox.enrol("Zoë", CERAMICS)
        house.sandbox.post("/sandbox/finish-course", course_member_id=other)
        wait_until(lambda: _deliveries_made(house) == 2 + 2 * (4 + 3), "all deliveries made")
        assert hooks_of(house) == [(True, 0), (True, 0)]
        house.sandbox.sign_in()
        records = house.sandbox.get("/api/sys/webhooks").json()["Records"]
        ours = [one for one in records if house.url in one["URL"]]
        assert [(one["Active"], one["ErrorCount"]) for one in ours] == [(True, 0), (True, 0)]
        house.start("worker", "clock")
        for address, title in (("joel", FINANCE), ("zoe", CERAMICS)):
            subjects = {mail["subject"] for mail in wait_letters(house, address, title, 2)}
            assert any(subject.startswith(f"You finished “{title[:8]}") for subject in subjects)


def test_18_ten_failed_deliveries_would_switch_the_webhook_off(house: House) -> None:
    # What the test above would see if we answered otherwise.
    house.end("serve")
    house.sandbox.enrol("Zoë", CERAMICS)
    wait_until(lambda: (False, 10) in hooks_of(house), "the hook switched off")
    house.start("serve")
    wait_until(house.ready, "the service ready")
    house.environment["COURSEBELL_PUBLIC_URL"] = house.url
    output = " ".join(house.run("doctor").stdout.split())
    assert "it is switched off; " in output
    house.sandbox.post("/sandbox/hooks/switch-on", entity="CourseMember")
    house.sandbox.enrol("Zoë", CALLIGRAPHY)
    wait_letters(house, "zoe", CALLIGRAPHY, 1)


def _tried(house: House, record_id: int) -> list[tuple[str, str | None]]:
    return house.rows(f"SELECT state, reason FROM lookups WHERE record_id = {record_id}")


def _nothing_is_gone(house: House) -> None:
    for table in ("people", "records"):
        assert house.rows(f"SELECT * FROM {table} WHERE gone_at IS NOT NULL") == []


def _answers(house: House) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{house.url}/healthz", timeout=5).ok
    return False


def _deliveries_made(house: House) -> int:
    made = house.sandbox.get("/sandbox/deliveries").json()["deliveries"]
    return sum(one["status"] == 202 for one in made)
