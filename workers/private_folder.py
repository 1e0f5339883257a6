"""Private folders of one process, removed by the next process if that one is killed.

A process that is killed cannot remove its folder, in which a password or key lies. The folder is
therefore locked for as long as the process lives; to make another one removes every folder of the
same kind that no process holds.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def take_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder (mode 0700) below `parent`, and remove those nobody holds any more.

    Returns the folder and the open lock on it, for `leave_folder`.

    Raises:
        OSError: the parent folder cannot be written.
    """
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Between making a folder and locking it nobody else may sweep.
    with _locked(parent):
        for old in parent.glob(f"{prefix}*"):
            with contextlib.suppress(OSError), _locked(old, wait=False):
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent.resolve()))
        return folder, _lock(folder, wait=False)


def leave_folder(folder: Path, lock: int) -> None:
    """Remove the folder and its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


@contextlib.contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Give such a folder for as long as this lasts. Raises as `take_folder`."""
    folder, lock = take_folder(parent, prefix)
    try:
        yield folder
    finally:
        leave_folder(folder, lock)


def _lock(folder: Path, *, wait: bool) -> int:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(opened)
        raise
    return opened


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    lock = _lock(folder, wait=wait)
    try:
        yield
    finally:
        os.close(lock)
