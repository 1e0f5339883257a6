"""The real source client, on a ledger of its own, against the stand-in or any small server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ledger.clock import SYSTEM_CLOCK, Clock
from ledger.controls import begin_with
from ledger.engine import Engine, writing
from schemas.actions import Mode
from tests.contract.ledger_rig import NOW
from tests.doubles.open_gate import OpenGate
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running
from tests.servers.ready_ledgers import quick_engine, sqlite_copy
from workers.source.auth import Credentials
from workers.source.client import Source

CREDENTIALS = Credentials(USERNAME, PASSWORD)


@dataclass
class HandClock(Clock):
    """A clock that stands until it is moved, and always draws the middle of the numbers."""

    time: datetime = NOW

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def random(self) -> float:
        """Return the random number that changes no wait."""
        return 0.5

    def move(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.time += timedelta(seconds=seconds)


@dataclass
class Line:
    """Ways to one address, over one ledger and one clock."""

    base_url: str
    engine: Engine
    clock: HandClock = field(default_factory=HandClock)
    opened: list[Source] = field(default_factory=list)
    gate: OpenGate = field(default_factory=OpenGate)

    def source(self, credentials: Credentials | None = CREDENTIALS) -> Source:
        """Open one more way."""
        found = Source(self.base_url, self.engine, credentials, self.clock, self.gate)
        self.opened.append(found)
        return found

    def close(self) -> None:
        """Close all of them."""
        for source in self.opened:
            source.close()


@contextmanager
def line_to(base_url: str, engine: Engine) -> Iterator[Line]:
    """Give a line over a ledger that is migrated already."""
    with writing(engine) as connection:
        begin_with(connection, Mode.OBSERVE, NOW, SYSTEM_CLOCK.new_id())
    line = Line(base_url, engine)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def sqlite_ledger(folder: Path) -> Iterator[Engine]:
    """Give a migrated ledger in a file."""
    engine = quick_engine(sqlite_copy(folder / "source.db"))
    yield engine
    engine.dispose()


def grants(sandbox: Running) -> int:
    """Return how many tokens the stand-in was asked for."""
    found = sandbox.get("/sandbox/reads").json()["token_grants"]
    assert isinstance(found, int)
    return found


def reads(sandbox: Running) -> dict[str, int]:
    """Return how often each path was read."""
    found: dict[str, int] = sandbox.get("/sandbox/reads").json()["by_path"]
    return found


def answer(sandbox: Running, path: str, status: int, **fields: object) -> None:
    """Make the stand-in answer this instead, below a path."""
    sandbox.post("/sandbox/faults", kind="answer", path=path, status=status, **fields)


def tell_the_truth(sandbox: Running) -> None:
    """Switch all faults and misbehaviours off."""
    for path in ("/sandbox/faults", "/sandbox/misbehaviours"):
        sandbox.web.delete(sandbox.addresses["api"] + path, timeout=10)


Respond = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class SmallServer:
    """A server for what the stand-in never does. `asked` are paths, with queries."""

    url: str
    asked: list[str] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)  # a client disconnected


@contextmanager
def serving(respond: Respond) -> Iterator[SmallServer]:
    """Serve on loopback; every request is given to `respond`."""

    class Responding(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            small.asked.append(self.path)
            try:
                respond(self)
            except OSError:
                small.left.set()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Responding) as server:
        small = SmallServer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield small
        finally:
            server.shutdown()
            thread.join()
