"""Collects request bodies within limits of time, size and memory, before a thread is occupied.

The web server has no time limit for bodies, so a sender who stalls would keep its place for ever.
Here every body has a deadline, and when too many are incomplete, the one that began first is given
up: an authentic delivery arrives within milliseconds, so it is rarely that one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from schemas.errors import Overloaded, TooLarge, TooSlow


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much is buffered, and for how long. Sizes are in bytes."""

    largest: int
    deadline_s: float = 10.0
    most_waiting: int = 512
    most_held: int = 64 * 1024 * 1024
    most_dropped: int = 16 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Upload:
    timer: asyncio.Timeout
    body: bytearray = field(default_factory=bytearray)
    given_up: bool = False


class Bodies:
    """The request bodies in memory. Used from one event loop only."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._waiting: dict[_Upload, None] = {}  # incomplete, in the order in which they began
        self._held = 0
        self._stopping = False

    @property
    def held_bytes(self) -> int:
        """Return how many bytes of bodies are in memory."""
        return self._held

    async def collect(self, chunks: AsyncIterator[bytes], declared: int | None) -> bytes:
        """Return the whole body. `declared` is its Content-Length, None if it has none.

        Raises:
            TooLarge: it is over the limit. The rest is not read; see `drop`.
            TooSlow: it did not arrive before the deadline.
            Overloaded: it was given up for others, or because the server stops.
            ConnectionError: the sender closed the connection before the end of the body.
        """
        if declared == 0:
            return b""
        too_large = TooLarge(f"the body has more than {self._limits.largest} bytes")
        if declared is not None and declared > self._limits.largest:
            raise too_large
        async with self._upload(self._limits.deadline_s) as upload:
            async for chunk in chunks:
                if len(upload.body) + len(chunk) > self._limits.largest:
                    raise too_large
                upload.body += chunk
                self._held += len(chunk)
                self._make_room(upload)
            body = bytes(upload.body)
        if declared is not None and len(body) != declared:
            # The server ends a body that was cut off as if it were complete.
            raise ConnectionError("the sender closed the connection")
        return body

    async def drop(self, chunks: AsyncIterator[bytes], wait_s: float) -> None:
        """Read the rest of a refused body and forget it, for as long as it keeps coming.

        A client that writes its whole request before it reads would otherwise meet a reset
        connection instead of the answer. `wait_s` is the longest pause between two chunks.
        """
        loop = asyncio.get_running_loop()
        latest, dropped = loop.time() + self._limits.deadline_s, 0
        with suppress(TooSlow, Overloaded):
            async with self._upload(wait_s) as upload:
                async for chunk in chunks:
                    dropped += len(chunk)
                    if dropped > self._limits.most_dropped or upload.given_up:
                        return
                    upload.timer.reschedule(min(loop.time() + wait_s, latest))

    @contextmanager
    def held(self, body: bytes) -> Iterator[None]:
        """Count a complete body as memory in use for as long as it is worked on."""
        self._held += len(body)
        try:
            yield
        finally:
            self._held -= len(body)

    def stop(self) -> None:
        """Give up every incomplete body, now and from now on."""
        self._stopping = True
        for upload in list(self._waiting):
            self._give_up(upload)

    @asynccontextmanager
    async def _upload(self, seconds: float) -> AsyncIterator[_Upload]:
        upload = _Upload(asyncio.timeout(seconds))
        self._waiting[upload] = None
        try:
            async with upload.timer:
                self._make_room(upload)
                yield upload
        except TimeoutError:
            if upload.given_up:
                raise Overloaded(is_stop=self._stopping) from None
            raise TooSlow("the body did not arrive in time") from None
        finally:
            self._waiting.pop(upload, None)
            if not upload.given_up:
                self._held -= len(upload.body)

    def _make_room(self, newest: _Upload) -> None:
        if self._stopping:
            raise Overloaded(is_stop=True)
        if len(self._waiting) > self._limits.most_waiting:
            self._give_up(next(iter(self._waiting)))
        while self._held > self._limits.most_held:
            oldest = next((one for one in self._waiting if one is not newest and one.body), None)
            if oldest is None:
                raise Overloaded
            self._give_up(oldest)

    def _give_up(self, upload: _Upload) -> None:
        upload.given_up = True
        self._held -= len(upload.body)
        del self._waiting[upload]
        upload.timer.reschedule(asyncio.get_running_loop().time())
