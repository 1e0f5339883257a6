"""Every dependency has its reason in docs/why.md, at the version that is locked."""

import json

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.source_tree import ROOT, pyproject, table_rows


def test_every_dependency_has_a_row_with_its_locked_version_and_reasons() -> None:
    project = pyproject()["project"]
    stated = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        stated += extra
    names = {canonicalize_name(Requirement(one).name) for one in stated}
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = [Requirement(line.split()[0]) for line in lock.splitlines() if "==" in line]
    pins = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in locked}
    rows = {row[0]: row for row in table_rows("why.md") if row[0] in names}
    assert {name: rows[name][1] for name in rows} == {name: pins[name] for name in names}
    assert all(len(row) == 4 and all(row) for row in rows.values())


def test_every_npm_package_has_a_row_with_its_version_and_reasons() -> None:
    package = json.loads((ROOT / "tests" / "emails" / "package.json").read_text(encoding="utf-8"))
    stated = package["dependencies"]
    rows = {row[0]: row for row in table_rows("why.md") if row[0] in stated}
    assert {name: row[1] for name, row in rows.items()} == stated
    assert all(len(row) == 4 and all(row) for row in rows.values())
