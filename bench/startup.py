"""Measure cold starts: the help, `coursebell status`, and `coursebell up` until it is ready.

`python -m bench.startup` starts each as a new interpreter several times and prints the median.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from bench.figures import InvalidMeasurementError, Spread
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, started
from workers.local.server import free_port

ROUNDS = 5
_PATIENCE_S = 120.0
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class StartupFigure:
    """The seconds that one kind of start took, in several rounds."""

    name: str
    found: Spread  # in seconds

    @property
    def line(self) -> str:
        """Return the figure as a line of text."""
        return f"{self.name}: {self.found} s"


def measure(*, rounds: int = ROUNDS) -> list[StartupFigure]:
    """Return the time of each kind of start, with the rounds of all kinds interleaved.

    Raises:
        InvalidMeasurementError: a program ended with an error, or was not ready within two minutes.
    """
    taken: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="coursebell-startup-") as place,
        started("--no-deliver") as sandbox,
    ):
        environment = {
            **os.environ,
            "COURSEBELL_DATA_DIR": f"{place}/commands",
            "COURSEBELL_NEXUDUS_URL": sandbox.addresses["api"],
            "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
            "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
        }
        _run(environment, "migrate")
        kinds: dict[str, Callable[[int], None]] = {
            "--help": lambda _: _run(environment, "--help"),
            "status": lambda _: _run(environment, "status", fine=(0, 1)),
        }
        for number in range(rounds):
            for name, run in kinds.items():
                began = time.monotonic()
                run(number)
                taken.setdefault(name, []).append(time.monotonic() - began)
            folder = Path(place) / f"up-{number}"
            taken.setdefault("up until ready", []).append(_up(environment, folder))
    return [StartupFigure(name, Spread.of(times)) for name, times in taken.items()]


def _command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "service", *words]


def _run(environment: Mapping[str, str], *words: str, fine: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        _command(*words), env=environment, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode not in fine:
        raise InvalidMeasurementError(f"coursebell {' '.join(words)} exited with {done.returncode}")


def _up(environment: Mapping[str, str], folder: Path) -> float:
    """Return the seconds from the start of `coursebell up` on a new folder until it is ready."""
    listen = f"127.0.0.1:{free_port()}"
    own = {"COURSEBELL_DATA_DIR": str(folder), "COURSEBELL_LISTEN": listen}
    began = time.monotonic()
    with subprocess.Popen(  # noqa: S603 - our own program
        _command("up"),
        env={**environment, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as program:
        try:
            while not _is_ready(f"http://{listen}/readyz"):
                if program.poll() is not None:
                    raise InvalidMeasurementError(f"coursebell up exited with {program.returncode}")
                if time.monotonic() - began > _PATIENCE_S:
                    raise InvalidMeasurementError("coursebell up was not ready in time")
                time.sleep(_LOOK_EVERY_S)
            return time.monotonic() - began
        finally:
            program.send_signal(signal.SIGTERM)
            program.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)  # noqa: PLR2004 - the HTTP status
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for figure in measure(rounds=parser.parse_args().rounds):
        click.echo(figure.line)


if __name__ == "__main__":
    main()
