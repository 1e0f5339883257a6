"""Resolves the address the web server listens on, checks that it is free, and announces its URL."""

import errno
import http.client
import json
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.errors import ConfigurationError
from schemas.settings import Listen, Settings
from service.cli.common import command_clock

_SETTING = "COURSEBELL_LISTEN"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach them from here
_ELSEWHERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_USE = (
    "use 127.0.0.1 for this machine only, 0.0.0.0 for every network interface, or an address of"
    " this machine"
)
_ANSWER_WAIT_S = 1.0
LATE_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Address:
    """The IP address and port to listen on, with texts about them."""

    listen: Listen  # its host is an IP address
    resolved: str | None = None  # what a host name resolved to; None for an IP address

    @property
    def url(self) -> str:
        """A URL at which this machine reaches the server."""
        host = _WILDCARDS.get(self.listen.host, self.listen.host)
        return f"http://{replace(self.listen, host=host)}"

    @property
    def note(self) -> str:
        """What the URL does not show, in brackets, or an empty text."""
        if self.listen.host in _WILDCARDS:
            return f" (listening on every network interface, port {self.listen.port})"
        return f" ({self.resolved})" if self.resolved else ""


def free_address(settings: Settings) -> Address:
    """Resolve the host of `COURSEBELL_LISTEN` and check that the port is free.

    Of several addresses the first that belongs to this machine is taken, IPv4 before IPv6. The web
    server itself sets SO_REUSEPORT, so it would share a port in use instead of failing.

    Raises:
        ConfigurationError: the name cannot be resolved, no address belongs to this machine, or
            the port is in use or not allowed.
    """
    found = _resolved(settings.listen)
    for address in found:
        try:
            _try_to_bind(address.listen)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                continue
            raise ConfigurationError([_refusal(error, address, settings)]) from None
        return address
    raise ConfigurationError(
        [f"{_SETTING}: {settings.listen} is not an address of this machine; {_USE}"]
    )


def reserve(address: Address) -> socket.socket:
    """Reserve the address against another Coursebell web server, until the result is closed.

    Two servers that start at the same moment both find the port free. On Linux, an abstract Unix
    socket decides: it is scoped to the network namespace, as ports are, and ends with the process.

    Raises:
        ConfigurationError: another Coursebell web server has it.
    """
    reserved = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if sys.platform == "linux":
        try:
            reserved.bind(f"\0coursebell-web-{address.listen}")
        except OSError:
            reserved.close()
            raise ConfigurationError(
                [
                    (
                        f"{_SETTING}: another Coursebell web server is starting on"
                        f" {address.listen}; give each its own port"
                    )
                ]
            ) from None
    return reserved


def announcement(
    address: Address,
    say: Callable[[str], None],
    *,
    then: Sequence[str] = (),
    late_after_s: float = LATE_AFTER_S,
) -> Callable[[], bool]:
    """Return a function to call repeatedly, which announces once that the web server answers.

    The function returns whether the server has answered so far. The lines of `then` follow the
    announcement. It also warns once if the server has not answered within `late_after_s` seconds.
    """
    clock = command_clock()
    began_at = clock.monotonic()
    announced: set[str] = set()

    def check() -> bool:
        if "up" in announced:
            return True
        if is_coursebell(address):
            announced.add("up")
            say(f"Coursebell is up at {address.url}{address.note}")
            say(f"Its health is at {address.url}/readyz")
            for line in then:
                say(line)
        elif "late" not in announced and clock.monotonic() - began_at >= late_after_s:
            announced.add("late")
            say(
                f"The web server does not answer yet at {address.url}; its log lines above have"
                " the reason. Still trying."
            )
        return "up" in announced

    return check


def is_coursebell(address: Address) -> bool:
    """Return whether a Coursebell web server answers there, without using any proxy."""
    host = _WILDCARDS.get(address.listen.host, address.listen.host)
    client = http.client.HTTPConnection(host, address.listen.port, timeout=_ANSWER_WAIT_S)
    with closing(client):
        try:
            client.request("GET", "/healthz")
            answer: object = json.loads(client.getresponse().read(1_000))
        except (OSError, ValueError, http.client.HTTPException):
            return False
    return answer == {"alive": True}


def _resolved(listen: Listen) -> list[Address]:
    try:
        # getaddrinfo repeats an address for each protocol unless one kind of socket is named.
        answers = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigurationError(
            [f"{_SETTING}: the host of {listen} cannot be resolved on this machine; {_USE}"]
        ) from None
    hosts = list(dict.fromkeys(str(place[0]) for *_, place in sorted(answers, key=_ipv6_last)))
    # Link-local addresses need a zone (%eth0), which the web server does not accept.
    hosts = [host for host in hosts if not host.lower().startswith("fe80:")]
    if not hosts:
        raise ConfigurationError(
            [f"{_SETTING}: a link-local IPv6 address is not supported; {_USE}"]
        )
    if hosts == [listen.host]:
        return [Address(listen)]
    resolved = f"{listen.host} is {' and '.join(hosts)}"
    return [
        Address(
            replace(listen, host=host),
            resolved if len(hosts) == 1 else f"{resolved}; listening on {host}",
        )
        for host in hosts
    ]


def _ipv6_last(answer: tuple[object, ...]) -> bool:
    return answer[0] == socket.AF_INET6


def _try_to_bind(listen: Listen) -> None:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Without this, connections of a server that just ended would make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((listen.host, listen.port))


def _refusal(error: OSError, address: Address, settings: Settings) -> str:
    where = f"{_SETTING}: {address.listen}"
    if error.errno == errno.EACCES:
        return (
            f"{where}: this user may not listen on port {address.listen.port}; use a port of 1024"
            " or higher, and put a web server with TLS in front"
        )
    if error.errno != errno.EADDRINUSE:
        return f"{where}: {error.strerror}"
    if is_coursebell(address):
        folder = Path(settings.data_dir).absolute()
        return (
            f"{where} is in use: Coursebell is already running there. `coursebell status` shows"
            f" whether it uses this data folder, {folder}; for a second Coursebell choose another"
            " port and another data folder"
        )
    return (
        f"{where} is in use by another program (it does not answer as Coursebell);"
        " stop it, or choose another port"
    )
