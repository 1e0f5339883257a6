"""Opens a connection to the mail server that is encrypted and logged in as the settings ask.

It never falls back: if STARTTLS is required and not offered, or a certificate is not valid, no
email is sent unencrypted.
"""

import base64
import hmac
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from schemas.errors import ChannelUnavailable
from schemas.reasons import Reason
from schemas.settings import SmtpServer, TlsMode
from schemas.text import ascii_domain
from workers.actions.base import no_op
from workers.actions.email.access_token import SEE_TOKENS, AccessTokens
from workers.actions.email.answers import SEE_URL, quotable
from workers.source.deadline import Deadline, DeadlineTlsSocket, connect_within

_YES = range(200, 300)
_REFUSED = range(500, 600)
_LOGGED_IN = frozenset({235, 503})  # 503: already
_CHALLENGE = 334
_LATER = range(400, 500)
_MOST_CHALLENGES = 5
_MECHANISMS = ("CRAM-MD5", "PLAIN", "LOGIN")  # in this order of preference


@dataclass(frozen=True, slots=True)
class SmtpTimeouts:
    """Timeouts in seconds: to connect, for each answer, and for the whole session.

    Servers that slow down strangers do so with their greeting, so connecting has its own timeout.
    `session_s` ends before the final dot of an email, whose answer has `end_s`. Together with the
    reading that precedes an email, both are well under a task's limit.
    """

    connect_s: float = 10.0
    answer_s: float = 30.0
    session_s: float = 60.0
    end_s: float = 45.0


