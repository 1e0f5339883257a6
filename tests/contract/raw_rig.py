"""A server that sends exactly the bytes a test wants, also below TLS, also without an end."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\n"
_RESET = struct.pack("ii", 1, 0)  # linger for no time: what is closed is reset
_PATIENCE_S = 30.0


@dataclass
class Talking:
    """One connection at the server's end. `over` is set once the test is done with it."""

    socket: socket.socket
    over: threading.Event
    received: list[bytes]

    def receive(self) -> bytes:
        """Receive one request without a body; stops if the client disconnects."""
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.socket.recv(65_536)
            if not piece:
                raise ConnectionResetError
            received += piece
        self.received.append(received)
        return received

    def say(self, *pieces: bytes) -> None:
        """Send these bytes and nothing else."""
        for piece in pieces:
            self.socket.sendall(piece)

    def drip(self, piece: bytes, *, every_s: float = 0.01) -> None:
        """Send the same repeatedly until the client disconnects."""
        while not self.over.wait(every_s):
            self.socket.sendall(piece)

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


@dataclass
class RawServer:
    """Its address, what it received, and how many connections it had."""

    port: int
    received: list[bytes] = field(default_factory=list)
    connections: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)  # we could say no more


Talk = Callable[[Talking], None]


@contextmanager
def talking(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """Serve on loopback; pass each connection to `talk`, one after the other."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = RawServer(listening.getsockname()[1])

        def serve() -> None:
            while not over.is_set():
                with suppress(OSError):
                    taken, _ = listening.accept()
                    taken.settimeout(_PATIENCE_S)
                    server.connections += not over.is_set()
                    _talk(taken)

        def _talk(taken: socket.socket) -> None:
            try:
                with tls.wrap_socket(taken, server_side=True) if tls else taken as spoken:
                    talk(Talking(spoken, over, server.received))
            except OSError:
                server.hung_up.set()
            finally:
                taken.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            over.set()
            # A last connection wakes the server, so that it notices the end.
            with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
                pass
            thread.join(_PATIENCE_S)
            assert not thread.is_alive()


def saying(*pieces: bytes) -> Talk:
    """Return a talk that receives one request, sends this, and closes."""

    def talk(line: Talking) -> None:
        line.receive()
        line.say(*pieces)

    return talk
