"""The folder of one broker: private, and removed once its launcher is gone."""

import os
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigurationError
from workers.private_folder import leave_folder, take_folder

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
        leave_folder(self.folder, self.lock)

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
        return Place(*take_folder(data_dir, PREFIX))
    except OSError as error:
        raise ConfigurationError(
            [f"COURSEBELL_DATA_DIR: {data_dir} cannot be used: {error.strerror}."]
        ) from error


def _quoted(path: Path) -> str:
    """Write a path as the server's settings want it, whatever characters it holds."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
