"""A worker stops at the next step of its event loop, and what still runs later is ended."""

import subprocess
import sys

import pytest

_ENDED = "Not stopped yet; what still runs is ended now."
_ASKED = ["here", "asked Celery to stop: True"]


def played(scene: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.contract.stopping_program", scene],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("scene", "printed", "code"),
    [
        # A signal only asks, and another one at once is the same request.
        ("asked", ["child runs: True"], 0),
        ("again", ["child ended by: 3"], 1),
        # What takes too long is ended; the worker too, however it hangs.
        ("late", ["child ended by: 3"], 1),
        ("deaf", ["deaf", "child ended by: 9"], 1),
        # An email that was begun may take longer.
        ("email", ["sent", "child ended by: 3"], 1),
        ("report", ["sent", "child ended by: 3"], 1),
        # What only threads do is repeated later, so a worker without children just ends.
        ("alone", ["child ended by: 9"], 0),
    ],
)
def test_a_worker_stops_once_its_emails_are_finished_and_in_a_bounded_time(
    scene: str, printed: list[str], code: int
) -> None:
    done = played(scene)
    assert (done.stdout.splitlines(), done.returncode) == (_ASKED + printed, code)
    asked, *ended = done.stderr.splitlines()
    assert asked == "Stopping once the emails that were begun are finished."
    assert set(ended) == (set() if scene == "asked" else {_ENDED})


def test_a_signal_to_a_child_that_is_new_stops_no_worker() -> None:
    done = played("young")
    assert done.stdout.splitlines()[:3] == ["here", "a new child stops all: False", _ASKED[1]]
