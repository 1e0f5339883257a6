"""Sends messages by SMTP; tells failures before the final dot from those after it.

Before the final dot the server has nothing, so a retry is safe. From the dot on it may have the
email even without an answer, so a retry might send a second one. `smtplib.SMTP.data` sends body and
dot as one; here they are two. Nothing here retries: the ledger decides that, and an operator
decides whether to send again an email that may have been sent.
"""

import contextlib
import math
import re
import selectors
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import SMTP
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol, Self

from schemas.errors import (
    ChannelUnavailable,
    ConfigurationError,
    DeliveryRefused,
    DeliveryUnknown,
)
from schemas.reasons import Reason
from schemas.settings import Settings, SmtpServer, TlsMode
from workers.actions.base import Checkpoints, no_op
from workers.actions.email.access_token import AccessTokens, OAuthClient
from workers.actions.email.answers import (
    SEE_FROM,
    AddressUnusable,
    EnvelopeAddress,
    Step,
    quotable,
    refusal,
)
from workers.actions.email.connection import SmtpConnection, SmtpTimeouts, open_connection
from workers.actions.email.kept_connection import KeptConnection, ReuseLimits, say_goodbye
from workers.source.deadline import Deadline

if TYPE_CHECKING:
    from workers.actions.email.dkim import DkimSigner

_YES = range(200, 300)
_CONTINUE = range(300, 400)
_NO = range(400, 600)
_MOST_DIGITS = 20  # of an announced size; RFC 1870, section 4
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
_SIGNER = "workers.actions.email.dkim:DkimSigner"  # imported only where a key is set
NO_CHECKPOINTS = Checkpoints()


