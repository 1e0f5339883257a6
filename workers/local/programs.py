"""Starts and stops programs, counts their restarts, and makes private folders for them.

Every program gets a session of its own, so that Ctrl-C in a terminal reaches only us and we stop
the programs in our order. On Linux the kernel signals a program when the process that started it
dies, since a killed process cannot clean up. For the same reason a private folder, which holds a
password or key, is locked while its process lives, and making another removes every folder of the
same kind that is not locked.
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
    """Make a folder (mode 0700) below `parent`, and remove those that are no longer locked.

    Returns the folder and the open lock on it, for `release_folder`.

    Raises:
        OSError: the parent folder cannot be written.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # No other process may clean up between making a folder and locking it.
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
    """Yield such a folder, and remove it afterwards. Raises as `claim_folder`."""
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


PR_SET_PDEATHSIG = 1  # prctl(2): the signal a program gets when its parent dies
TAIL_LINES = 10  # of a log, enough to see why something ended
TAIL_BYTES = 8192
KILL_WAIT_S = 5.0  # only a hung kernel call outlives SIGKILL this long
_STANDARD_ERROR = 2
_LONGEST_LINE = 8192  # bytes; a longer one is copied in pieces
_LAST_OUTPUT_S = 10.0  # before the end; earlier lines are not the reason for it
_MOST_LAST_LINES = 3


def python_program(module: str, *words: str) -> list[str]:
    """Return the command that runs an installed module with this Python.

    `-P` keeps the working folder off the import path, so that a folder named like one of our
    packages, or one they import, is not used in its place. Processes that `multiprocessing` starts
    inherit the option.
    """
    return [sys.executable, "-P", "-m", module, *words]


def signal_on_parent_death(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` that makes the kernel send `number` when the parent dies.

    The kernel watches the *thread* that started the program, so start it from a thread that lives
    as long as the program should, normally the main one. Returns None except on Linux. Everything
    is looked up here, because the returned function runs between fork and exec, where an import may
    hang.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    parent = os.getpid()

    def request_signal() -> None:
        prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        # A parent that died before the line above never triggers it.
        if os.getppid() != parent:
            os._exit(1)

    return request_signal


def start_program(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    errors: int | None = None,
    parent_death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session. Its output goes to ours, or is appended to `log`.

    Without `log`, `errors` is a descriptor that replaces standard error.

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
    """Ask a program to stop, wait for it, then kill what is left of its process group.

    Call it once per program, also after one exited by itself: its children may still hold a port.
    """
    if program.poll() is None:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(wait_s)
    # macOS answers "not permitted" for a group whose only member is the dead leader.
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
                # Reading continues even if writing fails, so that the program is never blocked.
                with contextlib.suppress(OSError):
                    os.write(_STANDARD_ERROR, line)
                self._lines.append((time.monotonic(), line.decode(errors="replace").rstrip()))

    def last_output(self, *, without: Collection[str] = ()) -> str:
        """Return on one line what the ended program printed last, or an empty text.

        Of a traceback that is the last line. Lines in `without` are left out.
        """
        self._thread.join(KILL_WAIT_S)
        since = time.monotonic() - _LAST_OUTPUT_S
        lines: deque[str] = deque(maxlen=_MOST_LAST_LINES)
        for at, line in list(self._lines):
            if line.startswith((" ", "Traceback ")):
                lines.clear()
            elif line and at >= since and line not in without:
                lines.append(line)
        text = " ".join(lines)
        return f"{text}." if text[-1:].isalnum() else text


def last_lines(log: Path) -> str:
    """Return the last lines of a log, or an empty text if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(tail.splitlines()[-TAIL_LINES:])


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a supervisor restarts a child, and when it reports or gives up."""

    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    stable_after_s: float = 15.0  # after running this long, the delay is reset
    failing_after: int = 3  # short lives in a row until a child is reported as failing
    deaths: int = 5  # so many deaths ...
    deaths_within_s: float = 30.0  # ... within this time are a crash loop
    stop_wait_s: float = 15.0  # then a child is killed
    look_every_s: float = 0.1


@dataclass(slots=True)
class RestartCounter:
    """Counts the deaths of one child and returns the delays that follow. Pure."""

    pace: RestartPolicy
    short_lives: int = field(init=False, default=0)
    next_delay_s: float = field(init=False)
    died_at: deque[float] = field(init=False)

    def __post_init__(self) -> None:
        self.next_delay_s = self.pace.first_delay_s
        self.died_at = deque(maxlen=self.pace.deaths)

    def delay_after_death(self, *, now: float, lived_s: float) -> float:
        """Note a death, and return how long to wait before the restart."""
        self.died_at.append(now)
        if self.is_stable(lived_s):
            self.reset()
        self.short_lives += 1
        delay_s = self.next_delay_s
        self.next_delay_s = min(delay_s * 2, self.pace.longest_delay_s)
        return delay_s

    def is_stable(self, lived_s: float) -> bool:
        """Return whether a child that has run for this long counts as working."""
        return lived_s >= self.pace.stable_after_s

    def reset(self) -> None:
        """Reset the count, because the child works."""
        self.short_lives = 0
        self.next_delay_s = self.pace.first_delay_s

    @property
    def is_failing(self) -> bool:
        """Return whether the child died several times in a row without having worked."""
        return self.short_lives >= self.pace.failing_after

    @property
    def is_crash_loop(self) -> bool:
        """Return whether the last deaths came so fast that a restart can hardly help."""
        is_full = len(self.died_at) == self.pace.deaths
        return is_full and self.died_at[-1] - self.died_at[0] <= self.pace.deaths_within_s
