"""How the mailer handles failures of a mail server, over real sockets."""

import re
import smtplib
import socket
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from schemas.errors import (
    ChannelUnavailable,
    CoursebellError,
    DeliveryRefused,
    DeliveryUnavailable,
    DeliveryUnknown,
)
from schemas.reasons import Reason
from schemas.settings import TlsMode
from tests.doubles.mail_server import server_at
from tests.doubles.scripted_smtp import DRIP, HANG_UP, MOST_DROPS, SILENCE, ScriptedSmtp
from workers.actions.base import Checkpoints
from workers.actions.email.connection import SmtpTimeouts, own_name
from workers.actions.email.smtp import Mailer, has_something_to_read, wire_form
from workers.leases import LeaseLost

SENDER = "courses@harbour.example"
ANA = "ana@people.example"
SHORT_S = 0.3  # for servers that will never answer
# More text than the sockets' buffers hold, so that we are still writing when something happens.
VERY_LONG = "A line of a very long letter.\n" * 500_000


def an_email(text: str = "Hello Ana,\n") -> EmailMessage:
    message = EmailMessage(SMTP)
    message["From"], message["To"], message["Subject"] = SENDER, ANA, "You're in"
    message.set_content(text)
    return message


def fault(error: CoursebellError) -> type[CoursebellError] | Reason:
    """Return the reason that an error names, or its kind."""
    reason = error.reason if isinstance(error, ChannelUnavailable | DeliveryRefused) else None
    return reason or type(error)


def deliver_to(server: ScriptedSmtp, text: str = "Hello Ana,\n", answer_s: float = 30) -> str:
    # So much patience for the connection that a mix-up of the two would be noticed.
    timeouts = SmtpTimeouts(999, answer_s, 999, answer_s)
    mailer = Mailer(server_at(server.port), timeouts=timeouts)
    return mailer.deliver(an_email(text), sender=SENDER, recipient=ANA)


