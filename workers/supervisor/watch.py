"""The supervisor: named children, started in order, watched, and ended in order.

It installs no signal handlers; the caller does, and sets the event that `wait` waits for.
Start, wait and stop belong to one thread that lives as long as the children: the kernel
ends them with the thread that started them (see `workers.supervisor.programs`).
"""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import ConfigurationError
from workers.supervisor.programs import begin, end, last_lines
from workers.supervisor.restarts import Pace, Restarts


class CrashLoop(ConfigurationError):
    """A child dies as often as it is started; the text names it and shows the end of its log."""


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """What to run. Without `env` it gets ours; without `log` it writes where we write.

    `stop_wait_s` is how long it may take to end when asked, if not as long as the others.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)  # may hold secrets
    log: Path | None = None
    stop_wait_s: float | None = None


@dataclass(slots=True)
class _Child:
    """One command and what became of it; `program` is None between a death and the restart."""

    command: ChildCommand
    restarts: Restarts
    program: subprocess.Popen[bytes] | None = None
    began_at: float = 0.0
    due_at: float = 0.0


class Supervisor:
    """Keeps children alive until it is stopped, and leaves none behind.

    `say` gets one line for each restart. As a context manager it stops everything at the end.
    """

    def __init__(self, say: Callable[[str], None], pace: Pace | None = None) -> None:
        self._say = say
        self._pace = pace or Pace()
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, command: ChildCommand) -> None:
        """Start one more child. If it cannot be started, all the others are stopped.

        Raises:
            ConfigurationError: the program cannot be run, or the name is taken.
        """
        if command.name in self._children:
            self.stop()
            raise ConfigurationError([f"Two programs are called {command.name!r}."])
        child = _Child(command, Restarts(self._pace))
        try:
            self._begin(child)
        except ConfigurationError:
            self.stop()
            raise
        self._children[command.name] = child

    def pids(self) -> dict[str, int]:
        """Return the process id of every child that is alive now, by name."""
        programs = {name: child.program for name, child in list(self._children.items())}
        return {
            name: program.pid
            for name, program in programs.items()
            if program is not None and program.poll() is None
        }

    def wait(self, stop: threading.Event, beside: Sequence[Callable[[], object]] = ()) -> None:
        """Watch the children, starting again those that die, until `stop` is set.

        Returns with the children still running; end them with `stop()`. Each function in
        `beside` is called on every round, for what must also be looked after by this thread
        (the broker's `revive`).

        Raises:
            CrashLoop: a child died too often; everything has been stopped.
            ConfigurationError: a child's program is no longer there; likewise.
        """
        try:
            while not stop.wait(self._pace.look_every_s):
                for look in beside:
                    look()
                for child in self._children.values():
                    self._look_at(child)
        except BaseException:
            self.stop()
            raise

    def stop(self, order: Sequence[str] = ()) -> None:
        """End every child, one after the other; harmless when there is none.

        Those named in `order` go first, the others follow in the reverse order of their start.
        Each is asked with SIGTERM, given time, and killed with all of its session group.
        """
        for name in [*order, *reversed(self._children)]:
            child = self._children.get(name)
            if child is None:
                continue
            if child.program is not None:
                wait_s = child.command.stop_wait_s or self._pace.stop_wait_s
                end(child.program, wait_s=wait_s)
            # Forgotten only now: an interrupted stop can be repeated.
            del self._children[name]

    def _begin(self, child: _Child) -> None:
        command = child.command
        try:
            child.program = begin(command.argv, env=command.env, log=command.log)
        except OSError as error:
            raise ConfigurationError(
                [f"{command.name} cannot be started: {error.strerror}: {error.filename}."]
            ) from error
        child.began_at = time.monotonic()

    def _look_at(self, child: _Child) -> None:
        now = time.monotonic()
        if child.program is None:
            if now >= child.due_at:
                self._begin(child)
            return
        code = child.program.poll()
        if code is None:
            return
        # The leader is dead, but what it started may still hold its port.
        end(child.program, wait_s=0)
        child.program = None
        delay_s = child.restarts.delay_after_death(now=now, lived_s=now - child.began_at)
        if delay_s is None:
            raise CrashLoop([self._why_given_up(child.command, code)])
        child.due_at = now + delay_s
        self._say(f"{child.command.name} {_how_it_ended(code)}; starting again in {delay_s:g} s.")

    def _why_given_up(self, command: ChildCommand, code: int) -> str:
        why = (
            f"{command.name} died {self._pace.deaths} times within "
            f"{self._pace.deaths_within_s:g} s; the last time it {_how_it_ended(code)}."
        )
        tail = last_lines(command.log) if command.log else ""
        return f"{why} The end of {command.log}:\n{tail}" if tail else why


def _how_it_ended(code: int) -> str:
    """Put an exit code of `subprocess` into words; a negative one is a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        # Real-time signals have numbers but no names here.
        return f"was ended by signal {-code}"
