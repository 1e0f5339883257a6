"""A mail server that delays every answer, and serves several clients at once."""

import contextlib
import re
import socketserver
import threading
from types import TracebackType
from typing import Self

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>]+>)", re.MULTILINE | re.IGNORECASE)
_LAST_BOUNDARY = b"--\r\n"  # what an email of several parts ends with


class SlowSmtp:
    """Listens on a port of this machine while used as a context manager.

    `taken` are the Message-IDs of what came whole, in order, and `undotted` those of what came
    whole but for the final dot; `open` is how many clients are in the middle of an email, and
    `most_open` how many were at once. `delay_s` may be changed meanwhile.
    """

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.taken: list[str] = []
        self.undotted: list[str] = []
        self.open = self.most_open = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._server.server_address[1]}?tls=none"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Take the time over an answer."""
        self._ending.wait(self.delay_s)

    def count(self, change: int) -> None:
        """Count who is in the middle of an email."""
        with self._lock:
            self.open += change
            self.most_open = max(self.open, self.most_open)

    def take(self, text: bytes, *, dotted: bool) -> None:
        """Note an email whose text came to its end."""
        found = _MESSAGE_ID.search(text)
        with self._lock:
            into = self.taken if dotted else self.undotted
            into.append(found[1].decode() if found else "")


class _Server(socketserver.ThreadingTCPServer):
    """Serves one `SlowSmtp`, which its conversations find here."""

    daemon_threads = True

    def __init__(self, smtp: SlowSmtp) -> None:
        self.smtp = smtp
        super().__init__(("127.0.0.1", 0), _Conversation)


class _Conversation(socketserver.StreamRequestHandler):
    """One client's connection."""

    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, _Server)
        self.smtp = self.server.smtp

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        self._answer(b"220 slow")
        for line in self.rfile:
            if line.upper().startswith(b"MAIL"):
                self.smtp.count(1)
                try:
                    self._email()
                finally:
                    self.smtp.count(-1)
                continue
            self._answer(b"250 fine")
            if line.upper().startswith(b"QUIT"):
                return

    def _email(self) -> None:
        self._answer(b"250 fine")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self._answer(b"354 go on")
                self._text()
                return
            self._answer(b"250 fine")

    def _text(self) -> None:
        text, dotted = b"", False
        with contextlib.suppress(OSError):
            for line in self.rfile:
                dotted = line == b".\r\n"
                if dotted:
                    break
                text += line
        if dotted or text.endswith(_LAST_BOUNDARY):
            self.smtp.take(text, dotted=dotted)
        if dotted:
            self._answer(b"250 2.0.0 queued")

    def _answer(self, line: bytes) -> None:
        self.smtp.wait()
        self.wfile.write(line + b"\r\n")