@pytest.mark.parametrize(
    ("step", "answer", "wanted"),
    [
        ("GREETING", b"421 4.3.2 too busy", Reason.MAIL_BUSY),
        ("GREETING", b"554 5.3.2 no service here", Reason.MAIL_REFUSES_US),
        ("GREETING", b"HTTP/1.1 400 Bad Request", Reason.MAIL_UNREACHABLE),
        ("GREETING", HANG_UP, Reason.MAIL_UNREACHABLE),
        ("EHLO", b"421 closing", Reason.MAIL_BUSY),
        ("EHLO", HANG_UP, Reason.MAIL_UNREACHABLE),
        ("MAIL", b"450 4.7.1 later", Reason.MAIL_BUSY),
        ("MAIL", b"452 4.3.1 disk full", Reason.MAIL_BUSY),
        ("MAIL", b"550 5.7.1 not you", Reason.MAIL_SENDER),
        ("MAIL", b"552 too large", Reason.MAIL_TOO_LARGE),
        ("MAIL", b"530 5.7.0 log in first", Reason.MAIL_LOGIN),
        ("MAIL", b"530 5.7.0 Must issue a STARTTLS command first", Reason.MAIL_STARTTLS),
        ("MAIL", b"?", DeliveryUnavailable),
        ("RCPT", b"450 4.2.1 mailbox busy", DeliveryUnavailable),
        ("RCPT", b"450 4.2.0 greylisted", DeliveryUnavailable),
        ("RCPT", b"451 4.7.1 greylisted", DeliveryUnavailable),
        ("RCPT", b"451 4.3.0 try again", Reason.MAIL_BUSY),
        ("RCPT", b"550 5.3.0 mail system error", DeliveryRefused),
        ("RCPT", b"450 4.1.8 sender's domain not found now", DeliveryUnavailable),
        ("RCPT", b"452 4.3.1 disk full", Reason.MAIL_BUSY),
        ("RCPT", b"421 4.3.2 shutting down", Reason.MAIL_BUSY),
        ("RCPT", b"550 5.1.1 no such person", DeliveryRefused),
        ("RCPT", b"552 5.2.3 too long for this mailbox", Reason.MAIL_TOO_LARGE),
        ("RCPT", b"552 5.2.2 mailbox full", DeliveryRefused),
        ("RCPT", b"550 5.7.1 mailbox closed to you", DeliveryRefused),
        ("RCPT", b"553 5.7.1 Sender address rejected: not owned by user", Reason.MAIL_SENDER),
        ("RCPT", b"550 5.1.8 bad system address", Reason.MAIL_SENDER),
        ("RCPT", b"554 5.7.1 Relay access denied", Reason.MAIL_RELAY),
        ("RCPT", b"554 5.7.1 Client host rejected: Access denied", Reason.MAIL_REFUSES_US),
        ("RCPT", b"504 5.5.2 Helo command rejected: no host", Reason.MAIL_REFUSES_US),
        ("RCPT", b"554 5.7.1 no; Client host [192.0.2.1] blocked", Reason.MAIL_REFUSES_US),
        ("RCPT", b"450 4.7.1 Client host rejected: greylisted", DeliveryUnavailable),
        ("RCPT", HANG_UP, Reason.MAIL_INTERRUPTED),
        ("DATA", b"450 4.3.0 later", Reason.MAIL_BUSY),
        ("DATA", b"550 5.7.0 no", DeliveryRefused),
        ("DATA", b"250 what?", DeliveryUnavailable),
        ("DATA", HANG_UP, Reason.MAIL_INTERRUPTED),
        ("DOT", b"450 4.3.0 later", DeliveryUnavailable),
        ("DOT", b"452 4.3.1 disk full", Reason.MAIL_BUSY),
        ("DOT", b"550 5.7.1 looks like spam", DeliveryRefused),
        ("DOT", b"552 5.3.4 too large", Reason.MAIL_TOO_LARGE),
        ("DOT", b"421 4.3.0 shutting down", DeliveryUnavailable),
        ("DOT", HANG_UP, DeliveryUnknown),
        ("DOT", b"I am a teapot", DeliveryUnknown),
        ("DOT", b"250-2.0.0 queued\r\n" + HANG_UP, DeliveryUnknown),
        ("DOT", b"354 go on", DeliveryUnknown),
        ("DOT", b"2" * 9000, DeliveryUnknown),
    ],
)
def test_each_bad_answer_at_each_step_is_the_error_that_says_what_to_do_next(
    step: str, answer: bytes, wanted: type[CoursebellError] | Reason
) -> None:
    with ScriptedSmtp({step: answer}) as server:
        with pytest.raises(CoursebellError) as raised:
            deliver_to(server)
        assert fault(raised.value) is wanted
        assert ANA not in str(raised.value)
        assert server.commands.count("CONNECTED") == 1


@pytest.mark.parametrize(
    ("announced", "text", "arrives"),
    [
        (b"SIZE 1000", "x" * 1000, False),
        (b"SIZE 1000", "x" * 100, True),
        (b"SIZE 0", "x" * 1000, True),
        (b"SIZE", "x" * 1000, True),
        (b"SIZE \xb2", "x" * 1000, True),
        (b"SIZE " + b"9" * 400, "x" * 1000, True),
        (b"8BITMIME", "x" * 1000, True),
    ],
)
def test_an_email_above_the_announced_size_is_refused_before_it_is_introduced(
    announced: bytes,
    text: str,
    arrives: bool,  # noqa: FBT001 - a column of the table
) -> None:
    with ScriptedSmtp({"EHLO": b"250-scripted\r\n250 " + announced}) as server:
        if arrives:
            deliver_to(server, text)
        else:
            with pytest.raises(DeliveryRefused) as refused:
                deliver_to(server, text)
            assert refused.value.reason is Reason.MAIL_TOO_LARGE
            assert re.fullmatch(
                r"the email has 1,\d+ bytes, .* accepts 1,000", refused.value.detail
            )
    introduced = [one for one in server.commands if one.upper().startswith("MAIL")]
    assert len(server.texts) == len(introduced) == arrives
    size = len(wire_form(an_email(text), utf8=False))
    assert not announced.startswith(b"SIZE") or all(f" SIZE={size}" in one for one in introduced)


@pytest.mark.parametrize("step", ["GREETING", "EHLO", "RCPT", "DATA"])
def test_silence_before_the_text_is_transient(step: str) -> None:
    with ScriptedSmtp({step: SILENCE}) as server, pytest.raises(DeliveryUnavailable):
        deliver_to(server, answer_s=SHORT_S)


