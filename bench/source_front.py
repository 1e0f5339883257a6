"""A stand-in for the source that answers each GET after a fixed time, at little cost.

`python -m bench.source_front URL MILLISECONDS` prints the address at which it listens. It asks the
sandbox at URL once for each GET and keeps the answer, so that rounds of a measurement do not
measure the sandbox. `GET /stats` returns how many GETs it answered, how many of them asked for
several records, and the Unix time of the first of those; `POST /reset` sets them back. `POST /fill`
with a JSON list of targets asks for those that are not kept yet.
"""

import asyncio
import json
import sys
import time

import requests

_ENDS = b"\r\n\r\n"
_OF_CONNECTION = {"host", "content-length"}  # the library sets its own


class Front:
    """The kept answers and the counts."""

    def __init__(self, upstream: str, latency_s: float) -> None:
        self._upstream = upstream
        self._latency_s = latency_s
        self._web = requests.Session()
        self._web.trust_env = False
        self._kept: dict[bytes, bytes] = {}
        self._reads = self._several = 0
        self._first_several_at: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after another."""
        try:
            while head := await reader.readuntil(_ENDS):
                line, _, fields = head.partition(b"\r\n")
                method, target, _ = line.split(b" ", 2)
                body = await reader.readexactly(_length(fields))
                writer.write(await self._answer(method, target, fields, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, method: bytes, target: bytes, fields: bytes, body: bytes) -> bytes:
        if target == b"/stats":
            counts = {"reads": self._reads, "several": self._several}
            first = {"first_several_at": self._first_several_at}
            return _reply(200, json.dumps(counts | first))
        if target == b"/reset":
            self._reads = self._several = 0
            self._first_several_at = None
            return _reply(200, "{}")
        if target == b"/fill":
            for one in json.loads(body):
                self._kept[one.encode()] = self._ask(b"GET", one.encode(), fields, b"")
            return _reply(200, "{}")
        if method != b"GET":
            return self._ask(method, target, fields, body)
        self._reads += 1
        if b"?id=" in target:
            self._several += 1
            self._first_several_at = self._first_several_at or time.time()
        if target not in self._kept:
            self._kept[target] = self._ask(method, target, fields, body)
        await asyncio.sleep(self._latency_s)
        return self._kept[target]

    def _ask(self, method: bytes, target: bytes, fields: bytes, body: bytes) -> bytes:
        lines = (line.split(": ", 1) for line in fields.decode().split("\r\n") if ": " in line)
        headers = {name: value for name, value in lines if name.lower() not in _OF_CONNECTION}
        address = self._upstream + target.decode()
        answer = self._web.request(method.decode(), address, headers=headers, data=body, timeout=30)
        return _reply(answer.status_code, answer.text)


def _length(fields: bytes) -> int:
    for line in fields.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def _reply(status: int, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} -\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def main(upstream: str, latency_ms: str) -> None:
    """Serve until the process is stopped."""
    front = Front(upstream, float(latency_ms) / 1000)
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
