"""Emails signed with DKIM verify where they arrive, and settings that cannot work end the start."""

from email.message import EmailMessage
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from schemas.checkup import Verdict
from schemas.errors import ConfigurationError
from schemas.rules import Stream
from schemas.settings import Settings, describe, load_settings
from tests.contract.source_rig import HandClock
from tests.contract.study_rig import NOON
from tests.contract.test_mail_on_arrival import ANA, ONE_CLICK, SENDER, an_email
from tests.doubles.dkim_receiver import passes, tags_of
from tests.doubles.mail_server import Mailbox, mail_server
from tests.doubles.scripted_smtp import ScriptedSmtp
from workers.actions.email.checkup import mail_checks
from workers.actions.email.dkim import DkimSigner
from workers.actions.email.message import StreamHead
from workers.actions.email.smtp import Mailer, signer_of
from workers.context import read_shared_config

# RFC 8463, appendix A.
EXAMPLE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
EXAMPLE_RSA = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16"
    "JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2Ee"
    "C3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
EXAMPLE_RECORDS = (
    "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    f"v=DKIM1; k=rsa; p={EXAMPLE_RSA}",
)


def pem_of(kind: str, *, bits: int = 2048, lock: KeySerializationEncryption | None = None) -> str:
    key: RSAPrivateKey | Ed25519PrivateKey | EllipticCurvePrivateKey = (
        generate_rsa_key(65_537, bits)
        if kind == "rsa"
        else Ed25519PrivateKey.generate()
        if kind == "ed25519"
        else generate_private_key(SECP256R1())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock or NoEncryption())
    return pem.decode()


@cache
def signing(kind: str) -> dict[str, str]:
    """Return an environment in which emails are signed."""
    return {
        "COURSEBELL_MAIL_FROM": f"{SENDER.name} <{SENDER.address}>",
        "COURSEBELL_DKIM_SELECTOR": "coursebell2026",
        "COURSEBELL_DKIM_KEY": pem_of(kind),
    }


def signer(kind: str) -> DkimSigner:
    found = signer_of(load_settings(signing(kind)))
    assert found
    return found


def arrived(kind: str, message: EmailMessage) -> bytes:
    """Return an email as a mail server received it, signed by a mailer with these settings."""
    mailbox = Mailbox()
    with mail_server(mailbox, enable_SMTPUTF8=True) as port:
        environ = {**signing(kind), "COURSEBELL_SMTP_URL": f"smtp://127.0.0.1:{port}?tls=none"}
        mailer = Mailer.from_settings(load_settings(environ))
        assert mailer
        mailer.deliver(message, sender=SENDER.address, recipient=ANA)
    return mailbox.arrived[0][2]


def a_reminder() -> EmailMessage:
    return an_email(StreamHead(Stream.REMINDER, "stalled", ONE_CLICK))


@pytest.mark.parametrize("number", [0, 1])
def test_the_receiver_of_these_tests_accepts_the_example_of_the_standard_only_unchanged(
    number: int,
) -> None:
    record = EXAMPLE_RECORDS[number]
    assert passes(EXAMPLE, record, of=number)
    assert not passes(EXAMPLE.replace(b"hungry", b"angry"), record, of=number)
    assert not passes(EXAMPLE.replace(b"dinner", b"lunch"), record, of=number)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_an_email_verifies_where_it_arrives_by_the_record_that_we_print(kind: str) -> None:
    content, record = arrived(kind, a_reminder()), signer(kind).record
    assert record.name == "coursebell2026._domainkey.xn--bcher-kva.example"
    assert tags_of(record.text)["k"] == kind
    assert passes(content, record.text)
    assert content.count(b"DKIM-Signature:") == 1
    assert max(map(len, content.split(b"\r\n"))) <= 998
    # What the next server may do: add lines above, and fold anew.
    assert passes(b"Received: from here\r\n" + content.replace(b"\r\n\t", b"\r\n  "), record.text)
    assert not passes(content, signer_of_another(kind).record.text)


def test_a_mail_service_may_replace_the_date_and_the_message_id() -> None:
    """As Amazon SES does with every email."""
    content = arrived("ed25519", a_reminder())
    lines = [
        b"Message-ID: <0102@eu-west-1.amazonses.com>"
        if line.startswith(b"Message-ID: ")
        else b"Date: Tue, 3 Mar 2026 12:00:01 +0000"
        if line.startswith(b"Date: ")
        else line
        for line in content.split(b"\r\n")
    ]
    replaced = b"\r\n".join(lines)
    assert replaced.count(b"amazonses") == replaced.count(b"12:00:01") == 1
    assert passes(replaced, signer("ed25519").record.text)


