"""Says that this process is alive, at most every few seconds. A fault here stops nobody."""

import logging
import os
import socket
from pathlib import Path

import structlog

from ledger.beats import beat
from ledger.clock import Clock
from ledger.engine import Engine, reading, writing
from ledger.skew import clock_ahead
from schemas.errors import LedgerUnavailable
from schemas.skew import TOLERANCE
from workers.continuity import Continuity
from workers.logs import RepeatedFault

EVERY_S = 5.0
NO_BROKER = "no-broker"  # the kind of a process that is workers and clock in one
SILENT_AFTER_S = 60.0  # a kind of process not heard of for so long is taken for dead

_log = structlog.get_logger("heartbeat")


class Heartbeat:
    """One process's sign of life of one kind: worker or clock.

    With the data folder it also watches that the ledger does not go back to an older state.
    """

    def __init__(
        self, engine: Engine, kind: str, clock: Clock, data_folder: Path | None = None
    ) -> None:
        self._engine = engine
        self._kind = kind
        self._clock = clock
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._continuity = None if data_folder is None else Continuity(engine, data_folder)
        self._faults = RepeatedFault(_log.bind(kind=kind), "heartbeat.written", clock)
        self._next = 0.0
        self._has_begun = False

    def begin(self) -> None:
        """Give the first sign of life. Nothing may be sent before that: the ledger may be old.

        Raises:
            LedgerUnavailable: it could not be written.
        """
        if not self._has_begun:
            self._write()
            self._compare_clocks()

    def beat(self) -> None:
        """Write a sign of life, if the last is some seconds old."""
        if self._clock.monotonic() < self._next:
            return
        self._next = self._clock.monotonic() + EVERY_S
        try:
            self._write()
        except LedgerUnavailable as error:
            self._faults.occurred(logging.WARNING, "heartbeat.unwritten", str(error))
        else:
            self._faults.is_over()

    def close(self) -> None:
        """End it with its process."""
        if self._continuity is not None:
            self._continuity.close()

    def _compare_clocks(self) -> None:
        """Warn if the clock here differs from the database server's by more than is tolerated."""
        with reading(self._engine) as connection:
            ahead = clock_ahead(connection, self._clock.now())
        if ahead is not None and abs(ahead) > TOLERANCE:
            _log.warning(
                "clock.differs",
                ahead_of_database_s=round(ahead.total_seconds()),
                next_step="Set the clocks of all machines by NTP.",
            )

    def _write(self) -> None:
        now = self._clock.now()
        with writing(self._engine) as connection:
            if self._continuity is not None:
                self._continuity.check(connection, now)
            beat(connection, self._kind, self._process, now)
        if self._continuity is not None:
            self._continuity.note(now)
        self._has_begun = True
