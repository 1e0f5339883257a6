"""The lock files: every pin has hashes, none names an address, and all fit what pyproject asks."""

import re
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source_tree import ROOT, pyproject

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
    [(LOCKS[0], ("broker", "sandbox", "dev")), (LOCKS[1], ("broker", "sandbox"))],
)
def test_every_pin_is_what_pyproject_asks_for(lock: str, extras: Iterable[str]) -> None:
    pinned = pins(lock)
    for asked in stated(*extras):
        version = pinned[canonicalize_name(asked.name)]
        assert asked.specifier.contains(version, prereleases=True), f"{asked} and {version}"


def test_what_is_deployed_is_what_was_tested() -> None:
    tested, deployed = pins(LOCKS[0]), pins(LOCKS[1])
    assert deployed.items() <= tested.items()
