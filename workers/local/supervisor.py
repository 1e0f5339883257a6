"""The supervisor of `coursebell up`: starts named children, restarts those that die, and stops all.

It installs no signal handlers; the caller does, and sets the event that `wait` waits for. Start,
wait and stop belong to one thread that lives as long as the children, since the kernel ends them
with the thread that started them (see `workers.local.programs`).

Which children keep failing is written to a file for the processes that report it. The file exists
only while something fails and is refreshed meanwhile, so an old one comes from a killed writer and
is ignored.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import ConfigurationError, CoursebellError
from workers.local.programs import (
    RestartCounter,
    RestartPolicy,
    StandardError,
    describe_exit,
    last_lines,
    start_program,
    stop_program,
)

FILE = "up-failing.json"
_REFRESH_S = 10.0
_OLD_AFTER_S = 60.0
_LARGEST = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class FailingProgram:
    """Since when a program has been failing, how it ended last, and its last output."""

    since: datetime
    why: str


@dataclass(slots=True)
class FailingFile:
    """Keeps the file in a data folder up to date. Disk errors are ignored."""

    data_dir: Path
    _written: dict[str, FailingProgram] = field(init=False, default_factory=dict)
    _next_s: float = field(init=False, default=0.0)

    def update(self, failing: Mapping[str, FailingProgram]) -> None:
        """Write or remove the file as needed."""
        now_s = time.monotonic()
        if failing == self._written and (not failing or now_s < self._next_s):
            return
        self._written, self._next_s = dict(failing), now_s + _REFRESH_S
        path = self.data_dir / FILE
        try:
            if not failing:
                path.unlink(missing_ok=True)
                return
            shown = {name: [one.since.isoformat(), one.why] for name, one in failing.items()}
            part = path.with_suffix(f".{os.getpid()}")
            part.touch(mode=0o600)
            part.write_text(json.dumps(shown), encoding="ascii")
            part.replace(path)
        except OSError:
            self._written = {}

    def remove(self) -> None:
        """Remove the file, even one that a killed process left behind."""
        try:
            (self.data_dir / FILE).unlink(missing_ok=True)
        except OSError:
            return


def failing_programs(data_dir: Path) -> dict[str, FailingProgram]:
    """Return what `coursebell up` on this data folder reports as failing now."""
    try:
        with (data_dir / FILE).open("rb") as file:
            if abs(time.time() - os.fstat(file.fileno()).st_mtime) > _OLD_AFTER_S:
                return {}
            shown = json.loads(file.read(_LARGEST))
        return {
            name: FailingProgram(datetime.fromisoformat(since), why)
            for name, (since, why) in shown.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


_ENDED_BY_SIGNAL = frozenset({-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP})
REFUSED = 2  # our programs exit with this code if the settings or the environment are wrong


class CrashLoop(CoursebellError):
    """A child keeps dying; the text names it and has its last output."""


class ChildRefused(ConfigurationError):
    """A child refused to run with these settings; the text has its reasons."""

    closing = "Everything was stopped. `coursebell config show` lists every setting."


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """What to run. Without `env` it inherits ours; without `log` it writes to our output.

    `pace` overrides the supervisor's. `meanwhile` is a sentence for the line that reports the child
    as failing: what works without it, and what does not.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)  # may hold secrets
    log: Path | None = None
    pace: RestartPolicy | None = None
    meanwhile: str = ""


@dataclass(slots=True)
class _Child:
    """One child and its state; `program` is None between a death and the restart."""

    command: ChildCommand
    pace: RestartPolicy
    restarts: RestartCounter
    program: subprocess.Popen[bytes] | None = None
    errors: StandardError | None = None
    began_at: float = 0.0
    due_at: float = 0.0
    kill_at: float | None = None  # it was asked to stop, to be replaced
    failing: FailingProgram | None = None


