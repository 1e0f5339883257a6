"""The mailer: gives an email to the mail server, and brings back its receipt or an error.

It never tries twice. Waiting and trying again is the ledger's business, and whether an email that
may have gone is sent again is a person's.
"""

import contextlib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol

from schemas.errors import ActionRefused, AddressUnusable, MailStopped
from schemas.reasons import Reason
from schemas.settings import SmtpServer
from workers.mailer.address import EnvelopeAddress
from workers.mailer.connection import Connection, Patience, nothing, open_connection
from workers.mailer.errors import SEE_FROM
from workers.mailer.handover import hand_over, wire_form

_FINE = 250


@dataclass(frozen=True, slots=True)
class Steps:
    """What the caller wants to know while an email is handed over, and may stop by raising.

    `before_step` is called before each command. `before_end` is called once, just before the final
    dot: if it raises, the server has nothing; once it returned, the server may have the email.
    """

    before_step: Callable[[], None] = nothing
    before_end: Callable[[], None] = nothing


UNWATCHED = Steps()


class MailLine(Protocol):
    """Whatever emails can be given to, one after the other."""

    def deliver(
        self, message: EmailMessage, *, sender: str, recipient: str, steps: Steps = UNWATCHED
    ) -> str:
        """See `Mailer.deliver`."""


class Mailer:
    """Gives emails to one mail server. Holds no connection; safe to share between threads."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        patience: Patience | None = None,
        tls_context: ssl.SSLContext | None = None,
        heard: Callable[[str, str], None] | None = None,
    ) -> None:
        """`heard` gets each command's verb and the server's answer to it, without addresses."""
        self._server = server
        self._patience = patience or Patience()
        self._context = tls_context or ssl.create_default_context()
        self._heard = heard

    def deliver(
        self, message: EmailMessage, *, sender: str, recipient: str, steps: Steps = UNWATCHED
    ) -> str:
        """Hand one email over, over a connection of its own.

        `sender` and `recipient` are the envelope's bare addresses.

        Returns the server's receipt, such as `250 2.0.0 queued as 4F2A`, at most 200 characters and
        without addresses. It proves that the server took the email, not that anybody got it.

        Raises:
            MailUnavailable: the email is not out, and later may help.
            MailStopped: the same, and it would be so for any other email.
            AddressUnusable: the recipient's address cannot be written to.
            ActionRefused: a final no to this email; `detail` is the answer without addresses.
            HandoverUnknown: we were cut off after handing it over; it may be out.
        """
        with self.connected() as line:
            return line.deliver(message, sender=sender, recipient=recipient, steps=steps)

    def probe(self) -> None:
        """Connect, encrypt and log in as for an email, and hang up.

        Raises:
            MailStopped: one of these fails.
        """
        connection = self._open(nothing)
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()
        connection.close()

    @contextlib.contextmanager
    def connected(self) -> Iterator[MailLine]:
        """Give several emails over one connection, opened with the first of them."""
        line = _Line(self._open)
        try:
            yield line
        finally:
            line.close()

    def _open(self, before_step: Callable[[], None]) -> Connection:
        return open_connection(
            self._server, self._context, self._patience, before_step, self._heard
        )


class _Line:
    """One connection, renewed whenever there is a doubt about it. For one thread."""

    def __init__(self, connect: Callable[[Callable[[], None]], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def deliver(
        self, message: EmailMessage, *, sender: str, recipient: str, steps: Steps = UNWATCHED
    ) -> str:
        """Hand one email over; see `Mailer.deliver`."""
        from_address = _sender_address(sender)
        to_address = EnvelopeAddress.parse(recipient)
        body = wire_form(message, utf8=not (from_address.is_ascii and to_address.is_ascii))
        connection = self._ready(steps.before_step)
        try:
            receipt = hand_over(
                connection,
                body,
                sender=from_address,
                recipient=to_address,
                before_end=steps.before_end,
            )
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

    def _ready(self, before_step: Callable[[], None]) -> Connection:
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
        raise MailStopped(
            Reason.MAIL_SENDER, f"the sender's address cannot be written; {SEE_FROM}"
        ) from None
