"""What a worker shares with the children it forked: the request to stop, and who sends email."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("scene", "printed"),
    [
        # One child at a time sends, and what a killed one had is free again.
        ("slot", ["free", "beside it: False", "afterwards: True False"]),
        ("stop", ["here", "told", "ended by: 0", "parent: True"]),
        # A signal to a child alone waits until its work is done, and asks nobody else to stop.
        ("finish", ["here", "done", "ended by: 15", "parent: False"]),
    ],
)
def test_children_and_their_worker_agree(scene: str, printed: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.shared_program", scene],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == printed
