"""The address of the broker that `coursebell up` uses, in a file for processes that look for it.

It holds a password, and changes when the broker has to be given another port.
"""

import contextlib
import os
import tempfile
from pathlib import Path

from schemas.errors import ConfigurationError
from schemas.settings import Settings

FILE = "broker.url"


class BrokerAddress:
    """The file in one data folder, as its writer has it: what another process wrote is left."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._written = ""

    def write(self, url: str) -> None:
        """Write the address, readable by us alone, in place of whatever was there.

        Raises:
            ConfigurationError: the data folder cannot be written.
        """
        try:
            number, part = tempfile.mkstemp(prefix=f"{FILE}.", dir=self._path.parent)
            try:
                with os.fdopen(number, "w", encoding="ascii") as file:
                    file.write(url)
                Path(part).replace(self._path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigurationError(
                [f"COURSEBELL_DATA_DIR: cannot write {self._path}: {error.strerror}"]
            ) from None
        self._written = url

    def remove(self) -> None:
        """Remove the file if it still holds what was written here."""
        if self._written and _read(self._path) == self._written:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def keep(self) -> None:
        """Write the address again if the file is gone, as far as that is possible."""
        if self._written and not self._path.exists():
            with contextlib.suppress(ConfigurationError):
                self.write(self._written)

    def remove_left_behind(self) -> None:
        """Remove what a killed process has left. For the one that holds the folder's lock."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def broker_url_now(settings: Settings) -> str | None:
    """Return the address of the broker: the one that is set, or that of `coursebell up` here."""
    return settings.broker_url or _read(Path(settings.data_dir) / FILE)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii") or None
    except (OSError, ValueError):
        return None
