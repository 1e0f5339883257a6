"""A mail server that takes an email's body and then says nothing, for as long as it is asked to."""

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def silent_smtp(
    received: threading.Event | None = None, answer: threading.Event | None = None
) -> Iterator[str]:
    """Give the URL of such a server on loopback.

    It sets `received` when it has an email, and accepts it once `answer` is set.
    """
    ending = threading.Event()
    steps = (received or threading.Event(), answer or ending)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=_serve, args=(listener, ending, *steps))
        thread.start()
        try:
            yield f"smtp://127.0.0.1:{listener.getsockname()[1]}?tls=none"
        finally:
            ending.set()
            thread.join()


def _serve(
    listener: socket.socket,
    ending: threading.Event,
    received: threading.Event,
    answer: threading.Event,
) -> None:
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
            _talk(lines, received, answer)


def _talk(lines: socket.SocketIO, received: threading.Event, answer: threading.Event) -> None:
    lines.write(b"220 silent\r\n")
    in_body = False
    while line := lines.readline():
        if in_body:
            if line == b".\r\n":
                received.set()
                answer.wait()
                in_body = False
                lines.write(b"250 2.0.0 queued\r\n")
            continue
        in_body = line.upper().startswith(b"DATA")
        lines.write(b"354 go on\r\n" if in_body else b"250 fine\r\n")
