"""The lock files: every pin has hashes, none names an address, and all fit what pyproject asks."""

import json
import re
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source_tree import ROOT, pip_installs, pyproject

LOCKS = ("requirements.lock", "deploy/requirements.lock")
HASH = re.compile(r"hash=sha256:[0-9a-f]{64}")


def entries(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Read every pin with what is said behind it."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [re.split(r"\s+--", line.strip()) for line in text.splitlines()]
    return [(Requirement(pin), options) for pin, *options in lines]


def pins(lock: str) -> dict[str, str]:
    return {pin.name: str(pin.specifier).removeprefix("==") for pin, _ in entries(lock)}


def stated(*extras: str) -> list[Requirement]:
    project = pyproject()["project"]
    asked = [*project["dependencies"]]
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    asked += (ROOT / "deploy" / "build.in").read_text(encoding="utf-8").splitlines()
    return [Requirement(one) for one in asked]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_nothing_else(lock: str) -> None:
    assert len(entries(lock)) > 20
    for pin, options in entries(lock):
        assert str(pin.specifier).startswith("=="), pin.name
        assert options, pin.name
        assert all(HASH.fullmatch(one) for one in options), pin.name


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host| @ ", text)


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        (LOCKS[0], ("broker", "certificate", "sandbox", "dev")),
        (LOCKS[1], ("broker", "certificate", "sandbox")),
    ],
)
def test_every_pin_satisfies_pyproject(lock: str, extras: Iterable[str]) -> None:
    pinned = pins(lock)
    for asked in stated(*extras):
        version = pinned[canonicalize_name(asked.name)]
        assert asked.specifier.contains(version, prereleases=True), f"{asked} and {version}"


def test_every_pip_install_is_without_dependencies() -> None:
    found = list(pip_installs())
    assert {"Makefile", "README.md", "Dockerfile"} <= {path.name for path, _ in found}
    assert [f"{path}: {words}" for path, words in found if "--no-deps" not in words] == []


def test_every_lock_is_installed_with_its_hashes() -> None:
    of_locks = [(path, words) for path, words in pip_installs() if "-r" in words]
    assert {words[words.index("-r") + 1] for _, words in of_locks} >= {*LOCKS}
    assert [f"{path}: {words}" for path, words in of_locks if "--require-hashes" not in words] == []


def test_the_locks_keep_the_requested_extras() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    compiled = [line.split() for line in makefile.splitlines() if "pip compile" in line]
    assert len(compiled) == len(LOCKS)
    assert all("--no-strip-extras" in words for words in compiled)
    extras = {pin.name: pin.extras for lock in LOCKS for pin, _ in entries(lock) if pin.extras}
    assert extras == {"coverage": {"toml"}, "psycopg": {"binary"}}


def test_the_deployed_versions_are_the_tested_ones() -> None:
    tested, deployed = pins(LOCKS[0]), pins(LOCKS[1])
    assert deployed.items() <= tested.items()


def test_the_npm_lock_has_a_hash_for_each_package_and_names_no_address() -> None:
    folder = ROOT / "tests" / "emails"
    text = (folder / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    root, *packages = json.loads(text)["packages"].items()
    assert len(packages) > 20
    for name, package in packages:
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    stated = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = {name.removeprefix("node_modules/"): one["version"] for name, one in packages}
    assert root[1]["dependencies"] == stated
    assert stated.items() <= locked.items()
