"""Only the mail provider's own reports pass: the password, or the signature, of each."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from sandbox.mail_provider import (
    CERTIFICATE_URL,
    SendGridSender,
    SnsSender,
    by_mailgun,
    with_password,
)
from schemas.errors import BadSignature, ConfigurationError, NotVerifiable, SourceUnavailable
from schemas.reasons import Refusal
from service.mail_signatures import (
    SENDGRID_SIGNATURE,
    SENDGRID_TIMESTAMP,
    check_mailgun,
    check_password,
    check_sendgrid,
    sendgrid_key,
)
from service.sns import confirmation_address, verified_message

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
SECRET = "a-secret-for-this-test"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:emails"


def refused(check: Callable[[], object]) -> Refusal | None:
    with pytest.raises(BadSignature) as caught:
        check()
    return caught.value.refusal


def test_a_password_or_a_bearer_token_is_accepted() -> None:
    check_password(with_password({}, SECRET).headers["Authorization"], SECRET)
    check_password(f"Bearer {SECRET}", SECRET)


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        (None, Refusal.MAIL_UNSIGNED),
        ("", Refusal.MAIL_UNSIGNED),
        ("Basic", Refusal.MAIL_UNSIGNED),
        ("Basic ***", Refusal.MAIL_UNSIGNED),
        (f"Digest {SECRET}", Refusal.MAIL_UNSIGNED),
        (f"Basic {base64.b64encode(SECRET.encode()).decode()}", Refusal.MAIL_UNSIGNED),
        ("Basic eDp4", Refusal.MAIL_WRONG_SIGNATURE),
        (f"Bearer {SECRET}x", Refusal.MAIL_WRONG_SIGNATURE),
        ("Bearer \udcff", Refusal.MAIL_WRONG_SIGNATURE),
    ],
)
def test_another_password_is_refused(header: str | None, refusal: Refusal) -> None:
    assert refused(lambda: check_password(header, SECRET)) is refusal


def mailgun(now: datetime = NOW, **changed: object) -> object:
    report = json.loads(by_mailgun({}, SECRET, "t" * 50, now).body)
    report["signature"] |= changed
    return report


def test_mailgun_signs_a_time_and_a_token() -> None:
    assert check_mailgun(mailgun(), SECRET, NOW) == "t" * 50


@pytest.mark.parametrize(
    ("report", "refusal"),
    [
        ({}, Refusal.MAIL_UNSIGNED),
        ([], Refusal.MAIL_UNSIGNED),
        (mailgun(signature=None), Refusal.MAIL_UNSIGNED),
        (mailgun(signature="é" * 64), Refusal.MAIL_UNSIGNED),
        (mailgun(token=["t"]), Refusal.MAIL_UNSIGNED),
        (mailgun(timestamp="now"), Refusal.MAIL_UNSIGNED),
        (mailgun(signature="0" * 64), Refusal.MAIL_WRONG_SIGNATURE),
        (mailgun(token="u" * 50), Refusal.MAIL_WRONG_SIGNATURE),
        (mailgun(NOW - timedelta(days=3)), Refusal.MAIL_STALE),
        (mailgun(NOW + timedelta(hours=1)), Refusal.MAIL_STALE),
    ],
)
def test_another_signature_than_mailguns_is_refused(report: object, refusal: Refusal) -> None:
    assert refused(lambda: check_mailgun(report, SECRET, NOW)) is refusal


def test_sendgrid_signs_time_and_body() -> None:
    sender = SendGridSender()
    key = sendgrid_key(sender.public_key)
    signed = sender.sign([{"event": "delivered"}], NOW)
    head = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in signed.headers.items()}
    check_sendgrid(head, signed.body, key, NOW)
    wrong = Refusal.MAIL_WRONG_SIGNATURE
    assert refused(lambda: check_sendgrid(head, signed.body + b" ", key, NOW)) is wrong
    other = sendgrid_key(SendGridSender().public_key)
    assert refused(lambda: check_sendgrid(head, signed.body, other, NOW)) is wrong
    later = head | {SENDGRID_TIMESTAMP: str(int(head[SENDGRID_TIMESTAMP]) + 1)}
    assert refused(lambda: check_sendgrid(later, signed.body, key, NOW)) is wrong
    for days in (-1, 3):
        moment = NOW + timedelta(days=days)
        check = partial(check_sendgrid, head, signed.body, key, moment)
        assert refused(check) is Refusal.MAIL_STALE
    for name in (SENDGRID_SIGNATURE, SENDGRID_TIMESTAMP):
        for value in ("", "é", "*" * 99):
            changed = head | {name: value}
            unsigned = Refusal.MAIL_UNSIGNED
            check = partial(check_sendgrid, changed, signed.body, key, NOW)
            assert refused(check) is unsigned


def test_a_key_that_is_not_sendgrids_stops_the_start() -> None:
    for setting in ("AAAA", base64.b64encode(b"x" * 99).decode()):
        with pytest.raises(ConfigurationError, match="SENDGRID_PUBLIC_KEY"):
            sendgrid_key(setting)


SNS = SnsSender(TOPIC, NOW)


def certificate(address: str) -> bytes:
    assert address == CERTIFICATE_URL
    return SNS.certificate


def never(address: str) -> bytes:
    raise AssertionError(address)


@pytest.mark.parametrize("version", ["1", "2"])
def test_sns_signs_in_two_versions(version: str) -> None:
    for subject in ({}, {"Subject": "Amazon SES Email Event Notification"}):
        signed = SNS.sign({"eventType": "Send"}, NOW, version=version, **subject)
        found = verified_message(signed.body, TOPIC, certificate, NOW)
        assert json.loads(found.message) == {"eventType": "Send"}


def test_a_subscription_is_confirmed_at_the_region_of_our_topic_whatever_its_message_says() -> None:
    elsewhere = "https://attacker.example/?Action=ConfirmSubscription"
    others = {"Type": "SubscriptionConfirmation", "Token": "t0k en&", "SubscribeURL": elsewhere}
    found = verified_message(SNS.sign("You ...", NOW, **others).body, TOPIC, certificate, NOW)
    assert confirmation_address(TOPIC, found.token or "") == (
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
        "&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Aemails&Token=t0k+en%26"
    )


def changed(**values: object) -> bytes:
    return json.dumps(json.loads(SNS.sign("x", NOW).body) | values).encode()


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", Refusal.MAIL_UNSIGNED),
        (b"[" * 10_000, Refusal.MAIL_UNSIGNED),
        (b"\xff", Refusal.MAIL_UNSIGNED),
        (changed(Type="Other"), Refusal.MAIL_UNSIGNED),
        (changed(Signature=None), Refusal.MAIL_UNSIGNED),
        (changed(TopicArn=f"{TOPIC}2"), Refusal.MAIL_OTHER_TOPIC),
        (changed(TopicArn=[TOPIC]), Refusal.MAIL_OTHER_TOPIC),
    ],
)
def test_what_is_not_of_our_topic_is_refused_before_anything_is_fetched(
    body: bytes, refusal: Refusal
) -> None:
    assert refused(lambda: verified_message(body, TOPIC, never, NOW)) is refusal


@pytest.mark.parametrize(
    "address",
    [
        None,
        CERTIFICATE_URL.replace("https", "http"),
        CERTIFICATE_URL.replace("eu-west-1", "us-east-1"),
        CERTIFICATE_URL.replace("sns.", "sns.evil.example/sns."),
        CERTIFICATE_URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        CERTIFICATE_URL.replace("amazonaws.com", "amazonaws.com:8443"),
        CERTIFICATE_URL.replace("https://", "https://user@"),
        f"{CERTIFICATE_URL}?x=.pem",
        CERTIFICATE_URL.replace("/Simple", "/../Simple"),
        f"{CERTIFICATE_URL}\n",
    ],
)
def test_a_certificate_is_fetched_from_sns_of_our_region_and_nowhere_else(
    address: str | None,
) -> None:
    body = changed(SigningCertURL=address)
    wrong = Refusal.MAIL_WRONG_SIGNATURE
    assert refused(lambda: verified_message(body, TOPIC, never, NOW)) is wrong


@pytest.mark.parametrize(
    "values",
    [
        {"Message": "y"},
        {"Subject": "added"},
        {"MessageId": "other"},
        {"SignatureVersion": "1"},
        {"SignatureVersion": "3"},
        {"Signature": "x" * 9_999},
        {"Signature": "é=?"},
        {"Message": {"a": 1}},
    ],
)
def test_a_changed_message_of_sns_is_refused(values: dict[str, object]) -> None:
    body = changed(**values)
    wrong = Refusal.MAIL_WRONG_SIGNATURE
    assert refused(lambda: verified_message(body, TOPIC, certificate, NOW)) is wrong


def test_without_a_usable_certificate_a_message_may_come_again() -> None:
    def fails(_: str) -> bytes:
        raise SourceUnavailable("no")

    unusable: list[tuple[Callable[[str], bytes], datetime]] = [
        (fails, NOW),
        (lambda _: b"no certificate", NOW),
        (certificate, NOW + timedelta(days=500)),
    ]
    for certificates, moment in unusable:
        with pytest.raises(NotVerifiable):
            verified_message(SNS.sign("x", NOW).body, TOPIC, certificates, moment)