def test_silence_after_the_final_dot_is_unknown() -> None:
    with ScriptedSmtp({"DOT": SILENCE}) as server, pytest.raises(DeliveryUnknown):
        deliver_to(server, answer_s=SHORT_S)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        ("GREETING", Reason.MAIL_UNREACHABLE),
        ("RCPT", Reason.MAIL_INTERRUPTED),
        ("DOT", DeliveryUnknown),
    ],
)
def test_a_server_that_answers_byte_by_byte_does_not_exceed_the_session_limit(
    step: str, wanted: type[CoursebellError] | Reason
) -> None:
    timeouts = SmtpTimeouts(session_s=SHORT_S, end_s=SHORT_S)
    with ScriptedSmtp({step: DRIP}) as server:
        mailer = Mailer(server_at(server.port), timeouts=timeouts)
        with pytest.raises(CoursebellError) as raised:
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert fault(raised.value) is wanted
    assert server.drops < MOST_DROPS


def test_nothing_is_sent_after_a_step_that_the_caller_stops() -> None:
    for at_end, texts in ((False, 0), (True, 0)):
        with ScriptedSmtp() as server:
            checkpoints = (
                Checkpoints(before_commit=_stop) if at_end else Checkpoints(before_step=_stop)
            )
            with pytest.raises(LookupError):
                Mailer(server_at(server.port)).deliver(
                    an_email(), sender=SENDER, recipient=ANA, checkpoints=checkpoints
                )
        assert len(server.texts) == texts
        assert any(command == "DATA" for command in map(str.upper, server.commands)) is at_end


def _stop() -> None:
    raise LookupError


def test_a_connection_lost_within_the_text_is_transient() -> None:
    with ScriptedSmtp({"BODY": HANG_UP}) as server, pytest.raises(DeliveryUnavailable):
        deliver_to(server, VERY_LONG)


def test_an_answer_within_the_text_stops_it_before_the_final_dot() -> None:
    server = ScriptedSmtp({"BODY": b"421 4.3.2 shutting down"})
    with server, pytest.raises(DeliveryUnavailable):
        deliver_to(server, VERY_LONG)
    assert server.texts == []


def test_a_server_that_leaves_while_the_mark_is_committed_gets_no_final_dot() -> None:
    with ScriptedSmtp() as server:
        checkpoints = Checkpoints(before_commit=server.hang_up)
        with pytest.raises(ChannelUnavailable) as raised:
            Mailer(server_at(server.port)).deliver(
                an_email(), sender=SENDER, recipient=ANA, checkpoints=checkpoints
            )
    assert raised.value.reason is Reason.MAIL_INTERRUPTED
    assert server.texts == []


@pytest.mark.parametrize("sign", [b"421 4.3.2 shutting down\r\n", b""])
def test_an_answer_or_a_disconnect_within_the_text_is_noticed_before_the_final_dot(
    sign: bytes,
) -> None:
    ours, theirs = socket.socketpair()
    connection = smtplib.SMTP()
    connection.sock = ours
    with ours, theirs:
        assert not has_something_to_read(connection)
        theirs.sendall(sign)
        theirs.shutdown(socket.SHUT_WR)
        assert has_something_to_read(connection)


def test_a_closed_port_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(DeliveryUnavailable):
        Mailer(server_at(port)).deliver(an_email(), sender=SENDER, recipient=ANA)


def test_tls_with_an_unencrypted_server_names_the_setting() -> None:
    with ScriptedSmtp() as server:
        mailer = Mailer(server_at(server.port, TlsMode.IMPLICIT))
        with pytest.raises(ChannelUnavailable, match="COURSEBELL_SMTP_URL") as raised:
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
    assert raised.value.reason is Reason.MAIL_TLS


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"454 4.7.0 not now", Reason.MAIL_BUSY),
        (b"501 5.5.0 no", Reason.MAIL_STARTTLS),
        (HANG_UP, Reason.MAIL_UNREACHABLE),
    ],
)
def test_failed_starttls_sends_nothing_unencrypted(answer: bytes, reason: Reason) -> None:
    script = {"EHLO": b"250-scripted\r\n250 STARTTLS", "STARTTLS": answer}
    with ScriptedSmtp(script) as server:
        timeouts = SmtpTimeouts(answer_s=SHORT_S)
        mailer = Mailer(server_at(server.port, TlsMode.STARTTLS), timeouts=timeouts)
        with pytest.raises(ChannelUnavailable) as stopped:
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
        assert stopped.value.reason is reason
        assert not any(command.startswith("MAIL") for command in server.commands)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"535 5.7.8 wrong", Reason.MAIL_LOGIN),
        (b"454 4.7.0 later", Reason.MAIL_BUSY),
        (HANG_UP, Reason.MAIL_UNREACHABLE),
    ],
)
def test_a_login_that_fails_is_about_us(answer: bytes, reason: Reason) -> None:
    script = {"EHLO": b"250-scripted\r\n250 AUTH PLAIN", "AUTH": answer}
    with ScriptedSmtp(script) as server:
        mailer = Mailer(server_at(server.port, username="rita", password="open sesame"))
        with pytest.raises(ChannelUnavailable) as stopped:
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)
        assert stopped.value.reason is reason