class Supervisor:
    """Keeps children running until it is stopped, and leaves none behind.

    Until `finish_startup` is called, a child that refuses to run or crashes in a loop stops all of
    them. After that, every child that ends is restarted with growing pauses, and the others keep
    running.

    `say` receives one line for each restart. `closings` are last lines of our programs that do not
    say why they ended.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        pace: RestartPolicy | None = None,
        *,
        closings: Collection[str] = (),
    ) -> None:
        self._say = say
        self._pace = pace or RestartPolicy()
        self._closings = closings
        self._children: dict[str, _Child] = {}
        self._is_settled = False

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
        """Start a child. If that fails, all the others are stopped.

        Raises:
            ConfigurationError: the program cannot be run, or the name is taken.
        """
        if command.name in self._children:
            self.stop()
            raise ConfigurationError([f"Two programs are called {command.name!r}."])
        pace = command.pace or self._pace
        child = _Child(command, pace, RestartCounter(pace))
        try:
            self._begin(child)
        except OSError as error:
            self.stop()
            raise ConfigurationError([f"{command.name} {_cannot_start(error)}."]) from error
        self._children[command.name] = child

    def finish_startup(self) -> None:
        """From now on, restart failing children instead of stopping all."""
        self._is_settled = True

    def replace(self, command: ChildCommand) -> None:
        """Stop the child of this name, and run this command in its place.

        `wait` starts the new one. The old one gets as long to stop as in `stop`.
        """
        child = self._children[command.name]
        child.command = command
        child.due_at = 0.0
        if child.program is not None:
            child.program.terminate()
            child.kill_at = time.monotonic() + child.pace.stop_wait_s

    def pids(self) -> dict[str, int]:
        """Return the process id of every running child, by name."""
        programs = {name: child.program for name, child in list(self._children.items())}
        return {
            name: program.pid
            for name, program in programs.items()
            if program is not None and program.poll() is None
        }

    def failing(self) -> dict[str, FailingProgram]:
        """Return the children that keep dying, by name."""
        return {name: child.failing for name, child in self._children.items() if child.failing}

    def wait(self, stop: threading.Event, beside: Sequence[Callable[[], object]] = ()) -> None:
        """Watch the children and restart those that die, until `stop` is set.

        Returns with the children still running; stop them with `stop()`. Each function in `beside`
        is called on every round, for work that belongs to this thread, such as the broker's
        `restart_if_dead`.

        Raises:
            ChildRefused: a child refused to run before `finish_startup`; all were stopped.
            CrashLoop: a child died too often before `finish_startup`; all were stopped.
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
        """Stop every child, one after the other.

        Those named in `order` go first, the others follow in the reverse order of their start. Each
        gets SIGTERM, then time, and is then killed with its whole process group.
        """
        for name in [*order, *reversed(self._children)]:
            child = self._children.get(name)
            if child is None:
                continue
            if child.program is not None:
                stop_program(child.program, wait_s=child.pace.stop_wait_s)
            # Removed last, so that an interrupted stop can be repeated.
            del self._children[name]

    def _begin(self, child: _Child) -> None:
        command = child.command
        child.began_at = time.monotonic()
        child.kill_at = None
        child.errors = StandardError() if command.log is None else None
        errors = None if child.errors is None else child.errors.write_end
        try:
            child.program = start_program(
                command.argv, env=command.env, log=command.log, errors=errors
            )
        finally:
            if errors is not None:
                os.close(errors)

    def _look_at(self, child: _Child) -> None:
        now = time.monotonic()
        if child.program is None:
            if now >= child.due_at:
                try:
                    self._begin(child)
                except OSError as error:
                    self._note_death(child, now, _cannot_start(error))
            return
        code = child.program.poll()
        if code is None:
            if child.kill_at is not None and now >= child.kill_at:
                stop_program(child.program, wait_s=0)
            elif child.failing and child.restarts.is_stable(now - child.began_at):
                child.restarts.reset()
                child.failing = None
                self._say(f"{child.command.name} runs again.")
            return
        # It is dead, but its own children may still hold a port.
        stop_program(child.program, wait_s=0)
        child.program = None
        if child.kill_at is None:
            self._note_death(child, now, describe_exit(code), code)

    def _note_death(self, child: _Child, now: float, how: str, code: int | None = None) -> None:
        name, said = child.command.name, self._last_output(child, code)
        delay_s = child.restarts.delay_after_death(now=now, lived_s=now - child.began_at)
        child.due_at = now + delay_s
        if not self._is_settled:
            if code == REFUSED:
                raise ChildRefused([said or f"{name} {how}."])
            if child.restarts.is_crash_loop:
                raise CrashLoop(self._crash_loop_text(child, how, said))
        if not child.restarts.is_failing:
            child.failing = None
            self._say(f"{name} {how}; starting again in {delay_s:g} s.")
            return
        why = f"The last time it {how}: {said}" if said else f"The last time it {how}."
        meanwhile = f"{child.command.meanwhile} " if child.failing is None else ""
        since = datetime.now(UTC) if child.failing is None else child.failing.since
        child.failing = FailingProgram(since, why)
        self._say(
            f"{name} keeps failing ({child.restarts.short_lives} times in a row). {why}"
            f" {meanwhile}Starting again in {delay_s:g} s."
        )

    def _last_output(self, child: _Child, code: int | None) -> str:
        # What a program printed before a signal ended it is not the reason.
        if child.errors is None or code in _ENDED_BY_SIGNAL:
            return ""
        return child.errors.last_output(without=self._closings)

    def _crash_loop_text(self, child: _Child, how: str, said: str) -> str:
        pace, log = child.pace, child.command.log
        why = (
            f"{child.command.name} died {pace.deaths} times within {pace.deaths_within_s:g} s, so"
            f" everything was stopped. The last time it {how}"
        )
        tail = last_lines(log) if log else ""
        if tail:
            return f"{why}. The end of {log}:\n{tail}"
        return f"{why}: {said}" if said else f"{why}."


def _cannot_start(error: OSError) -> str:
    return f"cannot be started: {error.strerror}: {error.filename}"
