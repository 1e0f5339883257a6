"""The layers: which package may import which, as pyproject.toml says it."""

import subprocess
import sys
from pathlib import Path

from tests.house.source_tree import ROOT, pyproject


def test_no_package_imports_backwards_and_every_contract_is_checked() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    program = Path(sys.executable).with_name("lint-imports")
    looked = subprocess.run(
        [str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert looked.returncode == 0, looked.stdout
    assert f"{len(contracts)} kept, 0 broken" in looked.stdout