def test_a_login_that_is_not_offered_names_the_setting() -> None:
    with ScriptedSmtp() as server:
        mailer = Mailer(server_at(server.port, username="rita", password="open sesame"))
        with pytest.raises(ChannelUnavailable, match="COURSEBELL_SMTP_URL"):
            mailer.deliver(an_email(), sender=SENDER, recipient=ANA)


@pytest.mark.parametrize(
    ("script", "last"),
    [
        ({}, "QUIT"),
        ({"RCPT": b"550 no such person"}, "QUIT"),
        ({"DOT": b"I am a teapot"}, "DATA"),
        ({"DATA": HANG_UP}, "DATA"),
    ],
)
def test_a_session_ends_with_quit_unless_it_is_in_doubt(
    script: dict[str, bytes], last: str
) -> None:
    with ScriptedSmtp(script) as server:
        with suppress(DeliveryRefused, DeliveryUnknown, DeliveryUnavailable):
            deliver_to(server)
        assert server.commands[-1].split()[0].upper() == last


def test_a_lease_that_is_lost_after_the_receipt_does_not_lose_the_receipt() -> None:
    at_the_end: list[None] = []

    def keep() -> None:
        if at_the_end:
            raise LeaseLost

    checkpoints = Checkpoints(keep, lambda: at_the_end.append(None))
    with ScriptedSmtp() as server:
        mailer = Mailer(server_at(server.port))
        receipt = mailer.deliver(an_email(), sender=SENDER, recipient=ANA, checkpoints=checkpoints)
    assert receipt == "250 2.0.0 queued as SCRIPTED"


def test_ehlo_has_a_full_name_or_our_address() -> None:
    with ScriptedSmtp() as server:
        deliver_to(server)
    assert re.fullmatch(r"ehlo (\[127\.0\.0\.1\]|[^ .]+\.[^ ]+)", server.commands[1])


@pytest.mark.parametrize(
    ("hostname", "address", "written"),
    [
        ("mail.harbour.example", "192.0.2.7", "mail.harbour.example"),
        ("mail.harbour.example.", "192.0.2.7", "mail.harbour.example"),
        ("büro.harbour.example", "192.0.2.7", "xn--bro-hoa.harbour.example"),
        ("app_1.harbour.example", "192.0.2.7", "[192.0.2.7]"),
        ("-app.harbour.example", "192.0.2.7", "[192.0.2.7]"),
        ("e3b0c44298fc", "192.0.2.7", "[192.0.2.7]"),
        ("büro", "2001:db8::7", "[IPv6:2001:db8::7]"),
        ("192.0.2.7", "192.0.2.7", "[192.0.2.7]"),
        ("", "fe80::7%eth0", "[IPv6:fe80::7]"),
    ],
)
def test_our_name_is_one_that_servers_accept(hostname: str, address: str, written: str) -> None:
    assert own_name(hostname, address) == written


def test_a_receipt_is_not_lost_when_quit_fails() -> None:
    with ScriptedSmtp({"QUIT": HANG_UP}) as server:
        assert deliver_to(server) == "250 2.0.0 queued as SCRIPTED"


def test_a_long_receipt_of_many_lines_becomes_one_short_line() -> None:
    answer = b"250-2.0.0 queued for <" + ANA.encode() + b">\r\n250 \x07" + b"x" * 500
    with ScriptedSmtp({"DOT": answer}) as server:
        receipt = deliver_to(server)
    assert receipt.startswith("250 2.0.0 queued for (address) ?xxx")
    assert len(receipt) == 200
