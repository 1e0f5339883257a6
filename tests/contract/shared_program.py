"""Runs one scenario of tests/contract/test_worker_shared.py in processes forked like workers."""

import os
import signal
import sys
import time

from workers.queues import LEDGER_RETAIN, SOURCE_CHECK, SOURCE_RECONCILE
from workers.shared_state import SharedState

SHARED = SharedState(workers=2)


def in_child(scene: str) -> tuple[int, int]:
    """Fork a child that plays its part; return its process id and where it reports."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    if scene == "slot":
        with SHARED.action_slot() as is_free:
            os.write(writer, b"free" if is_free else b"busy")
            signal.pause()
    elif scene == "upkeep":
        with SHARED.upkeep_slot(SOURCE_RECONCILE) as is_free:
            os.write(writer, b"free" if is_free else b"busy")
            signal.pause()
    elif scene == "stop":
        os.write(writer, b"here")
        wait_for_stop()
        os.write(writer, b"seen")
        os._exit(0)
    else:
        with SHARED.finishing():
            os.write(writer, b"here")
            wait_for_stop()
            os.write(writer, b"done")
        os.write(writer, b"alas")
    os._exit(0)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def wait_for_stop() -> None:
    while not SHARED.is_stopping():
        time.sleep(0.01)


def main() -> None:
    scene = sys.argv[1]
    child, reader = in_child(scene)
    say(os.read(reader, 4).decode())
    if scene == "slot":
        with SHARED.action_slot() as is_free:
            say("beside it:", is_free)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with SHARED.action_slot() as is_free, SHARED.action_slot() as again:
            say("afterwards:", is_free, again)
        return
    if scene == "upkeep":
        with (
            SHARED.upkeep_slot(LEDGER_RETAIN) as is_free,
            SHARED.upkeep_slot(SOURCE_CHECK) as polls,
        ):
            say("beside it:", is_free, polls)
        say("refused:", *SHARED.take_refused())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with SHARED.upkeep_slot(LEDGER_RETAIN) as is_free:
            say("afterwards:", is_free, *SHARED.take_refused())
        return
    if scene == "stop":
        SHARED.stop()
    else:
        os.kill(child, signal.SIGTERM)
    say(os.read(reader, 4).decode())
    _, status = os.waitpid(child, 0)
    say("ended by:", os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
    say("parent:", SHARED.is_stopping())


if __name__ == "__main__":
    main()
