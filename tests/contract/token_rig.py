"""A fake sign-in that records requests and answers what a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

INVALID = {"error": "invalid_grant", "error_description": "no"}


@dataclass
class Asked:
    """One question for tokens: its form, and the client id of its header."""

    form: dict[str, str]
    client_id: str | None
    content_type: str | None


@dataclass
class SigningIn:
    """Answers in turn what is in `answers`, then tokens that live `life`."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    life: dict[str, Any] = field(default_factory=lambda: {"expires_in": 604_799})

    def kinds(self) -> list[str]:
        """Return which grants were asked for, in order."""
        return [one.form["grant_type"] for one in self.asked]

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Note a question and return what to answer."""
        self.asked.append(asked)
        if self.answers:
            return self.answers.pop(0)
        number = len(self.asked)
        tokens = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
        return 200, {**tokens, "token_type": "bearer", **self.life}


@contextmanager
def signing_in() -> Iterator[SigningIn]:
    """Serve on loopback."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            kind = self.headers["Content-Type"]
            status, said = server.answer(Asked(form, self.headers["client_id"], kind))
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as web:
        server = SigningIn(f"http://127.0.0.1:{web.server_port}")
        thread = threading.Thread(target=web.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            web.shutdown()
            thread.join()
