"""Bodies are collected within limits of time, size and memory, whatever the senders do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import Overloaded, TooLarge, TooSlow
from service.bodies import Bodies, BodyLimits

LONG_S = 60.0  # longer than a test may take
LIMITS = BodyLimits(largest=10, deadline_s=LONG_S, most_waiting=3, most_held=25, most_dropped=100)


class Sender:
    """Sends these chunks one by one, and then ends the body, or `stalls` until it has more."""

    def __init__(self, *chunks: bytes, stalls: bool = False) -> None:
        self.chunks = list(chunks)
        self.sent = 0
        self.stalls = stalls
        self.more = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.chunks and self.stalls:
            await self.more.wait()
            self.more.clear()
        if not self.chunks:
            raise StopAsyncIteration
        self.sent += 1
        return self.chunks.pop(0)

    def send(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.more.set()


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


async def some_turns() -> None:
    """Let the loop do all that can be done without waiting."""
    for _ in range(10):
        await asyncio.sleep(0)


async def stalled(bodies: Bodies, *chunks: bytes) -> "asyncio.Task[bytes]":
    """Begin to collect a body whose sender stalls after these chunks."""
    task = asyncio.create_task(bodies.collect(Sender(*chunks, stalls=True), None))
    await some_turns()
    return task


async def outcomes(*tasks: "asyncio.Task[bytes]") -> list[str]:
    """Return "waiting", or the kind of error with which each ended; the waiting ones are ended."""
    await some_turns()
    found = []
    for task in tasks:
        if task.done():
            found.append(type(task.exception()).__name__)
        else:
            found.append("waiting")
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


def test_a_body_is_put_together() -> None:
    async def story() -> None:
        bodies = Bodies(LIMITS)
        assert await bodies.collect(Sender(b"ab", b"", b"cd"), None) == b"abcd"
        assert await bodies.collect(Sender(b"abcd"), 4) == b"abcd"
        assert await bodies.collect(Sender(b"x" * 10), 10) == b"x" * 10
        assert await bodies.collect(Sender(stalls=True), 0) == b""
        assert bodies.held_bytes == 0

    run(story)


def test_a_body_over_the_limit_is_refused_before_it_is_read_or_as_soon_as_it_shows() -> None:
    async def story() -> None:
        bodies = Bodies(LIMITS)
        declared, chunked = Sender(b"x" * 6, b"y" * 6), Sender(*[b"x" * 6] * 5)
        with pytest.raises(TooLarge, match="10 bytes"):
            await bodies.collect(declared, 12)
        assert declared.sent == 0
        with pytest.raises(TooLarge):
            await bodies.collect(chunked, None)
        assert chunked.sent == 2
        await bodies.drop(chunked, LONG_S)
        assert chunked.sent == 5
        assert bodies.held_bytes == 0

    run(story)


def test_a_body_that_was_cut_off_does_not_count_as_complete() -> None:
    async def story() -> None:
        with pytest.raises(ConnectionError):
            await Bodies(LIMITS).collect(Sender(b"ab"), 4)

    run(story)


def test_a_body_that_stalls_is_refused_at_its_deadline() -> None:
    async def story() -> None:
        bodies = Bodies(BodyLimits(largest=10, deadline_s=0.01))
        for chunks in ((), (b"ab",)):
            with pytest.raises(TooSlow):
                await bodies.collect(Sender(*chunks, stalls=True), 10)
        assert bodies.held_bytes == 0

    run(story)


def test_of_too_many_bodies_the_oldest_is_dropped() -> None:
    async def story() -> None:
        bodies = Bodies(LIMITS)
        tasks = [await stalled(bodies) for _ in range(4)]
        assert await bodies.collect(Sender(b"ab"), 2) == b"ab"
        found = await outcomes(*tasks)
        assert found == ["Overloaded", "Overloaded", "waiting", "waiting"]

    run(story)


def test_of_too_many_bytes_those_of_the_oldest_body_are_dropped() -> None:
    async def story() -> None:
        bodies = Bodies(replace(LIMITS, most_waiting=9))
        tasks = [await stalled(bodies), await stalled(bodies, b"x" * 9)]
        tasks.append(await stalled(bodies, b"y" * 9))
        with bodies.held(await bodies.collect(Sender(b"z" * 7), 7)):
            assert bodies.held_bytes == 25
            assert await bodies.collect(Sender(b"z"), None) == b"z"
            assert bodies.held_bytes == 16
        found = await outcomes(*tasks)
        assert found == ["waiting", "Overloaded", "waiting"]
        assert bodies.held_bytes == 0

    run(story)


def test_a_chunk_for_a_body_that_was_just_dropped_is_not_counted() -> None:
    async def story() -> None:
        bodies = Bodies(LIMITS)
        senders = [Sender(b"x" * 8, stalls=True) for _ in range(3)]
        tasks = [asyncio.create_task(bodies.collect(one, 9)) for one in senders]
        await some_turns()
        senders[0].send(b"x")  # its task runs after the next line, and before its timer
        assert await bodies.collect(Sender(b"z" * 8), 8) == b"z" * 8
        assert await outcomes(*tasks) == ["Overloaded", "waiting", "waiting"]
        assert bodies.held_bytes == 0

    run(story)


def test_bodies_whose_deadline_has_just_passed_can_be_dropped() -> None:
    async def story() -> None:
        bodies = Bodies(replace(LIMITS, deadline_s=0.0))
        tasks = [
            asyncio.create_task(bodies.collect(Sender(b"ab", stalls=True), 9)) for _ in range(2)
        ]
        await asyncio.sleep(0)  # the tasks begin, and their timers are due
        await asyncio.sleep(0)  # the timers expire
        bodies.stop()
        assert await outcomes(*tasks) == ["Overloaded", "Overloaded"]
        assert bodies.held_bytes == 0

    run(story)


def test_bodies_being_processed_count_and_are_never_dropped() -> None:
    async def story() -> None:
        bodies = Bodies(LIMITS)
        with bodies.held(b"x" * 20):
            with pytest.raises(Overloaded):
                await bodies.collect(Sender(b"y" * 6), None)
            assert await bodies.collect(Sender(b"y" * 5), None) == b"y" * 5
        assert await bodies.collect(Sender(b"y" * 6), None) == b"y" * 6
        assert bodies.held_bytes == 0

    run(story)


def test_no_more_of_a_refused_body_is_dropped_than_the_limit() -> None:
    async def story() -> None:
        endless = Sender(*[b"x" * 30] * 20)
        await Bodies(LIMITS).drop(endless, LONG_S)
        assert endless.sent == 4

    run(story)


def test_dropping_ends_when_the_sender_pauses() -> None:
    async def story() -> None:
        sender = Sender(b"x", b"y", stalls=True)
        await Bodies(LIMITS).drop(sender, 0.01)
        assert sender.sent == 2

    run(story)


def test_at_shutdown_incomplete_bodies_are_dropped_and_no_more_are_begun() -> None:
    async def story() -> None:
        bodies = Bodies(LIMITS)
        tasks = [await stalled(bodies), await stalled(bodies, b"ab")]
        bodies.stop()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        # It is no trouble of the sender's, so it is not counted.
        assert [(type(one), getattr(one, "refusal", "")) for one in ended] == [
            (Overloaded, None),
            (Overloaded, None),
        ]
        with pytest.raises(Overloaded):
            await bodies.collect(Sender(b"ab"), 2)
        await bodies.drop(Sender(stalls=True), LONG_S)

    run(story)