class MailTransport(Protocol):
    """Something that delivers emails."""

    def deliver(
        self,
        message: EmailMessage,
        *,
        sender: str,
        recipient: str,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> str:
        """See `Mailer.deliver`."""

    def in_a_row(self) -> AbstractContextManager[None]:
        """See `Mailer.in_a_row`."""


class Mailer:
    """Sends emails through one mail server. Safe to share between threads."""

    def __init__(  # noqa: PLR0913 - the independent parts of sending
        self,
        server: SmtpServer,
        *,
        timeouts: SmtpTimeouts | None = None,
        tls_context: ssl.SSLContext | None = None,
        on_answer: Callable[[str, str], None] | None = None,
        reuse: ReuseLimits | None = None,
        tokens: AccessTokens | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """`on_answer` receives each command's verb and its answer, without addresses.

        With `tokens`, logins are by access token. `reuse` limits the use of one connection for
        several emails; see `in_a_row`. `sign` adds a signature to an email in the form in which it
        is sent.
        """
        self._server = server
        self._timeouts = timeouts or SmtpTimeouts()
        self._context = tls_context or _tls_context(server.tls)
        self._on_answer = on_answer
        self._tokens, self._sign = tokens, sign
        self._kept = KeptConnection(reuse)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        on_answer: Callable[[str, str], None] | None = None,
        timeouts: SmtpTimeouts | None = None,
    ) -> Self | None:
        """Return the mailer for these settings; None if no server is set."""
        if settings.smtp is None:
            return None
        client = OAuthClient.from_settings(settings)
        tokens = None if client is None else AccessTokens(client)
        signer = signer_of(settings)
        sign = None if signer is None else signer.signed
        return cls(settings.smtp, timeouts=timeouts, on_answer=on_answer, tokens=tokens, sign=sign)

    def in_a_row(self) -> AbstractContextManager[None]:
        """Return a context in which emails share a connection. Outside of it, each has its own."""
        return self._kept.in_a_row()

    def deliver(
        self,
        message: EmailMessage,
        *,
        sender: str,
        recipient: str,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> str:
        """Send one email.

        `sender` and `recipient` are the envelope's bare addresses.

        Returns the server's receipt, such as `250 2.0.0 queued as 4F2A`, at most 200 characters and
        without addresses. It proves that the server accepted the email, not that the
        recipient got it.

        Raises:
            DeliveryUnavailable: the email was not sent, and a later try may help.
            ChannelUnavailable: the same, and it holds for any other email.
            AddressUnusable: the recipient's address cannot be used.
            DeliveryRefused: this email was refused; `detail` is the answer without addresses.
            DeliveryUnknown: the connection was lost after the final dot; it may have been sent.
        """
        from_address = _sender_address(sender)
        to_address = EnvelopeAddress.parse(recipient)
        body = wire_form(message, utf8=not (from_address.is_ascii and to_address.is_ascii))
        body = body if self._sign is None else self._sign(body)
        envelope = Envelope(from_address, to_address, len(body))
        connection = self._introduced(envelope, checkpoints.before_step)
        with self._ending(connection):
            receipt = hand_over(connection, body, checkpoints.before_commit)
        self._kept.put(connection)
        return receipt

    def probe(self) -> None:
        """Connect, encrypt and log in as for an email, and disconnect.

        Raises:
            ChannelUnavailable: one of these failed.
        """
        say_goodbye(self._open(no_op, self._timeouts.session_s))

    def _introduced(self, envelope: "Envelope", before_step: Callable[[], None]) -> SmtpConnection:
        """Return a connection that waits for the text of this email."""
        whole = Deadline()
        whole.start(self._timeouts.session_s)
        kept = self._kept.take(before_step)
        if kept is not None:
            # What is about more than this email may be about this connection alone.
            with contextlib.suppress(ChannelUnavailable), self._ending(kept):
                introduce(kept, envelope)
                return kept
        connection = self._open(before_step, whole.rest_s)
        with self._ending(connection):
            introduce(connection, envelope)
        return connection

    def _open(self, before_step: Callable[[], None], session_s: float) -> SmtpConnection:
        timeouts = replace(self._timeouts, session_s=session_s)
        return open_connection(
            self._server, self._context, timeouts, before_step, self._on_answer, self._tokens
        )

    @contextlib.contextmanager
    def _ending(self, connection: SmtpConnection) -> Iterator[None]:
        """Close the connection after an error, unless its session is intact."""
        try:
            yield
        except DeliveryRefused:
            self._kept.put(connection)
            raise
        except BaseException:
            connection.close()
            raise


def signer_of(settings: Settings) -> "DkimSigner | None":
    """Return what signs emails; None if no key is set.

    Raises:
        ConfigurationError: the key cannot be used, or the library for keys is not installed.
    """
    if settings.dkim_key is None:
        return None
    try:
        signer: type[DkimSigner] = resolve_name(_SIGNER)
    except ImportError:
        raise ConfigurationError(
            ["COURSEBELL_DKIM_KEY: needs the package `cryptography` (the extra `dkim`)"]
        ) from None
    return signer.from_settings(settings)


def _tls_context(mode: TlsMode) -> ssl.SSLContext:
    """Return a context that trusts the machine's authorities; unencrypted, one that trusts none.

    Loading the authorities takes 20 ms.
    """
    if mode is TlsMode.NONE:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


def _sender_address(sender: str) -> EnvelopeAddress:
    try:
        return EnvelopeAddress.parse(sender)
    except AddressUnusable:
        raise ChannelUnavailable(
            Reason.MAIL_SENDER, f"the sender's address cannot be written; {SEE_FROM}"
        ) from None


def wire_form(message: EmailMessage, *, utf8: bool) -> bytes:
    """Return the message as sent: CRLF everywhere, the last line ended, dots not doubled yet.

    `utf8` writes headers as UTF-8 (RFC 6532), which only non-ASCII addresses need. Headers are not
    folded again: see `workers.actions.email.message`.
    """
    policy = SMTP.clone(refold_source="none", utf8=utf8)
    body = message.as_bytes(policy=policy)
    return body if body.endswith(b"\r\n") else body + b"\r\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the server learns of an email before its text. `size` is in bytes."""

    sender: EnvelopeAddress
    recipient: EnvelopeAddress
    size: int


def introduce(connection: SmtpConnection, envelope: Envelope) -> None:
    """Send MAIL, RCPT and DATA. Raises as `Mailer.deliver`."""
    options = _mail_options(connection, envelope)
    try:
        _expect(_YES, connection.mail(str(envelope.sender), options), step=Step.SENDER)
        _expect(_YES, connection.rcpt(str(envelope.recipient)), step=Step.RECIPIENT)
        _expect(_CONTINUE, connection.docmd("DATA"), step=Step.TEXT)
    except (OSError, smtplib.SMTPException) as error:
        raise _interrupted(type(error).__name__) from error


def hand_over(connection: SmtpConnection, body: bytes, before_commit: Callable[[], None]) -> str:
    """Send the text and return the receipt. Raises as `Mailer.deliver`.

    `before_commit` is called just before the final dot, which is not sent if it raises.
    """
    try:
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
        raise _interrupted("the mail server closed the connection")


def _interrupted(how: str) -> ChannelUnavailable:
    return ChannelUnavailable(
        Reason.MAIL_INTERRUPTED,
        "the connection was lost before the email was complete",
        answer=how,
    )


def has_something_to_read(connection: smtplib.SMTP) -> bool:
    """Return whether the server answered or disconnected where it must be silent."""
    if connection.sock is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _mail_options(connection: SmtpConnection, envelope: Envelope) -> list[str]:
    """Return the options of MAIL. Raises if the server cannot take such an email."""
    size, sender = envelope.size, envelope.sender
    options = [f"SIZE={size}"] if connection.has_extn("size") else []
    if size > (limit := _size_limit(connection)):
        raise DeliveryRefused(
            "the email is larger than the mail server accepts",
            detail=f"the email has {size:,} bytes, and the mail server accepts {limit:,}",
            reason=Reason.MAIL_TOO_LARGE,
        )
    if not (sender.is_ascii and envelope.recipient.is_ascii):
        if not connection.has_extn("smtputf8"):
            raise _without_smtputf8(sender)
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    return options


def _size_limit(connection: SmtpConnection) -> float:
    """Return the most bytes that the server announced (RFC 1870); infinite without a limit."""
    announced = connection.esmtp_features.get("size", "")
    is_limit = announced.isascii() and announced.isdigit() and len(announced) <= _MOST_DIGITS
    return int(announced) or math.inf if is_limit else math.inf


def _without_smtputf8(sender: EnvelopeAddress) -> ChannelUnavailable | DeliveryRefused:
    if sender.is_ascii:
        return DeliveryRefused("the mail server cannot write to addresses outside ASCII")
    return ChannelUnavailable(
        Reason.MAIL_SENDER,
        "the mail server offers no SMTPUTF8, which a sender outside ASCII before the @ needs;"
        f" {SEE_FROM}",
    )


def _expect(wanted: range, answer: tuple[int, bytes], *, step: Step) -> None:
    code, text = answer
    if code not in wanted:
        raise refusal(code, text, step=step)
