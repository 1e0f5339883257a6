"""What tests ask about real programs: are they alive, and has it happened yet."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0  # awaited, not slept: it costs nothing where the condition holds soon


def is_alive(pid: int) -> bool:
    """Say whether a program runs; one that ended and was not collected yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        # Either it ended just now, or this system has no /proc to look into.
        return not Path("/proc/self").exists()
    return stat.rpartition(")")[2].split()[0] != "Z"


def command_line(pid: int) -> str:
    """Return the command line of a program, as every user of the machine can see it."""
    shown = subprocess.run(
        ["/bin/ps", "-ww", "-o", "args=", "-p", str(pid)],
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; fail with a sentence when it does not in good time."""
    begun_at, pause_s = time.monotonic(), 0.01
    while not condition():
        waited_s = time.monotonic() - begun_at
        if waited_s > PATIENCE_S:
            raise AssertionError(f"Not in {PATIENCE_S:g} s: {what}.")
        # The longer it takes, the rarer: asking uses CPU that the programs need.
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, max(0.1, waited_s / 50))
