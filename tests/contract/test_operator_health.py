"""Health and Settings, as operators see them."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ledger.checks import CheckKind, begin_check, end_check
from ledger.choices import mailbox_hash
from ledger.engine import writing
from ledger.intake import Origin, store_notifications
from ledger.mail_reports import store_reports
from ledger.monitoring import count_refusals
from ledger.suppressions import Suppression, suppress
from ledger.tables import outages
from schemas.entity import Entity
from schemas.mail_reports import MailReport, Provider, ReportKind
from schemas.notification import Notification
from schemas.reasons import Refusal
from schemas.roles import Role
from tests.contract.desk_rig import Desk
from tests.contract.operator_rig import Office, opened, over
from tests.contract.study_rig import HASH_KEY
from tests.contract.test_operator_pages import statements, text_of
from tests.servers.ready_ledgers import sqlite_copy

pytestmark = pytest.mark.engines("sqlite")
SECRET = "a-secret-that-no-page-may-show"
TIMING = """
version: 1
timing:
  quiet_hours: none
  cap_per_day: 1
  flood: none
  holidays: [2026-12-25]
  send: 09:00-18:00 mon-fri
rules:
  - {name: welcome, event: enrolled, action: email, template: welcome}
  - name: come-back
    event: stalled
    after: [14d, 21d]
    action: email
    template: stalled
    enabled: false
    cap_per_week: 3
courses:
  - course: [1234]
    off: [welcome]
    cap_per_day: 5
