"""Starts programs, stops them, paces their restarts, and gives them private folders.

Private folders of one process, removed by the next process if that one is killed.

A process that is killed cannot remove its folder, in which a password or key lies. The folder is
therefore locked for as long as the process lives; to make another one removes every folder of the
same kind that no process holds.

Starting and ending one program, so that none outlives the one who started it.

Every program gets a session of its own: Ctrl-C in a terminal then reaches us alone, and we
end the others in our order. On Linux the kernel is asked to signal the program when its
starter dies, because a starter that is killed cannot clean up.

When to start a dead child again, and what counts as failing. Pure: it is handed the time.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


def claim_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder (mode 0700) below `parent`, and remove those nobody holds any more.

    Returns the folder and the open lock on it, for `release_folder`.

    Raises:
        OSError: the parent folder cannot be written.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Between making a folder and locking it nobody else may sweep.
    with _locked(parent):
        for old in parent.glob(f"{prefix}*"):
            with contextlib.suppress(OSError), _locked(old, wait=False):
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent.resolve()))
        return folder, _lock(folder, wait=False)


def release_folder(folder: Path, lock: int) -> None:
    """Remove the folder and its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


@contextlib.contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Give such a folder for as long as this lasts. Raises as `claim_folder`."""
    folder, lock = claim_folder(parent, prefix)
    try:
        yield folder
    finally:
        release_folder(folder, lock)


def _lock(folder: Path, *, wait: bool) -> int:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(opened)
        raise
    return opened


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    lock = _lock(folder, wait=wait)
    try:
        yield
    finally:
        os.close(lock)


PR_SET_PDEATHSIG = 1  # prctl(2): the signal a program gets when its starter is gone
TAIL_LINES = 10  # of a log, enough to see why something ended
TAIL_BYTES = 8192
KILL_WAIT_S = 5.0  # nothing but a hung kernel call outlives SIGKILL this long
_STANDARD_ERROR = 2
_LONGEST_LINE = 8192  # bytes; a longer one is passed on in pieces
_LAST_WORDS_S = 10.0  # before the end; what was printed earlier is not the reason for it
_MOST_LAST_LINES = 3


def python_program(module: str, *words: str) -> list[str]:
    """Return the command that runs an installed module with this Python.

    `-P` keeps the working folder off the import path: a folder named like one of our packages, or
    like one they use, must not run in its place. Python passes the option on to the processes that
    `multiprocessing` starts.
    """
    return [sys.executable, "-P", "-m", module, *words]


def signal_on_parent_death(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that makes the kernel send `number` when the starter dies.

    The kernel watches the *thread* that started the program, so start from a thread that
    lives as long as the program should, normally the main one. Returns `None` where the
    kernel cannot do this (anything but Linux). Everything is looked up here, because the
    returned function runs between fork and exec, where importing may hang.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    starter = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        # A starter that died before the line above will never trigger it.
        if os.getppid() != starter:
            os._exit(1)

    return tie


def start_program(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    errors: int | None = None,
    parent_death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, its output going to ours or to the end of `log`.

    `errors` is a descriptor that takes the place of our standard error, if there is no log.

    Raises:
        OSError: the program or its log cannot be opened.
    """
    output = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - the command is ours, and no shell reads it
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors if output is None else subprocess.STDOUT,
            env=env,
            start_new_session=True,
            # Safe here: the function only makes two system calls.
            preexec_fn=signal_on_parent_death(parent_death_signal),  # noqa: PLW1509 - see above
        )
    finally:
        if output is not None:
            os.close(output)


def stop_program(program: subprocess.Popen[bytes], *, wait_s: float) -> None:
    """Ask a program to end, wait for it, then kill whatever is left of its session group.

    Call it once for a program, and soon after it ended by itself: what it started may still
    hold a port.
    """
    if program.poll() is None:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(wait_s)
    # macOS answers "not permitted" for a group of which only the dead leader is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(KILL_WAIT_S)


def describe_exit(code: int) -> str:
    """Return an exit code of `subprocess` in words; a negative one is a signal."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        # Real-time signals have numbers but no names here.
        return f"was ended by signal {-code}"


class StandardError:
    """Copies what a program prints on standard error to ours, and keeps its last lines."""

    def __init__(self) -> None:
        source, self.write_end = os.pipe()  # `write_end` is for the program
        self._lines: deque[tuple[float, str]] = deque(maxlen=TAIL_LINES)
        self._thread = threading.Thread(
            target=self._copy, args=(source,), name="stderr", daemon=True
        )
        self._thread.start()

    def _copy(self, source: int) -> None:
        with open(source, "rb") as pipe:
            while line := pipe.readline(_LONGEST_LINE):
                # Reading continues whatever happens to ours: the program must not be held up.
                with contextlib.suppress(OSError):
                    os.write(_STANDARD_ERROR, line)
                self._lines.append((time.monotonic(), line.decode(errors="replace").rstrip()))

    def last_output(self, *, without: Collection[str] = ()) -> str:
        """Return what the program, which has ended, printed just before: on one line, or nothing.

        Of a traceback it is the last line. Lines in `without` are left out.
        """
        self._thread.join(KILL_WAIT_S)
        since = time.monotonic() - _LAST_WORDS_S
        words: deque[str] = deque(maxlen=_MOST_LAST_LINES)
        for at, line in list(self._lines):
            if line.startswith((" ", "Traceback ")):
                words.clear()
            elif line and at >= since and line not in without:
                words.append(line)
        said = " ".join(words)
        return f"{said}." if said[-1:].isalnum() else said


def last_lines(log: Path) -> str:
    """Return the last lines of a log for an error text, or an empty text without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(tail.splitlines()[-TAIL_LINES:])


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient a supervisor is. All times are in seconds."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    stable_after_s: float = 15.0  # alive this long, and the next delay is the first one again
    failing_after: int = 3  # so many short lives in a row, and the child is reported as failing
    deaths: int = 5  # so many of them ...
    deaths_within_s: float = 30.0  # ... within this time are a crash loop
    stop_wait_s: float = 15.0  # a child that is still there then is killed
    look_every_s: float = 0.1


@dataclass(slots=True)
class RestartCounter:
    """The deaths of one child, and the delay that follows from them."""

    pace: RestartPolicy
    short_lives: int = field(init=False, default=0)
    next_delay_s: float = field(init=False)
    died_at: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.next_delay_s = self.pace.first_delay_s
        self.died_at = deque(maxlen=self.pace.deaths)

    def delay_after_death(self, *, now: float, lived_s: float) -> float:
        """Note a death, and return how long to wait before the next start."""
        self.died_at.append(now)
        if self.is_stable(lived_s):
            self.reset()
        self.short_lives += 1
        delay_s = self.next_delay_s
        self.next_delay_s = min(delay_s * 2, self.pace.longest_delay_s)
        return delay_s

    def is_stable(self, lived_s: float) -> bool:
        """Return whether a child that has lived so long counts as working."""
        return lived_s >= self.pace.stable_after_s

    def reset(self) -> None:
        """Forget the short lives: the child works."""
        self.short_lives = 0
        self.next_delay_s = self.pace.first_delay_s

    @property
    def is_failing(self) -> bool:
        """Return whether the child has died several times in a row without having worked."""
        return self.short_lives >= self.pace.failing_after

    @property
    def is_crash_loop(self) -> bool:
        """Return whether the last deaths came so fast that starting again can hardly help."""
        is_full = len(self.died_at) == self.pace.deaths
        return is_full and self.died_at[-1] - self.died_at[0] <= self.pace.deaths_within_s
