"""The folder of one broker: private, and swept away when its launcher is gone.

A launcher that is killed cannot remove its folder, in which a password lies. The folder is
therefore locked for as long as the launcher lives, and the next start removes every folder
that nobody holds.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigurationError

PREFIX = "broker-"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of ours (mode 0700) and the open lock on it."""

    folder: Path
    lock: int

    @property
    def conf(self) -> Path:
        """The server's settings, with its password."""
        return self.folder / "broker.conf"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "broker.log"

    def leave(self) -> None:
        """Remove the folder and its lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)

    def write_conf(self, port: int, password: str) -> None:
        """Write the server's settings, readable by us alone."""
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


def take_place(data_dir: Path) -> Place:
    """Make a folder for one broker below `data_dir`, and remove those nobody holds any more.

    Raises:
        ConfigurationError: the data folder cannot be written.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Between making a folder and locking it nobody else may sweep.
        with _locked(data_dir):
            for old in data_dir.glob(f"{PREFIX}*"):
                with contextlib.suppress(OSError), _locked(old, wait=False):
                    shutil.rmtree(old, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=data_dir.resolve()))
            return Place(folder, _lock(folder, wait=False))
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: {data_dir} cannot be used: {error.strerror}."]
        ) from error


def _lock(folder: Path, *, wait: bool) -> int:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(opened)
        raise
    return opened


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    lock = _lock(folder, wait=wait)
    try:
        yield
    finally:
        os.close(lock)


def _quoted(path: Path) -> str:
    """Write a path as the server's settings want it, whatever characters it holds."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
