"""The real sandbox as a program of its own, and a small real server that takes its deliveries."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import urllib3

from tests.servers import forking
from tests.servers.forking import Program

SECRET = "Geheim-ß-🔔"
USERNAME, PASSWORD = "api@example.org", "correct horse"
_PATIENCE_S = 20.0
_POOL = urllib3.PoolManager()


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it came in."""

    path: str
    signature: str
    content_type: str
    body: bytes

    def record(self) -> dict[str, Any]:
        [record] = json.loads(self.body)
        assert isinstance(record, dict)
        return record


@dataclass(slots=True)
class Receiver:
    """Takes deliveries on loopback; `status` is what it answers."""

    url: str
    received: list[Received] = field(default_factory=list)
    status: int = 202


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signature = self.headers.get("X-Nexudus-Hook-Signature", "")
            kind = self.headers.get("Content-Type", "")
            receiver.received.append(Received(self.path, signature, kind, body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass(slots=True)
class Running:
    """A sandbox that runs."""

    process: Program | subprocess.Popen[str]
    addresses: dict[str, str]
    web: requests.Session
    printed: IO[str] | None = None

    @property
    def smtp_port(self) -> int:
        port = urlsplit(self.addresses["smtp"]).port
        assert port is not None
        return port

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> requests.Response:
        address = self.addresses["api"] + path
        return self.web.get(address, timeout=_PATIENCE_S, params=params, headers=headers)

    def post(self, path: str, /, **fields: object) -> Any:  # noqa: ANN401 - any JSON
        # `requests` would take more CPU than the stand-in does.
        answer = _POOL.request(
            "POST", self.addresses["api"] + path, json=fields, timeout=_PATIENCE_S, retries=False
        )
        assert answer.status == 200, answer.data.decode()
        return answer.json()

    def sign_in(self) -> dict[str, str]:
        answer = self.web.post(
            self.addresses["api"] + "/api/token",
            data={"grant_type": "password", "username": USERNAME, "password": PASSWORD},
            headers={"client_id": "test-client"},
            timeout=_PATIENCE_S,
        )
        assert answer.status_code == 200
        self.web.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        found: dict[str, str] = answer.json()
        return found

    def person(self, name: str) -> int:
        [found] = [one["id"] for one in self.get("/sandbox/people").json() if name in one["name"]]
        assert isinstance(found, int)
        return found

    def course(self, title: str) -> int:
        courses = self.get("/sandbox/courses").json()
        [found] = [one["id"] for one in courses if title in one["title"]]
        assert isinstance(found, int)
        return found

    def enrol(self, name: str, title: str, **fields: object) -> int:
        ids = {"course_id": self.course(title), "coworker_id": self.person(name)}
        member_id = self.post("/sandbox/enrol", **ids, **fields)["course_member_id"]
        assert isinstance(member_id, int)
        return member_id


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    """Give a sandbox to one test: as at the beginning, though others may have had it before."""
    if "--no-deliver" not in arguments or "--seed" in arguments:
        with started(*arguments) as found:
            yield found
        return
    idle = _IDLE.setdefault(arguments, [])
    found = idle.pop() if idle else _KEPT.enter_context(started(*arguments))
    found.web.headers.pop("Authorization", None)
    found.post("/sandbox/reset")
    yield found
    # Not after a test that failed: what it left there may be why.
    idle.append(found)


# Sandboxes that wait for the next test; starting one takes longer than most tests.
_IDLE: dict[tuple[str, ...], list[Running]] = {}
_KEPT = ExitStack()


def end_idle() -> None:
    """End all sandboxes that were kept for other tests."""
    _IDLE.clear()
    _KEPT.close()


@contextmanager
def started(*arguments: str) -> Iterator[Running]:
    """Start a sandbox, and end it."""
    words = ("--secret", SECRET, *arguments)
    reader, writer = os.pipe()
    with os.fdopen(reader, encoding="utf-8") as printed, requests.Session() as web:
        with os.fdopen(writer, "wb") as output:
            process = forking.start("sandbox", *words, env=os.environ, stdout=output, stderr=2)
        try:
            web.trust_env = False
            yield Running(process, json.loads(printed.readline()), web, printed)
        finally:
            process.terminate()
            assert process.wait(_PATIENCE_S) == 0, "it did not stop cleanly"


def wait_until_delivered(sandbox: Running) -> None:
    """Wait until no delivery waits."""
    until(
        lambda: all(
            hook["waiting"] == 0 for hook in sandbox.get("/sandbox/deliveries").json()["hooks"]
        )
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
