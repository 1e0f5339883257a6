"""A clean environment: what the runtime lock names and our wheel, and no package of the tests.

The packages are copied from the environment that the tests run in, which holds the same versions
(tests/house/test_locks.py). So this needs no network and takes seconds.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy" / "requirements.lock"
_PATIENCE_S = 120


@dataclass(frozen=True, slots=True)
class CleanInstall:
    """Where the environment is."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def coursebell(self) -> Path:
        return self.folder / "bin" / "coursebell"

    @property
    def packages(self) -> Path:
        where = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", "venv", vars=where))

    @contextlib.contextmanager
    def without(self, package: str) -> Iterator[None]:
        """Take a package away for a while."""
        away = self.folder / package
        (self.packages / package).rename(away)
        try:
            yield
        finally:
            away.rename(self.packages / package)


def install(folder: Path) -> CleanInstall:
    """Make the environment in a folder that is not there yet."""
    made = CleanInstall(folder)
    venv.create(folder, with_pip=False, symlinks=True)
    for name in locked_names():
        _copy(importlib.metadata.distribution(name), made.packages)
    wheels = folder / "wheels"
    _run("hatchling", "build", "-t", "wheel", "-d", str(wheels))
    [wheel] = wheels.glob("*.whl")
    target = ("--python", str(made.python))
    _run("pip", *target, "install", "--quiet", "--no-index", "--no-deps", str(wheel))
    return made


def locked_names() -> list[str]:
    """Return the packages of the runtime lock that this system needs."""
    lines = LOCK.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    pins = [Requirement(line.partition(" --hash")[0]) for line in lines]
    return [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()]


def _copy(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    for file in distribution.files or ():
        if ".." in file.parts:
            continue  # a script, which nothing here runs
        _link(Path(str(distribution.locate_file(file))), packages / file)
        if file.suffix == ".py":
            # Compiled already by the tests; not every installer lists these files.
            compiled = Path(importlib.util.cache_from_source(str(file)))
            _link(Path(str(distribution.locate_file(compiled))), packages / compiled)


def _link(source: Path, target: Path) -> None:
    if not source.exists() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _run(module: str, *words: str) -> None:
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=_PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
