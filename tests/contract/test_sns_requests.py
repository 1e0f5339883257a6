"""Fetching the certificate of Amazon SNS: what is kept, and what a bad answer costs."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest

from schemas.errors import SourceUnavailable
from tests.doubles.still_clock import StillClock
from workers.sns import SnsRequests


class _Answers(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Answer by the path that is asked for."""
        self.asked.append(self.path)
        status = {"/gone": 404, "/elsewhere": 302}.get(self.path, 200)
        body = b"x" * (100_000 if self.path == "/large" else 10)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/kept")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    _Answers.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_a_certificate_is_fetched_once_a_day(server: str) -> None:
    clock = StillClock()
    requests = SnsRequests(clock)
    for _ in range(3):
        assert requests.certificate(f"{server}/kept") == b"x" * 10
    assert _Answers.asked == ["/kept"]
    clock.seconds = 25 * 3600.0
    requests.certificate(f"{server}/kept")
    assert _Answers.asked == ["/kept", "/kept"]


@pytest.mark.parametrize("path", ["gone", "elsewhere", "large"])
def test_after_a_bad_answer_nothing_is_asked_for_a_while(server: str, path: str) -> None:
    clock = StillClock()
    requests = SnsRequests(clock)
    for _ in range(3):
        with pytest.raises(SourceUnavailable):
            requests.certificate(f"{server}/{path}")
    assert _Answers.asked == [f"/{path}"]
    clock.seconds = 11.0
    requests.confirm(f"{server}/kept")
    assert _Answers.asked == [f"/{path}", "/kept"]


def test_an_address_that_does_not_answer_is_an_outage() -> None:
    with pytest.raises(SourceUnavailable):
        SnsRequests(StillClock()).certificate("http://127.0.0.1:9/")
