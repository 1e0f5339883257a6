"""The broker in use: started once, revived when it died, stopped at the end.

The same object stands for a broker that was given by URL, which is not ours to start or stop.
"""

import contextlib
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import ConfigurationError
from workers.broker.choice import BrokerChoice, BrokerKind
from workers.broker.connecting import IN_MEMORY
from workers.broker.place import Place, take_place
from workers.broker.server import ADDRESS, OwnServer, PortTaken

PORT_TRIES = 5  # between choosing a free port and using it, somebody else may take it


class RunningBroker:
    """A broker in use. One that was given by URL has no `pid`, and `stop` leaves it alone.

    Where there is none, `is_none` is true, and workers and clock have to be one process.
    """

    def __init__(self, url: str, server: OwnServer | None = None) -> None:
        self.url = url
        self._server = server

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
    def pid(self) -> int | None:
        """The server's process id, or None when there is no server of ours."""
        program = self._server.program if self._server else None
        return program.pid if program else None

    def revive(self) -> bool:
        """Start our server again if it died, with the same URL. True when that was needed.

        Call it from the thread that called `start`.

        Raises:
            ConfigurationError: it cannot be started again.
        """
        server = self._server
        if server is None or (server.program is not None and server.program.poll() is None):
            return False
        server.end()
        try:
            server.begin()
        except PortTaken as error:
            raise ConfigurationError(
                [f"The broker died, and its port {server.port} was taken meanwhile."]
            ) from error
        return True

    def stop(self) -> None:
        """End our server and remove its folder; harmless when repeated."""
        server, self._server = self._server, None
        if server is not None:
            server.end()
            server.place.leave()


def free_port() -> int:
    """Return a loopback port that is free at this moment."""
    with socket.create_server((ADDRESS, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def start(
    choice: BrokerChoice, data_dir: Path, *, next_port: Callable[[], int] = free_port
) -> RunningBroker:
    """Start the chosen server in a folder of its own below `data_dir`, and wait for its answer.

    A given URL is handed back as it is. On Linux the server dies with the calling thread, so
    call this from the main one.

    Raises:
        ConfigurationError: it did not start; the text has the end of its log.
    """
    if choice.url is not None:
        return RunningBroker(choice.url)
    if choice.kind is BrokerKind.NONE:
        return RunningBroker(IN_MEMORY)
    if choice.binary is None:
        raise ConfigurationError(["A broker needs a URL or a server to start."])
    place = take_place(data_dir)
    try:
        server = _begin_on_free_port(choice.binary, place, next_port)
    except BaseException:
        place.leave()
        raise
    return RunningBroker(f"redis://:{server.password}@{ADDRESS}:{server.port}/0", server)


def _begin_on_free_port(binary: Path, place: Place, next_port: Callable[[], int]) -> OwnServer:
    password = secrets.token_hex(16)
    for _ in range(PORT_TRIES):
        server = OwnServer(binary, place, next_port(), password)
        with contextlib.suppress(PortTaken):
            server.begin()
            return server
    raise ConfigurationError([f"{PORT_TRIES} free ports were each taken by somebody else."])
