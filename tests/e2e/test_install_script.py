"""`deploy/install.sh` for real, in a folder instead of /: install, upgrade, and a refused upgrade.

pip gets its packages from wheels that are made of the packages installed here, so this needs no
network. They are built anew, so their hashes differ, and a copy of the source has a lock with them.
"""

import hashlib
import importlib.metadata
import os
import pwd
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.tags import parse_tag, sys_tags

from schemas.settings import Settings
from tests.e2e.clean_install import locked_names
from tests.house.source_tree import ROOT, source_files
from workers.environment import load

# Three runs of the script take a minute on a quiet machine, and all of them are one fixture.
pytestmark = pytest.mark.timeout(900)

SUPPORTED = frozenset(sys_tags())
_PATIENCE_S = 240
# A third of all files, each of which takes pip some milliseconds: languages other than English.
NOT_USED = re.compile(r"babel/locale-data/(?!root|en)")
# A third of all bytes, which only certificates of completion need.
NOT_INSTALLED = {"typst"}
NOT_COPIED = {"tests", "bench", "docs"}


# Making an environment and filling it takes most of a run; the first run does it.
COPYING_PYTHON = """#!{python}
import os, shutil, sys
if sys.argv[1:3] == ["-m", "venv"]:
    shutil.copytree({current!r}, sys.argv[3], symlinks=True, copy_function=os.link)
else:
    os.execvp("python3", ["python3", *sys.argv[1:]])
"""
_WEB_AND_CLOCK = "coursebell-web coursebell-clock"


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder that stands for a machine's root, and a checkout to install from."""

    root: Path
    checkout: Path
    wheels: Path

    @property
    def prefix(self) -> Path:
        return self.root / "opt" / "coursebell"

    @property
    def env_file(self) -> Path:
        return self.root / "etc" / "coursebell" / "env"

    @property
    def ledger(self) -> Path:
        return self.root / "var" / "lib" / "coursebell" / "coursebell.db"

    def environments(self) -> list[Path]:
        return sorted(self.prefix.glob("env-*"))

    def current(self) -> Path:
        return (self.prefix / ".venv").resolve()

    def settings(self) -> Settings:
        lines = self.env_file.read_text(encoding="utf-8").splitlines()
        return load(dict(line.split("=", 1) for line in lines if line and line[0] != "#"))

    def install(self, *parts: str, **variables: str) -> subprocess.CompletedProcess[str]:
        outside = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("PIP_", "PYTHON", "COURSEBELL_"))
        }
        return subprocess.run(
            [self.checkout / "deploy" / "install.sh", *parts],
            cwd="/",
            env=outside
            | {
                "ROOT": str(self.root),
                "OWNER": pwd.getpwuid(os.getuid()).pw_name,
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self.wheels),
                "PIP_NO_CACHE_DIR": "1",
                "PIP_COMPILE": "0",
                # What root has in its own environment is not written into the settings.
                "COURSEBELL_ZONE": "Europe/London",
            }
            | variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    folder = tmp_path_factory.mktemp("machine")
    made = Machine(folder / "root", folder / "a checkout", folder / "wheels")
    for path in source_files():
        if path.parts[0] not in NOT_COPIED:
            (made.checkout / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, made.checkout / path)
    made.wheels.mkdir()
    names = set(locked_names()) - NOT_INSTALLED
    lock = "".join(locked_wheel(name, made.wheels) for name in sorted(names))
    (made.checkout / "deploy" / "requirements.lock").write_text(lock, encoding="utf-8")
    return made


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the script, with what was on the machine after it."""

    done: subprocess.CompletedProcess[str]
    environments: list[Path]
    current: Path
    env_file: bytes


@pytest.fixture(scope="module")
def runs(machine: Machine) -> list[Run]:
    """Install, install again, and try to install with a mistake in the settings.

    From the second time on, a new environment begins as a copy of the first.
    """
    found: list[Run] = []
    for addition in ("", "", "COURSEBELL_MOOD='good'\n"):
        if addition:
            with machine.env_file.open("a", encoding="utf-8") as file:
                file.write(addition)
        done = machine.install(**(_copying(machine, found[0].current) if found else {}))
        env_file = machine.env_file.read_bytes() if machine.env_file.exists() else b""
        found.append(Run(done, machine.environments(), machine.current(), env_file))
    machine.env_file.write_bytes(found[0].env_file)
    return found


def _copying(machine: Machine, current: Path) -> dict[str, str]:
    python = machine.wheels.parent / "python"
    text = COPYING_PYTHON.format(python=sys.executable, current=str(current))
    python.write_text(text, encoding="utf-8")
    python.chmod(0o700)
    return {"PYTHON": str(python)}


def test_a_first_run_installs_everything_and_says_what_to_do_next(
    machine: Machine, runs: list[Run]
) -> None:
    first = runs[0]
    assert first.done.returncode == 0, first.done.stderr
    assert [first.current] == first.environments
    assert f"Next: fill in {machine.env_file}" in first.done.stderr
    assert f"{machine.prefix}/.venv/bin/coursebell up'" in first.done.stderr
    assert machine.ledger.exists()
    version = subprocess.run(
        [machine.prefix / ".venv" / "bin" / "coursebell", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert version.stdout.strip() in first.done.stderr


def test_the_settings_are_fresh_and_private_and_name_the_data_folder(
    machine: Machine, runs: list[Run]
) -> None:
    assert runs[0].done.returncode == 0
    assert machine.env_file.stat().st_mode & 0o777 == 0o640
    assert machine.env_file.parent.stat().st_mode & 0o777 == 0o750
    assert machine.ledger.parent.stat().st_mode & 0o777 == 0o700
    settings = machine.settings()
    assert Path(settings.data_dir) == machine.ledger.parent
    assert settings.relay_tokens
    assert settings.zone == "UTC"


def test_the_unit_starts_what_was_installed(machine: Machine, runs: list[Run]) -> None:
    assert runs[0].done.returncode == 0
    [unit] = (machine.root / "etc" / "systemd" / "system").iterdir()
    text = unit.read_text(encoding="utf-8")
    started = re.findall(r"^ExecStart=(\S+) up$", text, re.MULTILINE)
    assert [Path(one).exists() for one in started] == [True]
    assert f"EnvironmentFile={machine.env_file}\n" in text
    assert f"WorkingDirectory={machine.ledger.parent}\n" in text


def test_a_further_run_upgrades_and_keeps_the_settings(machine: Machine, runs: list[Run]) -> None:
    first, second, _ = runs
    [backup] = (machine.ledger.parent / "backups").iterdir()
    assert backup.stat().st_mode & 0o777 == 0o600
    assert f"{backup}: 0 people, 0 emails sent; checked." in second.done.stderr
    assert second.done.returncode == 0, second.done.stderr
    assert second.env_file == first.env_file
    assert second.current != first.current
    # The version before stays for the processes that still run from it.
    assert second.environments == [first.current, second.current]


def test_a_mistake_in_the_settings_keeps_the_running_version(runs: list[Run]) -> None:
    _, second, third = runs
    assert third.done.returncode != 0
    assert "COURSEBELL_MOOD" in third.done.stderr
    assert "then run this script again" in third.done.stderr
    assert (third.current, third.environments) == (second.current, second.environments)


@pytest.mark.parametrize(
    ("installed", "named", "expected"),
    [
        ((), "", "coursebell"),
        (("coursebell",), "", "coursebell"),
        (("coursebell-web", "coursebell-clock", "coursebell-release"), "", _WEB_AND_CLOCK),
        ((), "web clock", _WEB_AND_CLOCK),
    ],
)
def test_an_upgrade_covers_the_installed_units(
    installed: tuple[str, ...], named: str, expected: str, tmp_path: Path
) -> None:
    for unit in installed:
        (tmp_path / f"{unit}.service").touch()
    script = (ROOT / "deploy" / "install.sh").read_text(encoding="utf-8")
    function = (
        "name_units() {" + script.partition("name_units() {")[2].partition("\n}\n")[0] + "\n}"
    )
    asked = f'UNITS=$1; {function}\nname_units {named}; echo "${{units[@]}}"'
    said = subprocess.run(
        ["/bin/bash", "-euc", asked, "bash", tmp_path], check=True, capture_output=True, text=True
    )
    assert said.stdout == f"{expected}\n"


def test_nothing_is_left_in_the_checkout(machine: Machine, runs: list[Run]) -> None:
    assert all(run.done.args for run in runs)
    found = {
        path.relative_to(machine.checkout) for path in machine.checkout.rglob("*") if path.is_file()
    }
    assert found == {path for path in source_files() if path.parts[0] not in NOT_COPIED}


@pytest.mark.parametrize(
    ("parts", "variables", "sentence"),
    [
        ((), {"PYTHON": "/bin/false"}, "Coursebell needs Python 3.11 or newer"),
        (("wbe",), {}, "There is no process wbe"),
        ((), {"ROOT": "", "OWNER": "nobody"}, "Installing needs root"),
    ],
)
def test_an_impossible_installation_is_refused_before_anything_is_created(
    machine: Machine,
    tmp_path: Path,
    parts: tuple[str, ...],
    variables: dict[str, str],
    sentence: str,
) -> None:
    if "OWNER" in variables and os.getuid() == 0:
        pytest.skip("root may install, so the message for other users was not tested")
    elsewhere = Machine(tmp_path / "root", machine.checkout, machine.wheels)
    done = elsewhere.install(*parts, **variables)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not elsewhere.root.exists()


def locked_wheel(name: str, folder: Path) -> str:
    """Make a wheel of an installed package, and return its line of a lock file."""
    distribution = importlib.metadata.distribution(name)
    tags = re.findall(r"^Tag: (\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    tag = next(tag for tag in tags if parse_tag(tag) & SUPPORTED)
    stem = f"{distribution.name.replace('-', '_')}-{distribution.version}"
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, source in _files(distribution):
            archive.write(source, file)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{distribution.name}=={distribution.version} --hash=sha256:{digest}\n"


def _files(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        # Scripts are made when a wheel is installed, and caches when a module is loaded.
        if ".." in file.parts or file.suffix == ".pyc" or NOT_USED.match(str(file)):
            continue
        if source.is_file():
            yield str(file), source
