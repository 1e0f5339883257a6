"""Starts our programs as forks of one process that has imported them.

Importing takes over a second of CPU for each process, and few tests are about it. A fork is a
process like any other, with its own session, environment, folder, streams and signals, and can be
killed. Where a variable is set that only a new interpreter reads (PYTHON…), one is started.
e2e/test_procfile_run.py runs `coursebell worker` as it is.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import ledger
import sandbox
import schemas
import service
import workers
from workers.celery_environment import let_actions_finish
from workers.queues import WITHOUT_BROKER

ROOT = Path(__file__).parents[2]
# Every module of these is loaded before the first fork, except those that run a program.
_PACKAGES = (service, workers, ledger, schemas, sandbox)
_PROGRAMS = re.compile(r"\.__main__$|^service\.rsgi$|^ledger\.migrations\b")
_OF_TESTS = ("tests.contract.ledger_rig",)
_LARGEST_REQUEST = 1 << 18
_MOST_FILES = 256
_READ_AT_START = frozenset({"PYTHONIOENCODING", "PYTHONUTF8", "PYTHONPATH", "PYTHONWARNINGS"})


class Forked:
    """A program that runs; as much of `subprocess.Popen` as tests need."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(connection.recv(32))
        self.returncode: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, as `subprocess` does, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(timeout=0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._connection.recv(32))
            self._connection.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


Program = Forked | subprocess.Popen[bytes]


def start(  # noqa: PLR0913 - as many as of a process
    module: str,
    *words: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdin: IO[Any] | int | None = None,
    stdout: IO[Any] | int,
    stderr: IO[Any] | int,
) -> Program:
    """Start `python -m module words…` in a session of its own; a stream is a file or its number.

    Without `stdin` there is nothing to read.
    """
    is_new = any(env.get(name) != os.environ.get(name) for name in _READ_AT_START)
    # Celery reads what SIGTERM does when it is imported, and without a broker that is different.
    if is_new or WITHOUT_BROKER in words:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with open(os.devnull, "rb") as nothing, theirs:  # noqa: PTH123 - a device
        files = [nothing if stdin is None else stdin, stdout, stderr]
        numbers = [file if isinstance(file, int) else file.fileno() for file in files]
        request = json.dumps([module, words, dict(env), str(cwd)]).encode()
        socket.send_fds(_loaded_program(), [request], [theirs.fileno(), *numbers])
        return Forked(ours)


def run(
    module: str,
    *words: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdin: int | None = None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it printed. Raises `subprocess.TimeoutExpired`."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        program = start(module, *words, env=env, cwd=cwd, stdin=stdin, stdout=output, stderr=errors)
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            raise
        printed = []
        for file in (output, errors):
            file.seek(0)
            printed.append(file.read().decode())
    return subprocess.CompletedProcess([module, *words], code, *printed)


@functools.cache
def _loaded_program() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.forking", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        program.wait()

    atexit.register(end)
    return ours


def modules_to_load() -> list[str]:
    """Return every module that a program may import, except those that are programs themselves."""
    found = [
        module.name
        for package in _PACKAGES
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return [*(name for name in found if not _PROGRAMS.search(name)), *_OF_TESTS]


def _serve(requests: socket.socket) -> tuple[str, list[str]]:
    """Fork for each request. Returns in the forks only: the module to run, and its arguments."""
    # Ctrl-C is for pytest, which ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        request, files, *_ = socket.recv_fds(requests, _LARGEST_REQUEST, 4)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not request:
            sys.exit()
        if os.fork() == 0:
            requests.close()
            break
        for number in files:
            os.close(number)
    connection = socket.socket(fileno=files[0])
    _watch(connection)
    module, words, environment, folder = json.loads(request)
    _become(files[1:], environment)
    os.chdir(folder)
    connection.send(str(os.getpid()).encode())
    connection.close()
    return module, words


def _watch(connection: socket.socket) -> None:
    """Fork once more, and report the exit code of the fork to its owner."""
    child = os.fork()
    if child != 0:
        # The child alone holds its streams, so that a pipe ends with it.
        os.closerange(0, connection.fileno())
        os.closerange(connection.fileno() + 1, _MOST_FILES)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(OSError):
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)


def _become(streams: list[int], environment: Mapping[str, str]) -> None:
    """Take on what a new process would have got from its starter."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, number in enumerate(streams):
        os.dup2(number, place)
        os.close(number)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a number
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - same
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115 - same


def _run(module: str, words: list[str]) -> None:
    """Be this program to its end.

    What an interpreter takes apart at its end is left as it is: all that was loaded before the fork
    would be copied for it, which takes longer than most commands.
    """
    sys.argv = [module, *words]
    code: object = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    if code is not None and not isinstance(code, int):
        sys.exit(str(code))
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001 - as `multiprocessing` ends its forks
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    let_actions_finish(os.environ)  # as for `coursebell worker`; nothing else is affected
    gc.disable()
    for name in modules_to_load():
        importlib.import_module(name)
    gc.enable()
    _run(*_serve(socket.socket(fileno=int(sys.argv[1]))))
