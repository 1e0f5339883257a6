"""One server of ours: started, waited for until it answers, ended.

The password goes into a settings file and over the loopback line, never onto a command line,
which everybody on the machine can read.
"""

import signal
import socket
import subprocess
import time
from pathlib import Path

from schemas.errors import ConfigurationError
from workers.broker.place import Place
from workers.supervisor.programs import begin, end, last_lines

ADDRESS = "127.0.0.1"
START_WAIT_S = 10.0  # a server on a busy machine needs well under one
STOP_WAIT_S = 5.0
LOOK_EVERY_S = 0.02
ANSWER_WAIT_S = 0.25  # on the loopback line; a slower server is asked again
GREETED = b"+OK\r\n+PONG\r\n"  # the answers to AUTH and PING
PORT_TAKEN = ("Address already in use", "Failed listening on port")  # Redis and Valkey say so
# Our own settings and secrets are none of its business, and a locale that does not exist
# here would keep it from starting.
ENVIRONMENT = {"LC_ALL": "C"}


class PortTaken(Exception):
    """Somebody else was faster; another port will do."""


class OwnServer:
    """A server we started: its binary, its folder, its port and its password."""

    def __init__(self, binary: Path, place: Place, port: int, password: str) -> None:
        self.binary = binary
        self.place = place
        self.port = port
        self.password = password
        self.program: subprocess.Popen[bytes] | None = None
        self._give_up_at = 0.0

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://:{self.password}@{ADDRESS}:{self.port}/0"

    def begin(self) -> None:
        """Start it and wait for its answer.

        Raises:
            PortTaken: somebody else listens on its port.
            ConfigurationError: it ended or stayed silent; the text has the end of its log.
        """
        self.spawn()
        try:
            while not self.has_answered(wait_s=LOOK_EVERY_S):
                pass
        except BaseException:
            self.end()
            raise

    def spawn(self) -> None:
        """Start it. Raises `ConfigurationError` if it cannot be run, or its folder not written."""
        try:
            self.place.log.unlink(missing_ok=True)
            self.place.write_conf(self.port, self.password)
            # With nothing to save there is nothing to lose by SIGKILL.
            self.program = begin(
                [str(self.binary), str(self.place.conf)],
                env=ENVIRONMENT,
                log=self.place.log,
                when_starter_dies=signal.SIGKILL,
            )
        except OSError as error:
            raise ConfigurationError(
                [f"The broker {self.binary} cannot be started: {error.strerror}."]
            ) from error
        self._give_up_at = time.monotonic() + START_WAIT_S

    def has_answered(self, *, wait_s: float = 0.0) -> bool:
        """Return whether it answers, after having waited `wait_s` seconds for its end.

        Raises:
            PortTaken: it ended because somebody else listens on its port.
            ConfigurationError: it ended, or has been silent for too long; the text has the end of
                its log.
        """
        if self.program is None:
            return False
        # Asked first whether it still lives: another program may hold its port.
        try:
            code = self.program.wait(wait_s)
        except subprocess.TimeoutExpired:
            if _answers(self.port, self.password):
                return True
            if time.monotonic() < self._give_up_at:
                return False
            silent = f"The broker {self.binary} gave no answer in {START_WAIT_S:g} s"
            raise ConfigurationError([f"{silent}:\n{self._last_lines()}"]) from None
        tail = self._last_lines()
        if any(words in tail for words in PORT_TAKEN):
            raise PortTaken
        raise ConfigurationError(
            [f"The broker {self.binary} ended with exit code {code} at its start:\n{tail}"]
        )

    def _last_lines(self) -> str:
        # A server that does not know a setting prints the line it stands in.
        return last_lines(self.place.log).replace(self.password, "(password)")

    def end(self, *, wait_s: float = STOP_WAIT_S) -> None:
        """End it; harmless when it has ended."""
        program, self.program = self.program, None
        if program is not None:
            end(program, wait_s=wait_s)


def _answers(port: int, password: str) -> bool:
    """Say whether the server at this port is the one that knows our password."""
    try:
        with socket.create_connection((ADDRESS, port), timeout=ANSWER_WAIT_S) as line:
            line.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            heard = b""
            while len(heard) < len(GREETED):
                piece = line.recv(len(GREETED) - len(heard))
                if not piece:
                    break
                heard += piece
    except OSError:
        return False
    return heard == GREETED