class SmtpConnection(smtplib.SMTP):
    """The standard library's client with a deadline, and with implicit TLS if the settings say so.

    `before_step` is called before each command; an exception from it ends the session. `on_answer`
    is called with each command's verb and its answer, without addresses. `emails` counts those it
    carried. `idle` and `age` limit how long it may be kept open.
    """

    def __init__(
        self,
        server: SmtpServer,
        context: ssl.SSLContext,
        timeouts: SmtpTimeouts,
        before_step: Callable[[], None] = no_op,
        on_answer: Callable[[str, str], None] | None = None,
    ) -> None:
        self._implicit = context if server.tls is TlsMode.IMPLICIT else None
        self._timeouts = timeouts
        self._deadline = Deadline(timeouts.answer_s)
        self._on_answer = on_answer
        self._verb = "CONNECT"
        self.emails, self.idle, self.age = 0, Deadline(), Deadline()
        self.begin(before_step)
        # Pass a name: the default asks the name service, which may be slow.
        super().__init__(server.host, server.port, "localhost")
        address = self.sock.getsockname()[0] if self.sock else "127.0.0.1"
        self.local_hostname = own_name(socket.gethostname(), address)

    def begin(self, before_step: Callable[[], None], whole_s: float | None = None) -> None:
        """Start the time for one email, or for as many seconds."""
        self.before_step = before_step
        self._deadline.piece_s = self._timeouts.answer_s
        self._deadline.start(self._timeouts.session_s if whole_s is None else whole_s)

    def start_end(self) -> None:
        """Start the time for the answer to the final dot."""
        self._verb = "END"
        self._deadline.piece_s = self._timeouts.end_s
        self._deadline.start(self._timeouts.end_s)

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command; the library calls this for each."""
        self.before_step()
        is_verb = cmd.isalpha()  # else it answers a login challenge
        self._verb = cmd.upper() if is_verb else self._verb
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer; the library calls this for each."""
        code, text = super().getreply()
        if self._on_answer is not None:
            self._on_answer(self._verb, quotable(code, text))
        return code, text

    def starttls(self, *_: Any, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:  # noqa: ANN401 - the library's other arguments are unused
        """Encrypt the connection, and keep the deadline on the encrypted socket."""
        answer = super().starttls(context=context)
        cast("DeadlineTlsSocket", self.sock).deadline = self._deadline
        return answer

    def log_in(self, username: str, password: str) -> tuple[int, bytes]:
        """Log in with an offered mechanism, and return the last answer.

        Unlike in the library's `login`, user and password may contain any character (RFC 4616).
        """
        offered = self.esmtp_features.get("auth", "").upper().split()
        answer = (-1, b"")
        for mechanism in (one for one in _MECHANISMS if one in offered):
            answer = self._try_login(mechanism, username, password)
            if answer[0] in _LOGGED_IN or answer[0] in _LATER:
                break
        return answer

    def log_in_by_token(self, username: str, token: str) -> tuple[int, bytes]:
        """Log in with an access token (XOAUTH2), and return the last answer."""
        if "XOAUTH2" not in self.esmtp_features.get("auth", "").upper().split():
            return -1, b""
        proof = f"user={username}\1auth=Bearer {token}\1\1".encode()
        code, text = self.docmd("AUTH", f"XOAUTH2 {_base64(proof)}")
        # The challenge describes the error; the final answer follows an empty response.
        return self.docmd("") if code == _CHALLENGE else (code, text)

    def _try_login(self, mechanism: str, username: str, password: str) -> tuple[int, bytes]:
        user, secret = username.encode(), password.encode()
        if mechanism == "PLAIN":
            return self.docmd("AUTH", f"PLAIN {_base64(bytes(1) + user + bytes(1) + secret)}")
        code, text = self.docmd("AUTH", mechanism)
        answers = [user, secret]
        for _ in range(_MOST_CHALLENGES):
            if code != _CHALLENGE:
                break
            if mechanism == "CRAM-MD5":
                proof = hmac.new(secret, base64.decodebytes(text), "md5").hexdigest()
                response = user + b" " + proof.encode()
            else:
                response = answers.pop(0) if answers else b""
            code, text = self.docmd(_base64(response))
        return code, text

    def _get_socket(self, host: str, port: int, _: float) -> socket.socket:
        plain = connect_within(self._deadline, host, port, self._timeouts.connect_s)
        plain.settimeout(self._deadline.left_s(self._timeouts.answer_s))
        if self._implicit is None:
            return plain
        try:
            encrypted = self._implicit.wrap_socket(plain, server_hostname=host)
        except (OSError, ValueError):
            plain.close()
            raise
        cast("DeadlineTlsSocket", encrypted).deadline = self._deadline
        return encrypted


def own_name(hostname: str, address: str) -> str:
    """Return the name for EHLO (RFC 5321, section 4.1.3): a domain, else our address.

    Servers refuse a name with an underscore or without a dot, which hostnames may have.
    """
    name = ascii_domain(hostname.rstrip("."))
    if name is not None and "." in name and not name.replace(".", "").isdigit():
        return name
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def open_connection(  # noqa: PLR0913, PLR0917 - where, how, how long, and what to call
    server: SmtpServer,
    context: ssl.SSLContext,
    timeouts: SmtpTimeouts,
    before_step: Callable[[], None] = no_op,
    on_answer: Callable[[str, str], None] | None = None,
    tokens: AccessTokens | None = None,
) -> SmtpConnection:
    """Return a connection ready for MAIL. With `tokens`, the login is by access token.

    Raises:
        ChannelUnavailable: the server was not reached, or refused us, encryption or the login.
    """
    context.sslsocket_class = DeadlineTlsSocket
    # Before the server waits for us.
    token = None if tokens is None else tokens.current()
    try:
        connection = SmtpConnection(server, context, timeouts, before_step, on_answer)
    except (OSError, ValueError, smtplib.SMTPException) as error:
        _unreachable(error)
    try:
        _greet(connection)
        if server.tls is TlsMode.STARTTLS:
            _encrypt(connection, context)
            _greet(connection)
        if server.username is not None and tokens is not None:
            _log_in_by_token(connection, server.username, tokens, token or "")
        elif server.username is not None:
            _log_in(connection, server.username, server.password or "")
    except (OSError, ValueError, smtplib.SMTPException) as error:
        connection.close()
        _unreachable(error)
    except BaseException:
        connection.close()
        raise
    return connection


def _unreachable(error: Exception) -> NoReturn:
    if isinstance(error, ssl.SSLCertVerificationError):
        raise ChannelUnavailable(
            Reason.MAIL_CERTIFICATE,
            f"the mail server's certificate is not valid; {SEE_URL}",
            answer=error.verify_message,
        ) from error
    if isinstance(error, ssl.SSLError) and not isinstance(
        error, ssl.SSLEOFError | ssl.SSLZeroReturnError
    ):
        raise ChannelUnavailable(
            Reason.MAIL_TLS,
            f"the encrypted connection to the mail server fails; {SEE_URL}",
            answer=(error.reason or type(error).__name__).replace("_", " ").lower(),
        ) from error
    if isinstance(error, smtplib.SMTPResponseException):
        _raise_for(error.smtp_code, error.smtp_error)
    raise ChannelUnavailable(
        Reason.MAIL_UNREACHABLE,
        f"the mail server cannot be reached; {SEE_URL}",
        answer=_why_unreachable(error),
    ) from error


def _raise_for(code: int, text: bytes | str) -> NoReturn:
    """Raise for a negative greeting or answer to EHLO."""
    answer = quotable(code, text)
    if code in _REFUSED:
        raise ChannelUnavailable(
            Reason.MAIL_REFUSES_US, "the mail server refuses to talk to this machine", answer=answer
        )
    if code < 0:
        raise ChannelUnavailable(
            Reason.MAIL_UNREACHABLE,
            f"the program that answers is not a mail server; {SEE_URL}",
            answer=answer,
        )
    raise ChannelUnavailable(Reason.MAIL_BUSY, "the mail server takes no email now", answer=answer)


def _why_unreachable(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        timed_out = isinstance(error.__context__, TimeoutError)
        return "it did not answer in time" if timed_out else "it closed the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


def _greet(connection: SmtpConnection) -> None:
    # The library also tries HELO after a temporary refusal, which a server may then accept.
    code, text = connection.ehlo()
    if code in _REFUSED:
        code, text = connection.helo()
    if code not in _YES:
        raise smtplib.SMTPHeloError(code, text)


def _encrypt(connection: SmtpConnection, context: ssl.SSLContext) -> None:
    if not connection.has_extn("starttls"):
        raise ChannelUnavailable(
            Reason.MAIL_STARTTLS, f"the mail server does not offer STARTTLS; {SEE_URL}"
        )
    try:
        connection.starttls(context=context)
    except smtplib.SMTPResponseException as refused:
        answer = quotable(refused.smtp_code, refused.smtp_error)
        if refused.smtp_code in _REFUSED:
            raise ChannelUnavailable(
                Reason.MAIL_STARTTLS,
                f"the mail server refused STARTTLS; {SEE_URL}",
                answer=answer,
            ) from None
        raise ChannelUnavailable(
            Reason.MAIL_BUSY, "the mail server postponed STARTTLS", answer=answer
        ) from None


def _log_in_by_token(
    connection: SmtpConnection, username: str, tokens: AccessTokens, token: str
) -> None:
    answer = connection.log_in_by_token(username, token)
    if answer[0] in _REFUSED:
        another = tokens.instead_of(token)
        answer = connection.log_in_by_token(username, another) if another else answer
    _check_login(*answer, see=SEE_TOKENS)


def _log_in(connection: SmtpConnection, username: str, password: str) -> None:
    _check_login(*connection.log_in(username, password), see=SEE_URL)


def _check_login(code: int, text: bytes, *, see: str) -> None:
    if code in _LOGGED_IN:
        return
    if code < 0:
        raise ChannelUnavailable(
            Reason.MAIL_LOGIN, f"the mail server offers no login method that we support; {see}"
        )
    answer = quotable(code, text)
    if code in _REFUSED or code == _CHALLENGE:
        raise ChannelUnavailable(
            Reason.MAIL_LOGIN, f"the mail server refused the login; {see}", answer=answer
        )
    raise ChannelUnavailable(Reason.MAIL_BUSY, "the mail server postponed the login", answer=answer)
