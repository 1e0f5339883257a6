"""Makes one HTTP exchange with the source: limited in time and size, without redirects or retries.

`requests` limits the time between two pieces, not the whole exchange: a server that sends one byte
every few seconds would never time out. So before every read and write, each socket's timeout is set
to the time left for the exchange, and the body is read here piece by piece. Only name resolution
has no limit of ours; the system's resolver has its own.
"""

import json
import logging
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache, partial
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead
from typing import Any, cast
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidURL
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.util.ssl_ import create_urllib3_context

from schemas.errors import SourceRefused, SourceUnavailable
from workers.source.answers import Answer
from workers.source.deadline import (
    READ_S,
    Deadline,
    DeadlineSocket,
    DeadlineTlsSocket,
    connect_within,
    wrap_within,
)

WHOLE_S = 30.0  # for one exchange
CONNECT_S = 5.0  # to each address of a name; also for the TLS handshake
MAX_BYTES = 5 * 1024 * 1024  # of an answer, unpacked
_PIECE = 64 * 1024


_COMMON = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "coursebell",
}


class Transport:
    """The open connections to the source. Use one per thread, made after a fork.

    `authorities` is a file of certificates to trust instead of the default ones. Paths are `below`
    the base address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        whole_s: float = WHOLE_S,
        authorities: str | None = None,
        below: str = "/api/",
    ) -> None:
        self._below = below
        self._base_url = base_url.rstrip("/")
        self._whole_s = whole_s
        self._deadline = Deadline()
        # Its warnings about unreadable headers quote the URL with its query.
        logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
        self._is_usable = False
        # Without a session, proxies and .netrc of the machine do not decide where credentials go,
        # no cookie is kept, and no redirect is followed.
        self._adapter = _DeadlineAdapter(self._deadline, authorities)

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def get(self, path: str, query: Mapping[str, str], token: str) -> Answer:
        """Return the answer to a GET below /api.

        Raises:
            SourceUnavailable: no whole answer in time; the message names the cause.
            SourceRefused: a redirect, or an answer over the size cap.
        """
        return self._exchange("GET", path, {"Authorization": f"Bearer {token}"}, params=query)

    def get_open(self, path: str) -> Answer:
        """Return the answer to a GET that everybody may send, with no token. Raises as `get`."""
        return self._exchange("GET", path, {})

    def post_form(self, path: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Return the answer to a form POST below /api. Raises as `get`."""
        return self._exchange("POST", path, headers, body=form)

    def send_json(self, method: str, path: str, value: object, token: str) -> Answer:
        """Return the answer to a POST or PUT of one JSON value below /api. Raises as `get`.

        Without an answer it is unknown whether the write was done: read the record before you send
            it again (contract, section 6).
        """
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return self._exchange(method, path, headers, body=json.dumps(value).encode())

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, str] | bytes | None = None,
    ) -> Answer:
        self._deadline.start(self._whole_s)
        try:
            request = self._prepared(method, path, {**_COMMON, **headers}, params, body)
            timeout = (CONNECT_S, READ_S)
            with self._adapter.send(request, stream=True, timeout=timeout) as response:
                return _whole(response)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise SourceUnavailable(f"no answer from the source: {_cause_of(error)}") from None

    def _prepared(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        body: Mapping[str, str] | bytes | None,
    ) -> requests.PreparedRequest:
        """Return a request for the adapter.

        Most requests read records, and the library would take longer to prepare one of those than
        to exchange it.
        """
        url = f"{self._base_url}{self._below}{path}"
        if body is not None or not self._is_usable:
            prepared = requests.Request(method, url, headers, params=params, data=body).prepare()
            self._is_usable = True  # the address can be parsed
            return prepared
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = method, f"{url}?{urlencode(params)}" if params else url
        prepared.headers, prepared.hooks = CaseInsensitiveDict(headers), {"response": []}
        return prepared


def _whole(response: requests.Response) -> Answer:
    if HTTPStatus.MULTIPLE_CHOICES <= response.status_code < HTTPStatus.BAD_REQUEST:
        raise SourceRefused(f"the source answered {response.status_code}, a redirect; not followed")
    body = bytearray()
    while piece := response.raw.read1(_PIECE, decode_content=True):
        body += piece
        if len(body) > MAX_BYTES:
            raise SourceRefused(f"the source's answer is over {MAX_BYTES} bytes")
    headers = {name.lower(): response.headers[name] for name in response.headers}
    if "date" not in headers:
        # A recipient adds it (RFC 9110, 6.6.1); a Retry-After may be compared with it.
        headers["date"] = format_datetime(datetime.now(UTC), usegmt=True)
    return Answer(response.status_code, headers, bytes(body))


# --- Connections that observe the deadline of an exchange -----------------------------------------


class _DeadlineConnection(HTTPConnection):
    """A connection whose socket observes the deadline."""

    def __init__(self, *arguments: Any, deadline: Deadline, **options: Any) -> None:  # noqa: ANN401 - passed on as they come
        super().__init__(*arguments, **options)
        self.deadline = deadline

    def connect(self) -> None:
        self.sock = self.connect_plain()

    def connect_plain(self) -> DeadlineSocket:
        """Return a new connection; raises the errors that the pool expects."""
        try:
            return connect_within(self.deadline, self.host, self.port, CONNECT_S)
        except (socket.gaierror, UnicodeError) as error:
            # A host that cannot be a name raises `UnicodeError`.
            raise NameResolutionError(self.host, self, socket.gaierror("not found")) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "not reached in time") from error
        except OSError as error:
            raise NewConnectionError(self, "not reached") from error


