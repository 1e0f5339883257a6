"""An endpoint on a port of this machine, which keeps what arrives and answers as a test says."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Posted:
    """One POST: its path, its headers with names in lower case, and its body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ReceivingEndpoint:
    """What arrived, and what to answer next; 200 once nothing is left to say.

    A body that contains `failing` is answered 500 each time.
    """

    arrived: list[Posted] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0
    failing: bytes | None = None

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer the next POST so; `_` in names of headers stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, named, body))


@contextmanager
def receiving(endpoint: ReceivingEndpoint, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve the endpoint while inside; yields the start of its address."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            endpoint.arrived.append(Posted(self.path, headers, body))
            usual: tuple[int, dict[str, str], bytes] = (
                (200, {}, b"ok") if (endpoint.failing or b"\0") not in body else (500, {}, b"")
            )
            status, more, said = endpoint.answers.pop(0) if endpoint.answers else usual
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - same
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    endpoint.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{endpoint.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
