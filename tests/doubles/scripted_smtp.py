"""A mail server that follows a script, for what real servers do only on bad days.

It answers every command well unless the script says otherwise for that step. Steps are `GREETING`,
the commands in capitals, `BODY` (after the first line of the text) and `DOT` (after its end).
`MAIL 2` is only the second MAIL of all connections; so for each step.
"""

import select
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import BinaryIO, Self

HANG_UP = b"<hang up>"  # close the connection instead of answering
SILENCE = b"<silence>"  # say nothing until the client goes away
DRIP = b"<drip>"  # say one byte of an answer at a time, and never all of it
MOST_DROPS = 200  # that are sent to a client that does not give up; then the server hangs up
_DROP_EVERY_S = 0.05

_FINE = {
    "GREETING": b"220 scripted ESMTP",
    "EHLO": b"250-scripted\r\n250 SIZE 100000000",
    "DATA": b"354 go on",
    "DOT": b"250 2.0.0 queued as SCRIPTED",
    "QUIT": b"221 bye",
}


class ScriptedSmtp:
    """Listens on a port of this machine while used as a context manager.

    `commands` are all that came, connection by connection; `texts` what came whole, without dots.
    """

    def __init__(self, script: Mapping[str, bytes] | None = None) -> None:
        self.script = dict(script or {})
        self.commands: list[str] = []
        self.texts: list[bytes] = []
        self.drops = 0
        self._asked: Counter[str] = Counter()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._client: socket.socket | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def hang_up(self) -> None:
        """Close the present connection, whatever the client is doing."""
        assert self._client is not None
        self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._client = client
            with client, client.makefile("rb") as lines:
                try:
                    self._talk(client, lines)
                except OSError:
                    continue

    def _talk(self, client: socket.socket, lines: BinaryIO) -> None:
        self.commands.append("CONNECTED")
        going = self._answer(client, lines, "GREETING")
        while going and (line := lines.readline()):
            command = line.decode("ascii", "replace").strip()
            self.commands.append(command)
            verb = command.partition(" ")[0].upper()
            going = self._answer(client, lines, verb) and verb != "QUIT"
            if going and verb == "DATA" and self.script.get("DATA", b"3")[:1] == b"3":
                going = self._take_text(client, lines) and self._answer(client, lines, "DOT")

    def _take_text(self, client: socket.socket, lines: BinaryIO) -> bool:
        text = [lines.readline()]
        meanwhile = self._scripted("BODY")
        if meanwhile is not None and not self._say(client, lines, meanwhile):
            return False
        while line := lines.readline():
            if line == b".\r\n":
                self.texts.append(b"".join(text))
                return True
            text.append(line)
        return False

    def _drip(self, client: socket.socket) -> None:
        client.setblocking(False)  # noqa: FBT003 - the library names no argument
        for _ in range(MOST_DROPS):
            client.sendall(b"2")
            self.drops += 1
            gone, _, _ = select.select([client], [], [], _DROP_EVERY_S)
            if gone:
                return

    def _scripted(self, step: str) -> bytes | None:
        self._asked[step] += 1
        return self.script.get(f"{step} {self._asked[step]}") or self.script.get(step)

    def _answer(self, client: socket.socket, lines: BinaryIO, step: str) -> bool:
        return self._say(client, lines, self._scripted(step) or _FINE.get(step, b"250 fine"))

    def _say(self, client: socket.socket, lines: BinaryIO, answer: bytes) -> bool:
        if answer == HANG_UP:
            return False
        if answer == DRIP:
            self._drip(client)
            return False
        if answer == SILENCE:
            lines.read()
            return False
        client.sendall(answer + b"\r\n")
        return True
