"""The switches about the connection, on real sockets."""

import http.client
import socket
import threading
from urllib.parse import urlsplit

import pytest

from tests.sandbox.sandbox_rig import Running, until
from tests.sandbox.switch_rig import COURSES, raw_answer, switched


def _bytes_until_the_end(sandbox: Running, path: str) -> tuple[bytes, bool]:
    """Return what came, and whether the connection was reset rather than ended."""
    address = urlsplit(sandbox.addresses["api"])
    there = (address.hostname or "", address.port or 0)
    with socket.create_connection(there, timeout=20) as connection:
        token = sandbox.web.headers["Authorization"]
        asked = f"GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: {token!s}\r\n"
        connection.sendall(f"{asked}Connection: close\r\n\r\n".encode())
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except ConnectionResetError:
            return found, True
        return found, False


def test_a_connection_can_be_reset_instead_of_answered(shared: Running) -> None:
    with switched(shared, "connection-reset", path=COURSES):
        assert _bytes_until_the_end(shared, COURSES) == (b"", True)
        assert shared.get("/api/content/courselessons").status_code == 200
    assert _bytes_until_the_end(shared, COURSES)[0].startswith(b"HTTP/1.1 200")


def test_an_answer_can_end_in_the_middle(shared: Running) -> None:
    with switched(shared, "truncated-body"), raw_answer(shared, COURSES) as answer:
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
    assert 0 < len(caught.value.partial) < int(answer.headers["Content-Length"])
    assert shared.get(COURSES).json()["TotalItems"] == 3


@pytest.mark.parametrize("name", ["slow-headers", "slow-body"])
def test_an_answer_can_come_a_few_bytes_at_a_time(shared: Running, name: str) -> None:
    true = shared.get(COURSES).json()
    with switched(shared, name, seconds=0.0005, bytes=40):
        assert shared.get(COURSES).json() == true
        assert shared.get(COURSES).json() == true


@pytest.mark.parametrize("name", ["slow-headers", "slow-body", "latency"])
def test_a_slow_answer_is_sent_at_once_when_the_switch_goes_off(shared: Running, name: str) -> None:
    found: list[bytes] = []
    before = _taken(shared, name)
    with switched(shared, name, seconds=600):
        asking = threading.Thread(
            target=lambda: found.append(_bytes_until_the_end(shared, COURSES)[0])
        )
        asking.start()
        until(lambda: _taken(shared, name) > before)
        assert found == []
    asking.join(20)
    assert found[0].startswith(b"HTTP/1.1 200")
    assert found[0].endswith(b"}")


def _taken(sandbox: Running, name: str) -> int:
    lines = sandbox.get("/sandbox/misbehaviours").json()
    return sum(line["taken"] for line in lines if line["name"] == name)
