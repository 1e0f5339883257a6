"""The tests pass in the background, where a shell starts programs with SIGINT ignored."""

import subprocess
import sys

from tests.house.source_tree import ROOT

INTERRUPTED = (
    "tests/e2e/test_commands.py"
    "::test_ctrl_c_during_the_import_ends_it_without_output"
)  # relies on the effect that SIGINT has before a program says otherwise


def test_programs_under_test_receive_a_signal_that_the_run_ignores() -> None:
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", INTERRUPTED]
    command = ["/bin/sh", "-c", 'trap "" INT QUIT HUP; exec "$@"', "sh", *pytest]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
