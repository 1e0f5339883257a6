"""Starting and ending one program, so that none outlives the one who started it.

Every program gets a session of its own: Ctrl-C in a terminal then reaches us alone, and we
end the others in our order. On Linux the kernel is asked to signal the program when its
starter dies, because a starter that is killed cannot clean up.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

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


def tie_to_starter(number: signal.Signals) -> Callable[[], None] | None:
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


def begin(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    errors: int | None = None,
    when_starter_dies: signal.Signals = signal.SIGTERM,
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
            preexec_fn=tie_to_starter(when_starter_dies),  # noqa: PLW1509 - see above
        )
    finally:
        if output is not None:
            os.close(output)


def end(program: subprocess.Popen[bytes], *, wait_s: float) -> None:
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


def how_it_ended(code: int) -> str:
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
        source, self.end = os.pipe()  # `end` is for the program
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

    def last_words(self, *, without: Collection[str] = ()) -> str:
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
