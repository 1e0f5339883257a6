"""The mailer and its double: the same cases on both, and what only a real server can show."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from schemas.errors import ChannelUnavailable, DeliveryRefused, DeliveryUnavailable
from schemas.reasons import Reason
from schemas.settings import TlsMode
from tests.doubles.catching_mailer import CatchingMailer
from tests.doubles.mail_server import Mailbox, mail_server, make_certificate, server_at
from workers.actions.email.answers import AddressUnusable
from workers.actions.email.smtp import Mailer

SENDER = "courses@harbour.example"
ANA = "ana@people.example"
JOEL = "joel@people.example"


@dataclass
class Post:
    """A mailer, its received emails, and a way to make it refuse a recipient."""

    mailer: Mailer | CatchingMailer
    mailbox: Mailbox | None = None

    def arrived(self) -> list[tuple[str, str, bytes]]:
        if isinstance(self.mailer, CatchingMailer):
            return [(mail.sender, mail.recipient, mail.content) for mail in self.mailer.caught]
        return self.mailbox.arrived if self.mailbox else []

    def answer(self, recipient: str, line: str) -> None:
        if isinstance(self.mailer, CatchingMailer):
            self.mailer.answer(recipient, line)
        elif self.mailbox:
            self.mailbox.answers[recipient] = line


@pytest.fixture(params=["over a socket", "double"])
def post(request: pytest.FixtureRequest) -> Iterator[Post]:
    if request.param == "double":
        yield Post(CatchingMailer())
        return
    mailbox = Mailbox()
    with mail_server(mailbox, enable_SMTPUTF8=True) as port:
        yield Post(Mailer(server_at(port)), mailbox)


def an_email(text: str = "Hello Ana,\n", to: str = ANA) -> EmailMessage:
    message = EmailMessage(SMTP)
    message["From"], message["To"], message["Subject"] = SENDER, to, "You're in"
    message.set_content(text)
    return message


def test_an_email_arrives_once_and_unchanged(post: Post) -> None:
    message = an_email(".\n..\n.leading dot\nend\r\nmixed\n\n.")
    post.mailer.deliver(message, sender=SENDER, recipient=ANA)
    assert post.arrived() == [(SENDER, ANA, message.as_bytes())]
    assert b"\r\n.\r\n..\r\n.leading dot\r\n" in b"\r\n" + post.arrived()[0][2]


def test_every_line_ends_with_crlf_whatever_the_message_used(post: Post) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, ANA, "You're in"
    message.set_content("one\rtwo\nthree\r\nfour")
    message["X-Note"] = "\u00e9" * 80
    post.mailer.deliver(message, sender=SENDER, recipient=ANA)
    content = post.arrived()[0][2]
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")


def test_a_last_line_without_its_end_is_ended(post: Post) -> None:
    message = an_email()
    message.set_payload("no end")
    post.mailer.deliver(message, sender=SENDER, recipient=ANA)
    assert post.arrived()[0][2].endswith(b"\r\n\r\nno end\r\n")


def test_the_receipt_is_the_servers_answer_without_the_address(post: Post) -> None:
    receipt = post.mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert receipt.startswith("250 2.0.0 ")
    assert "@" not in receipt
    assert len(receipt) <= 200


def test_a_final_refusal_is_reported_without_the_address(post: Post) -> None:
    post.answer(ANA, f"550 5.1.1 <{ANA}>: no {ANA} here " + "x" * 300)
    with pytest.raises(DeliveryRefused) as refused:
        post.mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert refused.value.detail.startswith("550 5.1.1 (address): no (address) here")
    assert "ana" not in str(refused.value) + refused.value.detail
    assert len(refused.value.detail) <= 200
    assert post.arrived() == []


def test_a_temporary_refusal_is_transient_and_no_fault_of_the_settings(post: Post) -> None:
    post.answer(ANA, "450 4.2.0 greylisted")
    with pytest.raises(DeliveryUnavailable) as later:
        post.mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert not isinstance(later.value, ChannelUnavailable)
    assert post.arrived() == []


def test_a_required_login_is_about_us_and_not_about_the_email(post: Post) -> None:
    post.answer(ANA, "530 5.7.0 authentication required")
    with pytest.raises(ChannelUnavailable, match="COURSEBELL_SMTP_URL") as stopped:
        post.mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert stopped.value.reason is Reason.MAIL_LOGIN


def test_a_refused_email_does_not_affect_the_next(post: Post) -> None:
    post.answer(JOEL, "550 no such person")
    post.mailer.deliver(an_email("first"), sender=SENDER, recipient=ANA)
    with pytest.raises(DeliveryRefused):
        post.mailer.deliver(an_email(), sender=SENDER, recipient=JOEL)
    post.mailer.deliver(an_email("second"), sender=SENDER, recipient=ANA)
    assert [recipient for _, recipient, _ in post.arrived()] == [ANA, ANA]


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "ana",
        "@people.example",
        "ana@",
        "ana@people.example\r\nRCPT TO:<eve@evil.example>",
        "ana@people.example, eve@evil.example",
        "ana lopez@people.example",
        '"ana"@people.example',
        "ana@[127.0.0.1]",
        "ana..l@people.example",
        "ana@people..example",
        "ana@-people.example",
        "ana@people\u2603.example",
        "ana@peo\u200dple.example",
        "a\u202ena@people.example",
        "a" * 65 + "@people.example",
    ],
)
def test_an_ambiguous_address_is_refused(post: Post, recipient: str) -> None:
    with pytest.raises(AddressUnusable) as refused:
        post.mailer.deliver(an_email(), sender=SENDER, recipient=recipient)
    assert "people" not in str(refused.value)
    assert post.arrived() == []


@pytest.mark.parametrize(
    ("domain", "written"),
    [("bücher.example", "xn--bcher-kva.example"), ("straße.example", "xn--strae-oqa.example")],
)
def test_a_domain_in_another_script_is_written_in_ascii(
    post: Post, domain: str, written: str
) -> None:
    post.mailer.deliver(an_email(), sender=f"courses@{domain}", recipient=f"ana@{domain}")
    assert post.arrived()[0][:2] == (f"courses@{written}", f"ana@{written}")


def test_a_local_part_in_another_script_goes_to_a_server_that_can(post: Post) -> None:
    message = an_email(to="someone@people.example")
    post.mailer.deliver(message, sender=SENDER, recipient="añá@people.example")
    assert post.arrived()[0][1] == "añá@people.example"


def test_a_sender_in_another_script_is_written_to_a_server_that_can(post: Post) -> None:
    post.mailer.deliver(an_email(), sender="kurse@ü.example", recipient=ANA)
    post.mailer.deliver(an_email(), sender="zoë@harbour.example", recipient=ANA)
    assert [sender for sender, _, _ in post.arrived()] == [
        "kurse@xn--tda.example",
        "zoë@harbour.example",
    ]


def test_a_local_part_in_another_script_is_refused_if_the_server_cannot() -> None:
    mailbox = Mailbox()
    with (
        mail_server(mailbox, enable_SMTPUTF8=False) as port,
        pytest.raises(DeliveryRefused, match="outside ASCII"),
    ):
        Mailer(server_at(port)).deliver(an_email(), sender=SENDER, recipient="añá@people.example")
    assert mailbox.arrived == []


def test_a_sender_in_another_script_holds_all_emails_if_the_server_cannot() -> None:
    mailbox = Mailbox()
    with (
        mail_server(mailbox, enable_SMTPUTF8=False) as port,
        pytest.raises(ChannelUnavailable, match=r"no SMTPUTF8.*COURSEBELL_MAIL_FROM") as stopped,
    ):
        Mailer(server_at(port)).deliver(an_email(), sender="zoë@harbour.example", recipient=ANA)
    assert stopped.value.reason is Reason.MAIL_SENDER
    assert mailbox.connections == set()


@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
def test_an_encrypted_connection_with_a_login_carries_the_email(
    tmp_path: Path, tls: TlsMode
) -> None:
    def let_in(*given: object) -> AuthResult:
        right = given[-1] == LoginPassword(b"rita", b"open sesame")
        return AuthResult(success=right, handled=False)

    serving, trusting = make_certificate(tmp_path, "127.0.0.1")
    mailbox = Mailbox()
    context = {"tls_context": serving} if tls is TlsMode.STARTTLS else {"ssl_context": serving}
    options = {"auth_required": tls is TlsMode.STARTTLS, "auth_require_tls": True}
    if tls is TlsMode.IMPLICIT:
        options["auth_require_tls"] = False  # aiosmtpd knows only STARTTLS as encryption
    with mail_server(mailbox, authenticator=let_in, **context, **options) as port:
        good = Mailer(server_at(port, tls, "rita", "open sesame"), tls_context=trusting)
        assert good.deliver(an_email(), sender=SENDER, recipient=ANA).startswith("250")
        bad = Mailer(server_at(port, tls, "rita", "open says me"), tls_context=trusting)
        with pytest.raises(ChannelUnavailable, match="COURSEBELL_SMTP_URL") as refused:
            bad.deliver(an_email(), sender=SENDER, recipient=ANA)
        assert refused.value.reason is Reason.MAIL_LOGIN
        assert "says" not in str(refused.value)
    assert mailbox.arrived == [(SENDER, ANA, an_email().as_bytes())]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_user_and_password_outside_ascii_log_in(mechanism: str) -> None:
    given: list[LoginPassword] = []

    def let_in(*said: object) -> AuthResult:
        login = said[-1]
        assert isinstance(login, LoginPassword)
        given.append(login)
        return AuthResult(success=True)

    mailbox = Mailbox()
    others = ["LOGIN" if mechanism == "PLAIN" else "PLAIN"]
    with mail_server(
        mailbox, authenticator=let_in, auth_require_tls=False, auth_exclude_mechanism=others
    ) as port:
        mailer = Mailer(server_at(port, username="zoë", password="pässwörd€"))
        mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert given == [LoginPassword("zoë".encode(), "pässwörd€".encode())]
    assert len(mailbox.arrived) == 1


def test_starttls_means_that_the_email_travels_encrypted(tmp_path: Path) -> None:
    serving, trusting = make_certificate(tmp_path, "127.0.0.1")
    mailbox = Mailbox()
    with mail_server(mailbox, tls_context=serving) as port:
        mailer = Mailer(server_at(port, TlsMode.STARTTLS), tls_context=trusting)
        mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert mailbox.encrypted == [True]


@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
@pytest.mark.parametrize("certificate", ["unknown", "for another machine"])
def test_an_invalid_certificate_stops_everything(
    tmp_path: Path, tls: TlsMode, certificate: str
) -> None:
    address = "127.0.0.1" if certificate == "unknown" else "127.0.0.2"
    serving, trusting = make_certificate(tmp_path, address)
    mailbox = Mailbox()
    context = {"tls_context": serving} if tls is TlsMode.STARTTLS else {"ssl_context": serving}
    with mail_server(mailbox, **context) as port:
        trust = None if certificate == "unknown" else trusting
        mailer = Mailer(server_at(port, tls), tls_context=trust)
        with pytest.raises(ChannelUnavailable, match="COURSEBELL_SMTP_URL") as stopped:
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
        assert stopped.value.reason is Reason.MAIL_CERTIFICATE
        assert stopped.value.answer
    assert mailbox.arrived == []


def test_a_server_without_starttls_gets_nothing_unencrypted() -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        mailer = Mailer(server_at(port, TlsMode.STARTTLS))
        with pytest.raises(ChannelUnavailable, match="does not offer STARTTLS") as stopped:
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
        assert stopped.value.reason is Reason.MAIL_STARTTLS
    assert mailbox.arrived == []


def test_a_double_fails_as_configured_and_catches_the_rest() -> None:
    mailer = CatchingMailer()
    mailer.fail_next(DeliveryUnavailable("later"))
    with pytest.raises(DeliveryUnavailable):
        mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert len(mailer.caught) == 1
