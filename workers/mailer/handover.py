"""Hands one message over an open connection, and knows on which side of the final dot it broke.

Before the dot the server has nothing, so another try is safe. From the dot on it may have the
email even if we hear nothing, so another try might be a second email. `smtplib.SMTP.data` sends
body and dot as one; here they are two.
"""

import re
import selectors
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP

from schemas.errors import ActionRefused, HandoverUnknown, MailStopped
from schemas.reasons import Reason
from workers.mailer.address import EnvelopeAddress
from workers.mailer.connection import Connection
from workers.mailer.errors import Step, quotable, refusal

_YES = range(200, 300)
_GO_ON = range(300, 400)
_NO = range(400, 600)
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


def wire_form(message: EmailMessage, *, utf8: bool) -> bytes:
    """Return the message as it is sent: CRLF everywhere, the last line ended, no dots doubled yet.

    `utf8` writes headers as UTF-8 (RFC 6532), which only an address outside ASCII needs. What was
    folded is not folded again: `workers.actions.email.head` says why.
    """
    policy = SMTP.clone(refold_source="none", utf8=utf8)
    body = message.as_bytes(policy=policy)
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def hand_over(
    connection: Connection,
    body: bytes,
    *,
    sender: EnvelopeAddress,
    recipient: EnvelopeAddress,
    before_end: Callable[[], None],
) -> str:
    """Go through MAIL, RCPT and DATA; return the receipt. Raises what `Mailer.deliver` does.

    `before_end` is called just before the final dot, which is not sent if it raises.
    """
    try:
        _introduce(connection, len(body), sender, recipient)
        # `^` matches after \n alone, and wire_form leaves no \n without its \r.
        connection.send(_LEADING_DOT.sub(b"..", body))
    except (OSError, smtplib.SMTPException) as error:
        raise _interrupted(type(error).__name__) from error
    _check_still_there(connection)
    before_end()
    _check_still_there(connection)
    connection.start_end()
    try:
        connection.send(b".\r\n")
        code, text = connection.getreply()
    except (OSError, smtplib.SMTPException) as error:
        raise HandoverUnknown(
            "the connection was lost after the email was handed over, before it was acknowledged"
        ) from error
    if code in _YES:
        return quotable(code, text)
    if code in _NO:
        raise refusal(code, text, step=Step.END)
    raise HandoverUnknown("the mail server's last answer cannot be understood")


def _check_still_there(connection: Connection) -> None:
    if has_something_to_read(connection):
        raise _interrupted("the mail server broke off")


def _interrupted(how: str) -> MailStopped:
    return MailStopped(
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
    connection: Connection, size: int, sender: EnvelopeAddress, recipient: EnvelopeAddress
) -> None:
    options = [f"SIZE={size}"] if connection.has_extn("size") else []
    if not (sender.is_ascii and recipient.is_ascii):
        if not connection.has_extn("smtputf8"):
            raise ActionRefused("the mail server cannot write to addresses outside ASCII")
        options += ["SMTPUTF8", "BODY=8BITMIME"]
    _expect(_YES, connection.mail(str(sender), options), step=Step.SENDER)
    _expect(_YES, connection.rcpt(str(recipient)), step=Step.RECIPIENT)
    _expect(_GO_ON, connection.docmd("DATA"), step=Step.TEXT)


def _expect(wanted: range, answer: tuple[int, bytes], *, step: Step) -> None:
    code, text = answer
    if code not in wanted:
        raise refusal(code, text, step=step)
