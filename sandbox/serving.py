"""How the sandbox speaks HTTP: loopback only, quiet, connections kept open."""

from http import HTTPStatus
from io import BytesIO
from typing import Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from sandbox.breaking import KEY, Travel, send_broken

LOOPBACK = "127.0.0.1"
LARGEST_BODY = 1_000_000


class KeptOpen(WSGIRequestHandler):
    """Keeps connections open, as the real API does.

    Werkzeug's own way closes after each answer and throws away what came after the request, because
    a body nobody read would be taken for the next request. Here the body is read before anything
    else, and answers are short, so each request ends where the next begins.
    """

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; without this the second waits for an acknowledgement.
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
        travel = environ[KEY] = Travel()
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
        can_stay = send_broken(self.connection, head, body, travel.broken)
        self.close_connection = self.close_connection or not can_stay

    def make_environ(self) -> dict[str, Any]:
        """Let the one header with an underscore through that the source uses (contract, 1)."""
        environ: dict[str, Any] = super().make_environ()
        client_id = self.headers.get("client_id")
        if client_id is not None:
            environ["HTTP_CLIENT_ID"] = client_id
        return environ

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ANN401 - werkzeug's signature
        """Say nothing: what was asked is counted, not written."""


def listen(site: Any, port: int) -> BaseWSGIServer:  # noqa: ANN401 - a WSGI application
    """Return a server that holds the port already; 0 is any free one. Nobody else may reach it."""
    return make_server(LOOPBACK, port, site, threaded=True, request_handler=KeptOpen)
