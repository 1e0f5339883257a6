"""Fetching the certificate of Amazon SNS: what is kept, and what a bad answer costs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import ClassVar

import pytest

from schemas.errors import SourceUnavailable
from tests.doubles.still_clock import StillClock
from workers.sns import SnsRequests


class _Answers(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    is_down: ClassVar[bool] = False
    is_asked: ClassVar[Event] = Event()  # for what is not there
    may_answer: ClassVar[Event] = Event()

    def do_GET(self) -> None:
        """Answer by the path that is asked for."""
        self.asked.append(self.path)
        status = {"/gone": 404, "/elsewhere": 302}.get(self.path, 503 if self.is_down else 200)
        if status == 404:
            self.is_asked.set()
            self.may_answer.wait(10)
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
    _Answers.is_down = False
    _Answers.is_asked.clear()
    _Answers.may_answer.set()
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
def test_after_a_bad_answer_only_its_address_is_not_asked_for_a_while(
    server: str, path: str
) -> None:
    clock = StillClock()
    requests = SnsRequests(clock)
    for _ in range(3):
        with pytest.raises(SourceUnavailable):
            requests.certificate(f"{server}/{path}")
    assert _Answers.asked == [f"/{path}"]
    assert requests.certificate(f"{server}/kept") == b"x" * 10
    clock.seconds = 11.0
    with pytest.raises(SourceUnavailable):
        requests.certificate(f"{server}/{path}")
    assert _Answers.asked == [f"/{path}", "/kept", f"/{path}"]


def test_a_known_certificate_is_used_while_it_cannot_be_fetched_again(server: str) -> None:
    clock = StillClock()
    requests = SnsRequests(clock)
    requests.certificate(f"{server}/kept")
    _Answers.is_down = True
    clock.seconds = 25 * 3600.0
    for _ in range(3):
        assert requests.certificate(f"{server}/kept") == b"x" * 10
    assert _Answers.asked == ["/kept", "/kept"]


def test_a_known_certificate_does_not_wait_for_a_request_that_a_stranger_caused(
    server: str,
) -> None:
    clock = StillClock()
    requests = SnsRequests(clock)
    requests.certificate(f"{server}/kept")
    _Answers.may_answer.clear()
    with ThreadPoolExecutor(1) as threads:
        forged = threads.submit(requests.certificate, f"{server}/gone")
        try:
            assert _Answers.is_asked.wait(10)
            for clock.seconds in (0.0, 25 * 3600.0):
                assert requests.certificate(f"{server}/kept") == b"x" * 10
            assert not forged.done()
        finally:
            _Answers.may_answer.set()
        assert isinstance(forged.exception(), SourceUnavailable)


def test_an_address_that_does_not_answer_is_an_outage() -> None:
    with pytest.raises(SourceUnavailable):
        SnsRequests(StillClock()).certificate("http://127.0.0.1:9/")
