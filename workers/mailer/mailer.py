"""The mailer: gives an email to the mail server, and brings back its receipt or an error.

It never tries twice. Waiting and trying again is the ledger's business, and whether an email that
may have gone is sent again is a person's.
"""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Protocol

from schemas.errors import ActionRefused
from schemas.settings import SmtpServer
from workers.mailer.address import EnvelopeAddress
from workers.mailer.connection import Patience, open_connection
from workers.mailer.handover import hand_over, wire_form

_FINE = 250


class MailLine(Protocol):
    """Whatever emails can be given to, one after the other."""

    def deliver(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
        """See `Mailer.deliver`."""


class Mailer:
    """Gives emails to one mail server. Holds no connection; safe to share between threads."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        connect_timeout_s: float = 10.0,
        answer_timeout_s: float = 30.0,
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._patience = Patience(connect_timeout_s, answer_timeout_s)
        self._context = tls_context or ssl.create_default_context()

    def deliver(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
        """Hand one email over, over a connection of its own.

        `sender` and `recipient` are the envelope's bare addresses.

        Returns the server's receipt, such as `250 2.0.0 queued as 4F2A`, at most 200 characters and
        without addresses. It proves that the server took the email, not that anybody got it.

        Raises:
            MailUnavailable: the email is not out, and later may help.
            MailRefusedUs: the same, but login or encryption are at fault; names the setting.
            ActionRefused: a final no to this email; `detail` is the answer without addresses.
            HandoverUnknown: we were cut off after handing it over; it may be out.
        """
        with self.connected() as line:
            return line.deliver(message, sender=sender, recipient=recipient)

    @contextlib.contextmanager
    def connected(self) -> Iterator[MailLine]:
        """Give several emails over one connection, opened with the first of them."""
        line = _Line(self._server, self._context, self._patience)
        try:
            yield line
        finally:
            line.close()


class _Line:
    """One connection, renewed whenever there is a doubt about it. For one thread."""

    def __init__(self, server: SmtpServer, context: ssl.SSLContext, patience: Patience) -> None:
        self._server, self._context, self._patience = server, context, patience
        self._connection: smtplib.SMTP | None = None

    def deliver(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
        """Hand one email over; see `Mailer.deliver`."""
        from_address = EnvelopeAddress.parse(sender)
        to_address = EnvelopeAddress.parse(recipient)
        body = wire_form(message, utf8=not (from_address.is_ascii and to_address.is_ascii))
        connection = self._ready()
        try:
            receipt = hand_over(connection, body, sender=from_address, recipient=to_address)
        except ActionRefused:
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

    def _ready(self) -> smtplib.SMTP:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                if connection.rset()[0] == _FINE:
                    return connection
            connection.close()
        return open_connection(self._server, self._context, self._patience)
