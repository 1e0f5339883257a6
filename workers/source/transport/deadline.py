"""Connections that end at the deadline of the whole exchange, whatever the other side drips.

A read timeout bounds the silence between two pieces. A server that sends one letter of a header
every few seconds is never silent for so long, and never done. So each socket asks before every
read how much time the exchange has left. No thread watches, and nothing is cut in a later exchange.
Only the look-up of a name is not bounded here: the system's resolver has a limit of its own.
"""

import socket
import ssl
import time
from functools import partial
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

CONNECT_S = 5.0  # to each of the addresses of a name; also for what TLS has to settle
READ_S = 20.0  # between two pieces


class Deadline:
    """When the exchange that runs now has to be over. One for all connections of one thread.

    `piece_s` is how long to wait for the next piece, at most.
    """

    def __init__(self, piece_s: float = READ_S) -> None:
        self.piece_s = piece_s
        self._ends_at = 0.0

    def start(self, whole_s: float) -> None:
        """Begin an exchange that may take so long."""
        self._ends_at = time.monotonic() + whole_s

    def left_s(self, most_s: float) -> float:
        """Return the seconds that are left, at most so many.

        Raises:
            TimeoutError: none are.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the exchange has taken its time")
        return min(left, most_s)


class DeadlineSocket(socket.socket):
    """A socket that reads and writes no longer than the exchange may take."""

    deadline: Deadline

    def recv_into(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - handed on as they come
        """Read, for as long as the exchange has left."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        return super().recv_into(*arguments, **options)

    def sendall(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - handed on as they come
        """Write all of it, for as long as the exchange has left."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        super().sendall(*arguments, **options)


class DeadlineTlsSocket(ssl.SSLSocket):
    """The same below TLS."""

    deadline: Deadline

    def recv_into(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - handed on as they come
        """Read, for as long as the exchange has left."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        return super().recv_into(*arguments, **options)

    def send(self, *arguments: Any, **options: Any) -> int:  # noqa: ANN401 - handed on as they come
        """Write one record, for as long as the exchange has left; `sendall` calls it for each."""
        self.settimeout(self.deadline.left_s(self.deadline.piece_s))
        return super().send(*arguments, **options)


class _Connection(HTTPConnection):
    """A connection whose socket knows the deadline."""

    def __init__(self, *arguments: Any, deadline: Deadline, **options: Any) -> None:  # noqa: ANN401 - handed on as they come
        super().__init__(*arguments, **options)
        self.deadline = deadline

    def _new_conn(self) -> socket.socket:
        try:
            return connect_within(self.deadline, self.host, self.port, CONNECT_S)
        except (socket.gaierror, UnicodeError) as error:
            # What cannot be a name is a `UnicodeError`.
            raise NameResolutionError(self.host, self, socket.gaierror("not found")) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "not reached in time") from error
        except OSError as error:
            raise NewConnectionError(self, "not reached") from error


class _TlsConnection(_Connection, HTTPSConnection):
    """The same below TLS."""

    def connect(self) -> None:
        super().connect()
        cast("DeadlineTlsSocket", self.sock).deadline = self.deadline


_CONNECTIONS = {"http": _Connection, "https": _TlsConnection}


class _Pools(PoolManager):
    """Makes pools whose connections know the deadline."""

    def __init__(self, deadline: Deadline, **options: Any) -> None:  # noqa: ANN401 - handed on as they come
        super().__init__(**options)
        self._deadline = deadline

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        pool = super()._new_pool(scheme, host, port, request_context)
        made = partial(_CONNECTIONS[scheme], deadline=self._deadline)
        pool.ConnectionCls = cast("type[HTTPConnection]", made)
        return pool


class BoundedAdapter(HTTPAdapter):
    """What `requests` connects through: nothing is tried twice, and the deadline is kept."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, *_: object, **__: object) -> None:
        """Make the pools; called by `requests`."""
        context = create_urllib3_context()
        context.sslsocket_class = DeadlineTlsSocket
        self.poolmanager = _Pools(
            self._deadline, num_pools=connections, maxsize=maxsize, ssl_context=context
        )


def connect_within(deadline: Deadline, host: str, port: int, each_s: float) -> DeadlineSocket:
    """Connect to the first address of a host that answers, with `each_s` seconds for each.

    Raises:
        OSError: none does.
    """
    refusal: OSError = OSError("a name without an address")
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in found:
        try:
            reached = DeadlineSocket(family, kind, protocol)
        except OSError as error:
            refusal = error  # a kind of address that this machine does not have
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
