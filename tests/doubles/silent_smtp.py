"""A mail server that takes an email's body and then says nothing, for as long as it is asked to."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def silent_smtp() -> Iterator[str]:
    """Give the URL of such a server on loopback."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=_serve, args=(listener, ending))
        thread.start()
        try:
            yield f"smtp://127.0.0.1:{listener.getsockname()[1]}?tls=none"
        finally:
            ending.set()
            thread.join()


def _serve(listener: socket.socket, ending: threading.Event) -> None:
    while not ending.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with (
            connection,
            connection.makefile("rwb", buffering=0) as lines,
            contextlib.suppress(OSError),
        ):
            _talk(lines, ending)


def _talk(lines: socket.SocketIO, ending: threading.Event) -> None:
    lines.write(b"220 silent\r\n")
    in_body = False
    while line := lines.readline():
        if in_body:
            if line == b".\r\n":
                ending.wait()
                return
            continue
        in_body = line.upper().startswith(b"DATA")
        lines.write(b"354 go on\r\n" if in_body else b"250 fine\r\n")
