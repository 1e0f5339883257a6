"""The reports of mail providers, as their pages show them, and what comes out of each."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Unreadable
from schemas.mail_providers import ECHOED_HEADERS, parse_reports
from schemas.mail_reports import (
    MailReport,
    Provider,
    ReportKind,
    address_at,
    detail_of,
    reference_in,
    time_at,
)
from workers.actions.email.message import message_id, reference

SAMPLES = Path(__file__).parents[1] / "samples" / "mail_reports"
REFERENCE = reference("welcome/enrolled:7:42")
LEADS_TO = {
    ("ses", "Bounce record"): ReportKind.HARD_BOUNCE,
    ("ses", "Complaint record"): ReportKind.COMPLAINT,
    ("ses", "Delivery record"): ReportKind.DELIVERED,
    ("ses", "Send record"): None,
    ("ses", "Reject record"): ReportKind.REFUSED,
    ("postmark", "Bounce"): ReportKind.HARD_BOUNCE,
    ("postmark", "Delivery"): ReportKind.DELIVERED,
    ("postmark", "Spam complaint"): ReportKind.COMPLAINT,
    ("postmark", "Subscription change"): ReportKind.HARD_BOUNCE,
    ("mailgun", "Delivered"): ReportKind.DELIVERED,
    ("mailgun", "Temporary failure"): ReportKind.DELAYED,
    ("sendgrid", "Processed"): None,
    ("sendgrid", "Deferred"): ReportKind.DELAYED,
    ("sendgrid", "Delivered"): ReportKind.DELIVERED,
    ("sendgrid", "Bounce"): ReportKind.HARD_BOUNCE,
    ("sendgrid", "Blocked"): ReportKind.SOFT_BOUNCE,
    ("sendgrid", "Dropped"): ReportKind.HARD_BOUNCE,
    ("sendgrid", "Spam Report"): ReportKind.COMPLAINT,
    ("sendgrid", "Unsubscribe"): ReportKind.UNSUBSCRIBED,
    ("brevo", "Sent"): None,
    ("brevo", "Delivered"): ReportKind.DELIVERED,
    ("brevo", "Soft Bounced"): ReportKind.SOFT_BOUNCE,
    ("brevo", "Hard Bounced"): ReportKind.HARD_BOUNCE,
    ("brevo", "Spam"): ReportKind.COMPLAINT,
    ("brevo", "Unsubscribed"): ReportKind.UNSUBSCRIBED,
    ("brevo", "Blocked"): ReportKind.REFUSED,
}


def sample(provider: str, name: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads((SAMPLES / f"{provider}.json").read_text())["examples"][name]


def parsed(provider: str, report: object) -> list[MailReport]:
    return parse_reports(Provider(provider), json.dumps(report)).reports


def only(provider: str, report: object) -> MailReport:
    [found] = parsed(provider, report)
    return found


def test_every_sample_names_its_source_and_is_listed_here() -> None:
    found = set()
    for path in SAMPLES.glob("*.json"):
        content = json.loads(path.read_text())
        assert content["source"]
        found |= {(path.stem, name) for name in content["examples"]}
    assert found == set(LEADS_TO)
    assert {provider for provider, _ in found} == set(Provider)


@pytest.mark.parametrize("which", LEADS_TO, ids=": ".join)
def test_a_documented_report_is_understood(which: tuple[str, str]) -> None:
    kind = LEADS_TO[which]
    found = parsed(which[0], sample(*which))
    assert [one.kind for one in found] == ([] if kind is None else [kind])
    for one in found:
        assert one.event_id
        assert one.happened_at is not None
        assert one.happened_at.year in {2016, 2017, 2018, 2019, 2020, 2021}
        assert one.recipient
        assert "@" in one.recipient
        assert one.message_id


def test_the_cause_is_kept_without_addresses() -> None:
    report = sample("ses", "Bounce record")
    recipient = report["bounce"]["bouncedRecipients"][0]
    recipient["diagnosticCode"] = "smtp; 550 <ana@example.org>\r\nbob@example.org unknown"
    found = only("ses", report)
    assert (found.code, found.detail) == ("5.1.1", "smtp; 550 (address) (address) unknown")
    assert "example.com" not in repr(found)
    assert "ana@" not in (detail_of("mailto:ana@example.org", "x" * 999) or "")
    assert len(detail_of("x" * 999) or "") == 200


def test_our_reference_is_found_where_each_provider_repeats_it() -> None:
    ours = message_id("welcome/enrolled:7:42", "example.org")
    bounce = sample("ses", "Bounce record")
    bounce["mail"]["headers"].append({"name": "Message-Id", "value": ours})
    postmark = sample("postmark", "Bounce")
    postmark["Metadata"][ECHOED_HEADERS[Provider.POSTMARK].removeprefix("X-PM-Metadata-")] = (
        REFERENCE
    )
    mailgun = sample("mailgun", "Delivered")
    mailgun["event-data"]["message"]["headers"]["message-id"] = ours.strip("<>")
    [sendgrid] = sample("sendgrid", "Bounce")
    brevo = sample("brevo", "Hard Bounced") | {ECHOED_HEADERS[Provider.BREVO]: REFERENCE}
    reports = {
        "ses": bounce,
        "postmark": postmark,
        "mailgun": mailgun,
        "sendgrid": [sendgrid | {"smtp-id": ours}],
        "brevo": brevo,
    }
    assert {name: only(name, one).reference for name, one in reports.items()} == dict.fromkeys(
        reports, REFERENCE
    )
    assert reference_in("<other@example.org>") is None
    assert reference_in(["x"]) is None


@pytest.mark.parametrize(
    ("reason", "severity", "kind"),
    [
        ("bounce", "permanent", ReportKind.HARD_BOUNCE),
        ("suppress-bounce", "permanent", ReportKind.HARD_BOUNCE),
        ("suppress-complaint", "permanent", ReportKind.COMPLAINT),
        ("suppress-unsubscribe", "permanent", ReportKind.UNSUBSCRIBED),
        ("old", "permanent", ReportKind.SOFT_BOUNCE),
        ("bounce", "temporary", ReportKind.DELAYED),
    ],
)
def test_a_failure_at_mailgun_means_what_its_reason_says(
    reason: str, severity: str, kind: ReportKind
) -> None:
    report = sample("mailgun", "Temporary failure")
    report["event-data"] |= {"reason": reason, "severity": severity}
    assert only("mailgun", report).kind is kind


def test_what_an_operator_does_at_postmark_is_no_report() -> None:
    change = sample("postmark", "Subscription change") | {"SuppressionReason": "ManualSuppression"}
    assert only("postmark", change).kind is ReportKind.UNSUBSCRIBED
    assert parsed("postmark", change | {"Origin": "Customer"}) == []
    assert parsed("postmark", change | {"SuppressSending": False}) == []


def test_a_bounce_that_may_pass_is_soft() -> None:
    bounce = sample("ses", "Bounce record")
    bounce["bounce"]["bounceType"] = "Transient"
    assert only("ses", bounce).kind is ReportKind.SOFT_BOUNCE
    assert only("postmark", sample("postmark", "Bounce") | {"Type": "DnsError"}).kind is (
        ReportKind.SOFT_BOUNCE
    )


def test_ses_may_name_several_recipients_and_each_has_a_report() -> None:
    bounce = sample("ses", "Bounce record")
    bounce["bounce"]["bouncedRecipients"].append({"emailAddress": "other@example.com"})
    assert [one.recipient for one in parsed("ses", bounce)] == [
        "recipient@example.com",
        "other@example.com",
    ]


def test_the_test_message_of_ses_is_no_report() -> None:
    text = "Successfully validated SNS topic for Amazon SES event publishing."
    assert parse_reports(Provider.SES, text).unreadable == 0


def test_one_unreadable_event_of_a_thousand_costs_only_itself() -> None:
    [bounce] = sample("sendgrid", "Bounce")
    events = [bounce | {"sg_event_id": f"event-{number}"} for number in range(1_000)]
    events[500] = {"event": "bounce", "sg_event_id": None}
    found = parse_reports(Provider.SENDGRID, json.dumps(events))
    assert (len(found.reports), found.unreadable) == (999, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"event=delivered"],
    ids=["empty", "no UTF-8", "cut", "deep list", "deep object", "a form"],
)
def test_what_is_no_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_reports(Provider.BREVO, body)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_513_299_569, datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)),
        (1_513_299_569_000, datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)),
        ("2014-08-01T13:28:10.2735393-04:00", datetime(2014, 8, 1, 17, 28, 10, 273539, UTC)),
        ("2014-08-01T13:28:10", datetime(2014, 8, 1, 13, 28, 10, tzinfo=UTC)),
        (1e300, None),
        (-1e18, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("", None),
        ("soon", None),
        ({}, None),
    ],
)
def test_times_are_read_in_every_form_that_providers_use(
    value: object, moment: datetime | None
) -> None:
    assert time_at({"at": value}, "at") == moment


ODD: tuple[Any, ...] = (
    None,
    True,
    7,
    -1e308,
    "",
    "a b@c",
    "é" * 300,
    [],
    [7],
    ["a@b"],
    {},
    {"a": 1},
    [{"a": []}],
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - any JSON
    """Yield each place in a report, as what it is in and its key."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from places(value[key])


