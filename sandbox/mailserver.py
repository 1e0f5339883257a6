"""The mailbox's SMTP server. It delivers nothing, and misbehaves on request.

The answer to an email is decided when it starts (MAIL FROM), so "the next two" are two emails,
whatever happens to them.
"""
# ruff: noqa: ANN401, ARG002, N802 - names and signatures are aiosmtpd's, which has no types

import asyncio
import socket
import threading
from typing import Any

from aiosmtpd.smtp import SMTP, Session

from sandbox.mailbox import Behaviour, MailAnswer, Mailbox

_STOP_TIMEOUT_S = 3.0


class _Connection(SMTP):
    """One connection; adds the one refusal for which aiosmtpd has no hook."""

    async def smtp_DATA(self, arg: str) -> None:
        behaviour = getattr(self.envelope, "behaviour", Behaviour())
        if behaviour.answer is MailAnswer.DROP_AT_DATA:
            await _hang_up(self)
        await super().smtp_DATA(arg)


class _Commands:
    """Answers the SMTP commands."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Any, address: str, mail_options: list[str]
    ) -> str:
        envelope.behaviour = self._mailbox.next_behaviour()
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Any, address: str, rcpt_options: list[str]
    ) -> str:
        if envelope.behaviour.answer is MailAnswer.REFUSE:
            return "550 5.1.1 There is no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Any) -> str:
        behaviour = envelope.behaviour
        if behaviour.answer is MailAnswer.LATER:
            return "451 4.3.0 Please try again later"
        is_dropped = behaviour.answer is MailAnswer.DROP_AFTER_BODY
        if not is_dropped or behaviour.keep:
            raw = bytes(envelope.content or b"")
            self._mailbox.keep(raw, envelope.mail_from or "", tuple(envelope.rcpt_tos))
        if is_dropped:
            await _hang_up(server)
        return "250 2.0.0 OK, kept"


async def _hang_up(connection: SMTP) -> None:
    transport = connection.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    # The lost connection cancels this coroutine, so no line after this one runs.
    await asyncio.Event().wait()


class MailServer:
    """The SMTP server, on a thread of its own."""

    def __init__(self, mailbox: Mailbox, listening: socket.socket) -> None:
        # Without this, a greeting of several lines waits 40 ms for each acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._commands = _Commands(mailbox)
        self._socket = listening
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Return when the server accepts connections."""
        self._thread.start()
        self._is_up.wait()

    def stop(self) -> None:
        """Close all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._loop.create_server(self._connection, sock=self._socket))
        self._is_up.set()
        self._loop.run_forever()

    def _connection(self) -> SMTP:
        return _Connection(
            self._commands, hostname="mailbox.example.org", enable_SMTPUTF8=True, loop=self._loop
        )
