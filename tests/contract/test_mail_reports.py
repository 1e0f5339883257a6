"""What a mail provider reports: kept before it is answered, and what it changes afterwards."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ledger.choices import (
    address_hash,
    choice_keys,
    choices_of,
    mailbox_hash,
    store_choices,
)
from ledger.engine import Engine, reading, writing
from ledger.mail_reports import count_reports, reports_of
from ledger.queries import last_detail
from ledger.suppressions import lift, suppressed_people, suppression_of
from ledger.tables import actions, mail_reports, refusals, sent_emails, suppressions
from sandbox.mail_provider import (
    CERTIFICATE_URL,
    SendGridSender,
    SignedReport,
    SnsSender,
    by_mailgun,
    with_password,
)
from schemas.choices import ALL, Choice, ChoiceOrigin
from schemas.entity import Entity
from schemas.errors import SourceUnavailable
from schemas.mail_reports import ReportKind
from schemas.records import CourseMember
from schemas.settings import load_settings
from service.app import Web, make_web
from tests.contract.ledger_rig import rows
from tests.contract.study_rig import HASH_KEY, SHIPPED, Space, coworker, rules_of
from workers.actions.email.message import reference
from workers.mail_reports import apply_reports

SECRET = "a-secret-of-a-mail-provider"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:emails"
SENDGRID = SendGridSender()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TO_ANA = "person1@example.org"


class Amazon:
    """SNS as the receiver asks it."""

    def __init__(self) -> None:
        self.sender: SnsSender | None = None
        self.confirmed: list[str] = []
        self.is_down = False

    def certificate(self, address: str) -> bytes:
        assert address == CERTIFICATE_URL
        if self.is_down or self.sender is None:
            raise SourceUnavailable("down")
        return self.sender.certificate

    def confirm(self, address: str) -> None:
        if self.is_down:
            raise SourceUnavailable("down")
        self.confirmed.append(address)


class Office:
    """A space with one web process, to which mail providers report."""

    def __init__(self, engine: Engine, url: str, folder: Path) -> None:
        self.space = Space(engine, rules_of(SHIPPED))
        self.amazon = Amazon()
        self.members: dict[int, CourseMember] = {}
        self.web: Web = make_web(
            load_settings(
                {
                    "COURSEBELL_DATA_DIR": str(folder),
                    "COURSEBELL_DATABASE_URL": url,
                    "COURSEBELL_SECRET_KEY": HASH_KEY,
                    "COURSEBELL_SES_TOPIC": TOPIC,
                    "COURSEBELL_POSTMARK_SECRET": SECRET,
                    "COURSEBELL_MAILGUN_SIGNING_KEY": SECRET,
                    "COURSEBELL_SENDGRID_PUBLIC_KEY": SENDGRID.public_key,
                    "COURSEBELL_BREVO_SECRET": SECRET,
                }
            ),
            clock=self.space.clock,
            sns=self.amazon,
        )

    @property
    def engine(self) -> Engine:
        return self.space.engine

    def send(self, *numbers: int) -> None:
        """Let people enrol, and send their emails."""
        for number in numbers:
            self.members[number] = self.space.enrol(number)
        self.space.work()

    def post(self, provider: str, signed: SignedReport) -> TestResponse:
        path = f"/hooks/mail/{provider}"
        return self.web.app.test_client().post(path, data=signed.body, headers=signed.headers)

    def report(self, event: str, number: int = 1, **others: object) -> TestResponse:
        """Report an event of the email to a person as SendGrid does, and apply it."""
        posted = self.post(
            "sendgrid", SENDGRID.sign([self.event(event, number, **others)], self.now)
        )
        self.apply()
        return posted

    def event(self, event: str, number: int = 1, **others: object) -> dict[str, Any]:
        found = {
            "event": event,
            "email": f"person{number}@example.org",
            "smtp-id": f"<{self.reference(number)}@example.org>",
            "sg_event_id": f"{event} {number} {self.now}",
            "timestamp": int(self.now.timestamp()),
        }
        return {name: one for name, one in (found | others).items() if one is not None}

    def reference(self, number: int) -> str:
        """Return the reference of the last email to a person."""
        keys = [row.key for row in rows(self.engine, actions) if row.coworker_id == number]
        return reference(keys[-1] if keys else f"of nobody {number}")

    def apply(self) -> None:
        apply_reports(self.engine, HASH_KEY, self.space.clock)

    @property
    def now(self) -> datetime:
        return self.space.clock.now()

    def facts(self) -> list[ReportKind]:
        """Return what is known of the first email, in the order in which it happened."""
        [first, *_] = rows(self.engine, actions)
        with reading(self.engine) as connection:
            return [one.kind for one in reports_of(connection, [first.id]).get(first.id, [])]

    def is_suppressed(self, address: str = TO_ANA) -> bool:
        with reading(self.engine) as connection:
            return suppression_of(connection, mailbox_hash(address, HASH_KEY)) is not None

    def choice(self, number: int = 1) -> Choice | None:
        keys = choice_keys(HASH_KEY, number, f"person{number}@example.org")
        with reading(self.engine) as connection:
            return choices_of(connection, keys).made.get(ALL)

    def states(self) -> list[str]:
        return [row.state for row in rows(self.engine, mail_reports)]


@pytest.fixture
def office(ledger_engine: Engine, ledger_url: str, tmp_path: Path) -> Iterator[Office]:
    made = Office(ledger_engine, ledger_url, tmp_path)
    yield made
    made.web.close()


def test_a_delivered_email_stays_sent_and_is_known_as_delivered(office: Office) -> None:
    office.send(1)
    assert office.report("delivered").status_code == 200
    assert office.facts() == [ReportKind.DELIVERED]
    assert office.space.outcomes() == [("done", None)]
    assert not office.is_suppressed()


def test_an_address_that_bounced_gets_no_more_emails_and_another_one_does(office: Office) -> None:
    office.send(1, 2)
    office.report("bounce", status="5.1.1", reason="550 5.1.1 <person1@example.org> unknown")
    assert office.is_suppressed()
    for member in office.members.values():
        office.space.finish(member, 1)
    office.space.later(hours=20)
    found = office.space.outcomes_by_person("congratulate-lesson")
    assert found == {1: ("skipped", "bounced-before"), 2: ("done", None)}
    [skipped] = [row for row in rows(office.engine, actions) if row.state == "skipped"]
    with reading(office.engine) as connection:
        assert (last_detail(connection, skipped.id) or "").startswith("since 20")
        [found_person] = suppressed_people(connection, HASH_KEY)
    assert (found_person.coworker_id, found_person.email) == (1, TO_ANA)
    assert found_person.suppression.detail == "550 5.1.1 (address) unknown"
    assert TO_ANA not in str(rows(office.engine, mail_reports) + rows(office.engine, suppressions))


@pytest.mark.engines("sqlite")
def test_a_bounce_counts_for_an_email_that_is_being_handed_over(office: Office) -> None:
    office.send(1)
    office.space.finish(office.members[1], 1)

    def bounce() -> None:
        office.report("bounce")

    office.space.mailer.meanwhile(bounce)
    office.space.later(hours=20)
    assert office.space.outcomes_by_person("congratulate-lesson") == {
        1: ("skipped", "bounced-before")
    }
    assert len(office.space.mailer.caught) == 1


@pytest.mark.engines("sqlite")
def test_another_address_of_the_member_is_not_suppressed(office: Office) -> None:
    office.send(1)
    office.report("bounce")
    office.space.source.have(Entity.COWORKER, coworker(1, email="new@example.org"))
    office.space.finish(office.members[1], 1)
    office.space.later(hours=20)
    assert office.space.outcomes_by_person("congratulate-lesson") == {1: ("done", None)}


def test_a_lifted_suppression_returns_only_with_a_later_bounce(office: Office) -> None:
    office.send(1)
    old = office.event("bounce", sg_event_id="reported late")
    office.report("bounce")
    office.space.clock.time += HOUR
    with writing(office.engine) as connection:
        assert lift(connection, address_hash(TO_ANA, HASH_KEY), office.now)
        assert not lift(connection, address_hash(TO_ANA, HASH_KEY), office.now)
    office.post("sendgrid", SENDGRID.sign([old], office.now))
    office.apply()
    assert not office.is_suppressed()
    office.space.clock.time += HOUR
    office.report("bounce")
    assert office.is_suppressed()


@pytest.mark.engines("sqlite")
def test_a_complaint_is_a_no_to_every_email_under_address_and_id(office: Office) -> None:
    office.send(1)
    office.report("spamreport")
    found = office.choice()
    assert found is not None
    assert (found.agreed, found.origin) == (False, ChoiceOrigin.COMPLAINT)
    with reading(office.engine) as connection:
        own = choice_keys(HASH_KEY, 1, None)
        assert choices_of(connection, own).made[ALL].agreed is False


@pytest.mark.engines("sqlite")
def test_an_unsubscription_at_the_provider_is_an_opt_out(office: Office) -> None:
    office.send(1)
    office.report("unsubscribe")
    found = office.choice()
    assert found is not None
    assert (found.agreed, found.origin) == (False, ChoiceOrigin.PROVIDER)


@pytest.mark.engines("sqlite")
def test_a_choice_that_was_made_after_a_complaint_stays(office: Office) -> None:
    office.send(1)
    complaint = office.event("spamreport")
    office.space.clock.time += HOUR
    keys = choice_keys(HASH_KEY, 1, TO_ANA)
    with writing(office.engine) as connection:
        store_choices(connection, keys, {ALL: Choice(agreed=True, chosen_at=office.now)})
    office.space.clock.time += HOUR
    office.post("sendgrid", SENDGRID.sign([complaint], office.now))
    office.apply()
    found = office.choice()
    assert found is not None
    assert found.agreed


@pytest.mark.engines("sqlite")
def test_reports_in_any_order_end_in_the_same_state(office: Office) -> None:
    office.send(1)
    sent_at = int(office.now.timestamp())
    office.space.clock.time += HOUR
    for event, seconds in (("spamreport", 900), ("bounce", 60), ("delivered", 30), ("deferred", 5)):
        office.report(event, timestamp=sent_at + seconds)
    assert office.facts() == [
        ReportKind.DELAYED,
        ReportKind.DELIVERED,
        ReportKind.HARD_BOUNCE,
        ReportKind.COMPLAINT,
    ]
    assert office.is_suppressed()
    assert office.choice() is not None


def test_a_repeated_report_is_one_report(office: Office) -> None:
    office.send(1)
    batch = SENDGRID.sign([office.event("bounce")] * 3, office.now)
    assert [office.post("sendgrid", batch).status_code for _ in range(3)] == [200] * 3
    office.apply()
    assert office.states() == ["applied"]


def test_two_requests_and_two_workers_at_once_end_as_one_after_the_other(office: Office) -> None:
    office.send(1)
    batch = SENDGRID.sign([office.event("bounce"), office.event("spamreport")], office.now)
    with ThreadPoolExecutor(4) as threads:
        posted = [threads.submit(office.post, "sendgrid", batch) for _ in range(4)]
        assert [one.result().status_code for one in posted] == [200] * 4
        for one in [threads.submit(office.apply) for _ in range(4)]:
            one.result()
    assert office.states() == ["applied", "applied"]
    assert office.is_suppressed()
    assert office.choice() is not None


@pytest.mark.parametrize(
    "events",
    ["bounce bounce bounce", "bounce bounce delivered bounce"],
    ids=["three in a row", "one arrived"],
)
def test_three_soft_bounces_in_a_row_suppress_and_an_email_that_arrived_begins_anew(
    office: Office, events: str
) -> None:
    office.send(1)
    for lesson, event in enumerate(events.split(), 1):
        assert not office.is_suppressed()
        for again in range(2):  # of one email, so they count once
            office.report(event, type="blocked", sg_event_id=f"{lesson} {again}")
        if lesson < len(events.split()):
            office.space.finish(office.members[1], lesson)
            office.space.later(hours=26)
    assert office.is_suppressed() is ("delivered" not in events)


def test_a_report_about_an_email_we_never_sent_changes_nothing_and_is_counted(
    office: Office,
) -> None:
    office.send(1)
    others: dict[str, Any] = {
        "smtp-id": "<someone-else@example.net>",
        "sg_message_id": "another.filter1",
    }
    office.report("bounce", **others)
    office.report("spamreport", 3, **others)
    assert office.states() == ["pending", "pending"]
    for _ in range(4):
        office.space.clock.time += timedelta(minutes=40)
        office.apply()
    assert office.states() == ["not-ours", "not-ours"]
    assert not office.is_suppressed()
    assert office.choice(3) is None
    with reading(office.engine) as connection:
        counted = count_reports(connection, office.now - DAY)
    assert [(one.kind, one.number, one.not_ours) for one in counted] == [
        (ReportKind.COMPLAINT, 1, 1),
        (ReportKind.HARD_BOUNCE, 1, 1),
    ]


@pytest.mark.engines("sqlite")
def test_a_report_that_comes_before_the_email_counts_as_sent_is_not_lost(office: Office) -> None:
    def bounce() -> None:
        office.report("bounce")
        assert office.states() == ["applied"]

    office.space.mailer.at_end = bounce
    office.send(1)
    assert office.space.outcomes() == [("done", None)]
    assert office.is_suppressed()


def ses(office: Office, kind: str, message_id: str, address: str = TO_ANA) -> SignedReport:
    sample = Path(__file__).parents[1] / "samples" / "mail_reports" / "ses.json"
    event = json.loads(sample.read_text())["examples"][kind]
    event["mail"]["messageId"] = message_id
    event["bounce"]["bouncedRecipients"][0]["emailAddress"] = address
    event["bounce"]["timestamp"] = f"{office.now:%Y-%m-%dT%H:%M:%S}.000Z"
    office.amazon.sender = office.amazon.sender or SnsSender(TOPIC, office.now)
    return office.amazon.sender.sign(event, office.now)


@pytest.mark.engines("sqlite")
def test_ses_is_matched_by_the_receipt_even_if_its_report_comes_first(office: Office) -> None:
    name = "0102-receipt-of-ses-000000"

    def report() -> None:
        assert office.post("ses", ses(office, "Bounce record", name)).status_code == 200
        office.apply()

    office.space.mailer.receipt = f"Ok {name}"
    office.space.mailer.at_end = report
    office.send(1)
    assert office.states() == ["pending"]
    office.space.clock.time += timedelta(minutes=1)
    office.apply()
    assert office.states() == ["applied"]
    assert office.is_suppressed()


@pytest.mark.engines("sqlite")
def test_a_bounce_of_sendgrid_without_any_id_is_about_the_last_email_to_that_address(
    office: Office,
) -> None:
    office.send(1)
    office.space.clock.time += HOUR
    office.send(2)  # later, to another person
    nameless: dict[str, Any] = {"smtp-id": None}
    office.report("bounce", **nameless)
    assert office.is_suppressed()
    assert not office.is_suppressed("person2@example.org")
    office.report("bounce", 3, **nameless)
    assert office.states() == ["applied", "pending"]


@pytest.mark.engines("sqlite")
def test_a_subscription_to_our_topic_is_confirmed_and_to_another_is_not(office: Office) -> None:
    office.amazon.sender = SnsSender(TOPIC, office.now)
    words = {
        "Type": "SubscriptionConfirmation",
        "Token": "t",
        "SubscribeURL": "https://evil.example",
    }
    assert (
        office.post("ses", office.amazon.sender.sign("x", office.now, **words)).status_code == 200
    )
    [address] = office.amazon.confirmed
    assert address.startswith("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&")
    other = SnsSender(f"{TOPIC}2", office.now)
    assert office.post("ses", other.sign("x", office.now, **words)).status_code == 401
    forged = SnsSender(TOPIC, office.now)  # with a key of its own
    assert office.post("ses", forged.sign("x", office.now, **words)).status_code == 401
    office.amazon.is_down = True
    assert (
        office.post("ses", office.amazon.sender.sign("x", office.now, **words)).status_code == 503
    )
    assert len(office.amazon.confirmed) == 1


def mailgun(office: Office, token: str, event: str = "failed", **others: object) -> SignedReport:
    data = {
        "event": event,
        "severity": "permanent",
        "reason": "bounce",
        "id": "an-event",
        "timestamp": office.now.timestamp(),
        "recipient": TO_ANA,
        "message": {"headers": {"message-id": f"{office.reference(1)}@example.org"}},
    }
    return by_mailgun(data | others, SECRET, token, office.now)


def test_a_token_of_mailgun_serves_for_one_event(office: Office) -> None:
    office.send(1)
    opened = mailgun(office, "token-1", "opened")
    assert office.post("mailgun", opened).status_code == 200
    # A person who saw that request can change what it does not sign.
    body = json.loads(mailgun(office, "token-1", id="forged").body)
    body["signature"] = json.loads(opened.body)["signature"]
    forged = SignedReport(json.dumps(body).encode())
    assert office.post("mailgun", forged).status_code == 401
    office.apply()
    assert not office.is_suppressed()
    assert office.post("mailgun", opened).status_code == 200  # Mailgun itself repeats it as it was
    assert office.post("mailgun", mailgun(office, "token-2")).status_code == 200
    assert office.post("mailgun", mailgun(office, "token-3")).status_code == 200
    again = json.loads(mailgun(office, "token-3", id="forged too").body)
    assert office.post("mailgun", SignedReport(json.dumps(again).encode())).status_code == 401
    office.apply()
    assert office.is_suppressed()
    assert office.states().count("applied") == 1


@pytest.mark.engines("sqlite")
@pytest.mark.engines("sqlite")
def test_forged_reports_are_refused_counted_and_harmless(office: Office) -> None:
    office.send(1)
    bounce = {"RecordType": "Bounce", "Type": "HardBounce", "Email": TO_ANA}
    bounce |= {"Metadata": {"coursebell": office.reference(1)}}  # type: ignore[dict-item]  # any JSON
    forged = [
        ("postmark", with_password(bounce, "wrong-secret")),
        ("brevo", SignedReport(b"{}")),
        ("sendgrid", SendGridSender().sign([office.event("bounce")], office.now)),
        (
            "mailgun",
            SignedReport(mailgun(office, "t").body.replace(b'"timestamp": "1', b'"timestamp": "2')),
        ),
        ("ses", SignedReport(b"{}")),
    ]
    assert [office.post(*one).status_code for one in forged] == [401] * 5
    office.apply()
    assert rows(office.engine, mail_reports) == []
    assert not office.is_suppressed()
    office.web.refusals.close()
    counted = {row.reason: row.count for row in rows(office.engine, refusals)}
    assert counted == {"mail-wrong-signature": 3, "mail-unsigned": 2}


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe\x00", b"[" * 50_000, b"event=hard_bounce", b'"text"', b"[1, null, []]"],
    ids=["empty", "no UTF-8", "deep", "a form", "a text", "no objects"],
)
@pytest.mark.engines("sqlite")
def test_an_authentic_report_that_cannot_be_read_is_answered_200_and_counted(
    office: Office, body: bytes
) -> None:
    headers = with_password({}, SECRET).headers | {
        "Content-Type": "application/x-www-form-urlencoded"
    }
    for _ in range(2):
        assert office.post("postmark", SignedReport(body, headers)).status_code == 200
    [row] = rows(office.engine, mail_reports)
    assert (row.kind, row.state, row.detail) == ("unreadable", "of-no-use", None)


@pytest.mark.engines("sqlite")
def test_a_batch_is_kept_but_for_its_unreadable_event(office: Office) -> None:
    office.send(1)
    events: list[object] = [office.event("delivered", sg_event_id=str(n)) for n in range(1_000)]
    events[500] = {"event": 7.5}
    events[700] = {"event": "bounce"}
    posted = office.post("sendgrid", SENDGRID.sign(events, office.now))
    assert posted.get_json() == {"accepted": 998}
    office.apply()
    assert office.states().count("applied") == 998
    assert office.states().count("of-no-use") == 1


@pytest.mark.engines("sqlite")
def test_times_in_the_future_and_long_ago_do_no_harm(office: Office) -> None:
    office.send(1)
    for seconds in (0, -5, 32_503_680_000, 10**30, "soon", None, True):
        office.report("bounce", timestamp=seconds, sg_event_id=f"at {seconds}")
    assert {row.state for row in rows(office.engine, mail_reports)} == {"applied"}
    assert all(row.happened_at <= office.now for row in rows(office.engine, mail_reports))
    with writing(office.engine) as connection:
        lift(connection, address_hash(TO_ANA, HASH_KEY), office.now)
    assert not office.is_suppressed()


@pytest.mark.engines("sqlite")
@pytest.mark.engines("sqlite")
def test_a_report_of_a_provider_that_is_not_configured_gets_no_answer_but_401(
    tmp_path: Path, ledger_url: str
) -> None:
    settings = {"COURSEBELL_DATA_DIR": str(tmp_path), "COURSEBELL_DATABASE_URL": ledger_url}
    web = make_web(load_settings(settings))
    for provider in ("ses", "postmark", "mailgun", "sendgrid", "brevo"):
        headers = with_password({}, SECRET).headers
        posted = web.app.test_client().post(f"/hooks/mail/{provider}", data=b"{}", headers=headers)
        assert posted.status_code == 401
        assert posted.get_json() == {"error": "no secret of this mail provider is configured"}
    web.close()


def test_each_email_is_known_by_its_reference_and_a_hash(office: Office) -> None:
    office.send(1)
    [row] = rows(office.engine, sent_emails)
    [caught] = office.space.mailer.caught
    assert row.reference in str(caught.message["Message-ID"])
    assert row.address_hash == address_hash(TO_ANA, HASH_KEY)
