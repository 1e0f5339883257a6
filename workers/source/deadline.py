"""Sockets that limit each read and write to the time left for one exchange."""

import socket
import ssl
import time
from typing import Any, cast

READ_S = 20.0  # between two pieces


class Deadline:
    """When the current exchange must end. Shared by all connections of one thread.

    `piece_s` is the longest wait for the next piece.
    """

    def __init__(self, piece_s: float = READ_S) -> None:
        self.piece_s = piece_s
        self._ends_at = 0.0

    def start(self, whole_s: float) -> None:
        """Start an exchange that may take so many seconds."""
        self._ends_at = time.monotonic() + whole_s

    @property
    def rest_s(self) -> float:
        """The seconds that are left; none or fewer once it is over."""
        return self._ends_at - time.monotonic()

    def left_s(self, most_s: float) -> float:
        """Return the seconds that are left, at most `most_s`.

        Raises:
            TimeoutError: none are left.
        """
        left = self.rest_s
        if left <= 0:
            raise TimeoutError("the exchange exceeded its time limit")
        return min(left, most_s)


class DeadlineSocket(socket.socket):
    """A socket that limits each read and write to the time left for the exchange."""

    deadline: Deadline

    def recv_into(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - passed on as they come
        """Read within the time left."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on as they come
        """Write everything within the time left."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        super().sendall(*arguments, **options)


class DeadlineTlsSocket(ssl.SSLSocket):
    """A TLS socket that limits each read and write to the time left for the exchange."""

    deadline: Deadline

    def recv_into(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - passed on as they come
        """Read within the time left."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        return super().recv_into(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - passed on as they come
        """Write one record within the time left; `sendall` calls it for each."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        return super().send(*arguments, **options)


def connect_within(deadline: Deadline, host: str, port: int, each_s: float) -> DeadlineSocket:
    """Connect to the first address of a host that answers, trying each for `each_s` seconds.

    Raises:
        OSError: none answers.
    """
    refusal: OSError = OSError("a name without an address")
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        try:
            reached = DeadlineSocket(family, kind, protocol)
        except OSError as error:
            refusal = error  # this machine does not support this kind of address
            continue
        try:
            reached.settimeout(deadline.left_s(each_s))
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reached.connect(address)
        except OSError as error:
            refusal = error
            reached.close()
            continue
        reached.deadline = deadline
        return reached
    raise refusal


def wrap_within(
    deadline: Deadline, plain: DeadlineSocket, context: ssl.SSLContext, host: str, most_s: float
) -> DeadlineTlsSocket:
    """Do the TLS handshake on a new connection, in at most `most_s` seconds.

    Raises:
        OSError, ValueError: it failed; the connection is closed.
    """
    try:
        plain.settimeout(deadline.left_s(most_s))
        encrypted = context.wrap_socket(plain, server_hostname=host.strip("[]"))
    except (OSError, ValueError):
        plain.close()
        raise
    found = cast("DeadlineTlsSocket", encrypted)
    found.deadline = deadline
    return found