class _DeadlineTlsConnection(_DeadlineConnection, HTTPSConnection):
    """A TLS connection; the pool's `ssl_context` verifies certificate and name."""

    def connect(self) -> None:
        plain, context = self.connect_plain(), cast("ssl.SSLContext", self.ssl_context)
        self.sock = wrap_within(self.deadline, plain, context, self.host, CONNECT_S)
        self.is_verified = True


class _Pool(HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _DeadlineTlsConnection


@cache
def _tls_context(authorities: str) -> ssl.SSLContext:
    """Return the TLS settings for this file of certificates, shared by all connections.

    Reading the file takes about 40 ms, which is too much for each thread.
    """
    context = create_urllib3_context()
    context.sslsocket_class = DeadlineTlsSocket
    context.load_verify_locations(authorities)
    return context


class _DeadlineAdapter(HTTPAdapter):
    """Connects for `requests`, with the deadline and without retries."""

    def __init__(self, deadline: Deadline, authorities: str | None) -> None:
        self._deadline = deadline
        self._authorities = authorities or DEFAULT_CA_BUNDLE_PATH
        self._pool: HTTPConnectionPool | None = None
        super().__init__(max_retries=0)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        *arguments: Any,  # noqa: ANN401 - passed on as they come
        **options: Any,  # noqa: ANN401 - passed on as they come
    ) -> HTTPConnectionPool:
        """Return the pool; called by `requests`. All requests go to the same address."""
        if self._pool is None:
            found = super().get_connection_with_tls_context(request, *arguments, **options)
            self._pool = cast("HTTPConnectionPool", found)
        return self._pool

    def request_url(self, request: requests.PreparedRequest, _: object) -> str:
        """Return what is requested of the server; called by `requests`. There is no proxy."""
        return request.path_url

    def build_response(self, _: object, resp: Any) -> requests.Response:  # noqa: ANN401 - as in requests
        """Return the response; called by `requests`. It stores no cookies and has no history."""
        response = requests.Response()
        response.status_code, response.headers, response.raw = resp.status, resp.headers, resp
        return response

    def init_poolmanager(self, connections: int, maxsize: int, *_: object, **__: object) -> None:
        """Make the pools; called by `requests`."""
        self.poolmanager = PoolManager(connections, maxsize=maxsize)
        # The pools pass further arguments to each connection.
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_Pool, deadline=self._deadline),
            "https": self._tls_pool,
        }

    def _tls_pool(self, *arguments: Any, **options: Any) -> _TlsPool:  # noqa: ANN401 - passed on as they come
        context = _tls_context(self._authorities)
        return _TlsPool(
            *arguments, **{**options, "ssl_context": context, "deadline": self._deadline}
        )


# --- Why there was no answer ----------------------------------------------------------------------

# Codes of OpenSSL's verification. The others all mean that no trusted authority signed it.
_CERTIFICATES = {
    9: "its certificate is not valid yet; check this machine's clock",
    10: "its certificate has expired",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
_UNTRUSTED = "its certificate is not trusted"

# The first row that fits any error of the chain. Subclasses stand before their base.
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (InvalidURL, "COURSEBELL_NEXUDUS_URL is not the address of a host"),
    (NameResolutionError, "its name cannot be resolved"),
    (ssl.SSLEOFError, "it closed the connection"),
    (
        ssl.SSLError,
        "no encrypted connection can be made with it; is it an https address?",
    ),
    (ConnectionRefusedError, "nothing listens at its address"),
    (NewConnectionError, "it cannot be reached"),  # also a `ConnectTimeoutError`
    (ConnectTimeoutError, "it cannot be reached in time"),
    (ReadTimeoutError, "it did not finish its answer in time"),
    (TimeoutError, "it did not finish its answer in time"),
    (ConnectionError, "it closed the connection"),  # reset, or closed without an answer
    (IncompleteRead, "its answer is incomplete"),
    (DecodeError, "its answer cannot be unpacked"),
    (InvalidHeader, "its answer is not HTTP"),
    (HTTPException, "its answer is not HTTP"),
    (OSError, "it cannot be reached"),
)


def _cause_of(error: BaseException) -> str:
    """Return why there was no answer, as a phrase without address, query or token.

    An exception's own text may quote the address with its query, so only its kind is used.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _CERTIFICATES.get(one.verify_code, _UNTRUSTED)
    for kind, sentence in _CAUSES:
        if any(isinstance(one, kind) for one in chain):
            return sentence
    return type(error).__name__


def _chain(error: BaseException, depth: int = 8) -> Iterator[BaseException]:
    """Yield an error and its causes; libraries wrap errors in three ways."""
    yield error
    causes = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    for cause in causes if depth else ():
        if isinstance(cause, BaseException):
            yield from _chain(cause, depth - 1)
