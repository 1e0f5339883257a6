"""Runs one scenario of tests/contract/test_stopping.py: a worker with one child, and a signal."""

import os
import signal
import sys
import time

from celery.worker import state

from workers.shared_state import SharedState
from workers.stopping import Stopping

SHARED = SharedState(workers=2)


def child(scene: str, writer: int) -> None:
    if scene == "deaf":
        signal.signal(signal.SIGQUIT, lambda *_: os.write(writer, b"deaf"))
    if scene in {"email", "report"}:
        with SHARED.action_slot() if scene == "email" else SHARED.report_slot():
            os.write(writer, b"here")
            while not SHARED.is_stopping():
                time.sleep(0.01)
            time.sleep(1)  # longer than other tasks may take
            os.write(writer, b"sent")
    else:
        os.write(writer, b"here")
    while True:
        signal.pause()


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    scene = sys.argv[1]
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        child(scene, writer)
    os.close(writer)
    say(os.read(reader, 4).decode())
    children = [] if scene == "alone" else [pid]
    limit_s = 60.0 if scene in {"asked", "again"} else 0.3
    Stopping(SHARED, lambda: children, longest_task_s=limit_s, step_s=limit_s).listen()
    if scene == "young":
        young = os.fork()
        if young == 0:
            os.kill(os.getpid(), signal.SIGTERM)  # before it has handlers of its own
            os._exit(SHARED.is_stopping())
        say("a new child stops all:", bool(os.waitpid(young, 0)[1]))
    os.kill(os.getpid(), signal.SIGTERM)
    say("asked Celery to stop:", state.should_stop == os.EX_OK)
    if scene == "asked":
        os.kill(os.getpid(), signal.SIGINT)  # at once, as if a terminal and a manager both signal
        time.sleep(0.3)
        say("child runs:", os.waitpid(pid, os.WNOHANG) == (0, 0))
        os.kill(pid, signal.SIGKILL)
        Stopping.close()
        return
    if scene == "alone":
        os.kill(pid, signal.SIGKILL)
    if scene == "again":
        time.sleep(1.1)
        os.kill(os.getpid(), signal.SIGINT)
    while word := os.read(reader, 4).decode():
        say(word)
    say("child ended by:", os.WTERMSIG(os.waitpid(pid, 0)[1]))
    children.clear()
    if scene == "again":
        os.kill(os.getpid(), signal.SIGTERM)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
