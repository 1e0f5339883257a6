"""The mailbox's SMTP side: it delivers to nobody, and misbehaves when it was asked to.

How an email is treated is settled when its sender begins (MAIL FROM), so "the next two" means two
emails whatever becomes of them.
"""

import asyncio
import socket
import threading
from typing import Any

from aiosmtpd.smtp import SMTP, Session

from sandbox.mailbox import WELL_BEHAVED, MailAnswer, Mailbox

_STOP_WAIT_S = 3.0


class _Conversation(SMTP):
    """The SMTP side of one connection; adds the one refusal that has no hook of its own."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        turn, _ = getattr(self.envelope, "turn", WELL_BEHAVED)
        if turn is MailAnswer.DROP_AT_DATA:
            await _hang_up(self)
        await super().smtp_DATA(arg)


class _Counter:
    """Answers the SMTP commands; the names are those aiosmtpd calls."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's signature
        self,
        server: SMTP,  # noqa: ARG002 - same
        session: Session,  # noqa: ARG002 - same
        envelope: Any,  # noqa: ANN401 - same, without types
        address: str,
        mail_options: list[str],
    ) -> str:
        envelope.turn = self._mailbox.next_turn()
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's signature
        self,
        server: SMTP,  # noqa: ARG002 - same
        session: Session,  # noqa: ARG002 - same
        envelope: Any,  # noqa: ANN401 - same, without types
        address: str,
        rcpt_options: list[str],  # noqa: ARG002 - same
    ) -> str:
        if envelope.turn[0] is MailAnswer.REFUSE:
            return "550 5.1.1 There is no such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self,
        server: SMTP,
        session: Session,  # noqa: ARG002 - aiosmtpd's signature
        envelope: Any,  # noqa: ANN401 - same, without types
    ) -> str:
        turn, keep = envelope.turn
        if turn is MailAnswer.LATER:
            return "451 4.3.0 Please try again later"
        if turn is MailAnswer.DROP_AFTER_BODY:
            if keep:
                self._take_in(envelope)
            await _hang_up(server)
        self._take_in(envelope)
        return "250 2.0.0 OK, kept"

    def _take_in(self, envelope: Any) -> None:  # noqa: ANN401 - aiosmtpd ships no types
        raw = bytes(envelope.content or b"")
        self._mailbox.keep(raw, envelope.mail_from or "", tuple(envelope.rcpt_tos))


async def _hang_up(conversation: SMTP) -> None:
    transport = conversation.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    # The lost connection cancels this coroutine, so nothing after this line runs.
    await asyncio.Event().wait()


class MailServer:
    """The mailbox's listening side, on a thread of its own."""

    def __init__(self, mailbox: Mailbox, listening: socket.socket) -> None:
        self._counter = _Counter(mailbox)
        self._socket = listening
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Return when the server answers."""
        self._thread.start()
        self._listens.wait()

    def stop(self) -> None:
        """End all conversations."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(
            self._loop.create_server(self._conversation, sock=self._socket)
        )
        self._listens.set()
        self._loop.run_forever()

    def _conversation(self) -> SMTP:
        return _Conversation(
            self._counter, hostname="mailbox.example.org", enable_SMTPUTF8=True, loop=self._loop
        )
