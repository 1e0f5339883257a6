"""Shared by all months: the stand-in as a program, and a port where our receiver listens.

Both are started once. A month gets a stand-in as at its beginning, and a ledger of its own.
"""

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.serving import WSGIRequestHandler, make_server

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import open_engine, writing
from ledger.migrate import migrate
from schemas.actions import Mode
from schemas.settings import Settings, load_settings
from service.app import make_web
from tests.contract.source_rig import HandClock
from tests.month.month_world import BEGINS, write_world
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, started
from tests.servers.ready_ledgers import make_quick
from workers.context import Context, make_context, read_shared_config

HOOK_SECRET = "an-ascii-hook-secret"
_NO_LIMITS = "10000/second;1000000/minute"  # what is asked is counted, and never waits


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:  # noqa: ANN401 - werkzeug's signature
        """Say nothing."""


@dataclass(slots=True)
class _Door:
    """The receiver of the month that is being played."""

    app: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]] | None = None

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        assert self.app is not None, "no month is being played"
        return self.app(environ, start)


@dataclass(slots=True)
class Ground:
    """What a month is played on."""

    folder: Path
    sandbox: Running
    door: _Door
    empty_ledger: Path
    months: int = 0

    @contextmanager
    def a_month(self, clock: HandClock) -> Iterator[Context]:
        """Give the tools of one worker; deliveries reach a receiver over the same ledger."""
        self.months += 1
        ledger = self.folder / f"month-{self.months}.db"
        shutil.copyfile(self.empty_ledger, ledger)
        self.sandbox.post("/sandbox/reset")
        settings = self._settings(ledger)
        web = make_web(settings, clock=clock)
        context = make_context(settings, read_shared_config(settings), clock=clock)
        for engine in (web.engine, context.engine):  # a month has thousands of commits
            make_quick(engine)
        self.door.app = web.app
        try:
            yield context
        finally:
            self.door.app = None
            context.close()
            web.close()

    def set_clock(self, now: datetime) -> None:
        """Let the stand-in's clock stand at that moment."""
        self.sandbox.post("/sandbox/clock", now=now.isoformat())

    def _settings(self, ledger: Path) -> Settings:
        return load_settings(
            {
                "COURSEBELL_DATA_DIR": str(self.folder),
                "COURSEBELL_DATABASE_URL": f"sqlite:///{ledger}",
                "COURSEBELL_NEXUDUS_URL": self.sandbox.addresses["api"],
                "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
                "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
                "COURSEBELL_NEXUDUS_LIMITS": _NO_LIMITS,
                "COURSEBELL_HOOK_SECRETS": HOOK_SECRET,
                "COURSEBELL_SMTP_URL": self.sandbox.addresses["smtp"],
                "COURSEBELL_MAIL_FROM": "Rita, Harbour Works <rita@example.org>",
                "COURSEBELL_COURSE_URL": "https://werkhof.example.org/courses/{course_id}",
                "COURSEBELL_LESSON_URL": "https://werkhof.example.org/lessons/{lesson_id}",
                "COURSEBELL_WORKERS": "1",
            }
        )


@contextmanager
def ground_in(folder: Path) -> Iterator[Ground]:
    """Start what months stand on, and end it."""
    world, ledger, door = folder / "world.yaml", folder / "empty.db", _Door()
    write_world(world)
    _make_ledger(ledger)
    server = make_server("127.0.0.1", 0, door, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    # Nothing is delivered automatically: the month decides when.
    deliver = ("--deliver-to", f"http://127.0.0.1:{server.port}", "--no-deliver")
    sign_in = ("--username", USERNAME, "--password", PASSWORD, "--secret", HOOK_SECRET)
    try:
        with started(*deliver, *sign_in, "--seed", str(world)) as sandbox:
            yield Ground(folder, sandbox, door, ledger)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _make_ledger(path: Path) -> None:
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    with writing(engine) as connection:
        begin_with(connection, Mode.SENDING, BEGINS, SYSTEM_CLOCK.new_id())
    engine.dispose()