"""


@pytest.fixture
def office(desk: Desk, tmp_path: Path) -> Iterator[Office]:
    """Open the pages over the ledger of a space where things happen."""
    with over(desk, tmp_path) as found:
        yield found


def refuse(office: Office, counts: dict[Refusal, int]) -> None:
    with writing(office.engine) as connection:
        count_refusals(connection, counts, office.clock.now())


def compare(office: Office, **report: object) -> None:
    with writing(office.engine) as connection:
        run = begin_check(connection, CheckKind.RECONCILE, None, office.clock.now())
        end_check(connection, run.check_id, office.clock.now(), report)


def test_health_says_of_each_part_whether_it_works(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.work()
    seen = text_of(office.signed_in(Role.LOOK).get("/health"))
    assert "Works Receiving The last change was" in seen
    assert "Look here Fetching Nexudus does not let us read." in seen
    assert "Look here Deciding A part of the service" in seen
    assert "Works Sending Nothing waits." in seen
    assert "Works Storage The database can be read and written." in seen
    assert "Oldest event that is not decided none" in seen
    assert "There was none yet. It runs each night." in seen


def test_health_names_the_people_whose_emails_came_back(desk: Desk, tmp_path: Path) -> None:
    for number in (1, 2):
        desk.space.enrol(number)
    desk.space.work()
    now = desk.space.clock.now()
    with writing(desk.space.engine) as connection:
        hashed = mailbox_hash("person2@example.org", HASH_KEY)
        suppress(connection, Suppression(hashed, ReportKind.HARD_BOUNCE, now, Provider.POSTMARK))
    with over(desk, tmp_path, COURSEBELL_SECRET_KEY=HASH_KEY) as office:
        seen = office.signed_in(Role.LOOK).get("/health")
    assert "People whose emails came back Person 2" in text_of(seen)
    assert "/people/1" not in seen.text
    assert "person2@example.org" not in seen.text


def test_health_shows_what_waits_longest(desk: Desk, office: Office) -> None:
    desk.space.enrol(1)
    desk.space.look_up()
    desk.space.clock.time = desk.space.clock.now() + timedelta(days=1)
    with writing(office.engine) as connection:
        store_notifications(
            connection,
            [Notification(Entity.COURSE_MEMBER, 9_002)],
            Origin.RELAY,
            office.clock.now(),
        )
    seen = text_of(office.signed_in(Role.LOOK).get("/health"))
    now = f"{office.clock.now():%H:%M}"
    assert f"Oldest event that is not decided since {now}" in seen
    assert f"Oldest email or post that is due and not sent due yesterday {now}" in seen


def test_health_counts_unproven_messages_and_reports_of_mail_providers(office: Office) -> None:
    refuse(office, {Refusal.UNSIGNED: 2, Refusal.WRONG_SIGNATURE: 1, Refusal.TOO_LARGE: 4})
    report = MailReport(
        Provider.SES, ReportKind.HARD_BOUNCE, "1", None, "a@example.org", None, None, None, None
    )
    with writing(office.engine) as connection:
        store_reports(connection, [report], str, office.clock.now())
    seen = text_of(office.signed_in(Role.OPERATE).get("/health"))
    assert "3 not proven to come from Nexudus" in seen
    assert "4 of a form or size that is not accepted" in seen
    assert "Amazon SES: 1 came back for good" in seen
    assert "coursebell" not in seen


def test_health_says_what_the_last_comparison_found(office: Office) -> None:
    browser = office.signed_in(Role.LOOK)
    assert "There was no comparison yet." in text_of(browser.get("/certificate"))
    compare(office, CourseMember={"rows": 12}, CourseCompletedLesson={"rows": 400}, doubt=None)
    now = f"{office.clock.now():%H:%M}"
    assert f"412 records compared {now}. Nothing was missing." in text_of(browser.get("/health"))
    seen = text_of(browser.get("/certificate"))
    assert "No. Everything that Nexudus has is known here." in seen
    assert "12 enrolments, 400 finished lessons. Nothing was missing." in seen
    compare(office, CourseMember={"rows": 3, "missing": 1, "gone": 2}, CourseCompletedLesson={})
    found = "1 was not known here. 2 were deleted there. All of these were read again."
    assert found in text_of(browser.get("/health"))
    assert "Something was, and it was brought in." in text_of(browser.get("/certificate"))
    compare(office, CourseMember={"rows": 1}, doubt="too short")
    seen = text_of(browser.get("/certificate"))
    assert "The last comparison could not say." in seen
    assert "Not finished The list of Nexudus was not whole" in seen
    assert len(re.findall(r"Complete |Differed |Not finished ", seen)) == 3
    assert "coursebell" not in seen
    assert "coursebell certify" in text_of(office.signed_in(name="Ada").get("/certificate"))


def test_the_engineer_reads_what_coursebell_status_prints(desk: Desk, office: Office) -> None:
    desk.refuse(1)
    refuse(office, {Refusal.WRONG_SIGNATURE: 3})
    seen = text_of(office.signed_in(Role.ENGINEER).get("/health"))
    printed = desk.run("status").output.splitlines()
    needs = [line for line in printed if "failed" in line or "refused" in line]
    assert len(needs) >= 2
    for line in needs:
        assert " ".join(line.split()) in seen
    failed = "Some emails or posts failed or wait for you. Today lists them."
    assert f"Look here Sending {failed}" in seen
    assert "compare COURSEBELL_HOOK_SECRETS with the shared secret at Nexudus" in seen
    assert "1 Failed The mail server refused it" in seen
    other = text_of(office.signed_in(Role.OPERATE, "Mina Park").get("/health"))
    assert "coursebell" not in other.lower()


def test_what_coursebell_status_prints_has_the_times_of_the_pages(
    desk: Desk, tmp_path: Path
) -> None:
    desk.refuse(1)
    now = desk.space.clock.now()
    odd = "99:99 UTC, 12:10:45 UTC, 9999-12-31 23:59 UTC"
    outage = {"kind": "email", "reason": "mail-unreachable", "tries": 3, "answer": odd}
    with writing(desk.space.engine) as connection:
        connection.execute(
            outages.insert().values(since=now, until=now + timedelta(minutes=9), **outage)
        )
    with over(desk, tmp_path, COURSEBELL_ZONE="Asia/Tokyo") as office:
        seen = text_of(office.signed_in().get("/health"))
    tokyo = now.astimezone(ZoneInfo("Asia/Tokyo"))
    assert f"since {tokyo:%Y-%m-%d %H:%M} JST," in seen
    assert f"next try {tokyo + timedelta(minutes=9):%H:%M} JST" in seen
    assert f"last change {tokyo:%H:%M}" in seen
    assert seen.count("UTC") == 3 * seen.count(odd)


def test_health_takes_as_many_statements_for_many_events_as_for_few(
    desk: Desk, office: Office
) -> None:
    browser = office.signed_in()
    desk.refuse(1)
    few = statements(office, browser, "/health")
    desk.refuse(2, 3, 4)
    assert statements(office, browser, "/health") == few


def test_settings_are_sentences_with_the_place_where_each_is_changed(tmp_path: Path) -> None:
    url = sqlite_copy(tmp_path / "ledger.db")
    with opened(tmp_path, url, COURSEBELL_SECRET_KEY=SECRET) as office:
        seen = text_of(office.signed_in(Role.LOOK).get("/settings"))
    for sentence in (
        "Quiet hours: 20:00 to 08:00 where the person is. If we do not know, UTC. quiet_hours",
        "At most 2 emails a day per person. cap_per_day",
        "At most 4 emails in seven days per person. cap_per_week",
        "What happened more than 2 days ago waits for you. stale_after",
        "More than 25 emails in 10 minutes look like an import and wait for you. flood",
        "It waits 30 minutes for more lessons, never longer than 3 hours. congratulate-lesson",
        "We look for changes in Nexudus every 5 minutes. COURSEBELL_CHECK_EVERY_S",
        "The space is called Harbour Works. COURSEBELL_SPACE_NAME",
    ):
        assert sentence in seen
    assert "reminder" not in seen


def test_settings_of_a_file_of_ones_own_are_shown_with_what_differs(
    tmp_path: Path, desk: Desk
) -> None:
    rules = tmp_path / "own.yaml"
    rules.write_text(TIMING, encoding="utf-8")
    url = desk.space.engine.url.render_as_string(hide_password=False)
    with opened(
        tmp_path,
        url,
        COURSEBELL_SECRET_KEY=SECRET,
        COURSEBELL_HOOK_SECRETS=SECRET,
        COURSEBELL_SMTP_URL=f"smtp://rita:{SECRET}@mail.example:587",
        COURSEBELL_OPERATOR_EMAIL="rita@example.org,otto@example.org",
        COURSEBELL_MAIL_RATE="30/1m",
        COURSEBELL_RULES=str(rules),
    ) as office:
        answer = office.signed_in(Role.LOOK).get("/settings")
    seen = text_of(answer)
    for sentence in (
        "No quiet hours: emails go at night too.",
        "At most 1 email a day per person.",
        "Emails go only from 09:00 to 18:00 on Mon, Tue, Wed, Thu and Fri.",
        "Nothing is sent on 2026-12-25.",
        "Off Reminder to continue When a member has been away. After 14 days and 21 days.",
        "come-back At most 3 emails in seven days per person. cap_per_week",
        "At most 1 reminder in seven days per person.",
        "Only for the courses 1234 Welcome is off. At most 5 emails a day per person.",
        "At most 30 emails in 1 minute. COURSEBELL_MAIL_RATE",
        "Alerts go to 2 addresses.",
        f"Changed in the file {rules}",
    ):
        assert sentence in seen
    assert "look like an import" not in seen
    assert SECRET not in answer.text
    assert "rita@" not in answer.text
