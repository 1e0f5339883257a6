"""An HTTP server on loopback that keeps connections open, and can break an answer on its way.

Nothing else touches a raw socket.
"""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from io import BytesIO
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 1_000_000
TRAVEL_KEY = "sandbox.travel"  # the key of a request's `Travel` in its WSGI environment


class How(StrEnum):
    """The ways to break an answer; the values are the names of their switches."""

    RESET = "connection-reset"
    TRUNCATED = "truncated-body"
    SLOW_HEADERS = "slow-headers"
    SLOW_BODY = "slow-body"


@dataclass(frozen=True, slots=True)
class Broken:
    """How one answer is broken. Pauses end at once when `over` is set."""

    how: How
    pause_s: float = 0.0
    size: int = 1  # bytes between two pauses
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Travel:
    """How the answer of one request is sent: whole, unless `broken` is set."""

    broken: Broken | None = None


class KeepAliveRequests(WSGIRequestHandler):
    """Keeps connections open, as the real API does.

    Werkzeug's own handler closes the connection after each answer, because an unread body would be
    taken for the next request. This one reads the body first.
    """

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; with Nagle's algorithm the second waits for an ACK.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answer one request."""
        length = self.headers.get("Content-Length", "0").strip()
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.close_connection = True
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        if int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        environ = self.make_environ()
        environ["wsgi.input"] = BytesIO(self.rfile.read(int(length)))
        travel = environ[TRAVEL_KEY] = Travel()
        parts, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        body = b"" if self.command == "HEAD" else b"".join(parts)
        code, _, reason = status.partition(" ")
        if travel.broken is None:
            self.send_response(int(code), reason)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            return
        lines = [f"{self.protocol_version} {status}", *(f"{n}: {value}" for n, value in headers)]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        is_usable = _send_broken(self.connection, head, body, travel.broken)
        self.close_connection = self.close_connection or not is_usable

    def make_environ(self) -> dict[str, Any]:
        """Keep the one header with an underscore that the source uses (contract, section 1)."""
        environ: dict[str, Any] = super().make_environ()
        client_id = self.headers.get("client_id")
        if client_id is not None:
            environ["HTTP_CLIENT_ID"] = client_id
        return environ

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ANN401 - werkzeug's signature
        """Log nothing: requests are counted instead."""


def listen(site: Any, port: int) -> BaseWSGIServer:  # noqa: ANN401 - a WSGI application
    """Return a server that has bound the port on loopback; 0 is any free one."""
    return make_server(LOOPBACK, port, site, threaded=True, request_handler=KeepAliveRequests)


def _send_broken(connection: socket.socket, head: bytes, body: bytes, broken: Broken) -> bool:
    """Send an answer and return whether the connection can be used again."""
    match broken.how:
        case How.RESET:
            # Closing without lingering is a reset. The socket is detached from its object, so that
            # nothing closes it normally first.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(connection.detach())
            return False
        case How.TRUNCATED:
            connection.sendall(head + body[: len(body) // 2])
            return False
        case How.SLOW_HEADERS:
            _drip(connection.sendall, head, broken)
            connection.sendall(body)
        case How.SLOW_BODY:
            connection.sendall(head)
            _drip(connection.sendall, body, broken)
    return True


def _drip(send: Callable[[bytes], None], content: bytes, broken: Broken) -> None:
    for start in range(0, len(content), broken.size):
        send(content[start : start + broken.size])
        broken.over.wait(broken.pause_s)
