"""Opens a connection to the mail server that is encrypted and signed in as the settings ask.

Nothing is softened: if STARTTLS is asked for and not offered, or a certificate does not hold, no
email leaves in the clear.
"""

import smtplib
import socket
import ssl
from dataclasses import dataclass
from typing import NoReturn

from schemas.errors import MailUnavailable
from schemas.settings import SmtpServer, TlsMode
from workers.mailer.errors import MailRefusedUs, quotable

_SEE = "see COURSEBELL_SMTP_URL"
_YES = range(200, 300)
_REFUSED = range(500, 600)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait, in seconds: to connect, and for each answer.

    Two numbers, because servers that slow strangers down do so with their greeting.
    """

    connect_s: float = 10.0
    answer_s: float = 30.0


class _Connection(smtplib.SMTP):
    """The standard library's client, with two timeouts, and encrypted at once if so asked."""

    def __init__(self, server: SmtpServer, context: ssl.SSLContext, patience: Patience) -> None:
        self._implicit = context if server.tls is TlsMode.IMPLICIT else None
        self._answer_s = patience.answer_s
        # A name must be given: the default asks the name service, which may take long.
        super().__init__(server.host, server.port, "localhost", timeout=patience.connect_s)
        self.local_hostname = self._own_name()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        # The library sends body and final dot apart; the dot must not wait for an acknowledgement.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = (
                self._implicit.wrap_socket(plain, server_hostname=host) if self._implicit else plain
            )
        except (OSError, ValueError):
            plain.close()
            raise
        sock.settimeout(self._answer_s)
        return sock

    def _own_name(self) -> str:
        name = socket.gethostname()
        if "." in name and name.isascii():
            return name
        address = self.sock.getsockname()[0] if self.sock else "127.0.0.1"
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"  # RFC 5321, section 4.1.3


def open_connection(
    server: SmtpServer, context: ssl.SSLContext, patience: Patience
) -> smtplib.SMTP:
    """Return a connection ready for MAIL.

    Raises:
        MailUnavailable: no connection, no usable greeting or EHLO, or a "later".
        MailRefusedUs: encryption as asked for is not possible, or the login was refused.
    """
    try:
        connection = _Connection(server, context, patience)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        _unreachable(error)
    try:
        _greet(connection)
        if server.tls is TlsMode.STARTTLS:
            _encrypt(connection, context)
            _greet(connection)
        if server.username is not None:
            _log_in(connection, server.username, server.password or "")
    except (OSError, ValueError, smtplib.SMTPException) as error:
        connection.close()
        _unreachable(error)
    except BaseException:
        connection.close()
        raise
    return connection


def _unreachable(error: Exception) -> NoReturn:
    if isinstance(error, ssl.SSLError | ssl.CertificateError) and not isinstance(
        error, ssl.SSLEOFError | ssl.SSLZeroReturnError
    ):
        raise MailRefusedUs(
            f"the mail server's encryption does not hold ({error.reason}); {_SEE}"
        ) from error
    if isinstance(error, smtplib.SMTPResponseException):
        answer = quotable(error.smtp_code, error.smtp_error)
        raise MailUnavailable(f"the mail server does not talk to us now: {answer}") from None
    raise MailUnavailable(f"the mail server cannot be reached ({type(error).__name__})") from error


def _greet(connection: smtplib.SMTP) -> None:
    # The library's own way tries HELO also after a "later", and a server may then say yes.
    code, text = connection.ehlo()
    if code in _REFUSED:
        code, text = connection.helo()
    if code not in _YES:
        raise smtplib.SMTPHeloError(code, text)


def _encrypt(connection: smtplib.SMTP, context: ssl.SSLContext) -> None:
    if not connection.has_extn("starttls"):
        raise MailRefusedUs(f"the mail server does not offer STARTTLS; {_SEE}")
    try:
        connection.starttls(context=context)
    except smtplib.SMTPResponseException as answer:
        _refused_unless_later(answer, "STARTTLS")


def _log_in(connection: smtplib.SMTP, username: str, password: str) -> None:
    try:
        connection.login(username, password)
    except smtplib.SMTPResponseException as answer:
        _refused_unless_later(answer, "the login")
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPException:
        raise MailRefusedUs(f"the mail server offers no login that we know; {_SEE}") from None
    except UnicodeEncodeError:
        # From None: the original error holds the password.
        raise MailRefusedUs(f"user and password must be ASCII; {_SEE}") from None


def _refused_unless_later(answer: smtplib.SMTPResponseException, what: str) -> NoReturn:
    told = quotable(answer.smtp_code, answer.smtp_error)
    if answer.smtp_code in _REFUSED:
        raise MailRefusedUs(f"the mail server refused {what}; {_SEE}: {told}") from None
    raise MailUnavailable(f"the mail server put {what} off: {told}") from None
