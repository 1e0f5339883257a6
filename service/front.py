"""Reads the web server's requests, and runs the Flask application in threads.

Granian calls `RequestGate` through RSGI, its asynchronous interface. Requests whose headers alone
show that they must be refused are refused before their body is read. Bodies are collected within
limits of time, size and memory, and only a complete request occupies a thread.

Granian has no time limit for bodies, so a sender who stalls would hold a connection for ever. Here
every body has a deadline. When too many are incomplete, the oldest is dropped: an authentic
delivery arrives within milliseconds, so it is rarely that one.
"""

import asyncio
import io
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from wsgiref.types import WSGIEnvironment

from granian.rsgi import (  # type: ignore[attr-defined]  # granian marks no name as exported
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from schemas.errors import Overloaded, Rejected, TooLarge, TooSlow, UnknownRoute
from service.app import SECURITY_HEADERS, Web
from service.hooks import HOOKS, hook_guards


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much of request bodies is buffered, and for how long. Sizes are in bytes."""

    largest: int
    deadline_s: float = 10.0
    most_waiting: int = 512
    most_held: int = 64 * 1024 * 1024
    most_dropped: int = 16 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Upload:
    timer: asyncio.Timeout
    body: bytearray = field(default_factory=bytearray)
    is_dropped: bool = False


class Bodies:
    """Collects request bodies in memory, within limits. Used from one event loop only."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._waiting: dict[_Upload, None] = {}  # incomplete, in the order in which they began
        self._held = 0
        self._stopping = False

    @property
    def held_bytes(self) -> int:
        """How many bytes of bodies are in memory."""
        return self._held

    async def collect(self, chunks: AsyncIterator[bytes], declared: int | None) -> bytes:
        """Return the whole body. `declared` is its Content-Length, None if it has none.

        Raises:
            TooLarge: it is over the limit. The rest is not read; see `drop`.
            TooSlow: it did not arrive before the deadline.
            Overloaded: it was dropped in favour of others, or because the server stops.
            ConnectionError: the sender closed the connection before the end of the body.
        """
        if declared == 0:
            return b""
        too_large = TooLarge(f"the body has more than {self._limits.largest} bytes")
        if declared is not None and declared > self._limits.largest:
            raise too_large
        async with self._upload(self._limits.deadline_s) as upload:
            async for chunk in chunks:
                if upload.is_dropped:
                    # This chunk arrived in the turn of the loop in which the body was dropped: its
                    # bytes are no longer counted, and the timer interrupts it only after this turn.
                    raise Overloaded(is_stop=self._stopping)
                if len(upload.body) + len(chunk) > self._limits.largest:
                    raise too_large
                upload.body += chunk
                self._held += len(chunk)
                self._enforce_limits(upload)
            body = bytes(upload.body)
        if declared is not None and len(body) != declared:
            # The server ends a body that was cut off as if it were complete.
            raise ConnectionError("the sender closed the connection")
        return body

    async def drop(self, chunks: AsyncIterator[bytes], wait_s: float) -> None:
        """Read and discard the rest of a refused body while it keeps arriving.

        A client that writes its whole request before it reads would otherwise get a connection
        reset instead of the answer. `wait_s` is the longest pause between two chunks.
        """
        loop = asyncio.get_running_loop()
        latest, dropped = loop.time() + self._limits.deadline_s, 0
        with suppress(TooSlow, Overloaded):
            async with self._upload(wait_s) as upload:
                async for chunk in chunks:
                    dropped += len(chunk)
                    if dropped > self._limits.most_dropped or upload.is_dropped:
                        return
                    upload.timer.reschedule(min(loop.time() + wait_s, latest))

    @contextmanager
    def held(self, body: bytes) -> Iterator[None]:
        """Count a complete body as memory in use while its request is processed."""
        self._held += len(body)
        try:
            yield
        finally:
            self._held -= len(body)

    def stop(self) -> None:
        """Drop every incomplete body, now and from now on."""
        self._stopping = True
        for upload in list(self._waiting):
            self._end(upload)

    @asynccontextmanager
    async def _upload(self, seconds: float) -> AsyncIterator[_Upload]:
        upload = _Upload(asyncio.timeout(seconds))
        self._waiting[upload] = None
        try:
            async with upload.timer:
                self._enforce_limits(upload)
                yield upload
        except TimeoutError:
            if upload.is_dropped:
                raise Overloaded(is_stop=self._stopping) from None
            raise TooSlow("the body did not arrive in time") from None
        finally:
            self._waiting.pop(upload, None)
            if not upload.is_dropped:
                self._held -= len(upload.body)

    def _enforce_limits(self, newest: _Upload) -> None:
        if self._stopping:
            raise Overloaded(is_stop=True)
        if len(self._waiting) > self._limits.most_waiting:
            self._end(next(iter(self._waiting)))
        while self._held > self._limits.most_held:
            oldest = next((one for one in self._waiting if one is not newest and one.body), None)
            if oldest is None:
                raise Overloaded
            self._end(oldest)

    def _end(self, upload: _Upload) -> None:
        upload.is_dropped = True
        self._held -= len(upload.body)
        del self._waiting[upload]
        if not upload.timer.expired():  # an expired timer interrupts it already
            upload.timer.reschedule(asyncio.get_running_loop().time())


_ALIVE = "/healthz"
_STRANGER_PAUSE_S = 0.2
_SENDER_PAUSE_S = 2.0
_SLASHES = re.compile("//+")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_DROPPED_HEADERS = frozenset({"transfer-encoding", "connection"})

Answer = tuple[int, list[tuple[str, str]], bytes]


class RequestGate:
    """The RSGI application of one web process."""

    def __init__(self, web: Web, limits: BodyLimits) -> None:
        self._web = web
        self._guards = hook_guards(web.settings)
        self._routes = web.app.url_map.bind("")
        self._bodies = Bodies(limits)
        # A delivery waiting for the ledger's commit costs only a thread. Other requests have their
        # own threads, so that a flood of them neither delays a delivery nor makes the process look
        # dead.
        self._hooks = _Lane("hooks", threads=32, most=2048)
        self._pages = _Lane("pages", threads=4, most=64)
        self._alive = _Lane("alive", threads=1, most=64)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Drop incomplete bodies when the server is asked to stop, since it waits for all requests.

        Called by the server, which has already set handlers on the loop. They stay in effect: the
        loop learns of a signal through its wake-up descriptor, whatever Python's own handler is.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._bodies.stop))

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what the application opened. Called by the server after the last answer."""
        del loop
        for lane in (self._hooks, self._pages, self._alive):
            lane.threads.shutdown()
        self._web.close()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        environ, chunks = _environ(scope), _Chunks(protocol)
        # The server raises one of these if the client has closed the connection.
        with suppress(ProtocolClosed, ProtocolError):
            try:
                body = await self._receive(environ, chunks)
                answer = await self._run(environ, body)
            except Rejected as error:
                answer = await self._refuse(environ, chunks, error)
            except (ConnectionError, ProtocolClosed, ProtocolError):
                answer = (400, [], b"")
            protocol.response_bytes(*answer)

    async def _receive(self, environ: WSGIEnvironment, chunks: AsyncIterator[bytes]) -> bytes:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method in _WITHOUT_BODY:
            return b""
        try:
            self._routes.match(path, method)
        except HTTPException:
            if not _is_delivery(environ):
                return b""  # the application answers without reading the body
            raise UnknownRoute("there is no such hook route") from None
        if path in self._guards:
            self._guards[path](environ)
        declared = environ.get("CONTENT_LENGTH")
        return await self._bodies.collect(chunks, None if declared is None else int(declared))

    async def _run(self, environ: WSGIEnvironment, body: bytes) -> Answer:
        """Run the application for a complete request, in a thread."""
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        lane = self._alive if environ["PATH_INFO"] == _ALIVE else self._pages
        if _is_delivery(environ):
            lane = self._hooks
        with self._bodies.held(body):
            return await lane.run(self._answer, environ)

    async def _refuse(
        self, environ: WSGIEnvironment, chunks: AsyncIterator[bytes], error: Rejected
    ) -> Answer:
        """Count a refused request and return its answer once the client is likely to read it."""
        if not _is_delivery(environ):
            error.refusal = None
        refused = self._web.refusals.answer(error, environ["REMOTE_ADDR"])
        if not refused.closes_at_once and "HTTP_EXPECT" not in environ:
            pause_s = _SENDER_PAUSE_S if isinstance(error, TooLarge) else _STRANGER_PAUSE_S
            await self._bodies.drop(chunks, pause_s)
        headers = {**SECURITY_HEADERS, "Content-Type": "application/json", "Connection": "close"}
        if refused.retry_after_s is not None:
            headers["Retry-After"] = str(refused.retry_after_s)
        body = json.dumps({"error": refused.sentence}).encode() + b"\n"
        return refused.status, _lower(headers.items()), body

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        answer = Response.from_app(self._web.app, environ, buffered=True)
        return answer.status_code, _lower(answer.headers), answer.get_data()


class _Lane:
    """Threads for one kind of request; at most `most` requests wait or run at a time."""

    def __init__(self, name: str, *, threads: int, most: int) -> None:
        self.threads = ThreadPoolExecutor(threads, name)
        self._most = most
        self._running = 0

    async def run(
        self, answer: Callable[[WSGIEnvironment], Answer], environ: WSGIEnvironment
    ) -> Answer:
        """Run `answer` in a thread. Raises `Overloaded` if the lane is full."""
        if self._running >= self._most:
            raise Overloaded
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, answer, environ)
        finally:
            self._running -= 1


class _Chunks:
    """The body of a request as an iterator that can be resumed; the server's starts only once."""

    def __init__(self, protocol: HTTPProtocol) -> None:
        self._iterator: AsyncIterator[bytes] = protocol.__aiter__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._iterator.__anext__()


def _is_delivery(environ: WSGIEnvironment) -> bool:
    path: str = environ["PATH_INFO"]
    return environ["REQUEST_METHOD"] == "POST" and path.startswith(HOOKS)


def _environ(scope: Scope) -> WSGIEnvironment:
    """Return the request as a WSGI environment (PEP 3333), without its body."""
    path = _SLASHES.sub("/", scope.path)
    if not path.startswith(HOOKS):
        path = scope.path
    elif path != HOOKS:
        path = path.rstrip("/")
    server, _, port = scope.server.rpartition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode("utf-8", "surrogatepass").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "SERVER_NAME": server.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        if "_" in name or name in _DROPPED_HEADERS:
            continue  # a name with an underscore would look like another header to WSGI
        key = name.upper().replace("-", "_")
        if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # The server counts the bytes of the body itself.
    return [(name.lower(), value) for name, value in headers if name.lower() != "content-length"]
