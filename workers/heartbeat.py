"""Says that this process is alive, at most every few seconds. A fault here stops nobody."""

import os
import socket
import time

import structlog

from ledger.beats import beat
from ledger.engine import Engine, writing
from schemas.errors import LedgerUnavailable
from workers.clocks import Clock

EVERY_S = 5.0
NO_BROKER = "no-broker"  # the kind of a process that is workers and clock in one
SILENT_AFTER_S = 60.0  # a kind of process not heard of for so long is taken for dead

_log = structlog.get_logger("heartbeat")


class Heartbeat:
    """One process's sign of life of one kind: web, worker or clock."""

    def __init__(self, engine: Engine, kind: str, clock: Clock) -> None:
        self._engine = engine
        self._kind = kind
        self._clock = clock
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._next = 0.0

    def beat(self) -> None:
        """Write a sign of life, if the last is some seconds old."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        try:
            with writing(self._engine) as connection:
                beat(connection, self._kind, self._process, self._clock())
        except LedgerUnavailable as error:
            _log.warning("heartbeat.unwritten", kind=self._kind, error=str(error))
