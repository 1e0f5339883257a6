"""The lock files alone decide what pip installs, whatever newer versions an index offers.

The index is a folder. Its wheels are empty but for their metadata, which is that of the packages
installed here, so the extras and requirements are the real ones. It offers each package at the
locked version and at a newer one.
"""

import base64
import functools
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source_tree import ROOT, pip_installs

OLDEST_PIP = Path(sys.prefix) / "oldest-pip"  # `make setup` puts it there
NEWER = "9999.0"
NO_HASH = "0" * 64
_DECIDING_NOTHING = {"--quiet", "--no-cache-dir"}
_KEPT = ("Requires-Dist", "Provides-Extra")
_PATIENCE_S = 60


@functools.cache
def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Return each lock with the options that pages and build files install it with."""
    found = set()
    for _, words in pip_installs():
        lock = words[words.index("-r") + 1] if "-r" in words else ""
        if (ROOT / lock).is_file():
            options = [word for word in words if word.startswith("--")]
            found.add((lock, tuple(one for one in options if one not in _DECIDING_NOTHING)))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Index:
    """A folder that pip takes for a package index, and the hash of each locked wheel in it."""

    folder: Path
    hashes: dict[str, str]

    def lock(self, name: str) -> str:
        """Return a lock of the project with the hashes of this index."""
        lines = []
        for pin in pins(name):
            sha256 = self.hashes.get(canonicalize_name(pin.name), NO_HASH)
            lines.append(f"{pin} --hash=sha256:{sha256}\n")
        return "".join(lines)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = Index(tmp_path_factory.mktemp("index"), {})
    for pin in pins("requirements.lock"):
        if pin.marker is None or pin.marker.evaluate():
            name, version = canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")
            made.hashes[name] = wheel(made.folder / name, name, version)
            wheel(made.folder / name, name, NEWER)
    return made


@pytest.mark.parametrize(("lock", "options"), commands())
def test_only_locked_packages_are_installed(
    index: Index, tmp_path: Path, lock: str, options: Sequence[str]
) -> None:
    planned = resolve(index, tmp_path, options, index.lock(lock))
    assert planned == {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins(lock)
        if pin.marker is None or pin.marker.evaluate()
    }


@pytest.mark.parametrize(("lock", "options"), commands())
def test_a_requirement_that_the_lock_does_not_name_changes_nothing(
    index: Index, tmp_path: Path, lock: str, options: Sequence[str]
) -> None:
    """Extras are the known case: a package asks for one that the lock leaves out."""
    without_extras = re.sub(r"\[.*?\]", "", index.lock(lock))
    planned = resolve(index, tmp_path, options, without_extras)
    assert len(planned) > 20
    assert NEWER not in planned.values()


def test_without_the_option_pip_looks_beyond_the_lock(index: Index, tmp_path: Path) -> None:
    without_extras = re.sub(r"\[.*?\]", "", index.lock("requirements.lock"))
    with pytest.raises(AssertionError, match="must have their versions pinned"):
        resolve(index, tmp_path, ["--require-hashes"], without_extras)


def resolve(index: Index, folder: Path, options: Sequence[str], lock: str) -> dict[str, str]:
    """Return what the oldest pip that this Python can run would install of this lock, by name."""
    is_oldest = sys.version_info < (3, 12)
    assert not is_oldest or (OLDEST_PIP / "pip").is_dir(), "Run `make setup`: it gets the old pip."
    (folder / "some.lock").write_text(lock)
    outside = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON", "COVERAGE_"))
    }
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    look_only = ["--dry-run", "--ignore-installed", "--report", "report.json"]
    done = subprocess.run(
        [*pip, "install", *options, *look_only, "-r", "some.lock"],
        cwd=folder,
        env=outside
        | {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index.folder.as_uri(),
            "PYTHONPATH": str(OLDEST_PIP) if is_oldest else "",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert not is_oldest or report["pip_version"] == "22.3"
    planned = [one["metadata"] for one in report["install"]]
    return {canonicalize_name(one["name"]): one["version"] for one in planned}


@functools.cache
def pins(lock: str) -> list[Requirement]:
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", "")
    return [Requirement(re.split(r"\s+--", line)[0]) for line in text.splitlines()]


def wheel(folder: Path, name: str, version: str) -> str:
    """Put a wheel into an index, link it on the page, and return its hash."""
    folder.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    files = {
        "METADATA": "".join(metadata(name, version)),
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    records = [record(f"{stem}.dist-info/{file}", text) for file, text in files.items()]
    files["RECORD"] = "".join([*records, f"{stem}.dist-info/RECORD,,\n"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{stem}.dist-info/{file}", text)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with (folder / "index.html").open("a", encoding="utf-8") as page:
        page.write(f'<a href="{path.name}#sha256={sha256}">{path.name}</a><br>\n')
    return sha256


def metadata(name: str, version: str) -> Iterator[str]:
    yield f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    installed = importlib.metadata.metadata(name)
    for key in _KEPT:
        for text in installed.get_all(key) or ():
            yield f"{key}: {text}\n"


def record(file: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"{file},sha256={digest.decode()},{len(text.encode())}\n"
