"""What a worker process is made from: rules that cannot be read are named with the cause."""

import os
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError
from schemas.settings import load_settings
from workers.workshop import read_rules


def mistake_about(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_rules(load_settings({"COURSEBELL_RULES": str(path)}))
    [mistake] = caught.value.mistakes
    return mistake


def test_rules_that_cannot_be_read_are_named_with_the_cause(tmp_path: Path) -> None:
    missing, latin = tmp_path / "missing.yaml", tmp_path / "latin.yaml"
    latin.write_bytes("version: 1  # f\xfcr uns\n".encode("latin-1"))
    for path, cause in (
        (missing, "no such file or directory"),
        (tmp_path, "is a directory"),
        (latin, "not UTF-8 text"),
    ):
        assert mistake_about(path) == f"COURSEBELL_RULES: cannot read {path}: {cause}"


def test_the_shipped_rules_can_be_read() -> None:
    assert read_rules(load_settings({})).rules
    assert "COURSEBELL_RULES" not in os.environ
