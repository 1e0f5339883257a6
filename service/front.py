"""The front of the web server: reads requests, and runs the Flask application in threads.

Granian calls `Front` through RSGI, its own asynchronous interface. The front refuses what the head
alone shows to be bad, before any of the body is read; it collects bodies within the limits of
`service.bodies`; and only a complete request occupies a thread.
"""

import asyncio
import io
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from wsgiref.types import WSGIEnvironment

from granian.rsgi import (  # type: ignore[attr-defined]  # granian marks no name as exported
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from schemas.errors import Overloaded, Rejected, TooLarge, UnknownRoute
from service.bodies import Bodies, BodyLimits
from service.hooks import HOOKS, hook_guards
from service.web import SECURITY_HEADERS, Web

_ALIVE = "/healthz"
_STRANGER_PAUSE_S = 0.2
_SENDER_PAUSE_S = 2.0
_SLASHES = re.compile("//+")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_PASSED_ON = frozenset({"transfer-encoding", "connection"})

Answer = tuple[int, list[tuple[str, str]], bytes]


class Front:
    """The RSGI application of one web process."""

    def __init__(self, web: Web, limits: BodyLimits) -> None:
        self._web = web
        self._guards = hook_guards(web.settings)
        self._routes = web.app.url_map.bind("")
        self._bodies = Bodies(limits)
        # A delivery that waits for the ledger's commit costs a thread and nothing else. Others have
        # their own, so that no flood of them delays a delivery or makes the process look dead.
        self._hooks = _Lane("hooks", threads=32, most=2048)
        self._pages = _Lane("pages", threads=4, most=64)
        self._alive = _Lane("alive", threads=1, most=64)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up incomplete bodies when the server is asked to stop: it waits for all requests.

        Called by the server, which has set handlers on the loop already. They stay: the loop hears
        of a signal through its wake-up descriptor, whatever Python's own handler is.
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
        # Where the client has gone, nobody reads the answer, and the server raises one of these.
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
                return b""  # the application answers without reading
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
        """Count a refused request; return its answer once the client is likely to read it."""
        if not _is_delivery(environ):
            error.refusal = None
        refused = self._web.refusals.answer(error, environ["REMOTE_ADDR"])
        if not refused.is_hurried and "HTTP_EXPECT" not in environ:
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
    """Threads for one kind of request, of which at most `most` wait or are worked on."""

    def __init__(self, name: str, *, threads: int, most: int) -> None:
        self.threads = ThreadPoolExecutor(threads, name)
        self._most = most
        self._running = 0

    async def run(
        self, answer: Callable[[WSGIEnvironment], Answer], environ: WSGIEnvironment
    ) -> Answer:
        """Run `answer` in a thread. Raises `Overloaded`."""
        if self._running >= self._most:
            raise Overloaded
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, answer, environ)
        finally:
            self._running -= 1


class _Chunks:
    """The body of a request, whose iteration can be resumed; the server's own begins only once."""

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
    """Return the request as WSGI has it (PEP 3333), still without its body."""
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
        if "_" in name or name in _NOT_PASSED_ON:
            continue  # with an underscore it would pass for another header
        key = name.upper().replace("-", "_")
        if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # The server counts the bytes of the body itself.
    return [(name.lower(), value) for name, value in headers if name.lower() != "content-length"]
