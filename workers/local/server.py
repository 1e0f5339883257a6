"""Runs a broker's server on this machine, in its own folder and on its own port."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import ConfigurationError
from workers.broker import IN_MEMORY, BrokerChoice, BrokerKind, broker_answers
from workers.local.programs import (
    RestartCounter,
    RestartPolicy,
    claim_folder,
    describe_exit,
    last_lines,
    release_folder,
    start_program,
    stop_program,
)
from workers.local.supervisor import FailingProgram

PREFIX = "broker-"


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """The server's private folder (mode 0700) and the open lock on it."""

    folder: Path
    lock: int

    @property
    def conf(self) -> Path:
        """The server's settings, with its password."""
        return self.folder / "broker.conf"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "broker.log"

    def leave(self) -> None:
        """Remove the folder and its lock."""
        release_folder(self.folder, self.lock)

    def write_conf(self, port: int, password: str) -> None:
        """Write the server's settings, readable by this user alone."""
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
            f"dir {_quoted(self.folder)}",
            "daemonize no",
            f"logfile {_quoted(self.log)}",
        ]
        opened = os.open(self.conf, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "wb") as file:
            file.write(b"".join(os.fsencode(line) + b"\n" for line in lines))


def make_server_folder(data_dir: Path) -> ServerFolder:
    """Make a folder for one broker below `data_dir`, and remove those no longer in use.

    Raises:
        ConfigurationError: the data folder cannot be written.
    """
    try:
        return ServerFolder(*claim_folder(data_dir, PREFIX))
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: {data_dir} cannot be used: {error.strerror}."]
        ) from error


def _quoted(path: Path) -> str:
    """Quote a path for the server's settings file."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


ADDRESS = "127.0.0.1"
START_WAIT_S = 10.0  # a server on a busy machine needs well under one
STOP_WAIT_S = 5.0
LOOK_EVERY_S = 0.02
PORT_TAKEN = (
    "Address already in use",
    "Failed listening on port",
)  # the messages of Redis and Valkey
# None of our settings and secrets, and no locale: one that is missing here would stop it.
ENVIRONMENT = {"LC_ALL": "C"}


class PortTaken(Exception):
    """Another program uses this port; try another one."""


class BrokerServer:
    """A server process of ours: its binary, folder, port and password."""

    def __init__(self, binary: Path, place: ServerFolder, port: int, password: str) -> None:
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

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            PortTaken: another program listens on its port.
            ConfigurationError: it exited or did not answer; the text has the end of its log.
        """
        self.spawn()
        try:
            while not self.has_answered(wait_s=LOOK_EVERY_S):
                pass
        except BaseException:
            self.stop()
            raise

    def spawn(self) -> None:
        """Start it. Raises `ConfigurationError` if it cannot be run, or its folder not written."""
        try:
            self.place.log.unlink(missing_ok=True)
            self.place.write_conf(self.port, self.password)
            # With nothing to save there is nothing to lose by SIGKILL.
            self.program = start_program(
                [str(self.binary), str(self.place.conf)],
                env=ENVIRONMENT,
                log=self.place.log,
                parent_death_signal=signal.SIGKILL,
            )
        except OSError as error:
            raise ConfigurationError(
                [f"The broker {self.binary} cannot be started: {error.strerror}."]
            ) from error
        self._give_up_at = time.monotonic() + START_WAIT_S

    def has_answered(self, *, wait_s: float = 0.0) -> bool:
        """Return whether it answers, after waiting up to `wait_s` seconds for its exit.

        Raises:
            PortTaken: it exited because another program listens on its port.
            ConfigurationError: it exited or takes too long; the text has the end of its log.
        """
        if self.program is None:
            return False
        # First check that it still runs: another program may hold its port.
        try:
            code = self.program.wait(wait_s)
        except subprocess.TimeoutExpired:
            if broker_answers(self.url):
                return True
            if time.monotonic() < self._give_up_at:
                return False
            text = f"The broker {self.binary} gave no answer in {START_WAIT_S:g} s"
            raise ConfigurationError([f"{text}:\n{self._last_lines()}"]) from None
        tail = self._last_lines()
        if any(words in tail for words in PORT_TAKEN):
            raise PortTaken
        raise ConfigurationError(
            [f"The broker {self.binary} ended with exit code {code} at its start:\n{tail}"]
        )

    def _last_lines(self) -> str:
        # A server that does not know a setting prints that line.
        return last_lines(self.place.log).replace(self.password, "(password)")

    def stop(self, *, wait_s: float = STOP_WAIT_S) -> None:
        """Stop it. Does nothing if it has exited."""
        program, self.program = self.program, None
        if program is not None:
            stop_program(program, wait_s=wait_s)


PORT_TRIES = 5  # another program may take a free port before we use it
_PACE = RestartPolicy(first_delay_s=0.1)


