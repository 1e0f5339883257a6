"""Transaction poolers in front of PostgreSQL: PgBouncer where it is installed, and a stand-in.

Both lend a server connection for one transaction. The stand-in always lends the one that rested
longest, so that whatever a client left behind in a session is missing in its next transaction.
"""

import contextlib
import os
import pwd
import queue
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

from tests.servers.postgres import ADDRESS, address
from tests.servers.programs import wait_until
from workers.local.programs import start_program, stop_program
from workers.local.server import free_port

POOL_SIZE = 4
# PgBouncer refuses every other parameter at the start of a connection.
KNOWN_AT_START = {
    *("database", "user", "client_encoding", "datestyle", "timezone"),
    *("application_name", "standard_conforming_strings"),
}
_REPORTED = ("server_version", "client_encoding", "standard_conforming_strings", "TimeZone")
_SSL, _GSS = 80877103, 80877104


class Pooler:
    """The stand-in. `url` leads through it to the database it was made for."""

    def __init__(self, url: str) -> None:
        self._servers = [pq.PGconn.connect(address(url).encode()) for _ in range(POOL_SIZE)]
        self._idle: queue.Queue[PGconn] = queue.Queue()
        for server in self._servers:
            self._idle.put(server)
        self._listener = socket.create_server((ADDRESS, 0))
        port = self._listener.getsockname()[1]
        self.url = urlsplit(url)._replace(netloc=f"anybody@{ADDRESS}:{port}").geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for server in self._servers:
            server.finish()

    def left_behind(self) -> set[bytes]:
        """Return what clients left in the sessions of the server, which others would then have."""
        found = set()
        for server in self._servers:
            settings = server.exec_(b"SELECT name FROM pg_settings WHERE source = 'session'")
            prepared = server.exec_(b"SELECT name FROM pg_prepared_statements")
            for answer in (settings, prepared):
                found |= {answer.get_value(row, 0) or b"" for row in range(answer.ntuples)}
        return found

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not _greet(client, self._servers[0]):
                return
            while (message := _message(client))[:1] not in {b"X", b""}:
                server = self._idle.get()
                with socket.socket(fileno=os.dup(server.socket)) as line:
                    line.settimeout(None)
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    ended = _one_transaction(client, line, message)
                if not ended:
                    server.finish()  # what it was doing is undone, as PgBouncer does
                    return
                self._idle.put(server)


def _greet(client: socket.socket, server: PGconn) -> bool:
    """Answer the start of a connection; False: it was refused."""
    while True:
        (size,) = struct.unpack("!i", _exactly(client, 4))
        body = _exactly(client, size - 4)
        (code,) = struct.unpack("!i", body[:4])
        if code not in {_SSL, _GSS}:
            break
        client.sendall(b"N")
    names = {name.decode() for name in body[4:].split(b"\0")[:-2:2]}
    if unknown := names - KNOWN_AT_START:
        text = f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown}\0\0".encode()
        client.sendall(b"E" + struct.pack("!i", len(text) + 4) + text)
        return False
    reply = b"R" + struct.pack("!ii", 8, 0)
    for name in _REPORTED:
        pair = name.encode() + b"\0" + (server.parameter_status(name.encode()) or b"") + b"\0"
        reply += b"S" + struct.pack("!i", len(pair) + 4) + pair
    client.sendall(
        reply + b"K" + struct.pack("!iii", 12, 1, 1) + b"Z" + struct.pack("!i", 5) + b"I"
    )
    return True


def _one_transaction(client: socket.socket, server: socket.socket, message: bytes) -> bool:
    """Pass messages on until the server is idle again; False: the client left before that."""
    while True:
        server.sendall(message)
        if message[:1] in {b"Q", b"S"}:
            status = b""
            while not status:
                answer = _message(server)
                client.sendall(answer)
                status = answer[5:6] if answer[:1] == b"Z" else b""
            if status == b"I":
                return True
        message = _message(client)
        if message[:1] in {b"X", b""}:
            return False


def _message(line: socket.socket) -> bytes:
    """Return one message of the protocol; empty at the end of the line."""
    start = line.recv(1)
    if not start:
        return b""
    size = _exactly(line, 4)
    return start + size + _exactly(line, struct.unpack("!i", size)[0] - 4)


def _exactly(line: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = line.recv(size - len(found))
        if not more:
            raise ConnectionError
        found += more
    return found


@contextlib.contextmanager
def stand_in(url: str) -> Iterator[Pooler]:
    """Run the stand-in before a database."""
    pooler = Pooler(url)
    try:
        yield pooler
    finally:
        pooler.close()


def pgbouncer_found() -> str | None:
    """Return the program, if this machine has it."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def pgbouncer(url: str, folder: Path) -> Iterator[str]:
    """Run PgBouncer in transaction mode before a database; give where it is."""
    program = pgbouncer_found()
    assert program is not None
    parts, port = urlsplit(url), free_port()
    name = parts.path.strip("/")
    place = f"host={parts.hostname} port={parts.port} user={parts.username}"
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{name} = {place} password={parts.password}\n"
        f"[pgbouncer]\nlisten_addr = {ADDRESS}\nlisten_port = {port}\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\nserver_round_robin = 1\n"
        f"unix_socket_dir =\nserver_reset_query = DISCARD ALL\nserver_reset_query_always = 0\n"
    )
    argv = [program, "-q", str(settings)]
    if os.geteuid() == 0:
        argv = [program, "-q", "-u", pwd.getpwnam("nobody").pw_name, str(settings)]
    running = start_program(argv, log=folder / "pgbouncer.log")
    pooled = parts._replace(netloc=f"anybody@{ADDRESS}:{port}").geturl()
    try:
        wait_until(lambda: _answers(pooled), "PgBouncer answers")
        yield pooled
    finally:
        stop_program(running, wait_s=5)


def _answers(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(address(url), connect_timeout=2).close()
        return True
    return False
