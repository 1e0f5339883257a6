"""A load client: keeps connections busy with signed deliveries, and checks every answer.

It runs as a program of its own, `python -m bench.load`, so that it can be pinned to other
processors than the server. Bodies are signed before the clock starts. It prints a JSON object.
"""

import argparse
import hashlib
import hmac
import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import psutil

FIRST_ID = 1_000_000
BODIES = 20_000  # distinct ones
_PATIENCE_S = 10.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ACCEPTED = (b"HTTP/1.1 202 ", b"HTTP/1.0 202 ")


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: to which port and path, over how many connections, and for how long."""

    port: int
    path: str
    secret: str
    connections: int
    seconds: float
    pid: int  # of the server, whose processor time is measured


@dataclass(slots=True)
class Answers:
    """What came back. With any error the measurement is invalid."""

    accepted: int = 0
    errors: int = 0
    first_error: str = ""
    seconds: float = 0.0
    server_cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    def refuse(self, what: str) -> None:
        """Count an answer other than 202, or none."""
        self.errors += 1
        self.first_error = self.first_error or what


def signed_requests(load: Load) -> list[bytes]:
    """Return complete requests, each with a distinct record and a valid signature."""
    requests = []
    for number in range(BODIES):
        record = {
            "Id": FIRST_ID + number,
            "UniqueId": f"{number:08x}-0000-4000-8000-000000000000",
            "UpdatedOn": "2026-01-02T03:04:05Z",
            "CourseTitle": f"Course {number}",
        }
        body = json.dumps([record], separators=(",", ":")).encode()
        signature = hmac.new(load.secret.encode(), body, hashlib.sha256).hexdigest()
        head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"X-Nexudus-Hook-Signature: {signature}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


class _Connection:
    """One kept connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begun_at = 0.0
        self._received = b""

    def send(self, request: bytes) -> None:
        """Send a request that fits into the socket's buffer."""
        self._received = b""
        self._begun_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self, answers: Answers) -> bool:
        """Read what has arrived; return whether the answer is complete."""
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._received += piece
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        length = _LENGTH.search(head)
        if length is None:
            raise ConnectionError("an answer has no Content-Length")
        if len(body) < int(length[1]):
            return False
        answers.latencies_s.append(time.perf_counter() - self._begun_at)
        if head.startswith(_ACCEPTED):
            answers.accepted += 1
        else:
            answers.refuse(head.split(b"\r\n")[0].decode(errors="replace"))
        return True


def send_load(load: Load, requests: list[bytes]) -> Answers:
    """Send requests for some seconds, and wait for the answers to those under way."""
    answers, place = Answers(), 0
    connections = [_Connection(load.port) for _ in range(load.connections)]
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        cpu_before_s, began_at = _cpu_s(load.pid), time.perf_counter()
        ends_at, waiting = began_at + load.seconds, len(connections)
        for connection in connections:
            connection.send(requests[place])
            place += 1
        while waiting:
            ready = selector.select(_PATIENCE_S)
            if not ready:
                answers.refuse(f"{waiting} requests had no answer in {_PATIENCE_S:g} s")
                break
            for key, _ in ready:
                try:
                    if not key.data.receive(answers):
                        continue
                except OSError as error:
                    answers.refuse(str(error))
                    selector.unregister(key.fileobj)
                    waiting -= 1
                    continue
                if time.perf_counter() < ends_at:
                    key.data.send(requests[place % len(requests)])
                    place += 1
                else:
                    waiting -= 1
        answers.seconds = time.perf_counter() - began_at
        answers.server_cpu_s = _cpu_s(load.pid) - cpu_before_s
    for connection in connections:
        connection.socket.close()
    return answers


def _cpu_s(pid: int) -> float:
    """Return the processor seconds that a program and those it started have used."""
    program = psutil.Process(pid)
    return sum(_used_s(one) for one in (program, *program.children(recursive=True)))


def _used_s(program: psutil.Process) -> float:
    try:
        times = program.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def main(words: Iterable[str] | None = None) -> int:
    """Send the load that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("port", int), ("path", str), ("secret", str), ("pid", int)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    load = Load(**vars(parser.parse_args(None if words is None else list(words))))
    sys.stdout.write(json.dumps(asdict(send_load(load, signed_requests(load)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