@pytest.mark.parametrize("which", LEADS_TO, ids=": ".join)
def test_a_report_with_any_odd_value_anywhere_breaks_nothing(which: tuple[str, str]) -> None:
    report = sample(*which)
    for within, key in list(places(report)):
        kept = within[key]
        for odd in ODD:
            within[key] = odd
            for one in parse_reports(Provider(which[0]), json.dumps(report)).reports:
                assert "@" not in f"{one.detail} {one.code}"
        within[key] = kept


@pytest.mark.parametrize(
    ("feedback", "kind"),
    [
        ("abuse", ReportKind.COMPLAINT),
        (None, ReportKind.COMPLAINT),
        ("virus", ReportKind.REFUSED),
        ("not-spam", None),
    ],
)
def test_only_what_a_person_dislikes_is_a_complaint_of_ses(
    feedback: str | None, kind: ReportKind | None
) -> None:
    report = sample("ses", "Complaint record")
    report["complaint"] |= {"complaintFeedbackType": feedback}
    assert [one.kind for one in parsed("ses", report)] == ([kind] if kind else [])


def test_a_recipient_may_be_named_before_the_address() -> None:
    assert address_at({"to": "Ana <ana@example.org>"}, "to") == "ana@example.org"
    assert address_at({"to": "ana@example.org>"}, "to") == "ana@example.org>"
    assert address_at({"to": "a@b <ana@example.org>"}, "to") == "ana@example.org"
