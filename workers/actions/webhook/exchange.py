"""Posts to an endpoint once: to a permitted address, within a deadline, without redirects.

The name of an endpoint is resolved here, and the connection goes to an address that was checked, so
a name that changes between check and connection leads nowhere else. Host header and certificate
are those of the name. Proxies of the environment are not used, and of the answer only the
beginning is read.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from schemas.errors import ChannelUnavailable
from schemas.reasons import Reason
from schemas.settings import Network
from workers.actions.base import Checkpoints
from workers.source.answers import retry_after_s
from workers.source.deadline import (
    Deadline,
    DeadlineSocket,
    DeadlineTlsSocket,
    connect_within,
    wrap_within,
)

MOST_READ = 1_024  # bytes of the body; the status says all that decides
_PORTS = {"http": 80, "https": 443}
# Not public either, although Python calls them global.
_NOT_PUBLIC = (
    ipaddress.ip_network("3fff::/20"),  # RFC 9637: for documentation
    ipaddress.ip_network("168.63.129.16/32"),  # what Azure offers to its machines only
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_IPv4 = 32
# Codes of OpenSSL's verification. The others all mean that no trusted authority signed it.
_CERTIFICATES = {
    9: "its certificate is not valid yet; check this machine's clock",
    10: "its certificate has expired",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]  # a host and a port to addresses


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for a whole exchange, and for each try to connect and the TLS handshake."""

    whole_s: float = 15.0
    connect_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered: its status, the beginning of its body, and its Retry-After."""

    status: int
    body: bytes
    retry_after_s: float | None = None


def is_permitted(address: str, networks: Sequence[Network]) -> bool:
    """Return whether this address may be posted to: it is public, or in one of the networks."""
    found = _plain_address(address)
    if _is_in(found, networks):
        return True
    is_site_local = isinstance(found, ipaddress.IPv6Address) and found.is_site_local
    is_special = found.is_multicast or found.is_reserved or is_site_local
    return found.is_global and not is_special and not _is_in(found, _NOT_PUBLIC)


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == one.version and address in one for one in networks)


def _plain_address(address: str) -> Address:
    """Return the address that packets reach in the end: of an IPv4 one in IPv6, the IPv4 one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if not isinstance(found, ipaddress.IPv6Address):
        return found
    if found in _NAT64:
        return ipaddress.IPv4Address(int(found) & (2**_IPv4 - 1))
    return found.ipv4_mapped or found.sixtofour or found


def resolved(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, in the order in which to try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[-1][0]) for one in found))


class Exchange:
    """Makes single POSTs. `authorities` is a file of certificates to trust as well."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        timeouts: Timeouts | None = None,
        *,
        authorities: str | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self._networks = networks
        self._timeouts = timeouts or Timeouts()
        self._authorities = authorities
        self._resolve = resolve

    def post(
        self, url: str, headers: Mapping[str, str], body: bytes, checkpoints: Checkpoints
    ) -> Reply:
        """Return the answer to one POST.

        Raises:
            ChannelUnavailable: there was none, or the address must not be posted to. The text and
                the answer hold neither address nor body. Also what the checkpoints raise.
        """
        deadline = Deadline()
        deadline.start(self._timeouts.whole_s)
        checkpoints.before_step()
        try:
            connection = self._connected(url, deadline)
        except (OSError, ValueError) as error:
            raise _down(error) from None
        try:
            checkpoints.before_commit()
            return _exchanged(connection, url, headers, body)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _down(error) from None
        finally:
            connection.close()

    def _connected(self, url: str, deadline: Deadline) -> DeadlineSocket | DeadlineTlsSocket:
        """Return a connection to the first permitted address of the URL's host that answers."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        plain = self._reached(host, port, deadline, is_plain=parts.scheme == "http")
        if parts.scheme == "http":
            return plain
        context = _tls_context(self._authorities)
        return wrap_within(deadline, plain, context, host, self._timeouts.connect_s)

    def _reached(
        self, host: str, port: int, deadline: Deadline, *, is_plain: bool
    ) -> DeadlineSocket:
        permitted = [
            address
            for address in self._resolve(host, port)
            if is_permitted(address, self._networks)
            # What is not encrypted stays on this machine.
            and (not is_plain or _plain_address(address).is_loopback)
        ]
        if not permitted:
            raise ChannelUnavailable(
                Reason.ENDPOINT_ADDRESS,
                "the endpoint's name leads to private addresses only; if that is right, list them"
                " in COURSEBELL_ENDPOINT_NETWORKS",
            )
        refusal: OSError = OSError("no address answers")
        for address in permitted:
            try:
                return connect_within(deadline, address, port, self._timeouts.connect_s)
            except OSError as error:
                refusal = error
        raise refusal


def _exchanged(
    connection: DeadlineSocket | DeadlineTlsSocket,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
) -> Reply:
    parts = urlsplit(url)
    client = http.client.HTTPConnection(parts.hostname or "")
    client.sock, client.auto_open = connection, 0  # it never connects by itself
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    client.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
    sent = {
        "Host": parts.netloc,
        "Content-Length": str(len(body)),
        "User-Agent": "coursebell",
        "Connection": "close",
        **headers,
    }
    for name, value in sent.items():
        client.putheader(name, value)
    client.endheaders(body)
    response = client.getresponse()
    stated = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, _beginning(response), retry_after_s(stated))


def _beginning(response: http.client.HTTPResponse) -> bytes:
    """Return the beginning of the body; the status is known, so a broken body changes nothing."""
    try:
        return response.read1(MOST_READ)
    except (OSError, ValueError, http.client.HTTPException):
        return b""


@cache
def _tls_context(authorities: str | None) -> ssl.SSLContext:
    """Return the TLS settings. They trust what this machine trusts and what browsers do."""
    context = ssl.create_default_context()
    context.load_verify_locations(authorities or DEFAULT_CA_BUNDLE_PATH)
    context.sslsocket_class = DeadlineTlsSocket
    return context


def _down(error: Exception) -> ChannelUnavailable:
    if isinstance(error, ChannelUnavailable):
        return error
    return ChannelUnavailable(
        Reason.DELIVERY_DOWN, "the endpoint did not answer", answer=_why(error)
    )


_WHY: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "its name is not known"),
    (ssl.SSLEOFError, "it closed the connection"),
    (ssl.SSLError, "no encrypted connection can be made with it"),
    (ConnectionRefusedError, "nothing listens at its address"),
    (TimeoutError, "it did not answer in time"),
    (ConnectionError, "it closed the connection"),
    (http.client.HTTPException, "its answer is not HTTP"),
    (ValueError, "its answer is not HTTP"),
)


def _why(error: Exception) -> str:
    """Return why there was no answer, without what the error's own text may quote."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, "its certificate is not trusted")
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    found = (sentence for kind, sentence in _WHY if isinstance(error, kind))
    return next(found, "it cannot be reached")
