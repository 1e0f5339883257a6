"""Collects request bodies within limits of time, size and memory.

Granian has no time limit for bodies, so a sender who stalls would hold a connection for ever. Here
every body has a deadline. When too many are incomplete, the oldest is dropped: an authentic
delivery arrives within milliseconds, so it is rarely that one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from schemas.errors import Overloaded, TooLarge, TooSlow


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

    async def collect(
        self, chunks: AsyncIterator[bytes], declared: int | None, largest: int | None = None
    ) -> bytes:
        """Return the whole body. `declared` is its Content-Length, None if it has none.

        `largest` is a lower limit of size, for some routes.

        Raises:
            TooLarge: it is over the limit. The rest is not read; see `drop`.
            TooSlow: it did not arrive before the deadline.
            Overloaded: it was dropped in favour of others, or because the server stops.
            ConnectionError: the sender closed the connection before the end of the body.
        """
        if declared == 0:
            return b""
        largest = self._limits.largest if largest is None else largest
        too_large = TooLarge(f"the body has more than {largest} bytes")
        if declared is not None and declared > largest:
            raise too_large
        async with self._upload(self._limits.deadline_s) as upload:
            async for chunk in chunks:
                if upload.is_dropped:
                    # This chunk arrived in the turn of the loop in which the body was dropped: its
                    # bytes are no longer counted, and the timer interrupts it only after this turn.
                    raise Overloaded(is_stop=self._stopping)
                if len(upload.body) + len(chunk) > largest:
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
