"""Sends messages through the mail server, and tells on which side of the final dot it broke.

Before the final dot the server has nothing, so another try is safe. From the dot on it may have the
email even if no answer arrives, so another try might be a second email. `smtplib.SMTP.data` sends
body and dot as one; here they are two. Nothing here retries: the ledger decides about that, and an
operator decides whether an email that may have gone is sent again.
"""

import contextlib
import re
import selectors
import smtplib
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from typing import Protocol

from schemas.errors import ChannelUnavailable, DeliveryRefused, DeliveryUnknown
from schemas.reasons import Reason
from schemas.settings import SmtpServer
from workers.actions.base import Checkpoints, no_op
from workers.actions.email.answers import (
    SEE_FROM,
    AddressUnusable,
    EnvelopeAddress,
    Step,
    quotable,
    refusal,
)
from workers.actions.email.connection import SmtpConnection, SmtpTimeouts, open_connection

_YES = range(200, 300)
_GO_ON = range(300, 400)
_NO = range(400, 600)
_FINE = 250
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
NO_CHECKPOINTS = Checkpoints()


class MailTransport(Protocol):
    """Whatever emails can be given to, one after the other."""

    def deliver(
        self,
        message: EmailMessage,
        *,
        sender: str,
        recipient: str,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> str:
        """See `Mailer.deliver`."""


class Mailer:
    """Gives emails to one mail server. Holds no connection; safe to share between threads."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        timeouts: SmtpTimeouts | None = None,
        tls_context: ssl.SSLContext | None = None,
        on_answer: Callable[[str, str], None] | None = None,
    ) -> None:
        """`on_answer` gets each command's verb and the server's answer to it, without addresses."""
        self._server = server
        self._timeouts = timeouts or SmtpTimeouts()
        self._context = tls_context or ssl.create_default_context()
        self._on_answer = on_answer

    def deliver(
        self,
        message: EmailMessage,
        *,
        sender: str,
        recipient: str,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> str:
        """Hand one email over, over a connection of its own.

        `sender` and `recipient` are the envelope's bare addresses.

        Returns the server's receipt, such as `250 2.0.0 queued as 4F2A`, at most 200 characters and
        without addresses. It proves that the server took the email, not that anybody got it.

        Raises:
            DeliveryUnavailable: the email is not out, and later may help.
            ChannelUnavailable: the same, and it would be so for any other email.
            AddressUnusable: the recipient's address cannot be written to.
            DeliveryRefused: a final no to this email; `detail` is the answer without addresses.
            DeliveryUnknown: we were cut off after handing it over; it may be out.
        """
        with self.connected() as line:
            return line.deliver(
                message, sender=sender, recipient=recipient, checkpoints=checkpoints
            )

    def probe(self) -> None:
        """Connect, encrypt and log in as for an email, and hang up.

        Raises:
            ChannelUnavailable: one of these fails.
        """
        connection = self._open(no_op)
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()
        connection.close()

    @contextlib.contextmanager
    def connected(self) -> Iterator[MailTransport]:
        """Give several emails over one connection, opened with the first of them."""
        line = _Line(self._open)
        try:
            yield line
        finally:
            line.close()

    def _open(self, before_step: Callable[[], None]) -> SmtpConnection:
        return open_connection(
            self._server, self._context, self._timeouts, before_step, self._on_answer
        )


class _Line:
    """One connection, renewed whenever there is a doubt about it. For one thread."""

    def __init__(self, connect: Callable[[Callable[[], None]], SmtpConnection]) -> None:
        self._connect = connect
        self._connection: SmtpConnection | None = None

    def deliver(
        self,
        message: EmailMessage,
        *,
        sender: str,
        recipient: str,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> str:
        """Hand one email over; see `Mailer.deliver`."""
        from_address = _sender_address(sender)
        to_address = EnvelopeAddress.parse(recipient)
        body = wire_form(message, utf8=not (from_address.is_ascii and to_address.is_ascii))
        connection = self._ready(checkpoints.before_step)
        try:
            receipt = transmit(
                connection,
                body,
                sender=from_address,
                recipient=to_address,
                before_commit=checkpoints.before_commit,
            )
        except DeliveryRefused:
            self._connection = connection  # a plain answer, and RSET comes before the next email
            raise
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return receipt

    def close(self) -> None:
        """Take leave. What has been acknowledged stays so, whatever the server says now."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                connection.quit()
            connection.close()

    def _ready(self, before_step: Callable[[], None]) -> SmtpConnection:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.before_step = before_step
            connection.start_session()
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if connection.rset()[0] == _FINE:
                    return connection
            connection.close()
        return self._connect(before_step)


def _sender_address(sender: str) -> EnvelopeAddress:
    try:
        return EnvelopeAddress.parse(sender)
    except AddressUnusable:
        raise ChannelUnavailable(
            Reason.MAIL_SENDER, f"the sender's address cannot be written; {SEE_FROM}"
        ) from None


def wire_form(message: EmailMessage, *, utf8: bool) -> bytes:
    """Return the message as it is sent: CRLF everywhere, the last line ended, no dots doubled yet.

    `utf8` writes headers as UTF-8 (RFC 6532), which only an address outside ASCII needs. What was
    folded is not folded again: `workers.actions.email.message` says why.
    """
    policy = SMTP.clone(refold_source="none", utf8=utf8)
    body = message.as_bytes(policy=policy)
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def transmit(
    connection: SmtpConnection,
    body: bytes,
    *,
    sender: EnvelopeAddress,
    recipient: EnvelopeAddress,
    before_commit: Callable[[], None],
) -> str:
    """Go through MAIL, RCPT and DATA; return the receipt. Raises what `Mailer.deliver` does.

    `before_commit` is called just before the final dot, which is not sent if it raises.
    """
    try:
        _introduce(connection, len(body), sender, recipient)
        # `^` matches after \n alone, and wire_form leaves no \n without its \r.
        connection.send(_LEADING_DOT.sub(b"..", body))
    except (OSError, smtplib.SMTPException) as error:
        raise _interrupted(type(error).__name__) from error
    _check_still_there(connection)
    before_commit()
    _check_still_there(connection)
    connection.start_end()
    try:
        connection.send(b".\r\n")
        code, text = connection.getreply()
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryUnknown(
            "the connection was lost after the email was handed over, before it was acknowledged"
        ) from error
    if code in _YES:
        return quotable(code, text)
    if code in _NO:
        raise refusal(code, text, step=Step.END)
    raise DeliveryUnknown("the mail server's last answer cannot be understood")


def _check_still_there(connection: SmtpConnection) -> None:
    if has_something_to_read(connection):
        raise _interrupted("the mail server broke off")


def _interrupted(how: str) -> ChannelUnavailable:
    return ChannelUnavailable(
        Reason.MAIL_INTERRUPTED,
        "the connection was lost before the email was complete",
        answer=how,
    )


def has_something_to_read(connection: smtplib.SMTP) -> bool:
    """Whether the server spoke or hung up within the text, where it has nothing to say."""
    if connection.sock is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _introduce(
    connection: SmtpConnection, size: int, sender: EnvelopeAddress, recipient: EnvelopeAddress
) -> None:
    options = [f"SIZE={size}"] if connection.has_extn("size") else []
    if not (sender.is_ascii and recipient.is_ascii):
        if not connection.has_extn("smtputf8"):
            raise DeliveryRefused("the mail server cannot write to addresses outside ASCII")
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    _expect(_YES, connection.mail(str(sender), options), step=Step.SENDER)
    _expect(_YES, connection.rcpt(str(recipient)), step=Step.RECIPIENT)
    _expect(_GO_ON, connection.docmd("DATA"), step=Step.TEXT)


def _expect(wanted: range, answer: tuple[int, bytes], *, step: Step) -> None:
    code, text = answer
    if code not in wanted:
        raise refusal(code, text, step=step)
