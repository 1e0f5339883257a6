"""Reads the web server's requests, and runs the Flask application for complete ones.

Granian calls `RequestGate` through RSGI, its asynchronous interface. Requests whose headers alone
show that they must be refused are refused before their body is read.
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

from ledger.group_writer import LONGEST_WAIT_S, GroupWriter, Pending, timed_out
from ledger.intake import Arrival
from schemas.errors import (
    LedgerUnavailable,
    Overloaded,
    Rejected,
    TooLarge,
    UnknownRoute,
)
from service.app import SECURITY_HEADERS, RefusedAnswer, Web
from service.bodies import Bodies, BodyLimits
from service.desk.routes import MOST_FORM_BYTES as MOST_DESK_BYTES
from service.desk.routes import PROVIDER_PATHS, SIGN_IN_PATHS, is_desk_path
from service.hooks import BODY, DEFER, HOOKS, SMALL, hook_guards
from service.mail_hooks import MAIL, mail_guards
from service.pages.preferences import LINK_PATHS, MOST_FORM_BYTES

_ALIVE = "/healthz"
_STRANGER_PAUSE_S = 0.2
_SENDER_PAUSE_S = 2.0
_SLASHES = re.compile("//+")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_DROPPED_HEADERS = frozenset({"transfer-encoding", "connection"})

Answer = tuple[int, list[tuple[str, str]], bytes]
_Commit = tuple[Pending, asyncio.Future[None]]


class RequestGate:
    """The RSGI application of one web process.

    A small delivery is processed by the event loop itself, which takes a fraction of a millisecond,
    and waits for the ledger's commit without a thread. Large ones have threads. So have all other
    requests, of their own, so that a flood of them neither delays a delivery nor makes the process
    look dead; the pages of members and of operators are apart from those for monitoring, and
    reports of mail providers, which may need a request to Amazon, from all others.
    """

    def __init__(self, web: Web, limits: BodyLimits) -> None:
        self._web = web
        self._guards = hook_guards(web.settings) | mail_guards(web.settings)
        self._routes = web.app.url_map.bind("")
        self._bodies = Bodies(limits)
        self._commits = _Commits(web.writer, most=2048)
        self._hooks = _Lane("hooks", threads=4, most=64)
        self._pages = _Lane("pages", threads=4, most=64)
        self._members = _Lane("members", threads=4, most=64)
        self._desk = _Lane("desk", threads=2, most=64)
        self._sign_in = _Lane("sign-in", threads=1, most=16)
        self._provider = _Lane("provider", threads=2, most=16)
        self._mail = _Lane("mail", threads=2, most=64)
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
        lanes = [self._hooks, self._pages, self._members, self._desk, self._sign_in]
        lanes += [self._provider, self._mail, self._alive]
        for lane in lanes:
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
        guard = self._guards.get(path)
        if guard is not None and method == "POST":
            guard(environ)
        elif not self._has_route(environ):
            return b""  # the application answers without reading the body
        declared = environ.get("CONTENT_LENGTH")
        largest = MOST_FORM_BYTES if path.startswith(LINK_PATHS) else None
        if largest is None and is_desk_path(path):
            largest = MOST_DESK_BYTES
        length = None if declared is None else int(declared)
        return await self._bodies.collect(chunks, length, largest)

    def _has_route(self, environ: WSGIEnvironment) -> bool:
        try:
            self._routes.match(environ["PATH_INFO"], environ["REQUEST_METHOD"])
        except HTTPException:
            if _is_delivery(environ):
                raise UnknownRoute("there is no such hook route") from None
            return False
        return True

    async def _run(self, environ: WSGIEnvironment, body: bytes) -> Answer:
        """Run the application for a complete request."""
        environ["wsgi.input"] = io.BytesIO(body)
        environ[BODY] = body
        environ["CONTENT_LENGTH"] = str(len(body))
        lane = self._lane_for(environ["PATH_INFO"])
        with self._bodies.held(body):
            if not _is_delivery(environ):
                return await lane.run(self._answer, environ)
            if environ["PATH_INFO"].startswith(MAIL):
                return await self._mail.run(self._answer, environ)
            if len(body) > SMALL:
                return await self._hooks.run(self._answer, environ)
            return await self._deliver(environ)

    def _lane_for(self, path: str) -> "_Lane":
        if path.startswith(LINK_PATHS):
            return self._members
        if path in PROVIDER_PATHS:
            return self._provider  # it may take seconds to answer
        if path.startswith(SIGN_IN_PATHS):
            return self._sign_in  # a password takes a tenth of a second to check
        if is_desk_path(path):
            return self._desk
        return self._alive if path == _ALIVE else self._pages

    async def _deliver(self, environ: WSGIEnvironment) -> Answer:
        """Run the application for a small delivery, and return its answer after the commit."""
        commits: list[asyncio.Future[None]] = []
        environ[DEFER] = lambda arrival: commits.append(self._commits.begin(arrival))
        answer = self._answer(environ)
        try:
            for commit in commits:
                await commit
        except LedgerUnavailable as error:
            return _refused(self._web.refusals.answer_not_stored(error, is_delivery=True))
        return answer

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
        status, headers, body = _refused(refused)
        return status, [*headers, ("connection", "close")], body

    def _answer(self, environ: WSGIEnvironment) -> Answer:
        # As the application's WSGI entry does it, without turning the answer into an iterable and
        # back.
        app = self._web.app
        with app.request_context(environ):
            try:
                answer = app.full_dispatch_request()
            except Exception as error:  # noqa: BLE001 - Flask answers 500
                answer = app.handle_exception(error)
            return answer.status_code, _lower(answer.headers), answer.get_data()


class _Commits:
    """Waits in the event loop for the commits of deliveries; at most `most` at a time."""

    def __init__(self, writer: GroupWriter, *, most: int) -> None:
        self._writer = writer
        self._most = most
        self._number = 0
        self._batch: list[_Commit] = []

    def begin(self, arrival: Arrival) -> asyncio.Future[None]:
        """Queue the arrival, and return what becomes done with its commit.

        Raises:
            Overloaded: too many wait.
        """
        if self._number >= self._most:
            raise Overloaded
        self._number += 1
        loop = asyncio.get_running_loop()
        commit = loop.create_future()
        if not self._batch:
            # What the loop processes until then is committed together.
            loop.call_soon(self._submit, loop)
        self._batch.append((Pending(arrival), commit))
        return commit

    def _submit(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._batch = self._batch, []
        timer = loop.call_later(LONGEST_WAIT_S, self._end, batch, timed_out())

        def settle() -> None:
            timer.cancel()
            self._end(batch)

        try:
            pendings = [pending for pending, _ in batch]
            self._writer.submit(pendings, lambda: loop.call_soon_threadsafe(settle))
        except LedgerUnavailable as error:
            timer.cancel()
            self._end(batch, error)

    def _end(self, batch: list[_Commit], error: LedgerUnavailable | None = None) -> None:
        for pending, commit in batch:
            if commit.done():
                continue  # it had timed out
            self._number -= 1
            failure = error or pending.error
            if failure is None:
                commit.set_result(None)
            else:
                commit.set_exception(failure)


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


def _refused(refused: RefusedAnswer) -> Answer:
    headers = {**SECURITY_HEADERS, "Content-Type": "application/json"}
    if refused.retry_after_s is not None:
        headers["Retry-After"] = str(refused.retry_after_s)
    body = json.dumps({"error": refused.sentence}).encode() + b"\n"
    return refused.status, _lower(headers.items()), body


def _lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # The server counts the bytes of the body itself.
    return [(name.lower(), value) for name, value in headers if name.lower() != "content-length"]
