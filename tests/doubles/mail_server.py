"""A real mail server on a port of this machine (aiosmtpd), which keeps what it takes."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from schemas.settings import SmtpServer, TlsMode


@dataclass
class Mailbox:
    """What arrived, as (sender, recipient, bytes), and whom to refuse with which answer."""

    arrived: list[tuple[str, str, bytes]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    encrypted: list[bool] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and signature
        self,
        server: Any,  # noqa: ANN401, ARG002 - aiosmtpd ships no types; so below
        session: Any,  # noqa: ANN401
        envelope: Any,  # noqa: ANN401
        address: str,
        options: list[str],  # noqa: ARG002 - aiosmtpd's signature
    ) -> str:
        """Record how the client connected, and refuse the configured recipients."""
        self.connections.add(session.peer)
        self.encrypted.append(session.ssl is not None)
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self,
        server: Any,  # noqa: ANN401, ARG002 - aiosmtpd's signature
        session: Any,  # noqa: ANN401, ARG002 - same
        envelope: Any,  # noqa: ANN401
    ) -> str:
        """Keep the email."""
        (recipient,) = envelope.rcpt_tos
        self.arrived.append((envelope.mail_from, recipient, envelope.original_content))
        return f"250 2.0.0 queued for <{recipient}>"


class _AnyPort(Controller):
    def _trigger_server(self) -> None:
        # Listening on port 0 means any; the controller would then try to reach port 0.
        listening: Any = self.server
        self.port = listening.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def mail_server(mailbox: Mailbox, **options: Any) -> Iterator[int]:  # noqa: ANN401 - aiosmtpd's options
    """Serve the mailbox while inside; yields the port."""
    controller = _AnyPort(mailbox, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def server_at(
    port: int,
    tls: TlsMode = TlsMode.NONE,
    username: str | None = None,
    password: str | None = None,
) -> SmtpServer:
    """Return the setting for a server on this machine."""
    return SmtpServer(host="127.0.0.1", port=port, username=username, password=password, tls=tls)


def make_certificate(folder: Path, address: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the server's context, with a fresh certificate for that IP, and one that trusts it."""
    openssl = shutil.which("openssl")
    assert openssl, "the openssl command is needed to make a certificate for this test"
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=test", "-addext", f"subjectAltName=IP:{address}"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    files = ["-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", *kind, *files, *subject],
        check=True,
        capture_output=True,
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    return serving, ssl.create_default_context(cafile=certificate)
