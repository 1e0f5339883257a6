"""Emails sent with STARTTLS and a login through a real Postfix, as they arrive in a mailbox.

Skipped where Postfix is not installed, or cannot be started.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from email.message import EmailMessage

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.completion_certificates import CompletionCertificate
from schemas.errors import ChannelUnavailable, DeliveryRefused, DeliveryUnavailable
from schemas.events import EventKind
from schemas.reasons import Reason
from schemas.rules import Stream
from schemas.settings import MailAddress, TlsMode
from tests.doubles.dkim_receiver import passes
from tests.emails.people import ORDINARY, PEOPLE
from tests.servers.postfix import (
    ANOTHERS_SENDER,
    DEFERRED,
    INTERNATIONAL_SENDER,
    SENDER,
    SIZE_LIMIT,
    PostfixServer,
    read,
    skip_without_postfix,
)
from workers.actions.email import TEMPLATES
from workers.actions.email.content import LetterFacts
from workers.actions.email.dkim import DkimSigner
from workers.actions.email.letter import Letters
from workers.actions.email.message import Attachment, StreamHead, make_message
from workers.actions.email.notice import Notice
from workers.actions.email.smtp import Mailer, wire_form
from workers.completion_certificate.code import CertificateLook
from workers.completion_certificate.pdf import make_pdf
from workers.languages import language_for

ANA = "ana@people.example"
RITA = MailAddress("Zoë, Harbour Works", SENDER)
REPLIES = MailAddress("Rita Okafor", "rita@harbour.example")
DOMAIN = SENDER.partition("@")[2]
ONE_CLICK = f"https://courses.harbour.example/u/{'a' * 52}.{'b' * 43}"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NUMBERS = itertools.count(1)
FACTS = {
    "notice": replace(
        ORDINARY["lesson-finished"],
        template="notice",
        notice=Notice("Ana López", EventKind.LESSON_COMPLETED, to_host=True),
    ),
    **ORDINARY,
}


@pytest.fixture(scope="module")
def postfix() -> Iterator[PostfixServer]:
    skip_without_postfix()
    with PostfixServer() as server:
        yield server


def an_email(
    facts: LetterFacts,
    to: str = ANA,
    name: str = "Ana López 🎓",
    attachment: Attachment | None = None,
) -> EmailMessage:
    return make_message(
        Letters().compose(facts),
        sender=RITA,
        reply_to=REPLIES,
        to_name=name,
        to_address=to,
        action_key=f"email:a-rule:{next(NUMBERS)}",
        made_at=NOON,
        attachment=attachment,
        stream=StreamHead(Stream.REMINDER, facts.template, ONE_CLICK),
    )


def from_zoe(mailer: Mailer) -> EmailMessage:
    """Send an email from an address outside ASCII, and return it."""
    zoe = MailAddress("Zoë", INTERNATIONAL_SENDER)
    letter = Letters().compose(ORDINARY["welcome"])
    key = f"email:a-rule:{next(NUMBERS)}"
    message = make_message(
        letter,
        sender=zoe,
        reply_to=None,
        to_name="",
        to_address=ANA,
        action_key=key,
        made_at=NOON,
    )
    send(mailer, message, sender=zoe.address)
    return message


def a_welcome(to: str = ANA) -> EmailMessage:
    return an_email(ORDINARY["welcome"], to)


def send(mailer: Mailer, message: EmailMessage, to: str = ANA, sender: str = SENDER) -> str:
    return mailer.deliver(message, sender=sender, recipient=to)


def deliver(server: PostfixServer, message: EmailMessage, to: str = ANA) -> EmailMessage:
    """Send an email with STARTTLS and a login, and return it as it arrived."""
    receipt = send(Mailer(server.at(), tls_context=server.trusting), message, to)
    assert receipt.startswith("250 2.0.0 Ok: queued as ")
    content = server.received(to, message["Message-ID"])
    utf8 = not to.isascii()
    assert content.endswith(wire_form(message, utf8=utf8).replace(b"\r\n", b"\n"))
    return read(content)


def parts(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(["plain"]), message.get_body(["html"])
    assert text, "there is no text"
    assert html, "there is no HTML"
    return text.get_content(), html.get_content()


def test_there_is_an_email_of_each_template() -> None:
    assert set(FACTS) == set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_email_arrives_whole_over_tls_and_with_a_login(
    postfix: PostfixServer, template: str
) -> None:
    message = an_email(FACTS[template])
    letter = Letters().compose(FACTS[template])
    arrived = deliver(postfix, message)
    assert arrived["Subject"] == letter.subject
    assert [str(one) for one in arrived["From"].addresses] == [f'"{RITA.name}" <{SENDER}>']
    assert arrived["To"].addresses[0].display_name == "Ana López 🎓"
    assert arrived["To"].addresses[0].addr_spec == ANA
    assert arrived["Reply-To"] == f"{REPLIES.name} <{REPLIES.address}>"
    assert arrived["Date"].datetime == NOON
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived["Return-Path"] == f"<{SENDER}>"
    assert arrived.get_all("Message-ID") == [message["Message-ID"]]
    assert arrived["List-Id"] == f"Course reminders <reminder.coursebell.{DOMAIN}>"
    assert arrived["Feedback-ID"] == f"{template}:reminder:email:coursebell"
    assert arrived["List-Unsubscribe"] == f"<{ONE_CLICK}>"
    assert arrived["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert parts(arrived) == (letter.text, letter.html)
    taken = " ".join(arrived["Received"].split())
    assert "using TLSv1." in taken
    assert "(Authenticated sender: " in taken
    assert "with ESMTPSA" in taken


@pytest.mark.parametrize("person", ["emoji", "right-to-left", "japanese", "long-title"])
def test_names_and_titles_of_any_script_arrive_as_they_are(
    postfix: PostfixServer, person: str
) -> None:
    facts = PEOPLE[person].change(ORDINARY["course-finished"])
    letter = Letters().compose(facts)
    arrived = deliver(postfix, an_email(facts, name=facts.full_name))
    assert arrived["Subject"] == letter.subject
    assert arrived["To"].addresses[0].display_name == facts.full_name
    assert parts(arrived) == (letter.text, letter.html)


def test_a_certificate_of_completion_arrives_unchanged(postfix: PostfixServer) -> None:
    english = language_for("en")
    certificate = CompletionCertificate(
        12, 7, "Ana López", "Freelance Finance", "Harbour Works", date(2026, 11, 24), english.code
    )
    look = CertificateLook("https://courses.example", "#0E6655")
    pdf = make_pdf(certificate, "ABCD-EFGH-JKMN-PQRS", look, english)
    facts = replace(ORDINARY["course-finished"], certificate_url="https://courses.example/c/A")
    arrived = deliver(postfix, an_email(facts, attachment=Attachment("certificate.pdf", pdf)))
    (attached,) = arrived.iter_attachments()
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_filename() == "certificate.pdf"
    assert attached.get_content() == pdf
    letter = Letters().compose(facts)
    assert parts(arrived) == (letter.text, letter.html)


def test_a_signature_verifies_after_postfix_delivered_the_email(postfix: PostfixServer) -> None:
    signer = DkimSigner(DOMAIN, "s1", Ed25519PrivateKey.generate())
    mailer = Mailer(postfix.at(), tls_context=postfix.trusting, sign=signer.signed)
    message = an_email(ORDINARY["welcome"])
    send(mailer, message)
    content = postfix.received(ANA, message["Message-ID"]).replace(b"\n", b"\r\n")
    assert passes(content, signer.record.text)
    assert not passes(content.replace(b"Subject: ", b"Subject: x"), signer.record.text)


def test_a_local_part_in_another_script_is_delivered(postfix: PostfixServer) -> None:
    international = "añá@people.example"
    arrived = deliver(postfix, a_welcome(international), international)
    assert arrived["To"].addresses[0].addr_spec == international
    assert "with UTF8SMTPSA" in " ".join(arrived["Received"].split())


def test_a_sender_in_another_script_needs_a_server_with_smtputf8(postfix: PostfixServer) -> None:
    message = from_zoe(Mailer(postfix.at(), tls_context=postfix.trusting))
    arrived = read(postfix.received(ANA, message["Message-ID"]))
    assert arrived["From"].addresses[0].addr_spec == INTERNATIONAL_SENDER
    assert arrived["Return-Path"] == f"<{INTERNATIONAL_SENDER}>"
    with pytest.raises(ChannelUnavailable, match="no SMTPUTF8") as stopped:
        from_zoe(Mailer(postfix.at("ascii"), tls_context=postfix.trusting))
    assert stopped.value.reason is Reason.MAIL_SENDER


def test_a_domain_in_another_script_is_delivered(postfix: PostfixServer) -> None:
    message = a_welcome("ana@bücher.example")
    send(Mailer(postfix.at(), tls_context=postfix.trusting), message, "ana@bücher.example")
    content = postfix.received("ana@xn--bcher-kva.example", message["Message-ID"])
    assert read(content)["To"].addresses[0].addr_spec == "ana@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("service", "mechanism"), [("plain", "PLAIN"), ("login", "LOGIN"), ("cram", "CRAM-MD5")]
)
def test_each_login_method_works_outside_ascii_and_a_wrong_password_does_not(
    postfix: PostfixServer, service: str, mechanism: str
) -> None:
    answers: list[tuple[str, str]] = []
    mailer = Mailer(
        postfix.at(service),
        tls_context=postfix.trusting,
        on_answer=lambda verb, answer: answers.append((verb, answer)),
    )
    send(mailer, a_welcome())
    offered = [answer for verb, answer in answers if verb == "EHLO"]
    assert "AUTH" not in offered[0]  # before STARTTLS
    assert f"AUTH {mechanism} " in offered[1]
    assert [answer for verb, answer in answers if verb == "AUTH"][-1].startswith("235 2.7.0 ")
    wrong = Mailer(postfix.at(service, password="open says me"), tls_context=postfix.trusting)
    with pytest.raises(ChannelUnavailable) as refused:
        send(wrong, a_welcome())
    assert refused.value.reason is Reason.MAIL_LOGIN
    assert (refused.value.answer or "").startswith("535 5.7.8 ")


def test_a_certificate_that_cannot_be_verified_ends_the_session(postfix: PostfixServer) -> None:
    with pytest.raises(ChannelUnavailable) as stopped:
        send(Mailer(postfix.at()), a_welcome())
    assert stopped.value.reason is Reason.MAIL_CERTIFICATE


def test_without_starttls_the_server_wants_it(postfix: PostfixServer) -> None:
    plain = postfix.at(tls=TlsMode.NONE, username=None, password=None)
    with pytest.raises(ChannelUnavailable) as stopped:
        send(Mailer(plain), a_welcome())
    assert stopped.value.reason is Reason.MAIL_STARTTLS


def test_a_missing_login_is_about_us_and_not_about_the_email(postfix: PostfixServer) -> None:
    mailer = Mailer(postfix.at(username=None, password=None), tls_context=postfix.trusting)
    with pytest.raises(ChannelUnavailable) as stopped:
        send(mailer, a_welcome())
    assert stopped.value.reason is Reason.MAIL_REFUSES_US
    assert "Client host rejected: Access denied" in (stopped.value.answer or "")


def test_the_sender_of_another_user_names_the_setting(postfix: PostfixServer) -> None:
    mailer = Mailer(postfix.at(), tls_context=postfix.trusting)
    with pytest.raises(ChannelUnavailable, match="COURSEBELL_MAIL_FROM") as stopped:
        send(mailer, a_welcome(), sender=ANOTHERS_SENDER)
    assert stopped.value.reason is Reason.MAIL_SENDER


def test_a_server_that_does_not_relay_is_about_us(postfix: PostfixServer) -> None:
    mailer = Mailer(postfix.at("open", username=None, password=None), tls_context=postfix.trusting)
    to = "ana@elsewhere.example"
    with pytest.raises(ChannelUnavailable) as stopped:
        send(mailer, a_welcome(to), to, sender="someone@people.example")
    assert stopped.value.reason is Reason.MAIL_RELAY


def test_an_unknown_recipient_is_refused_and_the_next_email_goes(postfix: PostfixServer) -> None:
    unknown = "joel@people.example"
    mailer = Mailer(postfix.at(), tls_context=postfix.trusting)
    with pytest.raises(DeliveryRefused) as refused:
        send(mailer, a_welcome(unknown), unknown)
    assert refused.value.detail.startswith("550 5.1.1 (address): Recipient address rejected")
    assert "joel" not in refused.value.detail
    assert deliver(postfix, a_welcome())["To"].addresses[0].addr_spec == ANA


def test_a_greylisted_recipient_is_tried_later_and_delays_no_other(postfix: PostfixServer) -> None:
    mailer = Mailer(postfix.at(), tls_context=postfix.trusting)
    with pytest.raises(DeliveryUnavailable, match=r"450 4\.2\.0 ") as later:
        send(mailer, a_welcome(DEFERRED), DEFERRED)
    assert not isinstance(later.value, ChannelUnavailable)


def test_an_email_above_the_size_limit_is_refused_before_it_is_sent(
    postfix: PostfixServer,
) -> None:
    answers: list[tuple[str, str]] = []
    mailer = Mailer(
        postfix.at(),
        tls_context=postfix.trusting,
        on_answer=lambda verb, answer: answers.append((verb, answer)),
    )
    large = an_email(ORDINARY["welcome"], attachment=Attachment("large.pdf", bytes(SIZE_LIMIT)))
    with pytest.raises(DeliveryRefused) as refused:
        send(mailer, large)
    assert refused.value.reason is Reason.MAIL_TOO_LARGE
    assert refused.value.detail.endswith(f"accepts {SIZE_LIMIT:,}")
    assert "MAIL" not in [verb for verb, _ in answers]


def test_a_limit_on_the_rate_is_about_all_emails(postfix: PostfixServer) -> None:
    mailer = Mailer(postfix.at("limited"), tls_context=postfix.trusting)
    send(mailer, a_welcome())
    with pytest.raises(ChannelUnavailable) as busy:
        send(mailer, a_welcome())
    assert busy.value.reason is Reason.MAIL_BUSY
    assert "too much mail" in (busy.value.answer or "")


def test_a_server_without_smtputf8_gets_no_address_outside_ascii(postfix: PostfixServer) -> None:
    international = "añá@people.example"
    mailer = Mailer(postfix.at("ascii"), tls_context=postfix.trusting)
    with pytest.raises(DeliveryRefused, match="outside ASCII"):
        send(mailer, a_welcome(international), international)