def signer_of_another(kind: str) -> DkimSigner:
    other = {**signing(kind), "COURSEBELL_DKIM_KEY": pem_of(kind)}
    found = signer_of(load_settings(other))
    assert found
    return found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"From: ", b"From: Eve "),
        (b"List-Unsubscribe: <https://courses", b"List-Unsubscribe: <https://evil"),
        (b"One-Click", b"Two-Clicks"),
        (b"Reply-To: ", b"Reply-To: Eve "),
        (b"\r\n\r\n", b"\r\n\r\nBuy this.\r\n"),
        (b"\r\nTo: ", b"\r\nSubject: another\r\nTo: "),
        (b"\r\nTo: ", b"\r\nFrom: eve@evil.example\r\nTo: "),
        (b"MIME-Version: 1.0", b"MIME-Version: 1.1"),
        (b"multipart/alternative", b"multipart/mixed"),
    ],
)
def test_a_signature_covers_what_readers_and_mail_programs_act_on(old: bytes, new: bytes) -> None:
    content = arrived("ed25519", a_reminder())
    assert old in content
    assert not passes(content.replace(old, new, 1), signer("ed25519").record.text)


@pytest.mark.parametrize(
    "body", [b"", b"\r\n\r\n", b".\r\n. \t.\r\n\r\n\r\n", "é  é \r\n".encode()]
)
def test_any_body_verifies(body: bytes) -> None:
    message = b"From: a@b.example\r\nSubject:  two\r\n\tlines \r\n\r\n" + body
    for kind in ("rsa", "ed25519"):
        assert passes(signer(kind).signed(message), signer(kind).record.text)


def settings_of(**different: str) -> Settings:
    return load_settings(
        {**signing("ed25519"), **{f"COURSEBELL_{name}": value for name, value in different.items()}}
    )


@pytest.mark.parametrize(
    ("different", "setting"),
    [
        ({"DKIM_SELECTOR": ""}, "COURSEBELL_DKIM_KEY"),
        ({"DKIM_KEY": ""}, "COURSEBELL_DKIM_SELECTOR"),
        ({"DKIM_KEY": "hunter2"}, "COURSEBELL_DKIM_KEY"),
        ({"DKIM_SELECTOR": "a b"}, "COURSEBELL_DKIM_SELECTOR"),
        ({"DKIM_DOMAIN": "other.example"}, "COURSEBELL_DKIM_DOMAIN"),
        ({"DKIM_DOMAIN": "cher-kva.example"}, "COURSEBELL_DKIM_DOMAIN"),
    ],
)
def test_settings_that_do_not_fit_together_are_mistakes(
    different: dict[str, str], setting: str
) -> None:
    with pytest.raises(ConfigurationError) as stopped:
        settings_of(**different)
    assert setting in [one.partition(":")[0] for one in stopped.value.mistakes]
    assert "hunter2" not in str(stopped.value)


@pytest.mark.parametrize(
    "key",
    [
        pem_of("rsa", bits=1024),
        pem_of("p-256"),
        pem_of("ed25519", lock=BestAvailableEncryption(b"secret")),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ],
    ids=["short", "another kind", "with a passphrase", "broken"],
)
def test_a_key_that_cannot_be_used_ends_the_start_of_workers(key: str) -> None:
    with pytest.raises(ConfigurationError, match="COURSEBELL_DKIM_KEY: expected"):
        read_shared_config(settings_of(DKIM_KEY=key))


def test_a_key_may_have_its_lines_written_as_backslash_n_and_the_domain_may_be_above() -> None:
    on_one_line = signing("ed25519")["COURSEBELL_DKIM_KEY"].replace("\n", "\\n")
    found = signer_of(settings_of(DKIM_KEY=on_one_line, DKIM_DOMAIN="example"))
    assert found
    assert found.domain == "example"
    assert found.record.text == signer("ed25519").record.text


def test_doctor_prints_the_record_to_publish_and_nothing_shows_the_key() -> None:
    environ = signing("rsa")
    with ScriptedSmtp() as server:
        settings = load_settings(
            {**environ, "COURSEBELL_SMTP_URL": f"smtp://127.0.0.1:{server.port}?tls=none"}
        )
        checks = mail_checks(settings, None, HandClock(NOON), must_work=False)
        found = {one.name: one for one in checks}
    signature = found["signature"]
    assert signature.verdict is Verdict.OK
    name, _, text = signature.found.partition(" TXT ")
    assert name.endswith(" coursebell2026._domainkey.xn--bcher-kva.example")
    pieces = text.strip('"').split('" "')
    assert "".join(pieces) == signer("rsa").record.text
    assert max(map(len, pieces)) <= 255
    secret = environ["COURSEBELL_DKIM_KEY"].splitlines()[1]
    shown = f"{found}{describe(settings, environ)}{settings!r}{signer('rsa')!r}"
    assert secret not in shown


def test_doctor_says_that_a_key_cannot_be_used() -> None:
    settings = settings_of(DKIM_KEY=pem_of("p-256"), SMTP_URL="smtp://127.0.0.1:9?tls=none")
    [problem] = mail_checks(settings, None, HandClock(NOON), must_work=True)
    assert (problem.name, problem.verdict) == ("signature", Verdict.PROBLEM)
