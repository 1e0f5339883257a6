"""A member studies, and the right email arrives once."""

import statistics
import time
from collections.abc import Callable

from sandbox.mail_provider import with_password
from tests.e2e.house import MAIL_SECRET, House
from tests.servers.programs import wait_until

FINANCE = "Freelance Finance"
CERAMICS = "Ceramics"
NOBODYS_ID = 1_416_199_999


def test_one_lesson_gives_one_email(house: House) -> None:
    member = house.sandbox.enrol("Joël", FINANCE)
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_mails("joel", 2)
    house.wait_idle()
    assert sorted(house.subjects("joel")) == [
        "You looked at “What you keep”",
        "You're in: Freelance Finance",
    ]


def test_the_same_delivery_ten_times_gives_one_email(house: House) -> None:
    member = house.sandbox.enrol("Zoë", FINANCE)
    completed = house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    statuses = house.sandbox.post(
        "/sandbox/deliver",
        entity="CourseCompletedLesson",
        id=completed["completed_lesson_id"],
        times=10,
    )["statuses"]
    house.wait_mails("zoe", 2)
    house.wait_idle()
    assert statuses == [202] * 10
    assert len(house.subjects("zoe")) == 2


def test_a_name_with_accents_and_an_emoji_verifies_by_its_folded_form(house: House) -> None:
    member = house.sandbox.enrol("Zoë", CERAMICS)
    house.wait_idle()
    found = house.rows(
        "SELECT d.signature_form FROM deliveries d JOIN notifications n ON n.delivery_id = d.id "
        f"WHERE n.record_id = {member}"
    )
    assert set(found) == {("utf16-units",)}
    assert house.mails("zoe")[-1]["to"].startswith("Zoë 🎓")


def test_the_last_lesson_gives_the_course_email_and_no_lesson_email(house: House) -> None:
    member = house.sandbox.enrol("Joël", CERAMICS)
    house.wait_idle()
    before = len(house.subjects("joel"))
    house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
    house.wait_idle()
    house.sandbox.post("/sandbox/finish-course", course_member_id=member)
    house.wait_idle()
    found = house.subjects("joel")[before:]
    assert found[-1].startswith("You finished “Ceramics")
    superseded = house.rows(
        f"SELECT reason FROM events WHERE course_member_id = {member} "
        "AND kind = 'lesson_completed' ORDER BY happened_at"
    )
    assert ("superseded",) in superseded
    assert sum("Ceramics" in subject and "finished" in subject for subject in found) == 1


def test_what_the_mail_provider_reports_is_known_of_the_email(house: House) -> None:
    house.sandbox.enrol("Jonas", CERAMICS)
    house.wait_mails("jonas", 1)
    house.wait_idle()
    [(reference,)] = house.rows(
        "SELECT s.reference FROM sent_emails s JOIN actions a ON a.id = s.action_id "
        "ORDER BY a.id DESC LIMIT 1"
    )
    delivered = {
        "RecordType": "Delivery",
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Recipient": "jonas@example.org",
        "DeliveredAt": "2026-01-01T00:00:00Z",
        "Metadata": {"coursebell": reference},
    }
    signed = with_password(delivered, MAIL_SECRET)
    answered = house.post("/hooks/mail/postmark", signed.body, signed.headers)
    assert (answered.status_code, answered.json()) == (200, {"accepted": 1})

    def is_applied() -> bool:
        found = house.rows("SELECT kind, state FROM mail_reports")
        return found == [("delivered", "applied")]

    wait_until(is_applied, "the report to be applied")


def test_a_wrong_signature_gives_401_and_no_read(house: House) -> None:
    house.wait_idle()
    deliveries = house.rows("SELECT count(*) FROM deliveries")
    body = b'[{"Id": %d, "CourseId": 1, "CoworkerId": 2}]' % NOBODYS_ID
    for headers in ({}, {"X-Nexudus-Hook-Signature": "0" * 64}, {"X-Nexudus-Hook-Signature": "é"}):
        encoded = {name: text.encode() for name, text in headers.items()}
        answer = house.post("/hooks/nexudus/course-members", body, encoded)  # type: ignore[arg-type]  # requests takes bytes too
        assert answer.status_code == 401
    house.wait_idle()
    # Other reads may happen meanwhile: the probe whether several records can be read at once.
    paths = house.sandbox.get("/sandbox/reads").json()["by_path"]
    assert paths
    assert not [path for path in paths if str(NOBODYS_ID) in path]
    assert house.rows("SELECT count(*) FROM deliveries") == deliveries


def test_a_relay_may_report_changes(house: House) -> None:
    person = house.sandbox.get("/sandbox/people").json()[2]
    course = house.sandbox.course(FINANCE)
    enrolled = house.sandbox.post(
        "/sandbox/enrol", course_id=course, coworker_id=person["id"], deliver=False
    )
    answer = house.relay({"entity": "coursemembers", "id": str(enrolled["course_member_id"])})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    house.wait_mails(person["email"], 1)


def test_the_time_from_post_to_hand_over_is_measured(
    house: House, record_property: Callable[[str, object], None]
) -> None:
    house.wait_idle()
    took = []
    people = house.sandbox.get("/sandbox/people").json()
    course = house.sandbox.course(CERAMICS)
    for person in [one for one in people if one["email"] and one["active"]][2:6]:
        enrolment = {"course_id": course, "coworker_id": person["id"], "deliver": False}
        member = house.sandbox.post("/sandbox/enrol", **enrolment)["course_member_id"]
        before = len(house.mails())
        began = time.monotonic()
        house.relay({"entity": "CourseMember", "id": member})
        wait_until(lambda seen=before: len(house.mails()) > seen, "the email")  # type: ignore[misc]
        took.append(time.monotonic() - began)
        house.sandbox.post("/sandbox/finish-lesson", course_member_id=member)
        house.wait_idle()
    record_property(
        "figure",
        f"From POST to SMTP hand-over, gathering off, {len(took)} emails: "
        f"p50 {statistics.median(took):.3f} s, longest {max(took):.3f} s",
    )
    assert len(took) == 4
