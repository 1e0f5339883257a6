"""How an answer is broken on its way: cut off, reset, or sent drop by drop.

Nobody else touches a raw socket.
"""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

KEY = "sandbox.travel"  # where a request's environment has its `Travel`


class How(StrEnum):
    """The ways; the values are the names of their switches."""

    RESET = "connection-reset"
    TRUNCATED = "truncated-body"
    SLOW_HEADERS = "slow-headers"
    SLOW_BODY = "slow-body"


@dataclass(frozen=True, slots=True)
class Broken:
    """How one answer travels. Pauses end at once when `over` is set."""

    how: How
    pause_s: float = 0.0
    drop: int = 1  # bytes at a time
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True)
class Travel:
    """How the answer of one request travels; in one piece, unless somebody says otherwise."""

    broken: Broken | None = None


def send_broken(connection: socket.socket, head: bytes, body: bytes, broken: Broken) -> bool:
    """Put an answer on the wire and return whether the connection can be used again."""
    match broken.how:
        case How.RESET:
            reset(connection)
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


def reset(connection: socket.socket) -> None:
    """Break the connection off so that the other side gets a reset and not an end.

    Not lingering makes closing a reset, and the socket is taken from its object so that nobody
    ends it politely first.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


def _drip(send: Callable[[bytes], None], text: bytes, broken: Broken) -> None:
    for start in range(0, len(text), broken.drop):
        send(text[start : start + broken.drop])
        broken.over.wait(broken.pause_s)