class RunningBroker:
    """A broker in use. One given by URL has no `pid`, and `stop` does not touch it.

    With `is_none` there is no broker, and workers and scheduler must share one process.
    """

    def __init__(
        self,
        url: str,
        server: BrokerServer | None = None,
        *,
        next_port: Callable[[], int] | None = None,
        say: Callable[[str], None] = lambda _: None,
        pace: RestartPolicy = _PACE,
    ) -> None:
        self.url = url
        self.failing: FailingProgram | None = None
        self._server = server
        self._next_port = next_port or free_port
        self._say = say
        self._restarts = RestartCounter(pace)
        self._up_since: float | None = time.monotonic()  # None: it is not up
        self._due_at = 0.0

    def __repr__(self) -> str:
        # The URL holds a password.
        return f"RunningBroker(pid={self.pid})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def is_none(self) -> bool:
        """Return whether there is no broker that several processes could reach."""
        return self.url == IN_MEMORY

    @property
    def is_ours(self) -> bool:
        """Return whether we started its server."""
        return self._server is not None

    @property
    def is_up(self) -> bool:
        """Return whether its server was running when last checked. One given by URL always is."""
        return self._up_since is not None

    @property
    def pid(self) -> int | None:
        """The process id of our server, or None if we run none."""
        program = self._server.program if self._server else None
        return program.pid if program else None

    def restart_if_dead(self) -> bool:
        """Restart our server if it died; call this repeatedly. Returns True when it answers again.

        It never waits and never raises: a server that cannot be started is retried with growing
        pauses. If another program took its port, it gets another one, and `url` changes. Call it
        from the thread that called `start_broker`.
        """
        server, now = self._server, time.monotonic()
        if server is None:
            return False
        if self._up_since is not None:
            return self._look_at(server, now, self._up_since)
        if server.program is None and now < self._due_at:
            return False
        try:
            if server.program is None:
                server.spawn()
            is_up = server.has_answered()
        except PortTaken:
            is_up = False
            self._change_port(server)
        except ConfigurationError as error:
            is_up = False
            self._note_death(server, str(error), lived_s=0.0)
        if is_up:
            self._up_since = now
            self._say("The broker runs again.")
        return is_up

    def _look_at(self, server: BrokerServer, now: float, up_since: float) -> bool:
        """Note the death of a server that was up. Returns False."""
        code = None if server.program is None else server.program.poll()
        if server.program is not None and code is None:
            if self._restarts.short_lives and self._restarts.is_stable(now - up_since):
                self._restarts.reset()
                self.failing = None
            return False
        how = "was ended" if code is None else describe_exit(code)
        self._note_death(server, f"The broker {how}.", lived_s=now - up_since)
        return False

    def _note_death(self, server: BrokerServer, how: str, *, lived_s: float) -> None:
        server.stop(wait_s=0)
        self._up_since = None
        delay_s = self._restarts.delay_after_death(now=time.monotonic(), lived_s=lived_s)
        self._due_at = time.monotonic() + delay_s
        if self._restarts.is_failing:
            since = self.failing.since if self.failing else datetime.now(UTC)
            self.failing = FailingProgram(since, how)
        self._say(
            f"{how} Starting it again in {delay_s:g} s. No work is lost: the ledger keeps it."
        )

    def _change_port(self, server: BrokerServer) -> None:
        """Replace the server by one with a new port and a password the other program never saw."""
        port = server.port
        server.stop(wait_s=0)
        try:
            self._server = BrokerServer(
                server.binary, server.place, self._next_port(), secrets.token_hex(16)
            )
        except OSError as error:
            self._note_death(server, f"No port is free: {error.strerror}.", lived_s=0.0)
            return
        self.url = self._server.url
        self._due_at = time.monotonic() + self._restarts.pace.first_delay_s
        self._say(f"Another program has taken the broker's port {port}; it gets another one.")

    def stop(self) -> None:
        """Stop our server and remove its folder. May be called repeatedly."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()
            server.place.leave()


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.create_server((ADDRESS, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def start_broker(
    choice: BrokerChoice,
    data_dir: Path,
    *,
    next_port: Callable[[], int] = free_port,
    say: Callable[[str], None] = lambda _: None,
    pace: RestartPolicy = _PACE,
) -> RunningBroker:
    """Start the chosen server in its own folder below `data_dir`, and wait until it answers.

    `say` receives a line when it later dies and when it runs again. `pace` sets the restart delays.
    A given URL is used as it is. On Linux the server dies with the calling thread.

    Raises:
        ConfigurationError: it did not start; the text has the end of its log.
    """
    if choice.url is not None:
        return RunningBroker(choice.url)
    if choice.kind is BrokerKind.NONE:
        return RunningBroker(IN_MEMORY)
    if choice.binary is None:
        raise ConfigurationError(["A broker needs a URL or a server to start."])
    place = make_server_folder(data_dir)
    try:
        server = _begin_on_free_port(choice.binary, place, next_port)
    except BaseException:
        place.leave()
        raise
    return RunningBroker(server.url, server, next_port=next_port, say=say, pace=pace)


def _begin_on_free_port(
    binary: Path, place: ServerFolder, next_port: Callable[[], int]
) -> BrokerServer:
    password = secrets.token_hex(16)
    for _ in range(PORT_TRIES):
        server = BrokerServer(binary, place, next_port(), password)
        with contextlib.suppress(PortTaken):
            server.start()
            return server
    raise ConfigurationError([f"{PORT_TRIES} free ports were each taken by another program."])
